"""The next token: what `transformers`' logits processors make of the same logits, and the bounds of each setting."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.utils import GenerationMixin

from sepiola.errors import SepiolaError
from sepiola.generation.sampling import Sampling

VOCABULARY, ENDS = 23, [1, 4]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.8},
    {"repetition_penalty": 0.6},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3},
    {"min_new_tokens": 4},
    {"min_new_tokens": 3},
    {"min_length": 9},
    {"min_length": 10},
    {"forced_bos_token_id": 7},
    {"forced_eos_token_id": 1},
    {"suppress_tokens": [3, 4, 40]},
    {"begin_suppress_tokens": [2, 5]},
    {"begin_suppress_tokens": [2, 5], "forced_bos_token_id": 7, "suppress_tokens": (9,)},
    {"temperature": 0.7},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.0, "top_k": 500},
    {"temperature": 1.0, "top_p": 0.6},
    {"temperature": 1.3, "top_p": 1e-9},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 2.5, "min_p": 1.0},
    {
        "temperature": 1.7,
        "top_k": 12,
        "top_p": 0.9,
        "min_p": 0.05,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 5,
    },
]


class Reference(GenerationMixin):
    """What chooses the processors of a decoder."""

    config = SimpleNamespace(is_encoder_decoder=False)


def theirs(logits: Tensor, tokens: Tensor, prompt: int, settings: dict[str, Any], last: bool) -> Tensor:
    """The logits after the processors that `generate` would set up."""
    sampled = {"do_sample": "temperature" in settings, "top_k": 0, **settings}
    config = GenerationConfig(**sampled)
    config.max_length = tokens.shape[1] + 1 if last else 100
    config._eos_token_tensor = torch.tensor(ENDS)
    processors = Reference()._get_logits_processor(config, input_ids_seq_length=prompt, device="cpu")
    return processors(tokens, logits.float())


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_those_of_transformers(settings: dict[str, Any], dtype: torch.dtype) -> None:
    sampling, ends = Sampling(**settings), torch.tensor(ENDS)
    generator = torch.Generator().manual_seed(5)
    for prompt, length, last in [(6, 9, False), (1, 1, False), (9, 9, True), (2, 3, True)]:
        logits = (4 * torch.randn(3, VOCABULARY, generator=generator)).to(dtype)
        tokens = torch.randint(2, 6, (3, length), generator=generator)  # few tokens, so that n-grams repeat
        ours = sampling.process(logits, tokens, prompt=prompt, ends=ends, last=last)
        torch.testing.assert_close(ours, theirs(logits, tokens, prompt, settings, last), rtol=0, atol=0)
        drawn = sampling.draw(logits, tokens, generator, prompt=prompt, ends=ends, last=last)
        assert ours.gather(1, drawn[:, None]).isfinite().all()
        if not sampling.temperature:
            assert drawn.tolist() == ours.argmax(-1).tolist()


@pytest.mark.parametrize(
    "settings", [{"repetition_penalty": 1.8}, {"no_repeat_ngram_size": 2}, {"min_length": 6}], ids=str
)
def test_padding_of_a_shorter_row_counts_for_nothing(settings: dict[str, Any]) -> None:
    sampling, ends = Sampling(**settings), torch.tensor(ENDS)
    logits, row = torch.randn(1, VOCABULARY), torch.tensor([[3, 5, 2, 3]])
    alone = sampling.process(logits, row, prompt=2, ends=ends)
    padded = torch.cat((torch.full((1, 3), VOCABULARY), row), dim=1)
    assert sampling.process(logits, padded, prompt=5, ends=ends).equal(alone)
    assert not alone.equal(logits)


def test_presence_and_frequency_count_what_was_written() -> None:
    """OpenAI's definition: `logit - count * frequency - (count > 0) * presence`."""
    logits = torch.tensor([[3.0, 2.0, 1.0, -1.0], [0.5, 0.5, 0.5, 0.5]])
    tokens = torch.tensor([[0, 1, 1, 2, 1], [3, 3, 0, 0, 0]])  # the first two are the prompt's
    processed = Sampling(presence_penalty=0.5, frequency_penalty=0.25).process(logits, tokens, prompt=2)
    expected = [[3.0, 2.0 - 0.5 - 2 * 0.25, 1.0 - 0.5 - 0.25, -1.0], [0.5 - 0.5 - 3 * 0.25, 0.5, 0.5, 0.5]]
    assert processed.tolist() == expected
    assert Sampling(presence_penalty=-2.0).process(logits, tokens, prompt=2).tolist()[0] == [3.0, 4.0, 3.0, -1.0]


def test_what_is_drawn_follows_the_distribution() -> None:
    logits, none = torch.tensor([[3.0, 2.0, 1.0, -1.0]]).expand(4000, 4), torch.empty(4000, 0, dtype=torch.long)
    sampling, generator = Sampling(1.4, top_p=0.9), torch.Generator().manual_seed(0)
    shares = sampling.draw(logits, none, generator).bincount(minlength=4) / 4000
    assert shares.tolist() == pytest.approx(sampling.process(logits, none)[0].softmax(-1).tolist(), abs=0.03)
    assert shares[3] == 0


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_what_has_no_probability_is_not_drawn_at_either_end(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least and the largest number that can be drawn, under totals that are rounded up and down."""
    torch.manual_seed(0)
    logits = 3 * torch.randn(500, 40)
    logits[:, :3] = logits[:, -3:] = -torch.inf
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size[0], number))
    drawn = Sampling(1.0).pick(logits, torch.Generator())
    assert drawn.tolist() == [3 if number == 0 else 36] * 500


WRONG: list[tuple[str, Any]] = [
    *(("temperature", value) for value in (math.nan, 1e-40, -0.5, math.inf, "1", True)),
    *(("top_p", value) for value in (0, 1.01, -1, math.nan)),
    *(("min_p", value) for value in (-0.1, 1.5, math.nan)),
    *(("top_k", value) for value in (-1, 2.5)),
    *(("repetition_penalty", value) for value in (0, -1.0, math.nan, math.inf)),
    *((name, value) for name in ("presence_penalty", "frequency_penalty") for value in (2.1, -3, math.nan)),
    *((name, -1) for name in ("no_repeat_ngram_size", "min_new_tokens", "min_length")),
    *(("seed", value) for value in (2**64, 0.5)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_out_of_its_bounds_is_named(name: str, value: object) -> None:
    with pytest.raises(SepiolaError) as caught:
        Sampling(**{name: value})
    assert str(caught.value).startswith(f"{name}: got {value!r}, expected ")


def test_logits_that_leave_nothing_to_draw_are_one_message() -> None:
    generator, tokens = torch.Generator(), torch.tensor([[0, 1, 2]])
    with pytest.raises(SepiolaError, match="no_repeat_ngram_size 1: after 3 tokens"):
        Sampling(no_repeat_ngram_size=1).draw(torch.randn(1, 3), tokens, generator)
    with pytest.raises(SepiolaError, match="not numbers"):
        Sampling(1.0).draw(torch.full((1, 3), torch.nan), tokens, generator)


def test_a_nucleus_is_the_likeliest_tokens_of_its_mass_and_those_that_tie_with_the_last() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.2, 0.5]]).log()
    for mass, kept in ((0.4, 1), (0.6, 2), (0.75, 5), (1 - 1e-6, 5)):
        processed = Sampling(1.0, top_p=mass).process(logits, torch.empty(2, 0, dtype=torch.long))
        assert (processed > -torch.inf).sum(1).tolist() == [kept, kept]
        assert torch.equal(processed[0], processed[1].flip(0))
