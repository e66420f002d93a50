"""Recipes of models that read images as tokens, run whole on Tidepool: with a frozen or a learning vision encoder,
asked, packed, blind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.batching import Collator, Sample
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.experiments.compare import compare
from sepiola.experiments.recipe_files import ComparisonSpec, parse_recipe, read_recipe
from sepiola.experiments.run import Run
from sepiola.generation.image_features import ImageFeatures
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec, SpecialTokens
from sepiola.text.encoding import IMAGE, encode
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives.writing import language_modelling
from tests.tiny import QUIET, recipe, run_recipe, tidepool, vision_language, vit

DATA = tidepool(40, "objects", "counting")
COMMON = {"batch": 8, "optimizer": {"learning_rate": 1e-3}, "source_tokens": 120, "target_tokens": 48}
COMMON["precision"] = "float32"
RECIPE = recipe(
    "prefixed",
    vision_language({"kind": "projection", "shuffle": 2, "layers": 2}, vision=vit(64, 16, class_token=False)),
    [
        {"name": "align", "data": DATA, "objective": {"format": "QCM-A"}, "learn": ["bridge"], "steps": 3, **COMMON},
        {"name": "tune", "start": "align", "data": DATA, "objective": {"format": "QCM-LEA"}, "steps": 3, **COMMON},
    ],
    strategy={"kind": "one-stage", "answer": "tune"},
    evaluation=[{**DATA, "split": "test", "count": 6}],
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_recipe(RECIPE, tmp_path_factory.mktemp("runs") / "prefixed")


def test_the_bridge_learns_alone_and_then_all(finished: Path) -> None:
    align, tune = (next((finished / "stages").glob(f"{name}-*")) / "checkpoint" for name in ("align", "tune"))
    before, after = (read_tensors(folder / "model.safetensors") for folder in (align, tune))
    fresh = sepiola.build(sepiola.load(align).spec).state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], fresh[name])}
    assert moved == {"bridge"}
    assert {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])} >= {
        "vision",
        "language",
    }


def test_it_is_asked_about_any_pictures(finished: Path) -> None:
    model = sepiola.load(finished)
    assert model.spec.bridge.token == model.tokenizer.id_of(IMAGE)
    example = read("tidepool", Path(), "test", count=1, size=64, families=["objects"])[0]
    question = example.question
    assert question is not None
    one = model.ask(question.text, image=example.images[0], choices=question.choices)
    assert one.answer in question.choices and one.probabilities is not None
    again = model.ask(question.text, image=example.images[0].open(), choices=question.choices)
    assert again.probabilities == pytest.approx(one.probabilities)
    two = model.ask(question.text, image=[example.images[0]] * 2, choices=question.choices)
    none = model.ask(question.text, choices=question.choices)
    assert two.probabilities != one.probabilities != none.probabilities


@pytest.mark.parametrize(
    "changes",
    [["stages.0.packed=true", "stages.1.packed=true"], ["images=false"], ["model.language.kind=encoder-decoder"]],
)
def test_packed_blind_and_over_an_encoder(changes: list[str], tmp_path: Path) -> None:
    folder = run_recipe(RECIPE, tmp_path / "run", *changes, "stages.0.steps=1", "stages.1.steps=1")
    assert sepiola.load(folder).ask("What?", choices=["a", "b"]).answer in ("a", "b")


GRID = ["model.vision.pixels={size: 32, filter: lanczos, tiles: {kind: grid, longest: 64}}"]
ANYRES = [
    "model.vision.pixels={size: 32, tiles: {kind: anyres, grids: [[1, 2], [2, 2]], most: 1}}",
    "model.bridge.shuffle=1",
]


@pytest.mark.parametrize("tiles", [GRID, ANYRES])
def test_pictures_in_tiles_are_the_same_whoever_opens_them(tiles: list[str], tmp_path: Path) -> None:
    """Cached features, pixels of a vision encoder that learns, and a picture that is asked about."""
    model = ["model.vision.patch=8", "stages.0.steps=1", "stages.1.steps=1", "stages.0.packed=true"]
    learns = "stages.1.learn=[vision, bridge, language]"
    folder = run_recipe(
        RECIPE, tmp_path / "run", *tiles, *model, learns, "stages.0.source_tokens=300", "stages.1.source_tokens=300"
    )
    loaded = sepiola.load(folder)
    example = read("tidepool", Path(), "test", count=1, size=64, families=["objects"])[0]
    image = example.images[0]
    features = ImageFeatures(loaded.network.vision.float(), loaded.spec.vision, tmp_path / "features")
    for images in ([image], [image, image]):
        seen = loaded.encode_images(images)
        torch.testing.assert_close(features.encode_each(images), seen, atol=0.05, rtol=0.05)
        runs = loaded.network.image_tokens(images)
        with torch.inference_mode():
            made = loaded.network.bridge(seen, *([loaded.network.sizes(images)] if tiles is ANYRES else []))
        assert sum(run.count(loaded.network.token) for run in runs) == made.shape[:2].numel()
    assert loaded.ask("What?", image=[image, image], choices=["a", "b"]).answer in ("a", "b")


def test_text_and_images_stand_in_their_order() -> None:
    tokenizer = Tokenizer.train(["one two three 一二三"], 300, extra=[IMAGE])
    token = tokenizer.id_of(IMAGE)
    assert token is not None
    image = ImageRef(data=b"")
    messages = (
        Message("user", ("one ", image, "two", image)),
        Message("assistant", ("一",)),
        Message("user", (IMAGE,)),
    )
    (sample,) = encode(
        [Example("e", messages, "三")],
        tokenizer,
        SpecialTokens(),
        close=False,
        image_tokens=lambda images: [(token,) * 3 for _ in images],
        placeholder=token,
    )
    one, two, rest = (tokenizer.encode_batch([text], plain=True)[0] for text in ("one ", "two", f"\n一\n{IMAGE}"))
    assert list(sample.source) == [*one, *[token] * 3, *two, *[token] * 3, *rest], "a name that is written is text"
    assert token not in rest
    cut = sample.cut(len(one) + 8, 9)
    assert list(cut.source).count(token) == 6 and len(cut.source) == len(one) + 8
    with pytest.raises(DataError, match="its images take 6 tokens; source_tokens is 5"):
        sample.cut(5, 9)


def test_packed_rows_lose_what_their_samples_lose_alone() -> None:
    """Two samples with an image each, in one row and apart."""
    raw = {**RECIPE["model"], "bridge": {**RECIPE["model"]["bridge"], "token": 9}}
    model: Any = build(ModelSpec.parse(raw))
    samples = [Sample("a", [4, 9, 9, 9, 9, 5], [6, 1], (ImageRef(data=b"a"),), 9)]
    samples += [Sample("b", [9, 9, 9, 9, 7, 8, 7], [5, 1], (ImageRef(data=b"b"),), 9)]
    pictures = {b"a": torch.randn(3, 64, 64), b"b": torch.randn(3, 64, 64)}
    arguments: dict[str, Any] = {
        "kind": "decoder",
        "patches": 16,
        "pixels": lambda images: [pictures[i.encoded][None] for i in images],
    }
    packed = Collator(SpecialTokens(), packed=True, **arguments)(samples)
    assert packed.target.shape[0] == 1
    apart = [Collator(SpecialTokens(), **arguments)([sample]) for sample in samples]
    together = language_modelling(model, packed).loss_sum
    torch.testing.assert_close(together, sum(language_modelling(model, batch).loss_sum for batch in apart))


def test_arms_with_other_bridges_share_a_vision_encoder_and_begin_with_given_parts(
    finished: Path, tmp_path: Path
) -> None:
    """The vision encoder is taught once; language comes from a model of text alone, whose tokenizer knows no image."""
    words = {"reader": "tidepool", "count": 40, "options": DATA["options"]}
    text = {**RECIPE, "name": "text", "images": False, "model": {"language": RECIPE["model"]["language"]}}
    text |= {"stages": [{"name": "read", "data": words, "objective": {"format": "QCM-A"}, "steps": 2, **COMMON}]}
    text |= {"strategy": None, "evaluation": []}
    Run(parse_recipe(text), tmp_path / "text", console=QUIET).go()
    base = tmp_path / "text" / "checkpoint"
    eye = {"name": "eye", "objective": "detection", "learn": ["vision"], "data": DATA, "steps": 2, "batch": 8}
    align = {**RECIPE["stages"][0], "start": "eye", "steps": 1}
    for name, bridge in (("one", {"layers": 1}), ("two", {"layers": 2})):
        raw = {
            **RECIPE,
            "name": name,
            "model": {**RECIPE["model"], "bridge": {"kind": "projection", **bridge}},
            "tokenizer": {"path": str(base / "tokenizer.json")},
            "weights": {"language": str(base)},
            "stages": [{**eye, "optimizer": {"learning_rate": 1e-3}}, align],
            "strategy": {"answer": "align"},
        }
        Run(parse_recipe(raw), tmp_path / name, console=QUIET, shared=tmp_path / "shared").go()
    assert len(list((tmp_path / "shared" / "stages").glob("eye-*/checkpoint"))) == 1
    taught = read_tensors(next((tmp_path / "shared" / "stages").glob("eye-*")) / "checkpoint" / "model.safetensors")
    given = read_tensors(base / "model.safetensors")
    for name in ("one", "two"):
        state = read_tensors(tmp_path / name / "checkpoint" / "model.safetensors")
        assert all(torch.equal(state[f"vision.{key}"], value) for key, value in taught.items())
        for key, value in given.items():
            own = state[f"language.{key}"]
            assert torch.equal(own[: len(value)], value), key
            assert len(own) == len(value) + ("embedding" in key), "one more token, the image's"


def test_all_bridges_are_compared_under_one_vision_encoder(tmp_path: Path) -> None:
    """The shipped comparison with few steps: each bridge in its own model, and what it costs beside what it reaches."""
    small = ["stages.0.data.count=48", "stages.1.data.count=48", "stages.1.steps=2", "evaluation.0.count=12"]
    small += [f"arms.Q-Former.stages.{n}.data.count=48" for n in range(3)] + ["arms.Q-Former.stages.2.steps=2"]
    spec = read_recipe("compare/bridges", [*small, "seeds=[0]", "jobs=1", "tokenizer.vocabulary=400"])
    assert isinstance(spec, ComparisonSpec)
    report = compare(spec, tmp_path / "bridges", console=QUIET)
    costs = {row["name"]: row for row in report["costs"]}
    assert list(costs) == list(spec.arms)
    assert len(list((tmp_path / "bridges" / "stages").glob("vision-*/checkpoint"))) == 1
    tokens = {name: row["image_tokens"] for name, row in costs.items()}
    placed = {"linear projection": 8, "two-layer projection": 8, "Q-Former": 8, "Q-Former without stage 1": 8}
    placed["gated cross-attention"] = 1
    assert {name: count for name, count in tokens.items() if count} == placed
    assert len({row["bridge_parameters"] for name, row in costs.items() if name != "blind"}) == 5
    page = (tmp_path / "bridges" / "report.html").read_text()
    assert "ms to the first token" in page and "parameters of the bridge" in page
