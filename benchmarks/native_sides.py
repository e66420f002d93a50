"""Sides of `native.py` that write text: the native core, and its peers where they are installed. Each has works, which
prepare and then do so much while the clock runs.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sepiola.models.transformer import LanguageModel
from sepiola.runtime.native import NativeExecutor, NativeLanguage
from sepiola.specs.model import TransformerSpec

CHAINS, TOGETHER_PROMPT = 8, 128
"""Chains of one prompt, and its tokens."""
SETTLED = 0.05
"""Seconds until threads of whoever worked before, which wait for more at full speed, have gone to sleep."""


class Took(NamedTuple):
    """How much was done, in seconds by the clock, and of processor time; and the share of the processors that other
    processes took meanwhile.
    """

    count: int
    wall: float
    cpu: float
    others: float = 0.0


Work = Callable[[], Took]


class Meanwhile:
    """What the processors do from its making on."""

    def __init__(self) -> None:
        self.began, self.busy = time.perf_counter(), _busy()

    def others(self, own: float) -> float:
        """The share that all took but for `own` seconds of processor time."""
        lasted = (time.perf_counter() - self.began) * (os.cpu_count() or 1)
        return max(0.0, (_busy() - self.busy - own) / lasted)


def _busy() -> float:
    """Seconds that all processors were busy since the machine began."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def native(bits: int) -> str:
    """The name of a side."""
    return f"native int{bits}" if bits < 16 else "native bf16"


def timed(prepare: Callable[[], Callable[[], int]]) -> Work:
    """A work of this process: what `prepare` gives is timed, and says how much it did."""

    @torch.inference_mode()
    def work() -> Took:
        does = prepare()
        time.sleep(SETTLED)
        meanwhile, wall, cpu = Meanwhile(), time.perf_counter(), time.process_time()
        count = does()
        own = time.process_time() - cpu
        return Took(count, time.perf_counter() - wall, own, meanwhile.others(own))

    return work


@dataclass(frozen=True)
class Sizes:
    """What is read and written; `threads` do it."""

    prompt: int
    tokens: int
    threads: int


class Writer(ABC):
    """A language model that reads a prompt and goes on from it, greedily."""

    def __init__(self, vocabulary: int, sizes: Sizes) -> None:
        self.vocabulary, self.sizes = vocabulary, sizes
        self._draw = torch.Generator().manual_seed(0)

    @abstractmethod
    def read(self, prompt: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
        """Reads a prompt `(1, tokens)`; gives what `(rows, 1)` tokens are followed by, step by step."""

    def works(self) -> dict[str, Work]:
        return {"prefill": timed(self._prefill), "decode": timed(self._decode), "chains": timed(self._chains)}

    def prompt(self, tokens: int) -> Tensor:
        """Another one each time, so that nobody has read it."""
        return torch.randint(0, self.vocabulary, (1, tokens), generator=self._draw)

    def _prefill(self) -> Callable[[], int]:
        prompt = self.prompt(self.sizes.prompt)

        def does() -> int:
            self.read(prompt, 1)
            return prompt.shape[1]

        return does

    def _decode(self) -> Callable[[], int]:
        prompt = self.prompt(16)
        step = self.read(prompt, 1)
        return lambda: self._write(step, prompt[:, -1:])

    def _chains(self) -> Callable[[], int]:
        prompt = self.prompt(TOGETHER_PROMPT)
        first = torch.arange(CHAINS)[:, None] % self.vocabulary  # chains part with their first token
        return lambda: self._write(self.read(prompt, CHAINS), first)

    def _write(self, step: Callable[[Tensor], Tensor], following: Tensor) -> int:
        for _ in range(self.sizes.tokens):
            following = step(following)
        return len(following) * self.sizes.tokens


class Native(Writer):
    """The native core with matrices of so many bits."""

    def __init__(self, network: LanguageModel, bits: int, sizes: Sizes) -> None:
        super().__init__(network.spec.vocabulary, sizes)
        self.executor = NativeExecutor(network, bits=bits)
        assert isinstance(self.executor.network, NativeLanguage)
        self.core = self.executor.network.core

    def read(self, prompt: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
        whole = torch.cat((prompt, prompt[:, :1]), dim=1)  # `begin` leaves the last token for the next step
        state = self.executor.begin(whole, self.sizes.tokens, attention_mask=None)
        if rows > 1:
            state.select(torch.zeros(rows, dtype=torch.long))
        return lambda tokens: self.executor.logits(state.extend(tokens)[:, -1]).argmax(-1, keepdim=True)

    def _write(self, step: Callable[[Tensor], Tensor], following: Tensor) -> int:
        with self.executor.working():
            return super()._write(step, following)

    def works(self) -> dict[str, Work]:
        def stream() -> int:
            for _ in range(self.sizes.tokens):
                self.core.stream()
            return self.sizes.tokens

        return {**super().works(), "stream": timed(lambda: stream), "busy": self._busy}

    def _busy(self) -> Took:
        """Decoding while one other process computes on one of the processors."""
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.3)
            took = timed(self._decode)()
            return took._replace(others=max(0.0, took.others - 1 / (os.cpu_count() or 1)))
        finally:
            other.kill()
            other.wait()


class Transformers(Writer):
    """`transformers`' LLaMA or Qwen2 of a shape, by forward passes over a cache; chains one after the other."""

    def __init__(self, spec: TransformerSpec, dtype: torch.dtype, sizes: Sizes, compiled: bool = False) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

        super().__init__(spec.vocabulary, sizes)
        attention = spec.attention.spelled_out(spec.width)
        named = {
            "vocab_size": spec.vocabulary,
            "hidden_size": spec.width,
            "num_hidden_layers": spec.layers,
            "num_attention_heads": attention.heads,
            "num_key_value_heads": attention.kv_heads,
            "intermediate_size": spec.feed_forward.width,
            "tie_word_embeddings": True,
            "max_position_embeddings": 4096,
        }
        if attention.bias:
            self.model = Qwen2ForCausalLM(Qwen2Config(**named)).to(dtype).eval()
        else:
            self.model = LlamaForCausalLM(LlamaConfig(**named)).to(dtype).eval()
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.static = compiled

    def read(self, prompt: Tensor, rows: int) -> Callable[[Tensor], Tensor]:
        from transformers import DynamicCache, StaticCache

        assert rows == 1
        cache = DynamicCache(config=self.model.config)
        if self.static:
            cache = StaticCache(config=self.model.config, max_cache_len=1024)
        self.model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
        place = [prompt.shape[1]]

        def step(tokens: Tensor) -> Tensor:
            position = torch.tensor([place[0]])
            place[0] += 1
            out = self.forward(tokens, past_key_values=cache, use_cache=True, cache_position=position)
            chosen: Tensor = out.logits[:, -1].argmax(-1, keepdim=True)
            return chosen

        return step

    def _chains(self) -> Callable[[], int]:
        prompt = self.prompt(TOGETHER_PROMPT)

        def does() -> int:
            return sum(self._write(self.read(prompt, 1), torch.tensor([[chain]])) for chain in range(CHAINS))

        return does


class LlamaCpp:
    """llama.cpp in a process of its own, by `native_llama.c` over its headers and libraries in a folder."""

    def __init__(self, home: Path, model: Path, sizes: Sizes) -> None:
        program = model.parent / "native_llama"
        if not program.exists():
            source = Path(__file__).with_name("native_llama.c")
            libraries = [f"-l{name}" for name in ("llama", "ggml", "ggml-cpu", "ggml-base")]
            command = ["cc", "-O2", f"-I{home / 'include'}", str(source), "-o", str(program), f"-L{home}", *libraries]
            subprocess.run([*command, f"-Wl,-rpath,{home.resolve()}"], check=True)
        self.process = subprocess.Popen(
            [str(program), str(model), str(sizes.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.sizes = sizes

    def works(self) -> dict[str, Work]:
        prompt, tokens = self.sizes.prompt, self.sizes.tokens
        asked = {"prefill": (prompt, 0, 1), "decode": (16, tokens, 1), "chains": (TOGETHER_PROMPT, tokens, CHAINS)}

        def work(line: str) -> Took:
            assert self.process.stdin is not None and self.process.stdout is not None
            time.sleep(SETTLED)
            meanwhile = Meanwhile()
            self.process.stdin.write(line)
            self.process.stdin.flush()
            count, wall, cpu, whole = self.process.stdout.readline().split()
            return Took(int(count), float(wall), float(cpu), meanwhile.others(float(whole)))

        return {name: partial(work, f"{name} {p} {t} {r}\n") for name, (p, t, r) in asked.items()}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def write_gguf(path: Path, spec: TransformerSpec, kind: str) -> None:
    """Random weights of a shape for llama.cpp, embedding and head quantised too."""
    import gguf

    wanted = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "q8_0": gguf.GGMLQuantizationType.Q8_0}[kind]
    attention = spec.attention.spelled_out(spec.width)
    head_width, draw = attention.head_width, np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "qwen2" if attention.bias else "llama")
    writer.add_block_count(spec.layers)
    writer.add_context_length(4096)
    writer.add_embedding_length(spec.width)
    writer.add_feed_forward_length(spec.feed_forward.width)
    writer.add_head_count(attention.heads)
    writer.add_head_count_kv(attention.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head_width)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(spec.vocabulary)
    writer.add_tokenizer_model("no_vocab")

    def matrix(name: str, rows: int, columns: int) -> None:
        values = draw.standard_normal((rows, columns), dtype=np.float32) * 0.02
        writer.add_tensor(name, gguf.quants.quantize(values, wanted), raw_dtype=wanted)

    def ones(name: str, count: int) -> None:
        writer.add_tensor(name, np.ones(count, np.float32))

    matrix("token_embd.weight", spec.vocabulary, spec.width)
    ones("output_norm.weight", spec.width)
    for layer in range(spec.layers):
        at = f"blk.{layer}."
        ones(at + "attn_norm.weight", spec.width)
        ones(at + "ffn_norm.weight", spec.width)
        for part, heads in (("q", attention.heads), ("k", attention.kv_heads), ("v", attention.kv_heads)):
            matrix(f"{at}attn_{part}.weight", heads * head_width, spec.width)
            if attention.bias:
                ones(f"{at}attn_{part}.bias", heads * head_width)
        matrix(at + "attn_output.weight", spec.width, attention.heads * head_width)
        for part in ("gate", "up"):
            matrix(f"{at}ffn_{part}.weight", spec.feed_forward.width, spec.width)
        matrix(at + "ffn_down.weight", spec.width, spec.feed_forward.width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Plain(torch.nn.Module):
    """LLaMA's or Qwen2's layers in the plainest PyTorch, up to the logits of a prompt's last token: OpenVINO does not
    convert `transformers`' own.
    """

    def __init__(self, spec: TransformerSpec, tokens: int) -> None:
        super().__init__()
        attention = spec.attention.spelled_out(spec.width)
        self.spec, self.heads, self.each = spec, attention.heads, attention.head_width
        self.groups = attention.heads // attention.kv_heads
        shared, inner = attention.kv_heads * self.each, spec.feed_forward.width
        self.embedding = torch.nn.Embedding(spec.vocabulary, spec.width)
        self.layers = torch.nn.ModuleList()
        for _ in range(spec.layers):
            parts = {
                "q": torch.nn.Linear(spec.width, spec.width, attention.bias),
                "k": torch.nn.Linear(spec.width, shared, attention.bias),
                "v": torch.nn.Linear(spec.width, shared, attention.bias),
                "out": torch.nn.Linear(spec.width, spec.width, bias=False),
                "gate": torch.nn.Linear(spec.width, inner, bias=False),
                "up": torch.nn.Linear(spec.width, inner, bias=False),
                "down": torch.nn.Linear(inner, spec.width, bias=False),
            }
            self.layers.append(torch.nn.ModuleDict(parts))
        half = torch.arange(0, self.each, 2) / self.each
        angles = torch.arange(tokens)[:, None] * 10_000.0**-half
        self.register_buffer("cosines", torch.cat((angles, angles), dim=-1).cos())
        self.register_buffer("sines", torch.cat((angles, angles), dim=-1).sin())
        self.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            normed = torch.nn.functional.rms_norm(x, (self.spec.width,))
            q, k, v = (layer[name](normed).unflatten(-1, (-1, self.each)).transpose(1, 2) for name in "qkv")
            q, k = self.turned(q), self.turned(k).repeat_interleave(self.groups, 1)
            v = v.repeat_interleave(self.groups, 1)
            seen = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer["out"](seen.transpose(1, 2).flatten(2))
            normed = torch.nn.functional.rms_norm(x, (self.spec.width,))
            x = x + layer["down"](torch.nn.functional.silu(layer["gate"](normed)) * layer["up"](normed))
        last = torch.nn.functional.rms_norm(x[:, -1], (self.spec.width,))
        return torch.nn.functional.linear(last, self.embedding.weight)

    def turned(self, heads: Tensor) -> Tensor:
        first, second = heads.chunk(2, dim=-1)
        return heads * self.cosines + torch.cat((-second, first), dim=-1) * self.sines


def openvino_is_there() -> bool:
    return None not in (importlib.util.find_spec("openvino"), importlib.util.find_spec("nncf"))


def in_openvino(module: torch.nn.Module, example: Tensor, threads: int) -> Callable[[Any], object]:
    """A module by OpenVINO: weights in 8 bits, and products of 8 bits by 8 bits."""
    import nncf
    import openvino

    model = openvino.convert_model(module, example_input=example)
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    settings = {"INFERENCE_NUM_THREADS": threads, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 32}
    run: Callable[[Any], object] = openvino.Core().compile_model(model, "CPU", settings)
    return run


class OpenVino:
    """OpenVINO reading prompts."""

    def __init__(self, spec: TransformerSpec, sizes: Sizes) -> None:
        self.tokens = partial(torch.randint, 0, spec.vocabulary, (1, sizes.prompt))
        self.run = in_openvino(Plain(spec, sizes.prompt), self.tokens(), sizes.threads)

    def works(self) -> dict[str, Work]:
        def prepare() -> Callable[[], int]:
            prompt = self.tokens().numpy()

            def does() -> int:
                self.run(prompt)
                return int(prompt.shape[1])

            return does

        return {"prefill": timed(prepare)}
