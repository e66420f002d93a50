"""One model generates and rates: what each example teaches, what is counted, and what a recipe leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.data.example import Example, Message
from sepiola.errors import CheckpointError, DataError, SepiolaError, SpecError, TrainingError
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.specs.rating import AttributeSpec
from sepiola.text.rated_dialogue import RatedDialogue
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives import objective_of
from sepiola.training.objectives.generate_and_rate import check_rated, samples_of
from tests.tiny import Raw, decoder, encoder_decoder, recipe, run_recipe
from tests.trainers import ExampleSetting

SAFE, UNSAFE = AttributeSpec(name="SAFE", threshold=0.5), AttributeSpec(name="UNSAFE", good=0)
TOKENIZER = Tokenizer.train([], 262, extra=["<response>", "<SAFE>", "<UNSAFE>"])
LAYOUT = RatedDialogue.of(TOKENIZER, [SAFE, UNSAFE], 1)


def turn(reply: str, ratings: Any = None, *before: str) -> Example:
    said = tuple(Message("user", (text,)) for text in before or ("你好?",))
    return Example(f"e {reply}", said, reply, metadata={} if ratings is None else {"ratings": ratings})


def written(ids: Any) -> str:
    return TOKENIZER.decode(list(ids), special_tokens=True)


def test_a_turn_teaches_the_reply_alone_and_a_rating_the_rating_alone() -> None:
    examples = [turn("好", None, "你好?", "hi"), turn("ok", {"SAFE": 1}), turn("bad", {"UNSAFE": 1, "SAFE": 0})]
    samples = [(written(s.source), written(s.target)) for s in samples_of(examples, [SAFE, UNSAFE], LAYOUT)]
    assert samples == [
        ("你好?</s>hi</s><response>", "好</s>"),
        ("你好?</s><response>", "ok</s>"),
        ("你好?</s><response>ok<SAFE>", "1"),
        ("你好?</s><response>bad<UNSAFE>", "1"),  # and it is no reply to learn
        ("你好?</s><response>bad<SAFE>", "0"),
    ]


def test_what_people_write_is_no_control_token() -> None:
    (sample,) = samples_of([turn("<SAFE>1", None, "</s><response>")], [SAFE], LAYOUT)
    special = {TOKENIZER.id_of(name) for name in ("<response>", "<SAFE>", "</s>")}
    assert [token in special for token in sample.source].count(True) == 2
    assert [token in special for token in sample.target].count(True) == 1
    assert written(sample.target) == "<SAFE>1</s>"


def test_an_attribute_that_counts_needs_both_ratings() -> None:
    silent = AttributeSpec(name="INTERESTING")
    check_rated([silent, SAFE], [turn("a", {"SAFE": 1}), turn("b", {"SAFE": 0})], "s")
    with pytest.raises(TrainingError, match=r"SAFE counts \(weight 0, threshold 0.5\), and the data rate it \[1\]"):
        check_rated([SAFE], [turn("a", {"SAFE": 1})], "s")
    with pytest.raises(TrainingError, match=r"INTERESTING counts .*nowhere; .* or weight: 0"):
        check_rated([silent.model_copy(update={"weight": 1.0})], [turn("a")], "s")
    with pytest.raises(DataError, match="expected each 0 or 1"):
        check_rated([SAFE], [turn("a", {"SAFE": 0.5})], "s")


def test_a_tokenizer_without_the_tokens_is_refused() -> None:
    with pytest.raises(CheckpointError, match="lacks <response>, <SAFE>"):
        RatedDialogue.of(Tokenizer.train([], 259), [SAFE], 1)


def folder(root: Path) -> Path:
    """Replies that answer their question in both languages; a reply with 'bad' or 坏 is unsafe."""
    for split, first in (("train", 0), ("val", 90), ("test", 95)):
        rows = []
        for number in range(first, first + (60 if split == "train" else 5)):
            label, words = ("Unsafe", ("bad", "坏")) if number % 2 else ("Safe", ("nice", "好"))
            word, asked = words[number // 2 % 2], f"is {number} so?" if number % 3 else f"{number}吗？"
            rows.append({"context": asked, "response": f"{word} {number}", "category": "none", "label": label})
        (root / f"{split}.json").write_text(json.dumps(rows), encoding="utf-8")
    return root


def dialogue_recipe(root: Path, **objective: Any) -> Raw:
    attributes = [{"name": "SAFE", "threshold": 0.5, "weight": 1}, {"name": "INTERESTING", "labels": "none"}]
    stage = {
        "name": "talk",
        "objective": {"kind": "generate-and-rate", "attributes": attributes, "rating_weight": 4.0, **objective},
        "data": {"reader": "diasafety", "root": str(root)},
        "learn": ["language"],
        "steps": 80,
        "batch": 16,
        "source_tokens": 64,
        "target_tokens": 16,
        "optimizer": {"learning_rate": 5.0e-3},
    }
    relative = decoder(300, 32, 2, positions={"kind": "relative"}, feed_forward={"width": 48, "gated": True})
    model = {"name": "talker", "language": relative}
    strategy = {"kind": "sample-and-rank", "answer": "talk", "candidates": 6}
    return recipe("talk", model, [stage], strategy=strategy)


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("talk")
    return run_recipe(dialogue_recipe(folder(root)), root / "run")


def test_a_recipe_leaves_a_model_that_rates(talker: Path) -> None:
    model = sepiola.load(talker)
    good, bad = model.rate("is 7 so?", ["nice 7", "bad 7"])
    assert good["SAFE"] > 0.9 > 0.1 > bad["SAFE"] and 0 < good["INTERESTING"] < 1
    for reply in ("nice 7", "好 7"):  # and what chat reads is what was trained on
        said = [Message("user", ("5吗？",)), Message("assistant", (reply,)), Message("user", ("<SAFE>1</s>",))]
        tokens = model._chat.prompt(said).tokens
        layout = RatedDialogue.of(model.require_tokenizer(), model.processor.attributes or (), 1)
        assert tokens == layout.context(said)


def test_ranking_says_what_was_dropped_and_why(talker: Path) -> None:
    model = sepiola.load(talker)
    replies = [model.sample_and_rank(context) for context in ("is 7 so?", [{"role": "user", "content": "9吗？"}])]
    for reply in replies:
        assert sum(candidate.times for candidate in reply.candidates) == 16
        kept = [c for c in reply.candidates if c.dropped is None]
        assert reply.candidates[: len(kept)] == tuple(kept) and kept == sorted(kept, key=lambda c: -c.score)
        assert reply.text == kept[0].text and reply.note is None
        for candidate in reply.candidates:
            again = model.rate("is 7 so?" if reply is replies[0] else "9吗？", [candidate.text])[0]
            unsafe, silent = candidate.ratings["SAFE"] < 0.5, not candidate.text
            assert (unsafe or silent) == (candidate.dropped is not None)
            assert silent == ("it says nothing" in (candidate.dropped or ""))
            assert again == pytest.approx(candidate.ratings, abs=1e-5)
            assert math.isclose(candidate.score, candidate.ratings["SAFE"], rel_tol=1e-9)
    (answer,) = model.answer([turn("", None, "is 7 so?")])
    assert answer.output
    strict = sepiola.load(talker)
    none = [a.model_copy(update={"threshold": 1.0}) for a in strict.processor.attributes or ()]
    strict.processor = strict.processor.__class__(**{**vars(strict.processor), "attributes": tuple(none)})
    nothing = strict.sample_and_rank("9吗？", candidates=3)
    assert (
        nothing.text == "这个我不方便回答。" and nothing.note == "all 3 candidates were dropped; a fixed text is said"
    )
    assert all("SAFE" in (c.dropped or "") for c in nothing.candidates)


def test_the_log_has_replies_and_ratings_apart(talker: Path) -> None:
    lines = [json.loads(line) for line in (talker / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = [line for line in lines if "loss" in line]
    assert logged and all(line["loss"] == pytest.approx(line["replies"] + line["ratings"]) for line in logged)


def test_a_rating_counts_as_often_as_its_weight_says() -> None:
    spec = sepiola.build({"name": "d", "language": decoder(262)}).spec
    losses = []
    for weight in (1.0, 4.0):
        raw = dialogue_recipe(Path("nowhere"), rating_weight=weight, attributes=[SAFE.to_dict(), UNSAFE.to_dict()])
        stage = parse_recipe(raw).stages[0]

        class Setting:
            seed, images, tokenizer, qformer_tokenizer = 0, False, TOKENIZER, None

            def read(self, data: Any) -> list[Example]:
                return [turn("ok", {"SAFE": 1}), turn("no", {"SAFE": 0})]

        Setting.spec = spec  # type: ignore[attr-defined]
        objective: Any = objective_of(stage, Setting())  # type: ignore[arg-type]
        (batch,) = objective.batches(stage.data, None).next()
        network = sepiola.build(spec, seed=1).network.eval()
        losses.append(objective.loss(network, batch))
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(
                network(batch.target).flatten(0, 1), batch.labels.flatten(), reduction="sum"
            )
        if weight == 1.0:
            assert losses[0].loss_sum.item() == pytest.approx(float(expected), rel=1e-5) and batch.labelled == 3 + 2
    one, four = losses
    assert float(four.parts["ratings"]) == pytest.approx(4 * float(one.parts["ratings"]), rel=1e-5)
    assert float(four.parts["replies"]) == pytest.approx(float(one.parts["replies"]), rel=1e-5)


def test_experts_are_kept_in_use() -> None:
    experts = {"width": 24, "activation": "silu", "gated": True, "experts": 4, "balance_loss": 0.1}
    made = sepiola.build({"name": "d", "language": decoder(262, feed_forward=experts)}, seed=1)
    stage = parse_recipe(dialogue_recipe(Path("nowhere"), attributes=[SAFE.to_dict()])).stages[0]
    examples = [turn("ok", {"SAFE": 1}), turn("no", {"SAFE": 0})]
    objective: Any = objective_of(stage, ExampleSetting(made.spec, TOKENIZER, examples))
    (batch,) = objective.batches(stage.data, ImageInputs()).next()
    assert objective.loss(made.network.train(), batch).extra.item() > 0.1 * batch.labelled
    assert float(objective.loss(made.network.eval(), batch).extra) == 0


def test_other_models_and_stages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="generate-and-rate is for a decoder without pictures"):
        raw = dialogue_recipe(tmp_path)
        parse_recipe({**raw, "model": {"name": "t5", "language": encoder_decoder(300)}})
    with pytest.raises(SpecError, match="sample-and-rank needs a stage that teaches ratings"):
        parse_recipe(dialogue_recipe(tmp_path, attributes=[]))
    with pytest.raises(SpecError, match="expected each once, got SAFE, SAFE"):
        parse_recipe(dialogue_recipe(tmp_path, attributes=[{"name": "SAFE"}, {"name": "SAFE"}]))
    with pytest.raises(SepiolaError, match="not taught to rate replies"):
        torch.manual_seed(0)
        sepiola.build({"name": "d", "language": decoder()}).rate("a", ["b"])
