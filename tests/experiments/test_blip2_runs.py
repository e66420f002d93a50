"""BLIP-2's and MiniGPT-4's recipes run for a few steps: what moves in which stage, what is reported, who reads what."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sepiola
from sepiola.datasets import read
from sepiola.errors import SpecError
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, parse_recipe
from sepiola.experiments.run import Run
from sepiola.models.resize import READ, WRITE
from sepiola.specs.base import override
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from tests.hub_folders import write_tokenizer
from tests.tiny import QUIET, qformer, recipe, run_recipe, stage_weights, tidepool, vision_language

CAPTIONS = tidepool(24, "objects", task="captions")
QUESTIONS = tidepool(24, "objects")
COMMON = {"batch": 8, "steps": 2, "optimizer": {"learning_rate": 1e-2}, "target_tokens": 60, "precision": "float32"}
ALIGN = {"objective": {"kind": "image-text-alignment"}}
BRIDGE = qformer(4, text={"length": 64}, heads={"space": 16})
INSTRUCTED = qformer(4, text={"length": 512, "vocabulary": 300}, instructed=True)
RECIPE = recipe(
    "blip-2",
    vision_language(BRIDGE, family="blip-2"),
    [
        {
            "name": "align",
            "objective": {"kind": "image-text-alignment"},
            "data": CAPTIONS,
            "learn": ["bridge"],
            **COMMON,
        },
        {"name": "pretrain", "start": "align", "data": CAPTIONS, "learn": ["projection"], **COMMON},
        {
            "name": "tune",
            "start": "pretrain",
            "data": CAPTIONS,
            "objective": {"layout": "minigpt-4"},
            "learn": ["bridge"],
            **COMMON,
        },
    ],
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_recipe(RECIPE, tmp_path_factory.mktemp("runs") / "blip-2")


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Parts, and in the bridge what is in it, of which something changed."""
    changed = [name.split(".") for name in before if not torch.equal(before[name], after[name])]
    return {".".join(parts[:2]) if parts[0] == "bridge" else parts[0] for parts in changed}


def test_each_stage_teaches_what_it_names_and_the_next_begins_there(finished: Path) -> None:
    model = sepiola.load(finished)
    fresh = dict(sepiola.build(model.spec).state_dict())
    align, pretrain, tune = (stage_weights(finished, stage) for stage in ("align", "pretrain", "tune"))
    queries = {f"bridge.{part}" for part in ("queries", "text", "norm", "layers", "heads")}
    assert moved(fresh, align) == queries
    assert moved(align, pretrain) == {"bridge.projection"}
    assert moved(pretrain, tune) == {"bridge.queries", "bridge.norm", "bridge.layers", "bridge.projection"}
    assert not any(name.startswith("bridge.heads") for name in moved(pretrain, tune))


def test_the_three_losses_are_reported_and_sum_up(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    (aligned,) = [line for line in lines if line["stage"] == "align" and line["step"] == 2]
    parts = [aligned[f"{name}_loss"] for name in ("contrast", "matching", "writing")]
    assert sum(parts) == pytest.approx(aligned["loss"], rel=1e-5) and min(parts) > 0
    assert not any("contrast_loss" in line for line in lines if line["stage"] != "align")


def test_pairs_that_lie_near_are_looked_at_again(finished: Path) -> None:
    """By hand: one picture and one text at a time, without padding."""
    model = sepiola.load(finished)
    examples = read("tidepool", Path(), "test", count=9, **CAPTIONS["options"])
    images, texts = [e.images[0] for e in examples], [e.target for e in examples[:7]]
    assert len({len(model.tokenizer.encode(text)) for text in texts}) > 1
    bridge, spec = model.network.bridge, model.spec.bridge.text
    alike, matched = torch.empty(9, 7), torch.empty(9, 7)
    with torch.inference_mode():
        for i, image in enumerate(images):
            seen = model.encode_images([image])
            for j, text in enumerate(texts):
                tokens = torch.tensor([[spec.start, *model.tokenizer.encode_batch([text], plain=True)[0], spec.end]])
                alike[i, j] = (bridge.image_vectors(seen) @ bridge.text_vectors(tokens)[0]).max()
                matched[i, j] = bridge.match(seen, tokens)[0, 1]
    near = (alike >= alike.sort(0).values[-2]) | (alike >= alike.sort(1).values[:, -2:-1])
    wanted = torch.where(near, alike + matched, alike - 100)
    matcher = model.retriever()
    matcher.again = 2
    torch.testing.assert_close(matcher.scores(images, texts), wanted, atol=1e-4, rtol=0)
    assert 18 <= near.sum() <= 32


def test_a_first_stage_is_measured_by_what_it_finds(tmp_path: Path) -> None:
    base = {**override(RECIPE, ["evaluation=[{reader: tidepool, split: test, count: 40}]"])}
    base["evaluation"][0]["options"] = CAPTIONS["options"]
    base["stages"] = base["stages"][:1]
    arms = {"hard": {}, "uniform": {"stages.0.objective.negatives": "uniform"}}
    spec = ComparisonSpec(name="finds", base=base, arms=arms, seeds=(0, 1))
    found = compare(spec, tmp_path / "runs", console=QUIET)["retrieval"]
    runs = [json.loads((tmp_path / "runs" / f"uniform-seed{s}" / "report.json").read_text()) for s in (0, 1)]
    recalls = [r["retrieval"]["text_to_image"]["R@5"]["recall"] for r in runs]
    assert found["arms"]["uniform"]["text_to_image"]["R@5"]["recall"] == pytest.approx(sum(recalls) / 2)
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "image to text R@1" in page and "uniform" in page and "chance" in page


def test_the_bridge_knows_the_recipe_s_tokenizer_and_the_model_its_layout(finished: Path) -> None:
    model = sepiola.load(finished)
    tokenizer, text = model.tokenizer, model.spec.bridge.text
    ids = [tokenizer.id_of(name) for name in (IMAGE, READ, WRITE)]
    assert [model.spec.bridge.token, text.start, text.decode] == ids and text.vocabulary == tokenizer.vocabulary
    assert model.answering.layout == "minigpt-4"
    picture = read("tidepool", Path(), "test", count=1, **CAPTIONS["options"])[0].images[0]
    asked: list[list[int]] = []
    generate = model.engine.generate
    model.engine.generate = lambda prompts, **how: asked.append(list(prompts[0].tokens)) or generate(prompts, **how)
    model.generate("请描述这张图片。", images=[picture], max_tokens=4)
    expected = "###Human: <Img></Img> 请描述这张图片。 ###Assistant:"
    assert tokenizer.decode(asked[0]) == expected and asked[0].count(model.spec.bridge.token) == 4


def test_over_an_encoder_with_an_eye_that_learns(tmp_path: Path) -> None:
    """And in bfloat16, with validation over a frozen vision encoder's features."""
    changes = [
        "model.language.kind=encoder-decoder",
        "stages.0.objective.negatives=uniform",
        "stages.0.learn=[vision, bridge]",
    ]
    checked = "{reader: tidepool, split: val, count: 9, options: {size: 64, task: captions, families: [objects]}}"
    changes += [f"stages.1.validation={checked}", "stages.1.precision=bfloat16"]
    folder = run_recipe(RECIPE, tmp_path / "run", *changes)
    model = sepiola.load(folder)
    assert "vision" in moved(dict(sepiola.build(model.spec).state_dict()), stage_weights(folder, "align"))
    assert isinstance(model.generate("What?", max_tokens=3), str)


def test_a_blind_model_skips_what_teaches_seeing(tmp_path: Path) -> None:
    """And begins later stages with what the last stage of use left."""
    speak = {"name": "speak", "data": CAPTIONS, "learn": ["language"], **COMMON}
    raw = override(RECIPE, ["images=false", "stages.0.start=speak"])
    folder = tmp_path / "run"
    Run(parse_recipe({**raw, "stages": [speak, *raw["stages"]]}), folder, console=QUIET).go()
    assert len(list((folder / "stages").glob("*/checkpoint"))) == 1
    assert not moved(stage_weights(folder, "speak"), dict(sepiola.load(folder).state_dict()))


def test_instructed_queries_read_the_question(tmp_path: Path) -> None:
    """With a tokenizer of their own, once one lies beside the checkpoint."""
    stage = {"name": "tune", "data": QUESTIONS, "objective": {"format": "Q-A"}, "learn": ["bridge"], **COMMON}
    raw = {**override(RECIPE, ["model.bridge.instructed=true", "model.bridge.heads=null"]), "stages": [stage]}
    raw["strategy"] = {"answer": "tune"}
    folder = tmp_path / "run"
    Run(parse_recipe(raw), folder, console=QUIET).go()
    model = sepiola.load(folder)
    fresh = dict(sepiola.build(model.spec).state_dict())
    assert "bridge.text" in moved(fresh, stage_weights(folder, "tune"))
    example = read("tidepool", Path(), "test", count=1, **QUESTIONS["options"])[0]
    (prompt,) = model.example_generator(4)._prompts([example])
    text = model.spec.bridge.text
    assert list(prompt.instruction) == [text.start, *model.tokenizer.encode(example.prompt)[:62], text.end]
    one = model.ask("What?", image=example.images[0], choices=["red", "blue"])
    model.processor = dataclasses.replace(model.processor, qformer_tokenizer=Tokenizer.train(["What? 什么"], 300))
    model.save(tmp_path / "kept")
    again = sepiola.load(tmp_path / "kept")
    (prompt,) = again.example_generator(4)._prompts([example])
    assert list(prompt.instruction)[1:-1] == again.processor.qformer_tokenizer.encode(example.prompt)[:62]
    other = again.ask("What?", image=example.images[0], choices=["red", "blue"])
    assert other.probabilities != one.probabilities


def test_a_q_formers_own_tokenizer_comes_with_the_weights(tmp_path: Path) -> None:
    """Training reads instructions by it, between the tokens that it sets, and it stays with what is trained."""
    write_tokenizer(tmp_path / "bert", "[CLS]", "[SEP]", "[CLS]", "[SEP]", pad_token="<pad>")
    own = Tokenizer.load(tmp_path / "bert" / "tokenizer.json")
    begin = sepiola.build(vision_language(INSTRUCTED, family="instructblip"), seed=1)
    begin.processor = dataclasses.replace(begin.processor, qformer_tokenizer=own)
    begin.save(tmp_path / "begin")
    stage = {"name": "tune", "data": QUESTIONS, "objective": {"format": "Q-A"}, "learn": ["bridge"], **COMMON}
    changes = {"weights": {"bridge": str(tmp_path / "begin")}, "strategy": {"answer": "tune"}}
    raw = recipe("instructblip", vision_language(INSTRUCTED, family="instructblip"), [stage], **changes)
    run = Run(parse_recipe(raw), tmp_path / "run", console=QUIET)
    objective = run.objective(run.recipe.stages[0])
    example = read("tidepool", Path(), "train", count=1, **QUESTIONS["options"])[0]
    (sample,) = objective.encoded([example])
    assert list(sample.instruction) == own.encode(example.prompt, framed=True) and sample.instruction[0] == 259
    assert run.tokenizer.id_of("[CLS]") is None
    run.go()
    trained = sepiola.load(tmp_path / "run")
    assert trained.spec.bridge.text == begin.spec.bridge.text
    assert trained.processor.qformer_tokenizer.to_json() == own.to_json()
    (prompt,) = trained.example_generator(4)._prompts([example])
    assert prompt.instruction == sample.instruction
    assert trained.tokenizer.id_of("[CLS]") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.bridge.heads=null", "teaches a Q-Former with text and heads"),
        ("stages.0.learn=[bridge, language]", r"set learn: \[bridge\]"),
        ("stages.0.target_tokens=64", "target_tokens 64 and a start token do not fit"),
        ("stages.1.objective.negatives=uniform", r"stages\[1\].objective.negatives: unknown key"),
        ("stages.0.objective.layout=minigpt-4", r"stages\[0\].objective.layout: unknown key"),
        ("stages.1.objective.layout=minigpt", "layout"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_runs(change: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_recipe(override(RECIPE, [change]))
