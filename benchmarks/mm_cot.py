"""Multimodal-CoT as a user has it from `transformers`: T5, and the fusion of the reference code on its encoder.

Both sides hold the same weights and see the same questions, tokens and features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from sepiola.checkpoints.families import t5
from sepiola.data.batching import Sample
from sepiola.data.example import Example
from sepiola.datasets import read
from sepiola.models.build import build, preset
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import encode
from sepiola.text.prompts import PromptFormat
from sepiola.text.tokenizer import Tokenizer

PATCHES, WIDTH = 100, 256  # DETR's features


class ReferenceModel(nn.Module):
    """`transformers`' T5 with the gated fusion of the reference code between its encoder and decoder."""

    def __init__(self, model: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.t5 = T5ForConditionalGeneration(T5Config(**t5.config_from_spec(spec)))
        width = self.t5.config.d_model
        self.image_dense = nn.Linear(WIDTH, width)
        self.mha_layer = nn.MultiheadAttention(width, 1, batch_first=True)
        self.gate_dense = nn.Linear(2 * width, width)
        state = t5.to_hub(model.state_dict(), spec)
        fusion = {k: v for k, v in state.items() if k.startswith(("image_dense", "mha_layer", "gate_dense"))}
        self.load_state_dict({**fusion, **{f"t5.{k}": v for k, v in state.items() if k not in fusion}}, strict=False)

    def encode(self, source: Tensor, mask: Tensor, images: Tensor) -> Tensor:
        hidden = self.t5.encoder(input_ids=source, attention_mask=mask).last_hidden_state
        image = self.image_dense(images)
        attended, _ = self.mha_layer(hidden, image, image, need_weights=False)
        gate = torch.sigmoid(self.gate_dense(torch.cat([hidden, attended], dim=-1)))
        return (1 - gate) * hidden + gate * attended

    def forward(self, source: Tensor, mask: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of the labels that are not -100."""
        memory = self.encode(source, mask, images)
        return self.t5(encoder_outputs=(memory,), attention_mask=mask, labels=labels).loss

    def generate(self, source: Tensor, mask: Tensor, images: Tensor, **options: Any) -> Tensor:
        memory = BaseModelOutput(last_hidden_state=self.encode(source, mask, images))
        return self.t5.generate(encoder_outputs=memory, attention_mask=mask, **options)


def spec_of(name: str) -> ModelSpec:
    """The preset without vision encoder (features are given) and without dropout, so that losses can be compared."""
    spec = preset(name)
    assert spec.language is not None and spec.bridge is not None
    bridge = spec.bridge.model_copy(update={"image_width": WIDTH})
    language = spec.language.model_copy(update={"dropout": 0.0})
    return spec.model_copy(update={"vision": None, "bridge": bridge, "language": language})


def both(name: str, seed: int = 0) -> tuple[nn.Module, ReferenceModel]:
    """Our model and the reference one on the same random weights."""
    spec = spec_of(name)
    ours = build(spec, seed=seed)
    return ours, ReferenceModel(ours, spec)


def questions() -> list[Example]:
    """ScienceQA's training questions whose rationale is known, from the folder that SEPIOLA_DATA names."""
    root = Path(os.environ.get("SEPIOLA_DATA") or Path(__file__).parents[2] / "shared" / "data") / "scienceqa"
    layout = PromptFormat.parse("QCM-LE")
    return [e for e in read("scienceqa", root, "train") if layout.trainable(e)]


def tokenizer_of(examples: Sequence[Example], vocabulary: int = 32_000) -> Tokenizer:
    """A vocabulary of T5's size, trained on these questions; cached beside the benchmarks' other files."""
    path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sepiola" / f"scienceqa-{vocabulary}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        layout = PromptFormat.parse("QCM-LEA")
        texts = [text for e in map(layout.apply, examples) for text in (e.prompt, e.target)]
        path.write_text(Tokenizer.train(texts, vocabulary).to_json(), encoding="utf-8")
    return Tokenizer.load(path)


def samples_of(examples: Sequence[Example], layout: str, tokenizer: Tokenizer, name: str) -> list[Sample]:
    """The questions as token ids, cut to 512 and 512."""
    chosen = PromptFormat.parse(layout)
    language = preset(name).language
    assert language is not None
    made = encode([chosen.apply(e) for e in examples], tokenizer, language.tokens, close=True, images=False)
    return [s.cut(512, 512) for s in made]


def padded(rows: Sequence[Sequence[int]], length: int, filling: int) -> Tensor:
    """Token ids `(rows, length)`, filled on the right."""
    return torch.tensor([[*row, *[filling] * (length - len(row))] for row in rows])
