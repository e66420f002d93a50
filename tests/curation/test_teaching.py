"""A teacher's rationales: what it is asked, what is kept, that a stop loses nothing, and that stages learn them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sepiola.api import load
from sepiola.cli.app import app
from sepiola.curation.teaching import RIGHT, UNREAD, Teaching, judged, local, prompt_of, remote, teach
from sepiola.data.example import Example, Message, Question
from sepiola.datasets import DATASETS, Dataset, read_spec
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.endpoint import Endpoint
from sepiola.specs.data import DataSpec
from tests.chat_server import ChatServer
from tests.datasets.folders import problem, problems
from tests.tiny import captioner, decoder, question_example, recipe, run_recipe

COT = Teaching("cot")
QUIET = Console(quiet=True)


def asked(name: str, answer: int = 0, language: str = "en", **about: Any) -> Example:
    example = question_example(name, f"Which is {name}?", ("iron", "wood"), answer)
    return dataclasses.replace(example, metadata={**example.metadata, "language": language, **about})


@pytest.fixture
def server() -> Iterator[ChatServer]:
    running = ChatServer()
    yield running
    running.close()


def endpoint(server: ChatServer) -> Endpoint:
    return Endpoint(server.base, "wise", pause=0.01, tries=1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_teacher_is_asked_in_the_questions_language_and_told_the_answer_only_if_that_is_wanted() -> None:
    english, chinese = asked("a", 1), asked("b", 1, "zh")
    prompt = prompt_of(english, COT)
    assert prompt.startswith("Question: Which is a?\nContext: N/A\nOptions: (A) iron (B) wood\nExplain step by step")
    assert "right answer" not in prompt and prompt.endswith("The answer is (A).")
    assert "选项：(A) iron (B) wood\n请一步一步" in prompt_of(chinese, COT)
    told = Teaching("cot", tell=True)
    assert "The right answer is (B) wood." in prompt_of(english, told) and "正确答案是(B) wood。" in prompt_of(
        chinese, told
    )
    plan = {"lecture": "Metals are {shiny}.", "plan": "1. Look."}
    skilled = dataclasses.replace(english, metadata={"language": "en", "skill": "Metals"})
    followed = prompt_of(skilled, Teaching("plan"), plan)
    assert "To know for Metals: Metals are {shiny}.\nPlan: 1. Look.\nFollow the plan" in followed


@pytest.mark.parametrize(
    ("text", "verdict", "rationale"),
    [
        ("Iron is a metal. The answer is (A).", RIGHT, "Iron is a metal."),
        ("铁是金属。答案是（A）。", RIGHT, "铁是金属。"),
        ("Wood is. The answer is (B).", "wrong", "Wood is."),
        ("I cannot tell.", UNREAD, "I cannot tell."),
        ("The answer is (A).", "no rationale before the answer", ""),
    ],
)
def test_what_comes_to_the_right_answer_is_kept(text: str, verdict: str, rationale: str) -> None:
    found = judged(asked("a"), text)
    assert (found["verdict"], found["rationale"]) == (verdict, rationale)


def test_open_questions_are_judged_by_what_is_said() -> None:
    question = Question("2 + 2?", answer_text="4", hint="")
    example = Example("sum", (Message("user", ("2 + 2?",)),), "4", question, {"language": "en"})
    assert judged(example, "Two and two are 4. The answer is 4.")["verdict"] == RIGHT
    assert judged(example, "Two and two are 5. The answer is 5.")["verdict"] == "wrong"
    assert "Options" not in prompt_of(example, COT) and prompt_of(example, COT).endswith("The answer is …")


def test_an_endpoint_teaches_and_a_second_call_asks_nothing_again(server: ChatServer, tmp_path: Path) -> None:
    server.reply = lambda prompt: f"It is so. The answer is ({'A' if 'Which is a?' in prompt else 'B'})."
    examples = [asked("a"), asked("b"), asked("c", 1), dataclasses.replace(asked("d"), question=None)]
    found = teach(examples, tmp_path, remote(endpoint(server)), COT, console=QUIET)
    assert found["questions"] == 3 and found["kept"] == 2 and found["dropped"] == {"wrong": 1}
    kept = lines(tmp_path / "cot.jsonl")
    assert [(line["id"], line["solution"], line["lecture"]) for line in kept] == [
        ("a", "It is so.", ""),
        ("c", "It is so.", ""),
    ]
    assert all(body["temperature"] == 0 for body in server.asked) and len(server.asked) == 3
    assert teach(examples, tmp_path, remote(endpoint(server)), COT, console=QUIET) == found
    assert len(server.asked) == 3, "all answers lie in the folder"
    changed = [dataclasses.replace(examples[0], question=Question("Other?", ("iron", "wood"), 1)), *examples[1:]]
    assert teach(changed, tmp_path, remote(endpoint(server)), COT, console=QUIET)["kept"] == 2
    assert len(server.asked) == 4, "a question that has changed is asked anew"
    with pytest.raises(DataError, match="was made with"):
        teach(examples, tmp_path, remote(endpoint(server)), Teaching("cot", tell=True), console=QUIET)


def test_what_was_answered_before_the_endpoint_went_away_is_kept(server: ChatServer, tmp_path: Path) -> None:
    examples = [asked(f"q{n}") for n in range(80)]
    server.reply = lambda prompt: "So. The answer is (A)." if len(server.asked) <= 40 else (500, {"error": "gone"})
    with pytest.raises(
        SepiolaError, match=r"32 of 80 answers are kept in .*asked-cot\.jsonl: run the same command again"
    ):
        teach(examples, tmp_path, remote(endpoint(server)), COT, console=QUIET)
    assert not (tmp_path / "cot.jsonl").exists()
    server.reply = lambda prompt: "So. The answer is (A)."
    before = len(server.asked)
    assert teach(examples, tmp_path, remote(endpoint(server)), COT, console=QUIET)["kept"] == 80
    assert len(server.asked) - before == 48


def test_a_question_without_an_answer_of_the_endpoint_is_counted_and_asked_next_time(
    server: ChatServer, tmp_path: Path
) -> None:
    server.reply = lambda prompt: (400, {}) if "Which is b?" in prompt else "So. The answer is (A)."
    found = teach([asked("a"), asked("b")], tmp_path, remote(endpoint(server)), COT, console=QUIET)
    assert found["kept"] == 1 and found["no_answer"] == 1
    server.reply = lambda prompt: "So. The answer is (A)."
    assert teach([asked("a"), asked("b")], tmp_path, remote(endpoint(server)), COT, console=QUIET)["kept"] == 2


def test_an_endpoint_that_answers_nothing_says_why(server: ChatServer, tmp_path: Path) -> None:
    server.reply = lambda prompt: (401, {"error": "bad key"})
    with pytest.raises(SepiolaError, match=r"the teacher: .*refuses the request \(status 401.*bad key"):
        teach([asked("a"), asked("b")], tmp_path, remote(endpoint(server)), COT, console=QUIET)


def test_a_plan_is_made_once_for_each_skill_and_language(server: ChatServer, tmp_path: Path) -> None:
    def reply(prompt: str) -> str:
        if "in one sentence what one must know" in prompt or "请用一句话" in prompt:
            return "Metals conduct." if "Metals" in prompt else "Plants grow."
        if "numbered steps" in prompt or "编上号" in prompt:
            assert "The right answer is" in prompt or "正确答案是" in prompt
            return "1. Read. 2. Think."
        return "1. I read. 2. I think. The answer is (A)."

    server.reply = reply
    examples = [asked(f"m{n}", skill="Metals") for n in range(7)]
    examples += [asked("p", skill="Plants"), asked("z", language="zh", skill="Metals"), asked("none", skill=None)]
    found = teach(examples, tmp_path, remote(endpoint(server)), Teaching("plan"), console=QUIET)
    assert found["kept"] == 9 and found["without_a_skill"] == 1
    assert len(server.asked) == 3 + 3 + 9, "a lecture and a plan for each of three groups, then each question"
    shown = [body["messages"][0]["content"].count("Question: ") for body in server.asked[:6]]
    assert sorted(shown) == [0, 0, 1, 1, 5, 5], "five questions of a skill are shown, of others all"
    kept = {line["id"]: line for line in lines(tmp_path / "plan.jsonl")}
    assert kept["m0"]["lecture"] == "Metals conduct." and kept["p"]["lecture"] == "Plants grow."
    assert kept["m0"]["solution"] == "1. I read. 2. I think." and kept["m0"]["skill"] == "Metals"
    followed = [b["messages"][0]["content"] for b in server.asked if "Follow the plan" in b["messages"][0]["content"]]
    assert len(followed) == 8 and all("Plan: 1. Read. 2. Think." in prompt for prompt in followed)
    with pytest.raises(DataError, match="no example of 1 has 'topic' in its metadata"):
        teach([asked("a")], tmp_path / "other", remote(endpoint(server)), Teaching("plan", by="topic"), console=QUIET)


# ------------------------------------------------------------------------------------------- a model that is loaded


def test_a_local_model_teaches_what_it_has_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that has learned to reason about one question, and gets another wrong."""
    examples = [asked("a"), asked("b", 1)]

    def read(root: Path | None, split: str) -> list[Example]:
        said = "Iron is. The answer is (A)."
        return [Example(e.id, (Message("user", (prompt_of(e, COT),)),), said) for e in examples]

    monkeypatch.setitem(DATASETS, "lessons", Dataset(read, drawn=True))
    stage = {
        "name": "teacher",
        "data": {"reader": "lessons"},
        "objective": "language-modelling",
        "steps": 40,
        "batch": 2,
        "target_tokens": 40,
        "optimizer": {"learning_rate": 0.02},
    }
    language = decoder(300, 32, positions={"kind": "rotary", "length": 512})
    folder = run_recipe(
        recipe("teacher", {"language": language}, [stage], tokenizer={"vocabulary": 300}, strategy=None), tmp_path
    )
    calls: list[str] = []

    def loaded() -> Any:
        calls.append("load")
        return load(folder)

    found = teach(examples, tmp_path / "out", local("mine", loaded, 40), COT, console=QUIET)
    assert found["kept"] == 1 and found["dropped"] == {"wrong": 1} and calls == ["load"]
    assert lines(tmp_path / "out" / "cot.jsonl")[0]["solution"] == "Iron is."
    assert teach(examples, tmp_path / "out", local("mine", loaded, 40), COT, console=QUIET) == found
    assert calls == ["load"], "a model is loaded only where there is something to ask"


def test_a_model_that_answers_nothing_right_is_told_and_its_texts_are_kept(tmp_path: Path) -> None:
    folder = captioner(tmp_path / "model")
    examples: Sequence[Example] = [asked("a"), asked("b")]
    with pytest.raises(DataError, match=r"answers none of 2 questions right \(no answer can be read: 2\)"):
        teach(examples, tmp_path / "out", local(str(folder), lambda: load(folder), 8), COT, console=QUIET)
    assert len(lines(tmp_path / "out" / "asked-cot.jsonl")) == 3, "the settings, and two answers"


# ----------------------------------------------------------------------------------------------------- the commands


def test_commands_teach_and_mix_and_a_stage_learns_what_comes_of_it(server: ChatServer, tmp_path: Path) -> None:
    skills = {"1": "Metals", "2": "Metals", "3": "Plants", "4": "Plants", "5": "Metals", "6": "Plants"}
    data = problems(
        tmp_path / "data",
        {name: problem(skill=skill, answer=0) for name, skill in skills.items()},
        train=["1", "2", "3", "4"],
        val=["5", "6"],
    )
    server.reply = lambda prompt: f"{'Step by step' if 'Plan:' in prompt else 'Plainly'}. The answer is (A)."
    out, runner = tmp_path / "out", CliRunner()
    for kind in ("cot", "plan"):
        command = ["data", "teach", "scienceqa", "--data", str(data), "--teacher", server.base]
        command += ["--teacher-model", "wise", "--out", str(out), "--kind", kind, "--json"]
        result = runner.invoke(app, command)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["kept"] == 4
    for kind, right in (("cot", ("5",)), ("plan", ("6",))):
        answers = [{"id": name, "output": "", "choice": 0 if name in right else 1} for name in ("5", "6")]
        (out / f"answers-{kind}.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    pairs = [part for k in ("cot", "plan") for part in ("--taught", f"{out / k}.jsonl={out}/answers-{k}.jsonl")]
    mixing = ["data", "mix", "scienceqa", "--data", str(data), *pairs, "--out", str(out / "mixed.jsonl"), "--json"]
    result = runner.invoke(app, mixing)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {skill: each["kind"] for skill, each in found["skills"].items()} == {"Metals": "cot", "Plants": "plan"}
    spec = DataSpec(reader="scienceqa", root=str(data), rationales=str(out / "mixed.jsonl"))
    solutions = {e.id: e.question.solution for e in read_spec(spec) if e.question is not None}
    assert solutions == {"1": "Plainly.", "2": "Plainly.", "3": "Step by step.", "4": "Step by step."}
    stage = {"name": "answer", "data": spec.to_dict(), "objective": {"format": "QCM-LE"}, "steps": 2, "batch": 2}
    raw = recipe("student", {"language": decoder(300)}, [stage], tokenizer={"vocabulary": 300}, strategy=None)
    metrics = lines(next(run_recipe(raw, tmp_path / "runs").glob("stages/answer-*/metrics.jsonl")))
    assert metrics[0]["samples"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--teacher", "http://localhost:1/v1"], "--teacher http://HOST/v1 and --teacher-model NAME belong together"),
        (["--teacher", "m", "--kind", "coat"], "--kind coat: did you mean 'cot'?"),
    ],
)
def test_commands_say_what_does_not_fit(changes: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "teach", "tidepool", "--out", str(tmp_path / "o"), *changes])
    assert result.exit_code != 0 and message in str(result.exception)
    refused = CliRunner().invoke(
        app, ["data", "mix", "scienceqa", "--taught", "a=b", "--split", "minitest", "--out", str(tmp_path / "m")]
    )
    assert "what is chosen on test cannot be measured on it" in str(refused.exception)
