"""Sample and rank: what is dropped and why, what is first, what is said where nothing is left, and the cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import sepiola
from sepiola.api import Model
from sepiola.cli.app import app
from sepiola.data.example import Example, Message
from sepiola.errors import DataError, SepiolaError
from sepiola.experiments.rated_data import rate_data
from sepiola.generation.sampling import Sampling
from sepiola.reasoning.sample_and_rank import SampleAndRank
from sepiola.specs.data import DataSpec
from sepiola.specs.rating import AttributeSpec
from sepiola.text.processor import Processor
from sepiola.text.rated_dialogue import dialogue_template
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import QUIET, decoder, llama, randomise

ATTRIBUTES = (
    AttributeSpec(name="SENSIBLE", weight=3.0),
    AttributeSpec(name="SPECIFIC", weight=1.0),
    AttributeSpec(name="UNSAFE", threshold=0.5, good=0),
)
DIALOGUES = ["What's up?", [{"role": "assistant", "content": "你好"}, {"role": "user", "content": "你是谁？"}]]


def rating_model(*attributes: AttributeSpec, family: str = "lamda") -> Model:
    """A model of random weights in LaMDA's layout, whose tokenizer knows bytes."""
    tokenizer = Tokenizer.train([], 263, extra=["<response>", *(f"<{a.name}>" for a in attributes or ATTRIBUTES)])
    relative = decoder(tokenizer.vocabulary, layers=2, positions={"kind": "relative"})
    spec = llama(tokenizer.vocabulary) if family == "llama" else relative
    built = sepiola.build({"name": "rater", "family": family, "language": spec}, seed=2)
    randomise(built, std=0.3, generator=torch.Generator().manual_seed(3))
    processor = Processor.of(built.spec, tokenizer, dialogue_template("</s>"))
    return Model(built.network, built.spec, dataclasses.replace(processor, attributes=attributes or ATTRIBUTES))


def halving_model(context: Any, texts: Sequence[str]) -> Model:
    """One whose threshold drops half of some replies."""
    unsafe = sorted(ratings["UNSAFE"] for ratings in rating_model().rate(context, texts))
    middle = 1 - (unsafe[len(unsafe) // 2 - 1] + unsafe[len(unsafe) // 2]) / 2
    return rating_model(*ATTRIBUTES[:2], AttributeSpec(name="UNSAFE", threshold=middle, good=0))


@pytest.mark.parametrize("context", DIALOGUES, ids=["en", "zh"])
def test_every_candidate_is_rated_as_its_text_is(context: Any) -> None:
    ways = {"candidates": 12, "max_tokens": 10, "sampling": Sampling(temperature=1.0, seed=3)}
    model = halving_model(context, [c.text for c in rating_model().sample_and_rank(context, **ways).candidates])
    border = 1 - (model.processor.attributes[-1].threshold or 0)
    reply = model.sample_and_rank(context, **ways)
    assert sum(c.times for c in reply.candidates) == 12 and len({c.text for c in reply.candidates}) > 6
    texts = [c.text for c in reply.candidates]
    for candidate, again in zip(reply.candidates, model.rate(context, texts), strict=True):
        assert candidate.ratings == pytest.approx(again, abs=1e-5)
        good = 3 * again["SENSIBLE"] + again["SPECIFIC"]
        assert candidate.score == pytest.approx(good, abs=1e-4)
        assert (again["UNSAFE"] > border or not candidate.text) == (candidate.dropped is not None)
    kept = [c for c in reply.candidates if c.dropped is None]
    assert 0 < len(kept) < len(texts) and reply.candidates[: len(kept)] == tuple(kept)
    assert [c.score for c in kept] == sorted((c.score for c in kept), reverse=True) and reply.text == kept[0].text
    reasons = [c.dropped for c in reply.candidates if c.dropped and c.text]
    assert all(reason.startswith("UNSAFE 0.") and ", wanted at most 0." in reason for reason in reasons)


def test_the_same_seed_draws_the_same_and_another_others() -> None:
    model = rating_model()
    draws = [model.sample_and_rank("hi", sampling=Sampling(temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("context", "said"), [*zip(DIALOGUES, ["I would rather not answer that.", "这个我不方便回答。"], strict=True)]
)
def test_a_fixed_text_is_said_where_all_were_dropped(context: Any, said: str) -> None:
    reply = rating_model(AttributeSpec(name="SAFE", threshold=0.999999)).sample_and_rank(context, candidates=5)
    assert reply.text == said and reply.note == "all 5 candidates were dropped; a fixed text is said"
    assert all(candidate.dropped for candidate in reply.candidates)


def test_rating_takes_a_token_a_reply_and_attribute() -> None:
    tokens = rating_model().sample_and_rank("What's up?", candidates=16, max_tokens=40).tokens
    assert tokens["context"] >= 11 and 16 * 3 <= tokens["ratings"] <= 2 * 16 * 3
    with pytest.raises(DataError, match="replies is 'a text'; expected a list"):
        rating_model().rate("hi", "a text")
    with pytest.raises(DataError, match="a reply follows a turn"):
        rating_model().rate([], ["a"])
    with pytest.raises(SepiolaError, match="candidates: got 0"):
        SampleAndRank(rating_model(), candidates=0)


def test_it_is_saved_and_leaves_for_the_hub_with_its_attributes(tmp_path: Path) -> None:
    model = rating_model(family="llama")
    model.save(tmp_path / "ours")
    model.save_hub(tmp_path / "hub")
    for place in ("ours", "hub"):
        again = sepiola.load(tmp_path / place)
        assert again.processor.attributes == ATTRIBUTES
        assert again.rate("hi", ["你好"])[0] == pytest.approx(model.rate("hi", ["你好"])[0], abs=1e-6)


def test_chat_shows_candidates_and_why(tmp_path: Path) -> None:
    rating_model().save(tmp_path / "model")
    asked = ["chat", "你是谁？", "--model", str(tmp_path / "model"), "--candidates", "6", "--max-tokens", "8"]
    asked += ["--runtime", "torch", "--precision", "float32", "--greeting", "我是珠穆朗玛峰。"]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert {*found} == {"text", "candidates", "note", "tokens"} and sum(c["times"] for c in found["candidates"]) == 6
    said = [Message("assistant", ("我是珠穆朗玛峰。",)), Message("user", ("你是谁？",))]
    assert found["text"] == sepiola.load(tmp_path / "model").sample_and_rank(said, candidates=6, max_tokens=8).text
    shown = CliRunner().invoke(app, [*asked, "--show"])
    assert found["text"] in shown.output and "SENSIBLE" in shown.output and "dropped" in shown.output
    with pytest.raises(SepiolaError, match="add --candidates 16"):
        app(["chat", "hi", "--model", str(tmp_path / "model"), "--show"], standalone_mode=False)


@pytest.mark.parametrize("ranked", [[], ["--candidates", "2"]])
def test_chat_asks_its_tools(ranked: list[str], tmp_path: Path) -> None:
    rating_model().save(tmp_path / "model")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.txt").write_text("鱿鱼有十条腕。", encoding="utf-8")
    asked = ["chat", "What is 1+1?", "--model", str(tmp_path / "model"), "--max-tokens", "6", "--json", *ranked]
    asked += ["--tool", "calculator", "--tool", f"retrieval={tmp_path / 'corpus'}", "--runtime", "torch"]
    found = json.loads(CliRunner().invoke(app, asked).stdout)
    turns = found.pop("turns", [])
    assert {*found} == {"text", "steps", "ended"} and found["ended"] in ("unaddressed", "user", "limit")
    assert bool(turns) == bool(ranked) and all(sum(c["times"] for c in turn["candidates"]) == 2 for turn in turns)
    with pytest.raises(SepiolaError, match="no tool is named 'calc'; known: calculator"):
        app([*asked, "--tool", "calc"], standalone_mode=False)


def test_a_model_cleans_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"好{n}" if n % 2 else f"well {n}" for n in range(20)]
    model = halving_model("hi", texts)
    border = 1 - (model.processor.attributes[-1].threshold or 0)
    (tmp_path / "in").mkdir()
    lines = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": t}]} for t in texts]
    (tmp_path / "in" / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    data = DataSpec(reader="turns", root=str(tmp_path / "in"))
    found = rate_data(model, data, tmp_path / "out", keep=0.5, console=QUIET)
    scores = {t: 3 * r["SENSIBLE"] + r["SPECIFIC"] for t, r in zip(texts, model.rate("hi", texts), strict=True)}
    safe = [t for t, r in zip(texts, model.rate("hi", texts), strict=True) if r["UNSAFE"] <= border]
    assert found["turns"] == 20 and found["dropped"] == {"UNSAFE": 20 - len(safe)} and 0 < len(safe) < 20
    kept = sepiola.datasets.read("turns", tmp_path / "out", "train")
    best = sorted(safe, key=lambda text: -scores[text])[: round(len(safe) / 2)]
    assert {e.target for e in kept} == {*best} and found["kept"] == len(best)
    assert found["mean_score"]["kept"] > found["mean_score"]["left_out"]
    assert [type(e) for e in kept] == [Example] * len(best)
    with pytest.raises(DataError, match="is there already"):
        rate_data(model, data, tmp_path / "out", console=QUIET)


@pytest.mark.parametrize(("runtime", "bits", "near"), [("prepacked", None, 1e-5), ("native", 16, 0.01)])
def test_other_runtimes_rate_alike(runtime: str, bits: int | None, near: float) -> None:
    if runtime == "native":
        pytest.importorskip("sepiola_edge._native")
    replies = ["你好 there", "no", ""]
    rated = rating_model().run(runtime, bits=bits).rate("hi", replies)
    for ratings, wanted in zip(rated, rating_model().rate("hi", replies), strict=True):
        assert ratings == pytest.approx(wanted, abs=near)
