"""Prompts in the native core: what they begin alike with is read once, and no bit is another for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import sepiola
from sepiola.api import Model
from sepiola.data.image import ImageRef
from sepiola.generation.engine import Engine, Prompt
from sepiola.generation.prefix import Prefix
from sepiola.generation.sampling import Sampling
from sepiola.models.build import preset
from sepiola.models.multimodal.vision_language import VisionLanguageModel
from sepiola.models.vision.tiles import FAKE, GLOBAL
from sepiola.runtime.native import NativeExecutor, NativeLanguage
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer
from tests.runtime.test_native import network_of
from tests.tiny import byte_model, colour_picture, llama, noise_picture, randomise

pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")

DRAW = Sampling(temperature=1.0, seed=3)


class Counted:
    """How many tokens went through the layers."""

    tokens = 0


@contextmanager
def computed(engine: Engine) -> Iterator[Counted]:
    executor = engine.executor
    assert isinstance(executor, NativeExecutor)
    network = executor.network
    language = network.language if isinstance(network, VisionLanguageModel) else network
    assert isinstance(language, NativeLanguage)
    counted, before = Counted(), language.core.computed
    yield counted
    counted.tokens = language.core.computed - before


NETWORKS = {name: network_of(name) for name in ("qwen3", "gemma3")}


def engine_of(name: str = "qwen3", bits: int = 8) -> Engine:
    """A core of its own, which has read nothing."""
    return Engine(NativeExecutor(NETWORKS[name], bits=bits), ends=frozenset())


def text(tokens: int, seed: int = 0) -> list[int]:
    return torch.randint(5, 50, (tokens,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.inference_mode()
def begun(executor: NativeExecutor, texts: list[list[int]]) -> tuple[Any, Tensor]:
    """A batch of texts of any lengths, padded on the left, and the tokens that go in next."""
    longest = max(map(len, texts))
    tokens = torch.tensor([[0] * (longest - len(t)) + t for t in texts])
    mask = torch.tensor([[0] * (longest - len(t)) + [1] * len(t) for t in texts])
    return executor.begin(tokens, 200, attention_mask=mask), tokens[:, -1:]


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
@torch.inference_mode()
def test_rows_that_begin_alike_are_read_once_and_write_the_same(name: str, bits: int) -> None:
    alike, other = text(90), text(70, seed=1)
    texts = [alike + text(5, 2), other, alike, alike + text(30, 3), other + text(9, 4), text(3, 5), [7], alike]
    expected = []
    for one in texts:
        rows, following = begun(NativeExecutor(NETWORKS[name], bits=bits), [one])
        expected.append([rows.extend(following), rows.extend(following + 1), rows.extend(following + 2)])
    engine = engine_of(name, bits)
    assert isinstance(engine.executor, NativeExecutor)
    with computed(engine) as reading:
        rows, following = begun(engine.executor, texts)
    assert 90 + 70 <= reading.tokens <= 90 + 70 + 5 + 30 + 9 + 2 + 4
    for step, states in enumerate([rows.extend(following + n) for n in range(3)]):
        assert all(torch.equal(states[row], expected[row][step][0]) for row in range(len(texts)))


def test_chains_read_their_prompt_once_and_part() -> None:
    prompt = Prompt(text(100))
    expected = engine_of().generate([prompt] * 8, max_tokens=30, sampling=DRAW)
    engine = engine_of()
    with computed(engine) as reading:
        (chains,) = engine.generate([prompt], max_tokens=30, sampling=DRAW, samples=8)
    assert chains == [chain for (chain,) in expected]
    assert len({tuple(chain) for chain in chains}) == 8
    assert reading.tokens == 99 + 8 * 30


def test_a_row_that_goes_back_leaves_the_others_as_they_are() -> None:
    engine = engine_of()
    assert isinstance(engine.executor, NativeExecutor)
    with torch.inference_mode():
        rows, following = begun(engine.executor, [text(100)])
        whole = rows.extend(following)
        rows.select(torch.zeros(3, dtype=torch.long))
        rows.rewind(40)
        back = torch.tensor(text(100)[60:])
        again = rows.extend(torch.stack([back, back, back + 1]))
        assert torch.equal(again[0], again[1]) and torch.equal(again[0, -1], whole[0, -1])
        assert not torch.equal(again[0, -1], again[2, -1])


def test_a_prefix_is_read_once_for_all_chains_of_all_prompts() -> None:
    start = text(80)
    prompts = [Prompt([*start, *text(6, seed)]) for seed in range(1, 4)]
    expected = [engine_of().generate([p], max_tokens=5, sampling=DRAW, samples=4) for p in prompts]
    engine = engine_of()
    engine.prefix = Prefix(engine.executor, start)
    engine.generate([Prompt(text(30, 9))], max_tokens=2)  # another text comes between
    with computed(engine) as reading:
        assert [engine.generate([p], max_tokens=5, sampling=DRAW, samples=4) for p in prompts] == expected
    assert reading.tokens == 6 + 5 + 5 + 3 * 4 * 5
    together = engine.generate(prompts, max_tokens=5)
    assert together == [engine_of().generate([p], max_tokens=5)[0] for p in prompts]


TALK = [
    {"role": "user", "content": "Which sea is the largest of all, and what lives there? 哪个海最大?"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "And then?"},
]


def test_the_next_turn_does_not_read_again_what_stands() -> None:
    model = byte_model(llama(400)).run("native")
    reply = model.chat(TALK[:1], max_tokens=12)
    talk = [TALK[0], {"role": "assistant", "content": reply.text}, TALK[2]]
    with computed(model.engine) as reading:
        second = model.chat(talk, max_tokens=6)
    assert reading.tokens < second.prompt_tokens - reply.prompt_tokens + 20
    assert second.text == byte_model(llama(400)).run("native").chat(talk, max_tokens=6).text


def seeing() -> Model:
    marks = [f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)]
    tokenizer = Tokenizer.train(["What is on the left? 左边是什么？"], 330, extra=[FAKE, GLOBAL, IMAGE, *marks])
    changes = [f"language.vocabulary={tokenizer.vocabulary}", f"bridge.token={tokenizer.id_of(IMAGE)}"]
    changes += ["vision.layers=1", "language.layers=2", "vision.pixels.size=32", "vision.pixels.tiles.longest=64"]
    spec = ModelSpec.parse(override(preset("smolvlm-tiny").to_dict(), changes))
    model = Model(sepiola.build(spec).network, spec, tokenizer)
    return randomise(model, std=0.2, generator=torch.Generator().manual_seed(0)).run("native")


def test_a_conversations_pictures_are_not_read_again() -> None:
    def turn(role: str, text: str, *pictures: ImageRef) -> dict[str, object]:
        shown = [{"type": "image", "image": picture.open()} for picture in pictures]
        return {"role": role, "content": [*shown, {"type": "text", "text": text}]}

    model, red, noise = seeing(), colour_picture(), noise_picture(1)
    first = [turn("user", "What is on the left?", red)]
    reply = model.chat(first, max_tokens=5)
    talk = [*first, turn("assistant", reply.text)]
    for last in (turn("user", "And then?"), turn("user", "And here?", noise)):
        with computed(model.engine) as reading:
            second = model.chat([*talk, last], max_tokens=5)
        assert reading.tokens < second.prompt_tokens - reply.prompt_tokens + 25 < second.prompt_tokens
        assert second.text == seeing().chat([*talk, last], max_tokens=5).text
    with computed(model.engine) as reading:
        other = model.chat([turn("user", "What is on the left?", noise)], max_tokens=5)
    assert reading.tokens >= other.prompt_tokens  # another picture is


def test_threads_share_what_is_held() -> None:
    engine, wrong = engine_of(), list[int]()
    prompts = [Prompt([*text(70), *text(9, seed)]) for seed in range(4)]
    expected = [engine_of().generate([p], max_tokens=8, samples=2, sampling=DRAW) for p in prompts]

    def check() -> None:
        for _ in range(4):
            if [engine.generate([p], max_tokens=8, samples=2, sampling=DRAW) for p in prompts] != expected:
                wrong.append(1)

    running = [threading.Thread(target=check) for _ in range(3)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong
