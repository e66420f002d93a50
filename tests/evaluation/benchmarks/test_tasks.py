"""Tasks on the phone, by an agent whose model says what a test tells it to, in both languages and with pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from typer.testing import CliRunner

from sepiola.acting import agent as acting
from sepiola.acting.phone import android, functions
from sepiola.acting.phone.tasks import task_of
from sepiola.acting.sets import check_taught, taught
from sepiola.calling.calls import write
from sepiola.calling.functions import Call
from sepiola.cli.app import app
from sepiola.data.example import Example
from sepiola.errors import SpecError
from sepiola.evaluation.benchmarks import BENCHMARKS, benchmark_of, measure
from sepiola.evaluation.benchmarks.settings import Settings
from sepiola.evaluation.benchmarks.tasks import functions_for
from sepiola.evaluation.figures import Figures
from sepiola.reasoning.answer import Answer
from sepiola.specs.data import DataSpec
from tests.acting.test_agent import acting_model
from tests.tiny import encoder_decoder, llama

DATA = DataSpec(reader="tasks", split="test", count=40)
Says = Callable[[list[Call]], Sequence[Call]]


def measured(says: Says, patch: pytest.MonkeyPatch) -> Figures:
    """The figures of an agent that makes of the right calls what `says` does."""
    settings = Settings(DATA)
    right = [[Call(c["name"], c["arguments"]) for c in e.metadata["calls"]] for e in settings.examples]
    replies = (write(says(calls), functions()) for calls in right)
    patch.setattr(acting.Agent, "write", lambda self, example: next(replies))
    return measure(acting_model(encoder_decoder()), settings).figures


def test_the_right_calls_in_any_order_reach_every_end(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = measured(lambda calls: calls[::-1], monkeypatch)
    assert figures["accuracy"] == 1.0 and figures["tasks"]["exact"]["accuracy"] == 1.0
    buckets = figures["buckets"]
    assert set(buckets["language"]) == {"en", "zh"} and all(b["count"] == 20 for b in buckets["language"].values())
    assert buckets["calls"]["2 to 4 calls"]["count"] == buckets["calls"]["picture"]["count"] == 20
    assert sum(buckets["calls"][f"{n} calls"]["count"] for n in (2, 3, 4) if f"{n} calls" in buckets["calls"]) == 20
    assert buckets["calls_in_en"]["picture"]["count"] + buckets["calls_in_zh"]["picture"]["count"] == 20
    first, nothing = figures["baselines"]["first_call"], figures["baselines"]["nothing_called"]
    assert nothing["accuracy"] == 0.0 and first["buckets"]["calls"]["2 to 4 calls"]["accuracy"] == 0.0
    assert first["buckets"]["calls"]["picture"]["accuracy"] == 1.0
    assert figures["tasks"]["cost"]["tokens_out"] > 0 and figures["tasks"]["cost"]["timed"] == 40


def test_a_wrong_or_missing_call_misses_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = measured(lambda calls: calls[:-1], monkeypatch)
    assert figures["accuracy"] == 0.0 and figures["unparsed"] == 0 and figures["tasks"]["names"]["accuracy"] == 0.0
    nobody = Call("send_text_message", {"to": "Nobody", "message": "x"})
    figures = measured(lambda calls: [*calls, nobody], monkeypatch)
    assert figures["accuracy"] == 1.0, "a call that the phone refuses changes nothing"
    assert figures["tasks"]["failed"] == 40 and figures["tasks"]["exact"]["accuracy"] == 0.0


def test_what_cannot_be_read_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting.Agent, "write", lambda self, example: "<fn_2>")
    figures = measure(acting_model(encoder_decoder()), Settings(DATA)).figures
    assert (figures["accuracy"], figures["unparsed"]) == (0.0, 40)


@pytest.mark.parametrize("known", [True, False], ids=["functional", "declared"])
def test_random_weights_are_measured(known: bool) -> None:
    settings = Settings(DATA.model_copy(update={"count": 4}))
    model = acting_model(encoder_decoder() if known else llama(), known)
    assert benchmark_of(model, settings) == "tasks"
    figures = measure(model, settings).figures
    assert figures["tasks"]["mode"] == ("functional" if known else "declared") and figures["count"] == 4
    titles = [table["title"] for table in BENCHMARKS["tasks"].tables(figures)]
    assert "Right end states by language" in titles and titles[-1] == "Calls of the tasks"
    merged = BENCHMARKS["tasks"].merge({"one": [figures], "two": [figures]})
    assert [row["name"] for row in merged["rows"]] == ["one", "two", "first call", "nothing called"]


def test_a_model_may_know_more_functions_and_not_fewer() -> None:
    ten = functions()
    grown = taught([*ten, *android.functions()[:1]])
    assert [f.name for f in check_taught(grown, functions_for(grown))] == [str(entry["name"]) for entry in grown]
    assert functions_for(None) == functions_for(()) == functions_for(taught(ten)) == ten
    with pytest.raises(SpecError, match="was not taught animal_care; measure one that was"):
        functions_for(taught(ten)[:-1])


def test_an_answer_is_judged_by_the_phone() -> None:
    (example,) = Settings(DATA.model_copy(update={"count": 1})).examples
    reward = BENCHMARKS["tasks"].reward
    calls = [call.to_json() for call in task_of(example).calls]
    assert reward(example, Answer(example.id, json.dumps(calls))) == 1.0
    for wrong in ("no call", "[]", json.dumps(calls[1:]), '[{"name": "eval", "arguments": {}}]'):
        assert reward(example, Answer(example.id, wrong)) == 0.0
    assert reward(Example("x", example.messages, ""), Answer("x", "[]")) is None


def test_the_command_line(tmp_path: object) -> None:
    acting_model(encoder_decoder()).save(f"{tmp_path}/agent")
    asked = f"eval tasks --model {tmp_path}/agent --count 2 --option languages=[zh] --json"
    done = CliRunner().invoke(app, asked.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["benchmark"] == "tasks" and set(figures["buckets"]["language"]) == {"zh"}
