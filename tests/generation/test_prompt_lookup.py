"""Guesses by what stood before: the same tokens, greedy or drawn, in fewer passes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

import sepiola
from sepiola.calling.token_lookup import FIRST, TokenLookup
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.sampling import Sampling
from sepiola.runtime import executor
from tests.tiny import decoder, encoder_decoder, llama

KINDS: dict[str, Any] = {
    "llama": llama(),
    "windows": llama(
        attention={"heads": 4, "kv_heads": 2, "head_width": 8, "qk_norm": True, "window": 4, "full_every": 2}
    ),
    "gpt-2": decoder(positions={"kind": "learned", "length": 60}, attention={"heads": 2, "bias": True}),
    "t5": encoder_decoder(),
}
REPEATING = [7, 8, 9, 10, 11, 12] * 3
SAMPLINGS = {
    "greedy": Sampling(),
    "drawn": Sampling(temperature=0.7, top_k=8, seed=3),
    "penalties": Sampling(temperature=0.5, repetition_penalty=1.3, no_repeat_ngram_size=4, seed=5),
}


def network_of(name: str) -> nn.Module:
    network: nn.Module = sepiola.build({"language": KINDS[name]}).network
    draw = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=draw)
    return network


def test_a_guess_is_what_followed_the_last_tokens_before() -> None:
    lookup = TokenLookup([1, 2, 3, 4, 5, 6, 7, 1, 2, 3], 8)
    assert lookup.guess(8) == [4, 5, 6][:FIRST]
    lookup.judged(3, 3)
    assert lookup.guess(8) == [4, 5, 6, 7, 1, 2] and lookup.guess(2) == [4, 5] and lookup.guess(0) == []
    lookup.judged(6, 1)
    assert lookup.guess(8) == [4, 5]
    lookup.add(9)
    assert lookup.guess(8) == []
    lookup.judged(0, 0)
    assert lookup.length == 2
    assert TokenLookup([5, 5, 5, 5], 3).guess(3) == [5, 5, 5], "what repeats itself goes on"
    assert TokenLookup([1, 2], 3).guess(3) == []
    twice = TokenLookup([1, 2, 3, 8, 8, 0, 1, 2, 3, 9, 9, 9, 1, 2, 3], 2)
    assert twice.guess(2) == [9, 9], "the last place counts"


@pytest.mark.parametrize("runtime", ["torch", "native"])
@pytest.mark.parametrize("name", KINDS)
def test_the_same_tokens_come_in_fewer_passes(name: str, runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if runtime == "native":
        pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
    engine = Engine(executor(runtime, network_of(name), bits=8 if runtime == "native" else None))
    heads: list[int] = []
    whole = engine.executor.logits
    monkeypatch.setattr(engine.executor, "logits", lambda states: heads.append(len(states)) or whole(states))
    for sampling in SAMPLINGS.values():
        for prompt in ([20, 21], REPEATING):
            texts, passes = [], []
            for most in (0, 6):
                how = Sampling(**{**vars(sampling), "prompt_lookup_num_tokens": most})
                heads.clear()
                (text,) = engine.generate([Prompt(prompt)], max_tokens=30, sampling=how)[0]
                texts.append(text)
                passes.append(len(heads))
            assert texts[0] == texts[1]
            assert passes[1] <= passes[0]
    assert max(heads) > 1, "something was guessed"


def test_stops_and_limits_hold_within_a_guess() -> None:
    engine = Engine(executor("torch", network_of("llama")), ends=frozenset())
    how = Sampling(prompt_lookup_num_tokens=6)
    (text,) = engine.generate([Prompt(REPEATING)], max_tokens=20)[0]
    for limit in range(1, 12):
        assert engine.generate([Prompt(REPEATING)], max_tokens=limit, sampling=how)[0] == [text[:limit]]
    for end in set(text):
        stop = partial(partial, int.__eq__, end)
        (before,) = engine.generate([Prompt(REPEATING)], max_tokens=20, sampling=how, stop=stop)[0]
        assert before == text[: text.index(end) + 1]
        ended = Engine(engine.executor, ends=frozenset({end}))
        assert ended.generate([Prompt(REPEATING)], max_tokens=20, sampling=how)[0] == [text[: text.index(end)]]


def test_a_row_is_drawn_by_the_seed_that_is_its_own() -> None:
    engine = Engine(executor("torch", network_of("llama")), ends=frozenset())

    def written(seed: int, *own: int) -> list[int]:
        how = Sampling(temperature=1.0, seed=seed, prompt_lookup_num_tokens=6)
        seeds = [list(own)] if own else None
        ((row,),) = engine.generate([Prompt(REPEATING)], max_tokens=24, sampling=how, seeds=seeds)
        return row

    assert written(3, 9) == written(9) != written(3)


def test_several_rows_are_written_without_guesses() -> None:
    engine = Engine(executor("torch", network_of("llama")), ends=frozenset())
    prompts = [Prompt(REPEATING), Prompt([5, 6])]
    texts = [
        engine.generate(prompts, max_tokens=8, samples=2, sampling=Sampling(prompt_lookup_num_tokens=n)) for n in (0, 4)
    ]
    assert texts[0] == texts[1]
    with pytest.raises(SepiolaError, match="prompt_lookup_num_tokens: got -1"):
        Sampling(prompt_lookup_num_tokens=-1)
