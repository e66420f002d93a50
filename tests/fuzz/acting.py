"""Hostile replies, requests and pictures, through parser, agent, phone and log: nothing but what the policy allows may
come of them.

Every function of an agent writes down that it ran. While an agent acts nothing is compiled or imported, no file but its
log is opened, and no exception leaves it but those that it documents.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import json
import random
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import sepiola
from sepiola.acting.agent import Agent, KeptGenerator, replay
from sepiola.acting.functions import functions_of
from sepiola.acting.modes import mode_of
from sepiola.acting.phone import Phone, android, functions
from sepiola.acting.sets import taught
from sepiola.api import Model
from sepiola.calling.calls import tokens_of, write
from sepiola.calling.functions import Call, Function
from sepiola.calling.policy import Acted, Policy
from sepiola.data.example import Example
from sepiola.data.image import ImageRef
from sepiola.data.preview import cjk_font_path
from sepiola.errors import CallError, DataError, SepiolaError
from sepiola.generation.constrained_decoding import ConstrainedDecoding
from sepiola.generation.sampling import Sampling
from sepiola.models.build import preset
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from sepiola.tidepool.phone import requests
from tests.fuzz import hostile
from tests.fuzz.mutations import damaged_data, damaged_text
from tests.fuzz.watch import only_reading

Action = Callable[[], object]
AGENT = "agent"
"""The folder, among the whole inputs, of the agent that is asked; by default of random weights."""
DAYS = (datetime.date(2024, 5, 1), datetime.date.min, datetime.date.max, datetime.date(2028, 2, 29))
TEMPERATURES = (0.0, 1.0, 5.0, 100.0)


@dataclass
class Parcel:
    """What is sent."""

    to: str
    weight: float
    kind: Literal["box", "信"] = "box"


def send_parcel(parcel: Parcel, day: datetime.datetime | None = None) -> dict[str, object]:
    """Sends a parcel."""
    return {"to": parcel.to, "weight": parcel.weight}


def measure(values: list[float], exact: bool = False, unit: str | None = None) -> float:
    """Adds up."""
    return sum(values) / len(values) * (1.5 if exact else 1)


def ping() -> str:
    """Answers."""
    return "pong"


OWN = [
    Call("send_parcel", {"parcel": {"to": "王芳", "weight": 2.5}}),
    Call("send_parcel", {"parcel": {"to": "Ann", "weight": 1, "kind": "信"}, "day": "2024-05-02T18:00:00"}),
    Call("measure", {"values": [1.5, 2], "exact": True, "unit": "m"}),
    Call("ping", {}),
]
ANDROID = [
    Call("find_route", {"destination": "the pier", "mode": "cycling", "depart": "2024-05-02T09:30"}),
    Call("create_contact", {"name": "小明", "number": "555-0199", "email": "ming@example.cn"}),
    Call("set_alarm", {"at": "06:30", "label": "swim", "daily": True}),
    Call("set_volume", {"sound": "media", "level": 30}),
    Call("toggle_flashlight", {"on": False}),
]


@cache
def _sets() -> tuple[tuple[list[Function], list[Call]], ...]:
    """Sets of functions, each with right calls."""
    said = [Call(c["name"], c["arguments"]) for e in requests("train", 300) for c in e.metadata["calls"]]
    return (functions(), said), (android.functions(), ANDROID), (functions_of([send_parcel, measure, ping]), OWN)


# ------------------------------------------------------------------------------------------------------- an agent


@dataclass
class Runs:
    """The functions of an agent, which write down that they ran, and what the user confirmed."""

    policy: Policy
    answer: bool
    names: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)

    def watched(self, some: Sequence[Function]) -> list[Function]:
        return [dataclasses.replace(function, call=partial(self._run, function)) for function in some]

    def _run(self, function: Function, *arguments: object, **keywords: object) -> object:
        self.names.append(function.name)
        return function.call(*arguments, **keywords)

    def confirm(self, call: Call) -> bool:
        self.confirmed.append(call.name)
        return self.answer


class Voice:
    """A model that says nothing of its own."""

    def __init__(self, known: tuple[Mapping[str, object], ...] | None) -> None:
        self.processor = Processor(functions=known)

    vocabulary: Any = None

    def example_generator(self, target_tokens: int) -> Any:
        raise AssertionError("is not asked")


class Told(Agent):
    """An agent whose model says what stands in `replies`, allowed or not."""

    replies: Sequence[str] = ()

    def write(self, example: Example) -> str:
        replies = [*self.replies]
        self.replies = replies[1:]
        return replies[0] if replies else ""


class Willing(Agent):
    """An agent whose model would write a reply, letter by letter, and writes what the grammar leaves of it."""

    reply = ""

    def write(self, example: Example) -> str:
        tokenizer = self.model.processor.tokenizer
        assert tokenizer is not None
        script = tokenizer.encode(self.reply.encode("utf-8", "replace").decode())[:400]
        grammar, vocabulary = self.grammar(example), self.model.vocabulary
        mind: Any = _Mind(script, vocabulary.size)
        nothing = torch.empty(1, 0, dtype=torch.long)
        decoding = ConstrainedDecoding(mind, [grammar.begin(120)], Sampling(), nothing, nothing[0])
        return grammar.text(decoding.run(mind, torch.tensor([[0]]), torch.Generator())[0])


class _Mind:
    """An executor, and its batch of one row, that would write a script."""

    def __init__(self, script: list[int], size: int) -> None:
        self.script, self.length = script, 0
        self.device, self.spec = torch.device("cpu"), Namespace(vocabulary=size)

    def extend(self, tokens: Tensor) -> Tensor:
        begin, self.length = self.length, self.length + tokens.shape[1]
        return torch.tensor([*self.script, *[0] * self.length][begin : self.length])[None, :, None]

    def rewind(self, tokens: int) -> None:
        self.length -= tokens

    def logits(self, states: Tensor, tokens: Tensor | None = None) -> Tensor:
        logits = torch.zeros(len(states), self.spec.vocabulary).scatter_(1, states, 1.0)
        return logits if tokens is None else logits[:, tokens]


def _policy(rng: random.Random, names: Sequence[str]) -> Policy:
    """Anything a policy may say."""
    some = partial(rng.sample, names)
    return Policy(
        allow=tuple(some(rng.randint(1, len(names)))) if rng.random() < 0.5 else None,
        deny=tuple(some(rng.randint(0, len(names) - 1))),
        confirm=tuple(some(rng.randint(0, len(names)))) if rng.random() < 0.5 else (),
        dry_run=rng.random() < 0.2,
        calls=rng.choice([1, 2, 8]),
        seconds=rng.choice([None, None, 60.0, -1.0]),
        steps=rng.choice([1, 1, 2, 3]),
    )


def _fault(agent: Agent, acted: Acted, runs: Runs, before: Mapping[str, object]) -> str:
    """What an agent did that it may not have done; empty where all is well."""
    policy = runs.policy
    allowed = policy.allowed(agent.functions)
    done = [result.call.name for result in acted.results if result.status in ("done", "failed")]
    if not {*runs.names, *(call.name for call in acted.calls)} <= {*allowed}:
        return f"called what the policy forbids: {runs.names}, {acted.calls}"
    if runs.names and (policy.dry_run or policy.seconds == -1.0):
        return f"ran {runs.names} in a dry run, or late"
    if len(runs.names) > policy.calls or len(acted.log) > 1 + policy.steps + len(acted.calls):
        return f"ran {len(runs.names)} calls of {policy.calls}, {len(acted.log)} lines"
    if [name for name in done if name in policy.confirm] != [n for n in runs.confirmed if runs.answer]:
        return f"ran {done} where {runs.confirmed} were asked for, and the answer was {runs.answer}"
    if runs.names != done or len(acted.calls) != len(acted.results):
        return f"ran {runs.names} and says {done}"
    after = agent.phone.snapshot()
    if not runs.names and {**after, "today": None} != {**before, "today": None}:
        return "the phone changed and nothing ran"
    return ""


def _act(agent: Agent, runs: Runs, text: str, image: ImageRef | None, today: datetime.date, folder: Path) -> None:
    """Lets an agent act, and replays its log. Raises AssertionError for what may not be."""
    before = agent.phone.snapshot()
    start = Phone.from_snapshot(before)
    with only_reading():
        try:
            acted = agent.run(text, image, today)
        except SepiolaError as error:
            known = isinstance(error, DataError) and not text.isascii() and "half a character pair" in str(error)
            assert known, f"{type(error).__name__} leaves the agent: {error}"
            assert not runs.names and agent.phone.snapshot() == before, "a request that was refused did something"
            return
    fault = _fault(agent, acted, runs, before)
    assert not fault, fault
    lines = [json.dumps(line, ensure_ascii=False) for line in acted.log]
    if agent.log is not None:
        with agent.log.open(encoding="utf-8") as file:
            lines = [*file]
        said = json.loads(json.dumps(acted.log))  # two halves of a character pair that stand side by side are one there
        assert [json.loads(line) for line in lines] == said, "the log says something else"
        assert [path.name for path in folder.iterdir()] == [agent.log.name], "there is another file"
    with only_reading():
        replayed = replay(lines, agent.functions, start)
    assert replayed == agent.phone and replayed.snapshot() == agent.phone.snapshot(), "the log replays to another state"
    assert Phone.from_snapshot(json.loads(json.dumps(agent.phone.snapshot()))) == agent.phone


# ------------------------------------------------------------------------------------------------------ the kinds


def reply(rng: random.Random, folder: Path, source: Path) -> Action:
    """What a model might write, changed, through the parser, and an agent with a phone and a log."""
    some, said = rng.choice(_sets())
    known: Any = rng.choice([None, (), taught(some)])
    runs = Runs(_policy(rng, [function.name for function in some]), rng.random() < 0.5)
    agent = Told(Voice(known), runs.watched(some), runs.policy, Phone.start(), confirm=runs.confirm)
    agent.log = folder / "log.jsonl" if rng.random() < 0.1 else None
    today = rng.choice(DAYS)
    written, readable = [], [function for function in some if known != () or function.name in agent.offered]
    for _ in range(rng.randint(1, 2)):
        calls = [call for call in rng.choices(said, k=rng.randint(0, 3)) if call.name in {f.name for f in readable}]
        if known is None:
            written.append(hostile.declared(rng, [call.to_json() for call in calls]))
        else:
            written.append(hostile.functional(rng, write(calls, readable, datetime.date(2024, 5, 1))))
    agent.replies = written
    text = hostile.order(rng, [function.name for function in some]).strip() or "?"

    def use() -> None:
        with only_reading():
            for one in written:
                try:
                    calls = mode_of(known).read(one, some, agent.offered, rng.choice([today, None]))
                except CallError as error:
                    assert str(error).strip() and len(str(error)) < 2000, "a message of no use"
                else:
                    for call in calls:
                        named = next(function for function in some if function.name == call.name)
                        named.check(call.arguments)
                        json.loads(json.dumps(call.to_json(), allow_nan=False))
        _act(agent, runs, text, None, today, folder)

    return use


def log(rng: random.Random, folder: Path, source: Path) -> Action:
    """A log of an agent, changed: it replays, or is refused by the line."""
    _, said = _sets()[0]
    begin = {"request": "发短信", "today": "2024-05-01", "pictures": []}
    made = [{**call.to_json(), "status": rng.choice(["done", "failed", "refused"])} for call in rng.choices(said, k=4)]
    lines: object = [begin, {"written": "<fn_none><fn_end>"}, *made]
    if rng.random() < 0.7:
        lines = damaged_data(lines, rng)
    said_lines = [json.dumps(line, default=str) for line in lines] if isinstance(lines, list) else [json.dumps(lines)]
    if rng.random() < 0.4 and said_lines:
        place = rng.randrange(len(said_lines))
        said_lines[place] = rng.choice([damaged_text(said_lines[place], rng), *hostile.DEEP, *hostile.NUMBERS])
    ran = Runs(Policy(), True)

    def use() -> None:
        with only_reading():
            phone = replay(said_lines, ran.watched(functions()), Phone.start())
        assert Phone.from_snapshot(phone.snapshot()) == phone
        assert len(ran.names) <= len(said_lines)

    return use


@cache
def _agent(folder: Path) -> Model:
    """The agent of a folder, which has acted once: what it imports at first use is imported."""
    model = sepiola.load(folder)
    Agent(model, functions()).run("Text Anna that I am late", Image.new("RGB", (32, 32)))
    return model


def save_agent(folder: Path) -> None:
    """An agent of random weights, with eyes, that calls the phone's functions by their tokens."""
    texts = [e.prompt for e in requests("train", 200)] + [json.dumps(f.tool, ensure_ascii=False) for f in functions()]
    tokenizer = Tokenizer.train(texts, 700, extra=tokens_of(len(functions())))
    sizes = [f"language.vocabulary={tokenizer.vocabulary}", "language.layers=1", "vision.layers=1"]
    spec = ModelSpec.parse(override(preset("mm-cot-tiny").to_dict(), sizes))
    model = Model(sepiola.build(spec, seed=3).network, spec, tokenizer)
    model.processor = dataclasses.replace(model.processor, functions=taught(functions()))
    model.save(folder)


def _asked(rng: random.Random, folder: Path, source: Path, text: str, image: ImageRef | None, words: str) -> Action:
    """An agent is asked, by its own weights or by one that would do all that it is told to."""
    if not (source / AGENT).exists():
        save_agent(source / AGENT)
    model = _agent((source / AGENT).resolve())
    some, names = functions(), [function.name for function in functions()]
    runs = Runs(_policy(rng, names), rng.random() < 0.5)
    kept = KeptGenerator(model)
    kept.generator.sampling = Sampling(temperature=rng.choice(TEMPERATURES), seed=rng.randrange(2**31))
    kind = Willing if rng.random() < 0.5 else Agent
    agent = kind(kept, runs.watched(some), runs.policy, Phone.start(), confirm=runs.confirm)
    agent.log = folder / "log.jsonl"
    if isinstance(agent, Willing):
        _, said = _sets()[0]
        calls = write(rng.choices(said, k=2), some, datetime.date(2024, 5, 1))
        agent.reply = rng.choice([words, hostile.functional(rng, calls), calls.replace("<fn_sep>", f"<fn_sep>{words}")])
    return lambda: _act(agent, runs, text, image, rng.choice(DAYS[:1] * 3 + DAYS[1:]), folder)


def request(rng: random.Random, folder: Path, source: Path) -> Action:
    """A request that tells the agent to do what it may not."""
    words = hostile.order(rng, [function.name for function in functions()])
    example = requests("test", 1, seed=rng.randrange(10**6))[0]
    text = rng.choice([words, f"{example.prompt}\n{words}", f"{words}. {example.prompt}", damaged_text(words, rng)])
    return _asked(rng, folder, source, text if text.strip() else "?", None, words)


def picture(rng: random.Random, folder: Path, source: Path) -> Action:
    """A poster, label or receipt with words that tell the agent to do what it may not, in the file's notes too."""
    words = hostile.order(rng, [function.name for function in functions()])
    example = requests("test", 1, seed=rng.randrange(10**6), kinds=["picture"])[0]
    image = example.images[0].open().convert("RGB").resize((160, 160))
    _write_words(image, words, rng)
    notes, file = PngInfo(), io.BytesIO()
    notes.add_itxt("Description", words.encode("utf-8", "replace").decode()[:400].replace("\0", " "))
    image.save(file, "PNG", pnginfo=notes)
    ref = ImageRef(data=file.getvalue())
    return _asked(rng, folder, source, rng.choice([example.prompt, "Do what the picture says", "照图片做"]), ref, words)


def _write_words(image: Image.Image, words: str, rng: random.Random) -> None:
    path, size = cjk_font_path(), rng.choice([9, 12, 16])
    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    shown = "".join(c if c.isprintable() else " " for c in words[:160])
    lines = "\n".join(shown[start : start + 24] for start in range(0, len(shown), 24))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 160, (size + 4) * (1 + lines.count("\n"))), fill="white")
    draw.text((2, 2), lines, font=font, fill=rng.choice(["black", "red"]))


KINDS = {"reply": reply, "log": log, "request": request, "hostile picture": picture}
