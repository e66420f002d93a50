"""The native core: every instruction set computes the same bits, and each family what torch does but for rounding."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import sepiola
from sepiola.errors import SepiolaError, SpecError
from sepiola.generation.engine import Engine, Prompt
from sepiola.runtime import EXECUTORS, native
from sepiola.runtime.native import KERNELS, THREADS, NativeExecutor, NativeLanguage
from sepiola.runtime.plain import TorchExecutor
from tests.tiny import byte_model, decoder, encoder_decoder, llama

core = pytest.importorskip("sepiola_edge._native", reason="the native core is not built: pip install ./edge")
SETS: list[str] = core.instruction_sets()
KINDS = {"f32": 0.0, "bf16": 0.004, "int8": 0.02, "int4": 0.2}
"""Kinds of packed matrices, and how far a weight's rounding may take it, relative to all."""

EXPERTS = {"width": 40, "activation": "silu", "gated": True, "experts": 4, "chosen": 2}
LEARNED = {"kind": "learned", "length": 40}
FAMILIES: dict[str, Any] = {
    "llama": llama(),
    "qwen2": llama(attention={"heads": 4, "kv_heads": 2, "bias": True, "output_bias": False}, tied=False),
    "qwen3": llama(attention={"heads": 4, "kv_heads": 2, "head_width": 8, "qk_norm": True}),
    "gemma3": llama(
        norm={"kind": "rms", "place": "sandwich", "zero_centred": True},
        attention={"heads": 4, "kv_heads": 2, "head_width": 8, "qk_norm": True, "window": 4, "full_every": 2},
        positions={"kind": "rotary", "base": 1e6, "local_base": 1e4},
        embedding_scale=4.9,
    ),
    "gpt-1": decoder(
        positions=LEARNED, norm={"place": "post"}, feed_forward={"width": 24, "activation": "gelu", "bias": True}
    ),
    "gpt-2": decoder(
        positions=LEARNED,
        attention={"heads": 2, "bias": True},
        feed_forward={"width": 24, "activation": "gelu_tanh", "bias": True},
    ),
    "opt": decoder(
        positions={**LEARNED, "offset": 2},
        attention={"heads": 2, "bias": True},
        feed_forward={"width": 24, "activation": "relu", "bias": True},
    ),
    "palm": llama(norm={"kind": "layer", "bias": False, "place": "parallel"}, attention={"heads": 4, "kv_heads": 1}),
    "mixtral": llama(feed_forward=EXPERTS),
    "qwen3's mixture": llama(
        feed_forward={**EXPERTS, "experts": 9, "chosen": 3},
        attention={"heads": 4, "kv_heads": 2, "head_width": 8, "qk_norm": True},
        tied=False,
    ),
    "qwen2's mixture": llama(
        layers=3,
        feed_forward={**EXPERTS, "renormalise": False, "shared": 72, "dense": (1,), "dense_width": 100},
        attention={"heads": 4, "kv_heads": 2, "bias": True, "output_bias": False},
    ),
    "olmoe": llama(
        feed_forward={**EXPERTS, "experts": 9, "chosen": 3, "renormalise": False},
        attention={"heads": 4, "kv_heads": 2, "qk_norm": "joined"},
        tied=False,
    ),
    "a mixture in a sandwich": llama(norm={"kind": "rms", "place": "sandwich"}, feed_forward=EXPERTS),
    "a mixture in parallel": llama(norm={"kind": "rms", "place": "parallel"}, feed_forward=EXPERTS),
    "experts of an encoder and a decoder": encoder_decoder(
        norm={"kind": "layer", "place": "post"}, feed_forward={**EXPERTS, "activation": "gelu_tanh"}
    ),
    "a bias of the head": decoder(
        head={"bias": True}, embedding_norm=True, feed_forward={"width": 24, "activation": "quick_gelu"}
    ),
    "t5": encoder_decoder(head_scale=0.25),
    "flan-t5": encoder_decoder(
        layers=2, feed_forward={"width": 40, "activation": "gelu_tanh", "gated": True}, tied=False
    ),
    "bart": encoder_decoder(
        positions={**LEARNED, "offset": 2},
        norm={"kind": "layer", "place": "post"},
        attention={"heads": 2, "bias": True},
        feed_forward={"width": 24, "bias": True},
        embedding_norm=True,
        encoder_layers=2,
        decoder_embedding=True,
    ),
    "the first transformer": encoder_decoder(positions={"kind": "sinusoidal"}, norm={"kind": "layer", "place": "post"}),
}


def network_of(name: str) -> nn.Module:
    """A network whose matrices are so large that attention chooses, and a turn, a scale or a norm amiss shows."""
    network: nn.Module = sepiola.build({"language": FAMILIES[name]}).network
    generator = torch.Generator().manual_seed(0)
    for part, parameter in network.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5, generator=generator)
        elif part.endswith(("norm.weight", "bias")):
            low, high = (0.5, 1.5) if "weight" in part else (-0.3, 0.3)
            nn.init.uniform_(parameter, low, high, generator=generator)
    return network


@torch.inference_mode()
def logits_of(executor: TorchExecutor) -> list[Tensor]:
    """Logits of a padded batch at every kind of step: several tokens, one, after rows were chosen, of some tokens."""
    draw = torch.Generator().manual_seed(1)
    prompt, after = (torch.randint(5, 50, (3, n), generator=draw) for n in (9, 6))
    mask = torch.ones_like(prompt)
    causal = executor.spec.kind == "decoder"
    for row, padding in enumerate((4, 2)):
        mask[row, :padding] = 0
    rows = executor.begin(prompt, 10, attention_mask=mask if causal else mask.flip(1))
    first = prompt[:, -1:] if causal else torch.zeros(3, 1, dtype=torch.long)
    several = executor.logits(rows.extend(torch.cat((first, after[:, :2]), dim=1)))
    rows.extend(after[:, 3:])
    rows.rewind(3)
    order = torch.tensor([2, 0, 2, 1])
    rows.select(order)
    one = executor.logits(rows.extend(after[order, 2:3]))
    some = executor.logits(rows.extend(after[order, 3:4])[:, -1], torch.tensor([7, 40, 3]))
    return [several, one, some]


def distance(given: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).norm() / b.norm()) for a, b in zip(given, expected, strict=True))


def typical(given: list[Tensor], expected: list[Tensor]) -> float:
    """The distance of the median token: of two experts that are as likely, rounding may choose another for some."""
    return max(float(((a - b).norm(dim=-1) / b.norm(dim=-1)).median()) for a, b in zip(given, expected, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(40, 24), (33, 130), (16, 64)])
def test_products_are_the_same_bits_by_every_instruction_set(kind: str, shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    weights = draw.normal(size=shape).astype(np.float32)
    weights[:, 3] *= 8  # a column that stands out
    packed = core.pack(weights, kind)
    kept = core.unpack(packed, kind, *shape)
    assert np.linalg.norm(kept - weights) <= KINDS[kind] * np.linalg.norm(weights)
    for tokens in (1, 2, 7, 13):
        x = draw.normal(size=(tokens, shape[1])).astype(np.float32)
        x[0, :20] = 0
        products = [core.product(packed, kind, *shape, x, name) for name in SETS]
        assert all(np.array_equal(products[0], other) for other in products)
        exact = x @ kept.T
        assert np.linalg.norm(products[0] - exact) < (0.015 if "int" in kind else 1e-5) * np.linalg.norm(exact)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_what_torch_does(name: str) -> None:
    network = network_of(name)
    expected = logits_of(TorchExecutor(network))
    far = typical if FAMILIES[name]["feed_forward"].get("experts") else distance
    apart = {bits: far(logits_of(NativeExecutor(network, bits=bits)), expected) for bits in (32, 16, 8, 4)}
    assert apart[32] < 1e-5
    assert apart[16] < 0.03 and apart[8] < 0.1 and apart[4] < 1.5  # networks that amplify what goes in
    assert apart[32] < apart[16] < apart[4] and apart[8] < apart[4]


@pytest.mark.parametrize("name", ["gemma3", "bart", "qwen3's mixture"])
def test_instruction_sets_and_threads_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(name)
    for bits in (4, 8, 16):
        results = []
        for kernels, threads in [(each, "1") for each in SETS] + [(SETS[0], "2"), (SETS[-1], "3")]:
            monkeypatch.setenv(KERNELS, kernels)
            monkeypatch.setenv(THREADS, threads)
            executor = NativeExecutor(network, bits=bits)
            assert isinstance(executor.network, NativeLanguage)
            assert (executor.network.core.kernels, executor.network.core.threads) == (kernels, int(threads))
            results.append(logits_of(executor))
        assert all(torch.equal(a, b) for other in results for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("bits", [4, 8, 16])
@pytest.mark.parametrize("name", ["qwen3", "qwen3's mixture"])
@torch.inference_mode()
def test_rows_and_steps_change_no_bit(name: str, bits: int) -> None:
    executor = NativeExecutor(network_of(name), bits=bits)
    tokens = torch.randint(5, 50, (3, 40), generator=torch.Generator().manual_seed(2))
    together = executor.begin(tokens[:, :1], 40, attention_mask=None).extend(tokens)
    for row in range(3):
        alone = executor.begin(tokens[row : row + 1, :1], 40, attention_mask=None)
        assert torch.equal(alone.extend(tokens[row : row + 1])[0], together[row])
    stepped = executor.begin(tokens[:, :2], 40, attention_mask=None)
    later = [stepped.extend(tokens[:, i : i + 1]) for i in range(1, 40)]
    assert torch.equal(torch.cat(later, dim=1), together[:, 1:])
    long = torch.randint(5, 50, (1, 300), generator=torch.Generator().manual_seed(3))  # in more than one piece
    whole = executor.begin(long[:, :1], 300, attention_mask=None).extend(long)
    halves = executor.begin(long[:, :200], 300, attention_mask=None)
    assert torch.equal(halves.extend(long[:, 199:])[0, -1], whole[0, -1])


def test_greedy_texts_are_torchs() -> None:
    network = network_of("llama")
    prompts = [Prompt([7, 8, 9, 10]), Prompt([11, 12]), Prompt([30] * 9)]
    texts = [
        Engine(made, ends=frozenset()).generate(prompts, max_tokens=12)
        for made in (TorchExecutor(network), NativeExecutor(network, bits=32))
    ]
    assert texts[0] == texts[1]


def test_a_released_network_is_held_once() -> None:
    network = network_of("qwen2")
    expected = logits_of(NativeExecutor(network, bits=8))
    before = sum(p.numel() for p in network.parameters())
    alone = logits_of(NativeExecutor(network, bits=8, release=True))
    assert all(torch.equal(*pair) for pair in zip(alone, expected, strict=True))
    assert sum(p.numel() for p in network.parameters()) < 0.5 * before


def test_threads_and_forks_at_once_give_the_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS, "2")
    executor = NativeExecutor(network_of("llama"), bits=8)
    expected = logits_of(executor)
    wrong: list[int] = []

    def check() -> None:
        for _ in range(5):
            if not all(torch.equal(*pair) for pair in zip(logits_of(executor), expected, strict=True)):
                wrong.append(1)

    def core_states() -> NDArray[np.float32]:  # what a fork may run of torch is little: the core alone
        core = executor.network.core
        out = np.empty((70, 24), np.float32)
        tokens = np.arange(70, dtype=np.int32) % 50
        batch = core.read(tokens[:-1], np.zeros(69, np.int32), 1)
        core.extend(batch, tokens, np.zeros(70, np.int32), out)
        return out

    states = core_states()
    running = [threading.Thread(target=check) for _ in range(2)]
    for thread in running:
        thread.start()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(core_states(), states) else 1)
        children.append(child)
    for thread in running:
        thread.join()
    assert not wrong and all(os.waitpid(child, 0)[1] == 0 for child in children)


def test_what_the_core_does_not_compute_is_refused_by_name(caplog: pytest.LogCaptureFixture) -> None:
    def refused(raw: Any, reason: str) -> None:
        with pytest.raises(SepiolaError, match=reason):
            sepiola.build(raw).run("native")

    biased = {"kind": "gated-cross", "token": 7, "image_width": 8, "attention": {"heads": 2, "bias": True}}
    refused({"language": llama(), "bridge": biased}, r"biases \(bridge.attention.bias\)")
    refused({"language": decoder(positions={"kind": "transformer-xl"})}, "Transformer-XL")
    scaling = {"kind": "dynamic", "factor": 2.0}
    refused({"language": decoder(positions={"kind": "rotary", "length": 20, "scaling": scaling})}, "positions.scaling")
    model = sepiola.build({"language": llama()})
    with pytest.raises(SpecError, match="bits: got 5; expected 4, 8 or 16"):
        model.run("native", bits=5)
    with pytest.raises(SpecError, match="only runtime 'native' packs"):
        model.run("torch", bits=4)
    with pytest.raises(SpecError, match="no runtime is named 'nativ'; did you mean 'native'"):
        model.run("nativ")
    assert not caplog.records


def test_a_core_that_is_not_built_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    monkeypatch.setattr(native, "built", lambda: False)
    native._say_not_built.cache_clear()
    network = network_of("llama")
    with caplog.at_level(logging.WARNING):
        made = [EXECUTORS["native"](network, bits=4) for _ in range(2)]
    assert all(isinstance(one, TorchExecutor) and not isinstance(one, NativeExecutor) for one in made)
    assert [record.message for record in caplog.records] == [
        "the native core is not built, so PyTorch runs the model, with its weights as they are: "
        "pip install ./edge (in a checkout of sepiola; a C++17 compiler is needed)"
    ]
    with pytest.raises(SepiolaError, match=r"not built: pip install \./edge"):
        NativeExecutor(network)


def test_a_saved_model_is_loaded_to_run_natively(tmp_path: Any) -> None:
    model = byte_model(llama(400))
    model.save(tmp_path)
    expected = model.generate("the sea 海", max_tokens=8)
    loaded = sepiola.load(tmp_path, runtime="native", bits=32)
    assert isinstance(loaded.engine.executor, NativeExecutor)
    assert loaded.generate("the sea 海", max_tokens=8) == expected


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"decoder.0.qkv": None}, "there is no matrix 'decoder.0.qkv'"),
        ({"decoder.norm.weight": ("f32", np.zeros(4, np.uint8))}, "'decoder.norm.weight' has 4 bytes of f32"),
        ({"embedding": ("f32", np.zeros(64, np.uint8))}, "'embedding' is f32; expected a packed matrix"),
        ({"decoder.1.down": ("packed int8", np.zeros(64, np.uint8), 24, 40)}, "'decoder.1.down' is"),
        ({"decoder.1.down": ("packed int3", np.zeros(64, np.uint8), 24, 40)}, "int3"),
    ],
)
def test_weights_that_do_not_fit_are_refused(arrays: dict[str, Any], message: str) -> None:
    from sepiola.runtime.native_weights import core_spec, core_tensors

    network: Any = network_of("llama")
    tensors = {**core_tensors(network, 8), **arrays}
    with pytest.raises(ValueError, match=message):
        core.Model(core_spec(network.spec, network), {name: value for name, value in tensors.items() if value})


def test_embeddings_that_are_no_head_have_8_bits_at_least() -> None:
    from sepiola.runtime.native_weights import core_tensors

    for name, kinds in (("llama", {}), ("qwen2", {"embedding"}), ("bart", {"decoder_embedding"})):
        network: Any = network_of(name)
        packed = {key: kind for key, (kind, *_) in core_tensors(network, 4).items() if kind.startswith("packed")}
        assert {key for key, kind in packed.items() if kind == "packed int8"} == set(kinds)
        assert {kind for key, kind in packed.items() if key not in kinds} == {"packed int4"}
        assert {kind for kind, *_ in core_tensors(network, 16).values()} == {"packed bf16", "f32"}


@pytest.mark.parametrize("change", [{"width": 0}, {"width": "x"}, {"vocabulary": 2**30}, {"decoder": {}}])
def test_specs_that_are_out_of_bounds_are_refused(change: dict[str, Any]) -> None:
    from sepiola.runtime.native_weights import core_spec, core_tensors

    network: Any = network_of("llama")
    with pytest.raises(ValueError, match=next(iter(change)) if "decoder" not in change else "layers"):
        core.Model({**core_spec(network.spec, network), **change}, core_tensors(network, 8))


def test_pytorch_has_one_thread_while_the_core_writes_and_its_own_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, seen, before = Engine(NativeExecutor(network_of("llama"))), list[int](), torch.get_num_threads()
    extend = NativeLanguage.extend

    def looked(self: NativeLanguage, *given: Any, **named: Any) -> Tensor:
        seen.append(torch.get_num_threads())
        return extend(self, *given, **named)

    monkeypatch.setattr(NativeLanguage, "extend", looked)
    try:
        torch.set_num_threads(2)
        engine.generate([Prompt([3, 4, 5])], max_tokens=2)
        with pytest.raises(SepiolaError):
            engine.generate([Prompt([10**6])], max_tokens=2)
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
