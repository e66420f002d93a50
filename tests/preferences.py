"""A toy of preferences: a prompt names a digit, and the nearer a reply's digit is, the better it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import sepiola
from sepiola.data.example import Example, Message
from sepiola.data.preferences import Completion, preference
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.batches import ImageInputs
from sepiola.training.objectives import objective_of
from sepiola.training.objectives.preference import Preference
from sepiola.training.rankings import RankingBatch, RankingBatches
from tests import tiny
from tests.policies import BASE, EN, ZH
from tests.trainers import ExampleSetting, stage_of

READER = "digit-preferences"
LANGUAGES = {
    "decoder": tiny.llama(width=32, hidden=64),
    "encoder-decoder": tiny.encoder_decoder(width=32, hidden=64),
}
ENCODER = {"encoder": tiny.encoder(width=32, hidden=64)}  # it writes nothing, and may still score
SEEING: dict[str, dict[str, Any]] = {
    "prefix": tiny.vision_language({"kind": "projection"}),
    "cross": tiny.vision_language(
        {"kind": "gated-cross", "attention": {"heads": 2, "head_width": 8}}, language=tiny.llama(400, width=32)
    ),
    "fused": tiny.vision_language({"kind": "gated-fusion"}, language=tiny.encoder_decoder(400, 32)),
}
COLOURS = ["red", "green", "blue", "yellow", "white"]


def ranking(number: int, name: str, *, replies: int = 3, picture: bool = False) -> Example:
    """Replies with that digit and others, the right one not first; those at the end are a tie."""
    said = [(number + step) % 10 for step in range(1, replies)] + [number]
    scores = [*(-float(min(step, 3)) for step in range(1, replies)), 0.0]
    colour = (tiny.colour_picture(COLOURS[number % 5], (64, 64)),) if picture else ()
    # Replies of other lengths: a longer one is no better.
    texts = [f"{digit}" if digit % 2 else f"{digit} {name}" for digit in said]
    corrected = [((0, 1),) if place < replies - 1 else () for place in range(replies)]
    completions = [Completion(*one) for one in zip(texts, scores, corrected, strict=True)]
    metadata = {"language": "en" if name.isascii() else "zh", "split": "train", "group": str(number)}
    return preference(f"{name}-{number}", [Message("user", (*colour, f"{name}?"))], completions, metadata)


def rankings(**options: Any) -> list[Example]:
    """One a digit and language."""
    pairs = [(n, name) for n, pair in enumerate(zip(EN, ZH, strict=True)) for name in pair]
    return [ranking(number, name, **options) for number, name in pairs]


def tokenizer() -> Tokenizer:
    """One that has every name and digit as a token."""
    return Tokenizer.train([*EN * 9, *(ZH * 9), *("0123456789" * 9)], 330, extra=[IMAGE])


def model(language: dict[str, Any], made: Tokenizer, seed: int = 0, **more: Any) -> tuple[Any, ModelSpec]:
    """A network of random weights for the tokenizer, and its spec."""
    spec = ModelSpec.parse({"language": {**language, "vocabulary": made.vocabulary}, **more})
    return sepiola.build(spec, seed=seed).network, spec


def objective(raw: dict[str, Any], spec: ModelSpec, made: Tokenizer, examples: Any = None, **stage: Any) -> Preference:
    """An objective over the toy's rankings, or others."""
    settings = {**BASE, "target_tokens": 8, **stage}
    learned = objective_of(stage_of(**settings, objective=raw), ExampleSetting(spec, made, examples or rankings()))
    assert isinstance(learned, Preference)
    return learned


def batches(learned: Preference, images: ImageInputs | None = None) -> RankingBatches:
    """Its batches."""
    return learned.batches(learned.stage.data, images or ImageInputs())


def all_of(learned: Preference) -> RankingBatch:
    """All its prompts in one batch, in their order."""
    made = batches(learned)
    return made.laid_out(range(len(made.samples)))


class Metrics(dict[str, list[Any]]):
    """Metrics of trl: a list a name."""

    def __missing__(self, name: str) -> list[Any]:
        return self.setdefault(name, [])


def of_trl(**more: Any) -> Any:
    """What trl's losses over preferences ask of their trainer."""
    gather = {"gather_for_metrics": lambda x: x, "gather": lambda x: x, "device": torch.device("cpu")}
    base = {"model": torch.nn.Module().eval(), "accelerator": SimpleNamespace(**gather), "aux_loss_enabled": False}
    base |= {"_metrics": {"eval": Metrics(), "train": Metrics()}, "_total_train_tokens": 0, "_tp_size": 1}
    direct = {"precompute_ref_logps": True, "beta": 0.1, "ld_alpha": None, "f_divergence_type": "reverse_kl"}
    direct |= {"loss_weights": [1.0], "use_weighting": False, "label_smoothing": 0.0}
    return SimpleNamespace(**base | direct | more)


def laid_out_by_trl(
    batch: RankingBatch, order: Sequence[int], pad: int, side: str = "right"
) -> dict[str, torch.Tensor]:
    """Rows of a decoder's batch as trl has them: prompt and completion whole, padded on either side."""
    rows = []
    for row in order:
        labels = batch.labels[row][batch.chosen[row]]
        first = int(batch.chosen[row].int().argmax()) + 1
        rows.append((batch.target[row][:first], labels))
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    ids, mask = torch.full((len(rows), width), pad), torch.zeros(len(rows), width, dtype=torch.long)
    completions = torch.zeros_like(mask)
    for place, (prompt, completion) in enumerate(rows):
        length = len(prompt) + len(completion)
        start = width - length if side == "left" else 0
        ids[place, start : start + length] = torch.cat([prompt, completion])
        mask[place, start : start + length] = 1
        completions[place, start + len(prompt) : start + length] = 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "completion_mask": completions,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }


def llama(made: Tokenizer, folder: Path, temperature: float = 1.0) -> tuple[Any, Any, int]:
    """A LLaMA that transformers wrote, with trl's head, the same loaded, and a token that only pads."""
    utils = pytest.importorskip("trl.trainer.utils", reason="compared with trl, from the dev extra")
    torch.manual_seed(0)
    sizes = {**tiny.HUB_LLAMA, "vocab_size": made.vocabulary + 1, "initializer_range": 0.3}
    reference = LlamaForCausalLM(LlamaConfig(**sizes))
    reference.save_pretrained(folder)
    outputs = ("log_probs", "entropy", "mean_logits", "is_top1")
    utils.add_fused_lm_head(reference, temperature=temperature, outputs=outputs)
    return reference, sepiola.load(folder), made.vocabulary


def stub(log_probs: torch.Tensor) -> Any:
    """A model of trl's that has these log-probabilities `(rows, tokens)`."""
    zeros = torch.zeros_like(log_probs)
    found = {"log_probs": log_probs, "entropy": zeros, "mean_logits": zeros, "is_top1": zeros.bool()}
    return lambda **_: SimpleNamespace(**found)


def alike(model: Any, reference: Any) -> None:
    """The gradients of both are the same."""
    for mine, other in (
        (model.network.embedding.weight, reference.model.embed_tokens.weight),
        (model.network.head.weight, reference.lm_head.weight),
    ):
        assert other.grad is not None
        assert other.grad.abs().max() > 1e-4
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)


def recipe(kind: str, objective: Any, **stage: Any) -> dict[str, Any]:
    """A recipe of one stage over the toy, on a decoder, an encoder-decoder or a model that sees."""
    model = SEEING.get(kind) or {"language": {**(LANGUAGES | ENCODER)[kind], "vocabulary": 400}}
    data = {"reader": READER, "options": {"pictures": kind in SEEING}}
    base = {"name": "preferred", "data": data, "validation": data, "objective": objective, "steps": 4, "batch": 8}
    base |= {"target_tokens": 8, "precision": "float32", "optimizer": {"learning_rate": 1e-3}}
    return tiny.recipe("preferred", model, [{**base, **stage}])
