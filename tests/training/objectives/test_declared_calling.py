"""A recipe teaches calls of declared functions by number, and what it leaves reads what a request declares."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

import sepiola
from sepiola.acting.modes import Numbered
from sepiola.data.example import Example, Message
from sepiola.datasets import read
from sepiola.errors import SpecError, TrainingError
from sepiola.experiments.agent import write_requests
from sepiola.experiments.declared import declared_requests
from sepiola.specs.stage import StageSpec
from sepiola.training.objectives import objective_specs
from sepiola.training.objectives.declared_calling import DeclaredCalling, DeclaredCallingSpec, tools_of
from tests.tiny import encoder_decoder, recipe, run_recipe


class Reading:
    """A setting whose data are the examples that it is given."""

    seed, images = 0, False

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def read(self, data: object) -> list[Example]:
        return self.examples


def tool(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"what": {"type": "string", "description": "the thing"}}}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TOOLS = [tool(f"do_{word}", f"Does {word}.") for word in ("alpha", "beta", "gamma", "delta", "epsilon")]


def request(number: int, *, declares: bool = True) -> Example:
    name = TOOLS[number % 5]["function"]["name"]
    calls = [{"name": name, "arguments": {"what": f"thing {number}"} if declares else {}}]
    tools = {"tools": [TOOLS[number % 5]]} if declares else {}
    return Example(f"e{number}", (Message("user", (f"ask {number}",)),), "", metadata={"calls": calls, **tools})


def stage(**options: Any) -> StageSpec:
    raw = {"name": "calls", "objective": {"kind": "declared-calling", **options},
           "data": {"reader": "requests", "root": "x"}, "steps": 1}  # fmt: skip
    return StageSpec.parse(raw, kinds=objective_specs())


def laid_out(examples: list[Example], **options: Any) -> list[Example]:
    objective = DeclaredCalling(stage(**options), Reading(examples))  # type: ignore[arg-type]
    return objective.laid_out(objective.stage.data)


def lines_of(example: Example) -> list[str]:
    return example.prompt.split("\n")[:-1]


def test_the_number_is_that_of_the_right_description() -> None:
    made = laid_out([request(number) for number in range(60)], declared=4, masked=0.0, irrelevant=0.0)
    places = set()
    for number, example in enumerate(made):
        chosen = int(example.target[4 : example.target.index(">")])
        places.add(chosen)
        assert lines_of(example)[chosen].startswith(f"{chosen}. {TOOLS[number % 5]['function']['name']}:")
        assert example.target.endswith(f"> thing {number}<fn_end>") and example.prompt.endswith(f"ask {number}")
        assert 1 <= len(lines_of(example)) <= 4
    assert places == {0, 1, 2, 3}, "the right one stands anywhere"


def test_days_are_written_as_they_are_said(tmp_path: Path) -> None:
    """Those of made-up requests too, as they lie in the folder that they are made in."""
    write_requests(tmp_path / "train.jsonl", declared_requests("train", 400))
    examples = [e for e in read("requests", tmp_path, "train") if e.days and e.metadata["calls"]]
    targets = [example.target for example in laid_out(examples, masked=0.0, irrelevant=0.0)]
    said = [[form for day, form in e.days.items() if day in str(e.metadata["calls"])] for e in examples]
    assert any(re.fullmatch(r"[<>][1-7]|[+-]?w[1-7]", form) for forms in said for form in forms)
    assert all(form in target for forms, target in zip(said, targets, strict=True) for form in forms)


def test_what_stands_in_quotes_is_written_in_the_tokens_of_its_request() -> None:
    made = request(1)
    quoting = dataclasses.replace(made, messages=(Message("user", ('do "thing 1" now',)),))
    assert [e.target[6:] for e in laid_out([made, quoting], declared=1)] == [" thing 1<fn_end>", "thing 1<fn_end>"]


def test_names_are_masked_and_descriptions_are_not() -> None:
    made = laid_out([request(number) for number in range(200)], masked=0.5, irrelevant=0.0)
    lines = [line for example in made for line in lines_of(example)]
    plain = [re.search(r"do_(alpha|beta|gamma|delta|epsilon)", line) is not None for line in lines]
    assert 0.4 < sum(plain) / len(plain) < 0.6 and all(": Does " in line for line in lines)
    assert ["what?" in line for line in lines] == plain, "arguments go with their function"


def test_requests_whose_function_is_not_declared_call_nothing() -> None:
    made = laid_out([request(number) for number in range(300)], masked=0.0, irrelevant=0.3)
    nothing = [e for e in made if e.target == "<fn_none><fn_end>"]
    assert 0.2 < len(nothing) / len(made) < 0.4
    for example in nothing:
        name = TOOLS[int(example.id[1:]) % 5]["function"]["name"]
        assert lines_of(example) and f"{name}:" not in example.prompt


def test_data_are_used_again_with_others_beside_them() -> None:
    made = laid_out([request(number) for number in range(5)], prompts=50)
    assert len(made) == 50 and len({e.prompt for e in made if e.id == "e0"}) > 5


def test_functions_of_data_that_declare_none(caplog: pytest.LogCaptureFixture) -> None:
    assert [t["function"]["description"] for t in tools_of(request(0, declares=False), None)] == ["do alpha"]
    assert len(tools_of(request(0, declares=False), "phone")) == 10
    unknown = Example("u", (Message("user", ("x",)),), "", metadata={"calls": [{"name": "do_x", "arguments": None}]})
    assert len(laid_out([request(0), unknown])) == 1 and "1 examples are left out" in caplog.text
    with pytest.raises(TrainingError, match="no example of requests has calls that fit"):
        laid_out([unknown])
    with pytest.raises(TrainingError, match="n: no calls"):
        laid_out([Example("n", (Message("user", ("x",)),), "")])
    with pytest.raises(SpecError, match="declared"):
        stage(declared=0)
    assert len(DeclaredCallingSpec(kind="declared-calling").tokens()) == 43


def test_a_recipe_leaves_an_agent_that_reads_declarations(tmp_path: Path) -> None:
    root = tmp_path / "requests"
    root.mkdir()
    rows = [{"text": f"ask {n}", "calls": request(n).metadata["calls"], "tools": [TOOLS[n % 5]]} for n in range(20)]
    (root / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    trained = {
        "name": "calls",
        "objective": {"kind": "declared-calling", "declared": 3},
        "learn": ["language"],
        "data": {"reader": "requests", "root": str(root)},
        "steps": 2,
        "batch": 4,
        "source_tokens": 96,
        "target_tokens": 32,
    }
    model = {"name": "agent", "language": {**encoder_decoder(), "vocabulary": 400}}
    loaded = sepiola.load(run_recipe(recipe("agent", model, [trained], tokenizer={"vocabulary": 400}), tmp_path))

    def feed(pet: str) -> str:
        """喂宠物。"""
        return pet

    agent = sepiola.Agent(loaded, [feed])
    assert isinstance(agent.mode, Numbered) and loaded.require_tokenizer().id_of("<fn_39>") is not None
    acted = agent.run("喂猫", today="2024-05-01")
    assert len(acted.calls) == len(acted.results)
