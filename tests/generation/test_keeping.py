"""A model that has learned more tokens beside what it was before: the old writes what has no use for them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import sepiola
from sepiola.api import Model
from sepiola.errors import CheckpointError, SepiolaError
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.keeping import KeepingEngine, check_alone
from sepiola.generation.sampling import Sampling
from sepiola.text.chat import ChatTemplate
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import encoder_decoder, randomise

OLD, NEW = 300, 304
TEMPLATE = ChatTemplate({"default": "{% for m in messages %}{{ m.content }}\n{% endfor %}"})


def network(size: int, seed: int, liking: float = 0.0) -> Model:
    """Random weights; the rows of the last four tokens are `liking` times larger."""
    built = sepiola.build({"language": {**encoder_decoder(), "vocabulary": size}}, seed=seed)
    randomise(built, std=0.5, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        built.network.state_dict()["embedding.weight"][OLD:] *= liking
    return built


@pytest.fixture(scope="module")
def pair() -> tuple[KeepingEngine, Engine, Engine]:
    """An engine that keeps another, what writes its new tokens however unlikely they are, and what it keeps."""
    new, old = network(NEW, 1, liking=0.8), network(OLD, 2)
    return KeepingEngine(new.engine.executor, old.engine, ends=frozenset(), sure=0.0), new.engine, old.engine


PROMPTS = [
    Prompt(torch.randint(3, OLD, (5 + n % 4,), generator=torch.Generator().manual_seed(n)).tolist()) for n in range(24)
]


@pytest.mark.parametrize("samples", [1, 3])
def test_a_reply_without_new_tokens_is_the_kept_ones(pair: tuple[KeepingEngine, Engine, Engine], samples: int) -> None:
    keeping, new, old = pair
    sampling = Sampling() if samples == 1 else Sampling(temperature=1.0)
    seeds = None if samples == 1 else [[7 * n + i for i in range(samples)] for n in range(len(PROMPTS))]
    new.ends = old.ends = frozenset()
    written, ours, theirs = (
        engine.generate(PROMPTS, max_tokens=3, sampling=sampling, samples=samples, seeds=seeds)
        for engine in (keeping, new, old)
    )
    says = [[max(reply) >= OLD for reply in replies] for replies in ours]
    assert 0 < sum(map(sum, says)) < len(PROMPTS) * samples
    for replies, mine, kept, said in zip(written, ours, theirs, says, strict=True):
        assert replies == [a if new_one else b for a, b, new_one in zip(mine, kept, said, strict=True)]


def test_a_new_token_must_be_likely(pair: tuple[KeepingEngine, Engine, Engine]) -> None:
    """The first of a reply, given what stands before it; the reply is the kept one's otherwise."""
    _, new, old = pair
    new.ends = old.ends = frozenset()
    ours, theirs = (engine.generate(PROMPTS, max_tokens=3) for engine in (new, old))
    likely: dict[int, float] = {}
    for row, ((reply,), prompt) in enumerate(zip(ours, PROMPTS, strict=True)):
        for at, token in enumerate(reply):
            if token >= OLD and row not in likely:
                texts = [reply[:at], reply[: at + 1]] if at else [reply[:1]]
                scores = [score.log_likelihood for score in new.score([prompt], [texts])[0]]
                likely[row] = math.exp(scores[-1] - (scores[0] if at else 0.0))
    bar = sorted(likely.values())[len(likely) // 2] * 0.999
    written = KeepingEngine(new.executor, old, ends=frozenset(), sure=bar).generate(PROMPTS, max_tokens=3)
    sure = [likely.get(row, 0.0) >= bar for row in range(len(PROMPTS))]
    assert 1 < sum(sure) < len(likely)
    assert written == [a if own else b for a, b, own in zip(ours, theirs, sure, strict=True)]


def test_a_prompt_with_a_new_token_is_answered_by_what_knows_it(pair: tuple[KeepingEngine, Engine, Engine]) -> None:
    keeping, new, _ = pair
    asked = [Prompt([*PROMPTS[0].tokens, NEW - 1])]
    assert keeping.generate(asked, max_tokens=4) == new.generate(asked, max_tokens=4)


def test_both_are_saved_loaded_and_run(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["feed the cat"] * 9, NEW)
    new, kept = network(NEW, 1, liking=0.8), network(OLD, 2)
    new.processor, new.kept = Model(new.network, new.spec, tokenizer).processor, kept
    new.save(tmp_path / "both")
    back = sepiola.load(tmp_path / "both")
    assert back.kept is not None and isinstance(back.engine, KeepingEngine)
    assert torch.equal(
        back.kept.network.state_dict()["embedding.weight"], kept.network.state_dict()["embedding.weight"]
    )
    wanted = new.engine.generate(PROMPTS, max_tokens=3)
    assert back.engine.generate(PROMPTS, max_tokens=3) == wanted
    back.run("prepacked")
    assert isinstance(back.engine, KeepingEngine) and back.engine.kept is back.kept.engine
    with pytest.raises(SepiolaError, match="holds one model, and this one writes together"):
        new.save_hub(tmp_path / "hub")
    with pytest.raises(SepiolaError, match="GGUF holds one model"):
        check_alone(new.kept, "GGUF")
    new.kept = None
    check_alone(new.kept, "GGUF")
    new.save(tmp_path / "both")
    assert sepiola.load(tmp_path / "both").kept is None


def test_an_adapter_lies_on_one_of_them(tmp_path: Path) -> None:
    new = network(NEW, 1)
    new.kept = network(OLD, 2)
    new.save(tmp_path / "both")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lies on one model: give .*kept"):
        sepiola.load(tmp_path / "both", adapter=tmp_path / "adapter")


@pytest.mark.parametrize("chatting", [False, True])
def test_what_is_written_twice_is_told_once(chatting: bool) -> None:
    """The pieces are the reply's, and a stop string ends it as it ends that of what is kept alone."""
    tokenizer = Tokenizer.train(["feed the cat, the dog and 小猫"] * 9, NEW)
    new, kept = network(NEW, 1), network(OLD, 2)  # hardly a new token is written
    for model in (new, kept):
        known = Model(model.network, model.spec, tokenizer).processor
        model.processor = dataclasses.replace(known, template=TEMPLATE)
    new.kept = kept

    def write(model: Model, text: str, **asked: Any) -> str:
        if chatting:
            return model.chat([{"role": "user", "content": text}], max_tokens=12, **asked).text
        return str(model.generate(text, max_tokens=12, **asked))

    for text in ("feed", "the cat", "小猫", "dog and"):
        pieces: list[str] = []
        reply = write(new, text, on_text=pieces.append)
        assert reply == write(kept, text) == "".join(pieces).rstrip() and len(reply) > 4
        stop = reply[len(reply) // 2 :][:2]
        assert write(new, text, stop=stop) == write(kept, text, stop=stop) != reply
