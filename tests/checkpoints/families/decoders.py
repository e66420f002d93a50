"""What every family of decoders is held to, against `transformers` on shared random weights: whole, cached, padded on
either side, and back. A family's test file has its shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import sepiola

Shape = tuple[str, dict[str, Any]]
"""A `model_type`, and keys of its config."""


def reference(shape: Shape, **changes: Any) -> Any:
    """A model of `transformers` with random weights, large enough that every tensor tells."""
    kind, keys = shape
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**keys | changes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    return model


def tokens(model: Any) -> Tensor:
    return torch.randint(3, model.config.vocab_size, (3, 17))


def expected(model: Any, source: Tensor, mask: Tensor | None = None) -> Tensor:
    positions = None if mask is None else (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits: Tensor = model(input_ids=source, attention_mask=mask, position_ids=positions).logits
    return logits


def logits_agree_with_transformers(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    ours = sepiola.load(tmp_path)
    source = tokens(theirs)
    wanted = expected(theirs, source)
    assert wanted.std() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(ours(source), wanted, atol=1e-4, rtol=0)


def padding_on_either_side_changes_nothing(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    source = tokens(theirs)
    mask = torch.ones_like(source)
    for row, missing in enumerate((0, 5, 16)):
        mask[row, :missing] = 0
    ours = sepiola.load(tmp_path)
    for padded in (mask, mask.flip(1)):
        with torch.no_grad():
            given = ours(source, attention_mask=padded)
        real = padded.bool()
        torch.testing.assert_close(given[real], expected(theirs, source, padded)[real], atol=1e-4, rtol=0)


def cached_decoding_agrees_with_the_whole(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    model = sepiola.load(tmp_path).network
    source = tokens(theirs)
    wanted = expected(theirs, source)
    mask = torch.ones_like(source)
    mask[0, :4] = 0
    shifted = expected(theirs, source, mask)
    with torch.inference_mode():
        for at, attention_mask in ((wanted, None), (shifted, mask)):
            begun = attention_mask[:, :9] if attention_mask is not None else None
            state = model.begin(source[:, :9], 8, attention_mask=begun)
            steps = [model.head(model.extend(source[:, t : t + 1], state)) for t in range(8, 17)]
            torch.testing.assert_close(torch.cat(steps, 1), at[:, 8:], atol=1e-4, rtol=0)


def saved_for_the_hub_gives_the_same_logits_in_transformers(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = sepiola.load(tmp_path / "theirs")
    ours.save_hub(tmp_path / "back")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "back").eval()
    source = tokens(theirs)
    torch.testing.assert_close(expected(again, source), expected(theirs, source), atol=1e-4, rtol=0)
    for key, value in sepiola.load(tmp_path / "back").state_dict().items():
        torch.testing.assert_close(value, ours.state_dict()[key], atol=1e-6, rtol=0)


CHECKS: list[Callable[[Shape, Path], None]] = [
    logits_agree_with_transformers,
    padding_on_either_side_changes_nothing,
    cached_decoding_agrees_with_the_whole,
    saved_for_the_hub_gives_the_same_logits_in_transformers,
]


def padding_between_tokens_changes_nothing(shape: Shape, tmp_path: Path) -> None:
    theirs = reference(shape)
    theirs.save_pretrained(tmp_path)
    source = tokens(theirs)[:, :8]
    mask = torch.tensor([[1, 1, 1, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1, 1, 0], [1] * 8])
    ours = sepiola.load(tmp_path)
    with torch.no_grad():
        given = ours(source, attention_mask=mask)
        state = ours.network.begin(source[:, :6], 4, attention_mask=mask[:, :6])
        later = ours.network.head(ours.network.extend(source[:, 5:], state, attention_mask=mask[:, 5:]))
    real = mask.bool()
    torch.testing.assert_close(given[real], expected(theirs, source, mask)[real], atol=1e-4, rtol=0)
    torch.testing.assert_close(later[real[:, 5:]], given[:, 5:][real[:, 5:]], atol=1e-4, rtol=0)
    for row, kept in zip(source, real, strict=True):
        bare = expected(theirs, row[None, kept])[0]
        torch.testing.assert_close(given[(row == source).all(1)][0][kept], bare, atol=1e-4, rtol=0)
