"""Adapters: only they learn; saved, merged, resumed and read by peft they are what was trained."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import sepiola
from sepiola.checkpoints import adapters
from sepiola.checkpoints.tensors import read_tensors
from sepiola.data.batching import Sample
from sepiola.data.image import ImageRef
from sepiola.data.metrics_log import read_metrics
from sepiola.errors import CheckpointError, SpecError, TrainingError
from sepiola.experiments.recipe_files import parse_recipe, read_recipe
from sepiola.experiments.run import Run
from sepiola.models.build import build
from sepiola.specs.model import ModelSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.tokenizer import Tokenizer
from sepiola.training import lora
from sepiola.training.estimate import estimate
from sepiola.training.experts import routed
from sepiola.training.objectives.writing import language_modelling
from sepiola.training.trainer import Trainer
from tests.tiny import QUIET, encoder_decoder, llama, wait_until
from tests.trainers import stage_of, text_batches, text_trainer

peft = pytest.importorskip("peft")

LLAMA = llama(30, dropout=0.1)
MIXTRAL = {**LLAMA, "feed_forward": {**LLAMA["feed_forward"], "experts": 4, "chosen": 2, "balance_loss": 0.1}}
T5 = encoder_decoder(
    30,
    24,
    2,
    attention={"heads": 2, "scale": 1.0},
    feed_forward={"width": 40, "activation": "relu"},
    head_scale=24**-0.5,
    dropout=0.1,
)
SPECS = {
    family: ModelSpec.parse({"name": family, "family": family, "language": {**language, "family": family}})
    for family, language in (("llama", LLAMA), ("t5", T5), ("mixtral", MIXTRAL))
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A process that is forked may not meet the threads of the one before it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def stage(**changes: Any) -> StageSpec:
    raw = {"batch": 8, "learning_rate": 1e-2, "steps": 6, "lora": {}, "precision": "float32"}
    return stage_of(**{**raw, **changes})


def samples(count: int = 40) -> list[Sample]:
    generator = np.random.default_rng(0)
    drawn = generator.integers(2, 30, (count, 2)).tolist()
    return [Sample(f"s{i}", [a, b] * (1 + i % 3), [b, a, 1]) for i, (a, b) in enumerate(drawn)]


def trainer(folder: Path, family: str, seed: int = 0, **changes: Any) -> Trainer:
    network = build(SPECS[family], seed=seed)
    validation = samples(9) if "validate_every" in changes else ()
    return text_trainer(network, stage(**changes), samples(), folder=folder, validation=validation, log_every=1)


def peft_logits(folder: Path, family: str) -> torch.Tensor:
    """What peft makes of the Hub folder `hub` under the adapter `adapter`, of the tokens that `logits` reads."""
    loader = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    theirs = peft.PeftModel.from_pretrained(loader.from_pretrained(folder / "hub"), folder / "adapter").eval()
    tokens = torch.arange(2, 26).view(2, 12)
    more = {"decoder_input_ids": tokens[:, :5]} if family == "t5" else {}
    with torch.no_grad():
        said: torch.Tensor = theirs(input_ids=tokens, **more).logits
    return said


def logits(network: nn.Module, family: str) -> Tensor:
    tokens = torch.arange(2, 26).view(2, 12)
    with torch.no_grad():
        network.eval()
        result: Tensor = network(tokens, tokens[:, :5]) if family == "t5" else network(tokens)
    return result


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_trained_saved_loaded_and_merged_it_is_one_model(family: str, tmp_path: Path) -> None:
    base = build(SPECS[family])
    sepiola.Model(base, SPECS[family]).save(tmp_path / "base")
    run = trainer(tmp_path / "run", family, lora={"rank": 4, "dropout": 0.1}, steps=12)
    result = run.run()
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert result.loss is not None and result.loss < lines[1]["loss"]
    after = run.model.state_dict()
    learned = {name for name in after if ".lora_" in name}
    assert lines[0]["learning_parameters"] == sum(after[name].numel() for name in learned)
    assert all(after[name].any() for name in learned), "an adapter's B begins at zero and must move"
    plain = {name.replace(".base_layer", ""): value for name, value in after.items() if name not in learned}
    assert plain.keys() == base.state_dict().keys()
    assert all(torch.equal(plain[name], value) for name, value in base.state_dict().items())
    assert torch.load(run.state_file, weights_only=True)["model"].keys() == learned

    unmerged = logits(run.model, family)
    assert (unmerged - logits(base, family)).abs().max() > 1e-2
    adapters.write(tmp_path / "adapter", run.adapter.updates(), SPECS[family], base="base", dropout=0.1)
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    sepiola.Model(base, SPECS[family]).save_hub(tmp_path / "hub")
    torch.testing.assert_close(peft_logits(tmp_path, family), unmerged, atol=1e-4, rtol=0)
    loaded = sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded.network, family), unmerged, atol=1e-5, rtol=0)
    merged = run.adapter.merge()
    torch.testing.assert_close(logits(merged, family), unmerged, atol=1e-5, rtol=0)
    assert merged.state_dict().keys() == base.state_dict().keys()
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_rows_of_tokens_learn_beside_it(family: str, tmp_path: Path) -> None:
    """In tied matrices and apart; the other rows stay to the last bit, whatever the optimizer, and peft reads them."""
    base = build(SPECS[family])
    sepiola.Model(base, SPECS[family]).save(tmp_path / "base")
    decay = {"optimizer": {"learning_rate": 1e-2, "weight_decay": 0.1}}
    run = trainer(tmp_path / "run", family, lora={"rank": 2, "tokens": [3, 28]}, steps=8, **decay)
    run.run()
    unmerged = logits(run.model, family)
    adapters.write(tmp_path / "adapter", run.adapter.updates(), SPECS[family], base="base")
    loaded = sepiola.load(tmp_path / "base", adapter=tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded.network, family), unmerged, atol=1e-5, rtol=0)
    assert loaded.spec.language is not None and SPECS[family].language is not None
    assert loaded.spec.language.tied == SPECS[family].language.tied
    sepiola.Model(base, SPECS[family]).save_hub(tmp_path / "hub")
    torch.testing.assert_close(peft_logits(tmp_path, family), unmerged, atol=1e-4, rtol=0)
    before, after = base.state_dict(), run.adapter.merge().state_dict()
    torch.testing.assert_close(logits(run.model, family), unmerged, atol=1e-5, rtol=0)
    assert after.keys() == before.keys()
    for name in [name for name in before if name.startswith(("embedding", "head"))]:
        moved = (before[name] != after[name]).any(1).nonzero().flatten().tolist()
        assert moved == [3, 28], name


def test_rows_of_tokens_that_are_not_there_are_refused() -> None:
    with pytest.raises(SpecError, match=r"lora\.tokens: 30; the model has 30 tokens"):
        lora.attach(build(SPECS["t5"]), stage(lora={"tokens": [30]}), seed=0)
    with pytest.raises(SpecError, match=r"lora\.tokens: rows of the language model"):
        stage(lora={"tokens": [3]}, learn=["bridge"])


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_merged_it_goes_to_the_hub(family: str, tmp_path: Path) -> None:
    run = trainer(tmp_path / "run", family)
    run.run()
    ours = sepiola.Model(run.adapter.merge(), SPECS[family])
    ours.save_hub(tmp_path / "hub")
    tokens = torch.arange(2, 26).view(2, 12)
    with torch.no_grad():
        if family == "t5":
            theirs = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hub").eval()
            expected = theirs(input_ids=tokens, decoder_input_ids=tokens[:, :5]).logits
        else:
            expected = AutoModelForCausalLM.from_pretrained(tmp_path / "hub").eval()(input_ids=tokens).logits
    torch.testing.assert_close(logits(ours.network, family), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_killed_and_resumed_is_bit_for_bit_the_same(family: str, tmp_path: Path) -> None:
    """A real SIGKILL, with dropout in model and adapter, accumulation and the best weights."""
    long = {
        "steps": 30,
        "save_every": 7,
        "accumulate": 2,
        "batch": 4,
        "validate_every": 9,
        "lora": {"rank": 3, "dropout": 0.2},
    }
    whole = trainer(tmp_path / "whole", family, **long)
    whole.run()
    child = os.fork()
    if child == 0:
        trainer(tmp_path / "cut", family, **long).run()
        signal.pause()  # a slow parent kills it at the end
    log = tmp_path / "cut" / "metrics.jsonl"
    wait_until(lambda: log.exists() and (read_metrics(log) or [{"step": 0}])[-1]["step"] >= 10)
    os.kill(child, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with pytest.raises(TrainingError, match="another run \\(base: "):
        trainer(tmp_path / "cut", family, seed=1, **long).run(resume=True)
    resumed = trainer(tmp_path / "cut", family, **long)
    resumed.run(resume=True)
    for run in (whole, resumed):
        run.load_best()
    first, second = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    best = [read_tensors(run.best_file) for run in (whole, resumed)]
    assert {*best[0]} == {*best[1]} == {name for name in first if ".lora_" in name}


def test_targets() -> None:
    network = build(SPECS["t5"])
    one = stage(lora={"targets": ["decoder.layers.1.attention.qkv", "cross.kv.v", "wi"]})
    assert [*lora.linears(network, one)] == [
        "encoder.layers.0.feed_forward.up",
        "encoder.layers.1.feed_forward.up",
        "decoder.layers.0.cross.kv",
        "decoder.layers.0.feed_forward.up",
        "decoder.layers.1.attention.qkv",
        "decoder.layers.1.cross.kv",
        "decoder.layers.1.feed_forward.up",
    ]
    chosen = lora.linears(network, one)
    assert chosen["decoder.layers.0.cross.kv"] == {"decoder.layers.0.cross.kv.v": slice(24, 48)}
    assert len(chosen["decoder.layers.1.attention.qkv"]) == 3
    assert len(lora.linears(network, stage())) == 2 * 4 + 2 * 7
    for target in ("q_proj", "kv.weight", "embedding", "c_attn"):
        with pytest.raises(
            SpecError, match=rf"'{target}' names no linear of .*: down, k, kv, o, out, q, qkv, up, v, wi, wo"
        ):
            lora.linears(network, stage(lora={"targets": ["qkv", target]}))
    ours, hub = (
        {"targets": names} for names in (["attention.qkv.q", "qkv.v", "down"], ["q_proj", "v_proj", "down_proj"])
    )
    llama = build(SPECS["llama"])
    assert lora.linears(llama, stage(lora=ours)) == lora.linears(llama, stage(lora=hub))
    lora.attach(llama, stage(lora={"targets": ["q_proj"], "rank": 2}), seed=0)
    assert sum(p.numel() for p in llama.parameters() if p.requires_grad) == 2 * 2 * (24 + 24)
    for target in ("gate_up", "router", "projection"):
        language = {**MIXTRAL, "tied": False}
        mixture = build(ModelSpec.parse({"name": "m", "family": "mixtral", "language": language}))
        with pytest.raises(
            SpecError,
            match=rf"'{target}' lies inside experts or the output head.*others: k, out, q, qkv, v",
        ):
            lora.linears(mixture, stage(lora={"targets": ["qkv", target]}))


def test_a_mixture_learns_in_its_attention(tmp_path: Path) -> None:
    run = trainer(tmp_path, "mixtral")
    run.run()
    learned = {name for name in run.model.state_dict() if ".lora_" in name}
    assert learned and all(".attention." in name for name in learned)
    with routed(run.model) as router_logits:
        run.model(torch.arange(2, 14)[None])
    assert not any(router_logits.values()), "a frozen router has no balance to learn"
    unmerged = logits(run.model, "mixtral")
    torch.testing.assert_close(logits(run.adapter.merge(), "mixtral"), unmerged, atol=1e-5, rtol=0)


def test_in_an_eye_all_but_the_adapter_stands_still(tmp_path: Path) -> None:
    """Weights, and the running statistics of its convolutions; a vision encoder without linears bears no adapter."""
    convolutions = {"stem_width": 8, "widths": [8, 12], "depths": [1, 1], "block": "basic"}
    detr = {"kind": "detr", "backbone": convolutions, "width": 16, "layers": 1, "encoder_layers": 1, "heads": 2}
    raw = {
        "language": T5,
        "bridge": {"kind": "gated-fusion"},
        "vision": {**detr, "pixels": {"size": 32}, "feed_forward": 16, "queries": 4},
    }
    network = build(ModelSpec.parse(raw))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = [Sample(s.id, s.source, s.target, (ImageRef(data=bytes([i])),)) for i, s in enumerate(samples(8))]
    one = stage(learn=["vision"], steps=2)
    pixels = {"pixels": lambda images: [torch.full((3, 32, 32), float(i.encoded[0])) for i in images]}
    run = text_trainer(network, one, seen, folder=tmp_path, **pixels)
    assert isinstance(run.model.vision.backbone.stem.norm, nn.BatchNorm2d)
    run.run()
    after = {name.replace(".base_layer", ""): value for name, value in run.model.state_dict().items()}
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"vision"}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    blind = build(ModelSpec.parse({**raw, "vision": {"kind": "resnet", "pixels": {"size": 32}, **convolutions}}))
    with pytest.raises(SpecError, match="vision holds no linear that can bear an adapter"):
        lora.linears(blind, one)


def test_the_estimate_counts_the_adapter() -> None:
    network = build(SPECS["llama"])
    one = stage(lora={"rank": 2})
    batches = text_batches(network, one, samples())
    whole, few = (estimate(network, s, batches, language_modelling, rate=1e9) for s in (stage(lora=None), one))
    attached = lora.attach(network, one, seed=0)
    learning = [p for layer in attached.layers.values() for p in layer.parameters() if p.requires_grad]
    assert few.gradients == 4 * sum(p.numel() for p in learning) / 1e9 < whole.gradients / 5


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    adapters.write(tmp_path / "adapter", lora.attach(build(SPECS["llama"]), stage(), seed=0).updates(), SPECS["llama"])
    for name, change in (("wide", {"width": 28}), ("shallow", {"layers": 1})):
        spec = ModelSpec.parse({"name": name, "family": "llama", "language": {**LLAMA, **change}})
        sepiola.Model(build(spec), spec).save(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"loaded onto .*(was made for another model|does not fit)"):
            sepiola.load(tmp_path / name, adapter=tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"no adapter here; expected adapter_config\.json"):
        sepiola.load(tmp_path / "wide", adapter=tmp_path / "wide")


RECIPE = """
name: adapted
model: {like: mm-cot-tiny, language: {width: 32, layers: 1, feed_forward: {width: 48}}, vision: null, bridge: null}
tokenizer: {vocabulary: 400}
stages:
  - &stage
    {name: first, objective: {format: QCM-A}, learn: [language], steps: 2, batch: 4, target_tokens: 48,
     precision: float32,
     data: {reader: tidepool, count: 24, options: {size: 64, families: [objects]}}}
  - {<<: *stage, name: answer, start: first, lora: {rank: 2, targets: [qkv, out]}}
strategy: {answer: answer, by: score}
"""


def test_a_recipes_stage_leaves_a_merged_checkpoint_and_its_adapter(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    recipe = read_recipe(str(path))
    Run(recipe, tmp_path / "run", console=QUIET).go()
    first, answer = (next((tmp_path / "run" / "stages").glob(f"{name}-*")) for name in ("first", "answer"))
    config = json.loads((answer / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(first / "checkpoint") and config["r"] == 2
    merged, base = sepiola.load(answer / "checkpoint"), sepiola.load(first / "checkpoint")
    again = sepiola.load(first / "checkpoint", adapter=answer / "adapter")
    moved = set()
    for name, value in merged.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-6, rtol=0)
        moved |= {name.rsplit(".", 2)[1]} if not torch.equal(base.state_dict()[name], value) else set()
    assert moved == {"qkv", "out"}
    with pytest.raises(SpecError, match=r"stage 'answer': lora\.targets: 'qvk' names no linear"):
        read_recipe(str(path), ["stages.1.lora.targets=[qvk]"])


def test_what_learns_beside_an_adapter_is_known() -> None:
    alone = ModelSpec.parse({"language": llama()})
    scored = ModelSpec.parse({"language": llama(tied=True), "classifier": {"kind": "reward"}})
    beside = [lora.attach(build(spec), stage(), seed=0).beside() for spec in (alone, scored)]
    assert beside == [[], ["classifier.weight"]]


def test_a_stage_goes_on_from_an_adapter_of_the_hub(tmp_path: Path) -> None:
    """What it saves is both, on the base of the first; one that holds more than low rank is merged into its base."""
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "en.txt").write_text("\n\n".join(f"the squid hides {n} times in the sand" for n in range(90)))
    tokenizer = Tokenizer.train([], 259)
    spec = ModelSpec.parse({"family": "llama", "language": llama(tokenizer.vocabulary)})
    sepiola.Model(build(spec), spec, tokenizer).save_hub(tmp_path / "base")
    for name, more in (("plain", {}), ("whole", {"modules_to_save": ["norm"]})):
        config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"], **more)
        adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path / "base"), config)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.2)
        adapted.save_pretrained(tmp_path / name)
    stage = {"name": "go-on", "learn": ["language"], "steps": 3, "batch": 4, "target_tokens": 32, "packed": True}
    stage |= {
        "optimizer": {"learning_rate": 0.05},
        "precision": "float32",
        "lora": {"rank": 2, "targets": ["v_proj", "down"]},
    }
    stage["data"] = {"reader": "text", "root": str(tmp_path / "text"), "options": {"characters": 100}}
    raw = {"name": "more", "model": spec.to_dict(), "tokenizer": {"path": str(tmp_path / "base" / "tokenizer.json")}}
    tokens = torch.arange(2, 26).view(2, 12)
    for name in ("plain", "whole"):
        recipe = {**raw, "weights": str(tmp_path / name), "stages": [stage]}
        console = Console(file=io.StringIO(), width=1000)
        Run(parse_recipe(recipe), tmp_path / f"run-{name}", console=console).go()
        (done,) = (tmp_path / f"run-{name}" / "stages").glob("go-on-*")
        named = json.loads((done / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
        trained = sepiola.load(done / "checkpoint")
        begun = sepiola.load(tmp_path / name)
        with torch.no_grad():
            assert (trained(tokens) - begun(tokens)).abs().max() > 1e-3
        begun.save_hub(tmp_path / f"merged-{name}")
        under = tmp_path / ("base" if name == "plain" else "merged-whole")
        assert Path(named) == (under if name == "plain" else tmp_path / name)
        both = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(under), done / "adapter").eval()
        with torch.no_grad():
            torch.testing.assert_close(both(input_ids=tokens).logits, trained(tokens), atol=1e-4, rtol=1e-4)
        said = "its adapter lies on" in console.file.getvalue()
        assert said is (name == "whole")
        if name == "plain":
            torch.testing.assert_close(sepiola.load(done / "adapter")(tokens), trained(tokens), atol=1e-4, rtol=1e-4)
