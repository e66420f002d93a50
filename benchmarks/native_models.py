"""Sides of `native.py` that are no language model alone: T5, a ViT, and a picture with a question."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import chat
import torch
from native_sides import SETTLED, Meanwhile, OpenVino, Sizes, Work, in_openvino, native, openvino_is_there, timed
from torch import Tensor

from sepiola.models.build import build, preset
from sepiola.runtime.native import NativeExecutor
from sepiola.specs.bridge import ProjectionSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec

SOURCE, TARGET, PICTURES = 256, 64, 4
"""Tokens that T5 reads and writes, and pictures of a batch."""


def translating(bits: list[int], threads: int, say: Callable[[str], None]) -> Iterator[tuple[str, Work]]:
    """T5-base's shape reads 256 tokens and writes 64, one row."""
    from transformers import T5Config, T5ForConditionalGeneration

    spec = preset("t5-base")
    network = build(spec).eval()
    draw = torch.Generator().manual_seed(0)

    def source() -> Tensor:
        return torch.randint(3, 32000, (1, SOURCE), generator=draw)

    def ours(executor: NativeExecutor) -> Callable[[], Callable[[], int]]:
        def prepare() -> Callable[[], int]:
            tokens = source()

            def does() -> int:
                state, following = executor.begin(tokens, TARGET, attention_mask=None), torch.zeros(1, 1).long()
                for _ in range(TARGET):
                    following = executor.logits(state.extend(following)[:, -1]).argmax(-1, keepdim=True)
                return TARGET

            return does

        return prepare

    for each in bits:
        yield native(each), timed(ours(NativeExecutor(network, bits=each)))
    config = T5Config(
        d_model=768, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128, decoder_start_token_id=0, eos_token_id=1
    )
    for dtype in (torch.float32, torch.bfloat16):
        peer = T5ForConditionalGeneration(config).to(dtype).eval()
        count = {"max_new_tokens": TARGET, "min_new_tokens": TARGET, "do_sample": False}

        def theirs(peer: Any = peer, count: Any = count) -> Callable[[], int]:
            tokens = source()
            return lambda: int(peer.generate(tokens, **count).shape[1]) - 1

        yield f"transformers {str(dtype).removeprefix('torch.')}", timed(theirs)
    try:
        import ctranslate2
        from ctranslate2.converters.transformers import T5Loader
    except ImportError:
        say("CTranslate2 is absent: pip install --no-deps --target FOLDER ctranslate2; PYTHONPATH=FOLDER")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = T5Loader().get_model_spec(T5ForConditionalGeneration(config).eval())
        words = ["<pad>", "</s>", "<unk>", *(f"w{i}" for i in range(32128 - 3))]
        made.register_source_vocabulary(words)
        made.register_target_vocabulary(words)
        made.config.bos_token, made.config.eos_token, made.config.unk_token = "<pad>", "</s>", "<unk>"
        made.config.decoder_start_token = "<pad>"
        made.validate()
        made.optimize(quantization="int8")
        made.save(folder)
        translator = ctranslate2.Translator(folder, device="cpu", compute_type="int8", intra_threads=threads)

    def quick() -> Callable[[], int]:
        tokens = [words[i] for i in source()[0].tolist()]
        count = {"max_decoding_length": TARGET, "min_decoding_length": TARGET, "beam_size": 1}
        return lambda: len(translator.translate_batch([tokens], **count)[0].hypotheses[0])

    yield "ctranslate2 int8", timed(quick)


def reading_pictures(bits: list[int]) -> Iterator[tuple[str, Work]]:
    """ViT-B/16's shape reads pictures of 224 × 224, some at once; the core holds vision in 8 bits at least."""
    from transformers import ViTConfig, ViTModel

    def work(run: Callable[[], object]) -> Work:
        def does() -> int:
            run()
            return PICTURES

        return timed(lambda: does)

    pixels = torch.randn(PICTURES, 3, 224, 224)
    spec = preset("vit-base-16-224")
    language = {"kind": "decoder", "vocabulary": 32, "width": 64, "layers": 1, "attention": {"heads": 1}}
    language |= {"feed_forward": {"width": 64}, "positions": {"kind": "rotary"}}
    raw = {"vision": spec.to_dict()["vision"], "bridge": {"kind": "projection", "token": 7}, "language": language}
    network = build(ModelSpec.parse(raw)).eval()
    for each in bits:
        if each >= 8:
            yield native(each), work(partial(NativeExecutor(network, bits=each).features, pixels))
    for dtype in (torch.float32, torch.bfloat16):
        peer = ViTModel(ViTConfig(), add_pooling_layer=False).to(dtype).eval()
        yield f"transformers {str(dtype).removeprefix('torch.')}", work(partial(peer, pixels.to(dtype)))


EDGE = """
import sys, time
began = time.perf_counter()
import sepiola_edge
model = sepiola_edge.load(sys.argv[1], threads=int(sys.argv[2]))
loaded = time.perf_counter() - began
import json
from PIL import Image
model.ends = model.chat_ends = frozenset()
for line in sys.stdin:
    tokens, seed = map(int, line.split())
    picture = Image.effect_noise((512, 512), seed).convert("RGB")
    content = [{"type": "image", "image": picture}, {"type": "text", "text": sys.argv[3]}]
    cpu = time.process_time()
    reply = model.chat([{"role": "user", "content": content}], max_tokens=tokens)
    held = [row.split()[1] for row in open("/proc/self/status") if row.startswith("VmHWM")]
    cpu = time.process_time() - cpu
    assert "torch" not in sys.modules
    print(json.dumps([reply.first_token_seconds, reply.seconds, cpu, loaded, int(held[0]) / 1024]), flush=True)
"""
"""The runtime without torch: a picture that it has not seen, each time."""


class Edge:
    """An exported folder in a process of its own."""

    def __init__(self, folder: Path, threads: int) -> None:
        command = [sys.executable, "-c", EDGE, str(folder), str(threads), chat.QUESTION]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seed = 0

    def __call__(self, tokens: int) -> list[float]:
        """Seconds to the first token and to the last, of processor time, and of import and loading; the MB held."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.seed += 1
        self.process.stdin.write(f"{tokens} {self.seed}\n")
        self.process.stdin.flush()
        figures: list[float] = json.loads(self.process.stdout.readline())
        return figures


class Sight(torch.nn.Module):
    """SigLIP-B/16's layers in the plainest PyTorch, and SmolVLM's projection: what OpenVINO converts."""

    def __init__(self, vision: ViTSpec, shuffle: int, width: int) -> None:
        super().__init__()
        size, inner = vision.width, vision.feed_forward.width
        self.heads, self.grid, self.shuffle = vision.attention.heads, vision.pixels.size // vision.patch, shuffle
        self.patches = torch.nn.Conv2d(3, size, vision.patch, vision.patch)
        self.places = torch.nn.Parameter(torch.randn(self.grid**2, size))
        self.layers = torch.nn.ModuleList()
        for _ in range(vision.layers):
            parts: dict[str, torch.nn.Module] = {name: torch.nn.Linear(size, size) for name in ("q", "k", "v", "out")}
            parts |= {"up": torch.nn.Linear(size, inner), "down": torch.nn.Linear(inner, size)}
            parts |= {name: torch.nn.LayerNorm(size, vision.norm.eps) for name in ("before", "between")}
            self.layers.append(torch.nn.ModuleDict(parts))
        self.norm = torch.nn.LayerNorm(size, vision.norm.eps)
        self.project = torch.nn.Linear(size * shuffle**2, width, bias=False)
        self.requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            normed = layer["before"](x)
            q, k, v = (layer[name](normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in "qkv")
            seen = torch.nn.functional.scaled_dot_product_attention(q, k, v)
            x = x + layer["out"](seen.transpose(1, 2).flatten(2))
            inner = torch.nn.functional.gelu(layer["up"](layer["between"](x)), approximate="tanh")
            x = x + layer["down"](inner)
        side, shuffle = self.grid // self.shuffle, self.shuffle
        squares = self.norm(x).unflatten(1, (side, shuffle, side, shuffle)).transpose(2, 3)
        projected: Tensor = self.project(squares.reshape(len(x), side * side, -1))
        return projected


def looking(prompt: int, threads: int) -> Callable[[], tuple[float]]:
    """OpenVINO at a picture's features and a prompt of so many tokens, its logits too: the seconds that both take."""
    spec = preset("smolvlm-256m")
    assert isinstance(spec.vision, ViTSpec) and isinstance(spec.bridge, ProjectionSpec)
    pixels = torch.randn(1, 3, spec.vision.pixels.size, spec.vision.pixels.size)
    see = in_openvino(Sight(spec.vision, spec.bridge.shuffle, spec.language.width), pixels, threads)
    read = OpenVino(spec.language, Sizes(prompt, 0, threads)).works()["prefill"]

    def work() -> tuple[float]:
        began = time.perf_counter()
        see(pixels.numpy())
        seen = time.perf_counter() - began
        return (seen + read().wall,)

    return work


def answering(arguments: Any) -> Iterator[tuple[str, str, str, float, str | None, float | None, float]]:
    """SmolVLM-256M's shape answers a question about a picture in 64 tokens: work, side, unit, value, peer, ratio, and
    what others took of the processors. `transformers` writes with its `generate`, in bfloat16 and in float32; OpenVINO
    sees the picture and reads the prompt.
    """
    from argparse import Namespace

    import sepiola
    from sepiola.generation.edge import save_edge

    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        settings = Namespace(preset="smolvlm-256m", longest=None, tokens=TARGET)
        chat.make(settings, home / "hub")
        ours = {}
        for bits in arguments.bits:
            save_edge(home / native(bits), sepiola.load(home / "hub"), bits)
            ours[native(bits)] = Edge(home / native(bits), arguments.threads)
        theirs = {
            f"transformers {dtype}": chat.Theirs(f"transformers {dtype} sdpa", home / "hub", settings)
            for dtype in ("bfloat16", "float32")
        }
        peers: dict[str, Callable[[], tuple[float, ...]]] = {**theirs}
        if openvino_is_there():
            prompt = next(iter(theirs.values())).source.shape[1]
            peers["openvino int8"] = looking(prompt, arguments.threads)
        figures: dict[str, list[list[float]]] = {side: [] for side in (*ours, *peers)}
        others: dict[str, list[float]] = {side: [] for side in figures}
        for round_ in range(arguments.rounds + 1):
            for side, edge in ours.items():
                time.sleep(SETTLED)
                meanwhile = Meanwhile()
                took = edge(TARGET)
                if round_:
                    figures[side].append(took)
                    others[side].append(meanwhile.others(took[2]))
            for side, peer in peers.items():
                time.sleep(SETTLED)
                meanwhile, cpu = Meanwhile(), time.process_time()
                parts = peer()
                if round_:
                    figures[side].append([*accumulate(parts)])
                    others[side].append(meanwhile.others(time.process_time() - cpu))
        for edge in ours.values():
            edge.process.kill()
            edge.process.wait()
    median = {side: [statistics.median(column) for column in zip(*each, strict=True)] for side, each in figures.items()}
    for number, work in enumerate(("first token", "answer")):
        measured = [peer for peer in peers if len(median[peer]) > number]
        for peer in measured:
            yield work, peer, "s", median[peer][number], None, None, max(others[peer])
        for side in ours:
            for peer in measured:
                pairs = zip(figures[peer], figures[side], strict=True)
                ratio = statistics.median(them[number] / us[number] for them, us in pairs)
                yield work, side, "s", median[side][number], peer, ratio, max(others[peer] + others[side])
    for side in ours:
        yield "import and load", side, "s", figures[side][0][3], None, None, max(others[side])
        yield "held", side, "MB", median[side][4], None, None, max(others[side])
