"""Dual encoders from scratch: the shipped recipe in few steps, its other shapes, and whether pairs are learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

import sepiola
from sepiola.errors import SepiolaError, SpecError
from sepiola.experiments.dry_run import explain
from sepiola.experiments.recipe_files import read_recipe
from sepiola.experiments.run import Run
from tests.tiny import QUIET

SMALL = [f"model.{part}.{key}" for part in ("vision", "language") for key in ("width=32", "layers=1")]
SMALL += ["model.bridge.width=32", "tokenizer.vocabulary=300", "stages.0.epochs=null", "evaluation.0.count=12"]
CLIP_LIKE = ["model.bridge.image=class", "model.vision.class_token=true", "model.language.kind=decoder"]
LAST = ["model.bridge.loss=sigmoid", "model.bridge.text=last", "model.language.positions={kind: learned, length: 90}"]


def run(folder: Path, *changes: str) -> dict[str, Any]:
    recipe = read_recipe("eyes/dual", [*SMALL, *changes])
    return Run(recipe, folder, console=QUIET).go()  # type: ignore[arg-type]


def test_the_shipped_recipe_in_few_steps(tmp_path: Path) -> None:
    report = run(tmp_path / "run", "stages.0.steps=20", "stages.0.batch=16", "stages.0.data.count=320")
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    assert written["retrieval"] == report["retrieval"] and written["retrieval"]["images"] == 12
    for direction in ("image_to_text", "text_to_image"):
        figures = written["retrieval"][direction]
        assert figures["R@1"]["chance"] == pytest.approx(1 / 12) and figures["R@10"]["recall"] <= 1
    assert "image to text R@5" in (tmp_path / "run" / "report.html").read_text()
    model = sepiola.load(tmp_path / "run")
    pictures = [Path(__file__).parent / "none.png"]
    with pytest.raises(SepiolaError, match=r"none\.png"):
        model.matcher().images(pictures)
    with pytest.raises(SepiolaError, match="nothing to compare"):
        model.matcher().scores([], ["a dog"])
    with pytest.raises(SepiolaError, match="writes no text"):
        model.generate("a dog")
    with pytest.raises(SepiolaError, match="is no dual encoder"):
        sepiola.build("vit-tiny").matcher()
    assert sepiola.load(tmp_path / "run", vision_only=True)(torch.randn(1, 3, 64, 64)).shape == (1, 64, 32)


def test_pairs_are_learned(tmp_path: Path) -> None:
    """Forty pairs seen forty times are found again; chance is 2.5%."""
    data = "{reader: tidepool, count: 40, options: {task: captions, size: 64, families: [objects, counting]}}"
    changes = ["stages.0.steps=60", "stages.0.batch=40", f"stages.0.data={data}", f"evaluation.0={data}"]
    found = run(tmp_path / "run", *changes, "stages.0.optimizer.learning_rate=0.004", "stages.0.optimizer.warmup=5")[
        "retrieval"
    ]
    assert min(found[d]["R@1"]["recall"] for d in ("image_to_text", "text_to_image")) > 0.5
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["loss"] < 1.0 < metrics[1]["loss"]


@pytest.mark.parametrize("changes", [CLIP_LIKE, LAST, ["model.bridge.image=mean", "stages.0.learn=[language, bridge]"]])
def test_other_shapes(changes: list[str], tmp_path: Path) -> None:
    run(tmp_path / "run", *changes, "stages.0.steps=2", "stages.0.batch=8", "stages.0.data.count=30")
    model = sepiola.load(tmp_path / "run")
    fresh = sepiola.build(model.spec).state_dict()
    moved = {n.split(".")[0] for n, tensor in model.state_dict().items() if not torch.equal(tensor, fresh[n])}
    assert moved == ({"language", "bridge"} if "stages.0.learn=[language, bridge]" in changes else {*moved, "vision"})
    matcher = model.matcher()
    texts = ["A red star.", "图中有一个红色的星形。", "word " * 300]
    alone = torch.cat([matcher.texts([text]) for text in texts])
    torch.testing.assert_close(matcher.texts(texts), alone, atol=1e-5, rtol=0)  # padding leaves no trace


def test_a_trained_one_answers_alike_in_transformers(tmp_path: Path) -> None:
    """Trained here in CLIP's layout: `transformers` gives the same logits from the same words."""
    clip = "like: clip-vit-base-patch32"
    tower = "width: 32, layers: 1, attention: {heads: 2}, feed_forward: {width: 32}"
    vision, language = f"{{{tower}, pixels: {{size: 64}}}}", f"{{{tower}, tokens: null}}"
    model = f"{{{clip}, vision: {vision}, language: {language}, bridge: {{width: 8}}}}"
    few = ["stages.0.steps=2", "stages.0.batch=8", "stages.0.data.count=30", "stages.0.source_tokens=77"]
    recipe = read_recipe("eyes/dual", [f"model={model}", "tokenizer.vocabulary=300", "stages.0.epochs=null", *few])
    Run(recipe, tmp_path / "run", console=QUIET).go()  # type: ignore[arg-type]
    ours = sepiola.load(tmp_path / "run")
    ours.save_hub(tmp_path / "hub")
    texts, pixels = ["A red star.", "一个红色的星形和一条鱼。"], torch.randn(2, 3, 64, 64)
    theirs = CLIPModel.from_pretrained(tmp_path / "hub").eval()
    read = AutoTokenizer.from_pretrained(tmp_path / "hub")(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = theirs(pixel_values=pixels, input_ids=read.input_ids, attention_mask=read.attention_mask)
        given = ours.network.bridge(ours.network.image(pixels), ours.matcher().texts(texts))
        torch.testing.assert_close(given, wanted.logits_per_image, atol=1e-4, rtol=0)
        again = sepiola.load(tmp_path / "hub").matcher().texts(texts)
    torch.testing.assert_close(again, wanted.text_embeds, atol=1e-4, rtol=0)


def test_recipes_that_compare_nothing_are_refused() -> None:
    for changes, message in (
        (["stages.0.objective=language-modelling"], "learns by contrastive"),
        (["stages.0.objective={kind: contrastive, format: QCM-A}"], r"stages\[0\].objective.format: unknown key"),
        (["stages.0.packed=true"], "set packed: false"),
        (["images=false"], "it needs 'images'"),
        (["model=smollm2-135m"], "a dual encoder .* learns by contrastive, and no other model does"),
    ):
        with pytest.raises(SpecError, match=message):
            read_recipe("eyes/dual", changes)


def test_it_is_explained() -> None:
    recipe = read_recipe("eyes/dual", ["stages.0.data.count=64"])
    (told,) = explain(recipe, QUIET)["runs"]
    assert told["stages"][0]["samples"] == 64 and told["parameters"]["bridge"] > 128 * 128
