"""An agent without torch: its calls are those of sepiola's native runtime, and no others can be written."""

from __future__ import annotations

import dataclasses
import datetime
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.acting.agent import Agent, Policy
from sepiola.acting.phone import functions
from sepiola.acting.sets import taught
from sepiola.api import Model
from sepiola.calling.calls import tokens_of
from sepiola.calling.days import date_line
from sepiola.calling.functions import Function
from sepiola.data.language import language_of
from sepiola.experiments.grow import begin
from sepiola.generation.edge import save_edge
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import encoder_decoder, llama, noise_picture, randomise, vit

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
import sepiola_edge

TEN = functions()
REQUESTS = (
    "Text Anna that I will be late",
    "明天早上给王芳发短信说我会晚到，再搜 squid",
    "order two pizzas (large) & <fn_2>",
)
TODAY = "2026-11-27"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of random weights would go on to the last of their tokens: there are fewer of them."""
    for module in ("sepiola.acting.agent", "sepiola_edge.acting"):
        monkeypatch.setattr(f"{module}.TOKENS", 30)


def agent_of(
    folder: Path, language: dict[str, Any], functions: Sequence[Function] = TEN, vision: dict[str, Any] | None = None
) -> Model:
    """A model of random weights that was taught functions; it is saved in the folder."""
    copied = ["send_text_message", "google_search"]
    extra = [*tokens_of(len(functions)), *(["<image>"] if vision is not None else [])]
    tokenizer = Tokenizer.train(["send 发短信给王芳 search the late pizza 2024-05-01"] * 3, 340, extra=extra)
    raw: dict[str, Any] = {"name": "agent", "language": {**language, "vocabulary": tokenizer.vocabulary}}
    if vision is not None:
        raw |= {"vision": vision, "bridge": {"kind": "projection", "token": tokenizer.id_of("<image>")}}
    built = sepiola.build(raw, seed=4)
    randomise(built, std=0.3, generator=torch.Generator().manual_seed(7))
    model = Model(built.network, built.spec, tokenizer, AnsweringSpec(source_tokens=120, images=vision is not None))
    known = [
        {**entry, "copied": [p.name for p in f.parameters] if f.name in copied else []}
        for f, entry in zip(functions, taught(functions), strict=True)
    ]
    model.processor = dataclasses.replace(model.processor, functions=tuple(known))
    save_edge(folder, model, 8)
    model.run("native", bits=8)
    return model


def assert_same_calls(model: Model, edge: Any, images: Sequence[Any] = (None,)) -> int:
    agent = Agent(model, TEN, Policy(dry_run=True))
    called = 0
    for text in REQUESTS:
        for image in images:
            acted = agent.run(text, image, TODAY)
            given = edge.act(text, image=image, today=TODAY)
            assert [call.to_json() for call in given] == [call.to_json() for call in acted.calls]
            called += len(given)
    return called


@pytest.mark.parametrize("language", [encoder_decoder(), llama(tied=False)], ids=["encoder-decoder", "decoder"])
def test_it_calls_what_sepiola_calls(tmp_path: Path, language: dict[str, Any]) -> None:
    model = agent_of(tmp_path / "edge", language)
    assert assert_same_calls(model, sepiola_edge.load(tmp_path / "edge")) > 0


def test_it_sees_what_sepiola_sees(tmp_path: Path) -> None:
    model = agent_of(tmp_path / "edge", llama(), vision=vit())
    edge = sepiola_edge.load(tmp_path / "edge")
    pictures = [noise_picture(seed).encoded for seed in range(2)]
    assert assert_same_calls(model, edge, [pictures[0], pictures]) > 0


@pytest.mark.parametrize("liking", [0.0, 4.0, 30.0])
def test_what_was_kept_writes_where_nothing_added_is_called(tmp_path: Path, liking: float) -> None:
    """The calls are those of sepiola, whether what was added is hardly called, mostly but not surely, or surely."""
    kept = agent_of(tmp_path / "kept", encoder_decoder(), TEN[:9])
    model = begin(kept, TEN[9])
    randomise(model, std=0.3, generator=torch.Generator().manual_seed(8))
    with torch.no_grad():
        model.state_dict()["embedding.weight"][-1] *= liking
    model.kept = kept
    save_edge(tmp_path / "edge", model, 8)
    model.run("native", bits=8)
    edge = sepiola_edge.load(tmp_path / "edge")
    assert edge.kept is not None and edge.kept.vocabulary == edge.vocabulary - 1
    assert assert_same_calls(model, edge) > 0
    called = {call.name for text in REQUESTS for call in edge.act(text, today=TODAY)}
    before = sepiola_edge.load(tmp_path / "kept")
    first = {call.name for text in REQUESTS for call in before.act(text, today=TODAY)}
    assert TEN[9].name in called if liking > 4 else called == first


def test_only_what_is_allowed_is_called_and_nothing_in_its_place(tmp_path: Path) -> None:
    agent_of(tmp_path / "edge", encoder_decoder())
    edge, copied = sepiola_edge.load(tmp_path / "edge"), 0
    for text in REQUESTS:
        free = edge.act(text, today=TODAY)
        names = {call.name for call in free}
        for name in (function.name for function in TEN):
            if names <= {name}:
                assert edge.act(text, today=TODAY, allow=[name]) == free
            else:
                with pytest.raises(sepiola_edge.EdgeError, match="is not allowed; nothing was called in its place"):
                    edge.act(text, today=TODAY, allow=[name])
        said = f"{date_line(language_of(text), datetime.date.fromisoformat(TODAY))}\n{text}"
        for call in free:
            if call.name == "send_text_message":
                copied += 1
                assert all(value in said for value in call.arguments.values())  # copied, word by word
    assert copied > 0
    with pytest.raises(sepiola_edge.EdgeError, match=r"the prompt has [0-9]+ tokens, and the model reads 120: shorten"):
        edge.act("别删除" * 100, today=TODAY)
    with pytest.raises(
        sepiola_edge.EdgeError, match="no function is named 'google_serch'; did you mean 'google_search'"
    ):
        edge.act("search squid", allow=["google_serch"])


class Replies:
    """A request's reply in place of a model's."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.read = [*replies], list[str]()

    def __call__(self, request: Any, said: str, allowed: Sequence[str]) -> str:
        self.read.append(said)
        return self.replies.pop(0)


def test_an_agent_runs_what_its_policy_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_of(tmp_path / "edge", encoder_decoder())
    edge = sepiola_edge.load(tmp_path / "edge")
    names = [function.name for function in edge.functions]
    search, text = (f"<fn_{names.index(name)}>" for name in ("google_search", "send_text_message"))
    rest = "<fn_sep><fn_none>" * 2
    reply = f"{search} squid{rest}{text}王芳<fn_sep>我会晚到<fn_end>"
    done: list[Any] = []
    bound: dict[str, Any] = {
        "google_search": lambda query, **more: done.append(query) or 3,
        "send_text_message": lambda to, message: done.append((to, message)),
    }

    def acted(policy: sepiola_edge.Policy, confirm: Any = None, *replies: str) -> Any:
        says = Replies(*(replies or (reply,)))
        monkeypatch.setattr("sepiola_edge.acting.Request.reply", lambda *given: says(*given))
        made = sepiola_edge.Agent(edge, bound, policy, confirm=confirm).run("搜 squid", today=TODAY)
        return made, says.read

    made, said = acted(sepiola_edge.Policy())
    assert [call.to_json() for call in made.calls] == [
        {"name": "google_search", "arguments": {"query": "squid"}},
        {"name": "send_text_message", "arguments": {"to": "王芳", "message": "我会晚到"}},
    ]
    assert [(r.status, r.value) for r in made.results] == [("done", 3), ("done", None)]
    assert done == ["squid", ("王芳", "我会晚到")] and said == ["Today is 2026-11-27, Friday.\n搜 squid"]
    made, _ = acted(sepiola_edge.Policy(confirm=("google_search",)))
    assert [r.status for r in made.results] == ["refused", "done"]
    made, _ = acted(sepiola_edge.Policy(confirm=("google_search",)), lambda call: call.arguments["query"] == "squid")
    assert [r.status for r in made.results] == ["done", "done"]
    made, _ = acted(sepiola_edge.Policy(deny=("google_search",)))
    assert made.calls == [] and "not allowed" in made.log[1]["error"]
    made, said = acted(sepiola_edge.Policy(steps=2), None, f"{search} squid{rest}<fn_end>", "<fn_none><fn_end>")
    assert len(made.calls) == 1 and said[1].endswith('"status": "done", "value": 3}')
    bound["google_search"] = lambda query, **more: 1 / 0
    made, _ = acted(sepiola_edge.Policy(dry_run=True))
    assert [r.status for r in made.results] == ["planned", "planned"]
    made, _ = acted(sepiola_edge.Policy())
    assert made.results[0].error == "ZeroDivisionError: division by zero"


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "edge"
    agent_of(folder, encoder_decoder())
    edge = sepiola_edge.load(folder)
    for request, fault in (("  ", "the request is empty"), ("a\ud800", "half a character pair")):
        with pytest.raises(sepiola_edge.EdgeError, match=fault):
            edge.act(request)
    with pytest.raises(sepiola_edge.EdgeError, match="today: got '2024-13-01'"):
        edge.act("搜", today="2024-13-01")
    with pytest.raises(sepiola_edge.EdgeError, match="a picture is a path"):
        edge.act("搜", image=3)
    with pytest.raises(sepiola_edge.EdgeError, match="taught from texts alone"):
        edge.act("搜", image=noise_picture(0).encoded)
    with pytest.raises(sepiola_edge.EdgeError, match="was not taught 'google'; did you mean"):
        sepiola_edge.Agent(edge, {"google": print})
    with pytest.raises(
        sepiola_edge.EdgeError,
        match="google_search: what is bound to it must take query, and without need kind, results",
    ):
        sepiola_edge.Agent(edge, {"google_search": lambda words: None})

    async def google_search(query: str, kind: str = "", results: int = 0) -> None: ...

    with pytest.raises(sepiola_edge.EdgeError, match="google_search: what is bound to it is async or yields"):
        sepiola_edge.Agent(edge, {"google_search": google_search})
    with pytest.raises(sepiola_edge.EdgeError, match="policy: no function is named 'send_email'"):
        sepiola_edge.Agent(
            edge, {"google_search": lambda query, kind="", results=0: None}, sepiola_edge.Policy(deny=("send_email",))
        )
    known = json.loads((folder / "functions.json").read_text())
    parameters = known[0]["tool"]["function"]["parameters"]["properties"]
    for schema, fault in (
        (True, "got True, which says nothing of a value"),
        ({}, "may be anything"),
        ({"anyOf": [False]}, "got False, which says nothing"),
        ({"type": "string", "pattern": {}}, "expected a regular expression"),
        ({"enum": ["\ud800"]}, "half a character pair"),
    ):
        parameters["to"] = schema
        (folder / "functions.json").write_text(json.dumps(known))
        with pytest.raises(sepiola_edge.EdgeError, match=fault):
            sepiola_edge.load(folder)
    (folder / "functions.json").write_text('[{"name": "x"}]')
    with pytest.raises(sepiola_edge.EdgeError, match=r"functions\.json is damaged"):
        sepiola_edge.load(folder)
    (folder / "functions.json").unlink()
    with pytest.raises(sepiola_edge.EdgeError, match="exported without functions"):
        sepiola_edge.load(folder).act("搜")


def test_the_command_needs_no_torch_and_says_where_a_library_is_missing(tmp_path: Path) -> None:
    agent_of(tmp_path / "edge", encoder_decoder())
    blocked = (
        "import sys\n"
        "for name in ('torch', 'sepiola', 'pydantic', *sys.argv[1].split()): sys.modules[name] = None\n"
        "sys.argv[:2] = ['sepiola_edge']\n"
        "import sepiola_edge.acting; sepiola_edge.acting.TOKENS = 30\n"
        "from sepiola_edge.__main__ import main; main()"
    )

    def run(missing: str, *arguments: str) -> Any:
        command = [sys.executable, "-c", blocked, missing, "act", str(tmp_path / "edge"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")

    text = REQUESTS[1]
    said = run("", text, "--today", TODAY, "--json")
    expected = sepiola_edge.load(tmp_path / "edge").act(text, today=TODAY)
    assert json.loads(said.stdout) == {"calls": [call.to_json() for call in expected]}, said.stderr
    assert run("", text, "--today", TODAY).stdout.splitlines() == [str(call) for call in expected] or not expected
    said = run("llguidance", text)
    assert (said.returncode, said.stderr) == (2, "error: acting needs llguidance: pip install 'sepiola-edge[act]'\n")
    said = run("", text, "--today", "soon")
    assert said.returncode == 2 and said.stderr.startswith("error: today: got 'soon'")
