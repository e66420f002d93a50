"""A picture and a question, to the first token and on, against `transformers`: `python benchmarks/chat.py`.

Both sides hold the same random weights of SmolVLM-256M's layout and read the same pixels: one picture of 512 × 512 and
a short question. Each side runs in every setting that it has (the peer in bfloat16 and float32, with SDPA and eager,
with a static cache, and with vision encoder and decoding compiled; ours in bfloat16, packed, and in float32), each in a
process of its own, some times in turn. Of each side the fastest goes on, for the time to the first token and for the
rate of those after it, in alternating pairs. In float32 both must write the same tokens. Peak memory is what those
processes held. The bound is the time to read the weights of a token once, at the rate at which this machine reads
memory.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from measure import parser, peak_memory_gb, ratio, report, seconds_of
from PIL import Image

import sepiola
from sepiola.api import Model
from sepiola.data.example import Message
from sepiola.data.image import ImageRef
from sepiola.generation.chat import Chat
from sepiola.models.build import preset
from sepiola.models.vision.tiles import FAKE, GLOBAL, to_tiles
from sepiola.specs.base import override
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import PixelSpec
from sepiola.text.encoding import IMAGE
from sepiola.text.tokenizer import Tokenizer

QUESTION = "What is in this picture? 图片里有什么？"
PROMPT = "prompt.json"
SCREENED = 3  # rounds in which every setting runs
OURS = ("sepiola bfloat16", "sepiola bfloat16 unpacked", "sepiola float32")
PEERS = tuple(
    f"transformers {dtype} {attention}{cache}"
    for dtype in ("bfloat16", "float32")
    for attention in ("sdpa", "eager")
    for cache in ("", " static", *([" static compiled"] if dtype == "bfloat16" else []))
)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="smolvlm-256m")
    options.add_argument("--tokens", type=int, default=64, help="tokens of a reply")
    options.add_argument("--longest", type=int, help="longest edge of the picture; more than a tile: several tiles")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    report(arguments, run(arguments))


class Ours:
    """Our chat; every row runs to its end."""

    def __init__(self, setting: str, folder: Path, arguments: Any) -> None:
        dtype = torch.bfloat16 if "bfloat16" in setting else torch.float32
        model = sepiola.load(folder, dtype=dtype)
        if setting == OURS[0]:
            model.prepack(release=True)
        model.engine.ends = frozenset()
        self.chat = Chat(model.engine, model.processor, model.require_tokenizer(), model.image_encoder)
        self.chat.ends = frozenset()
        self.tokens = arguments.tokens

    def __call__(self) -> tuple[float, float]:
        """Seconds to the first token, and from there to the last."""
        self.chat._encoded = None
        reply = self.chat.reply(conversation(), max_tokens=self.tokens)
        return reply.first_token_seconds, reply.seconds - reply.first_token_seconds

    def ids(self) -> list[int]:
        """The tokens of a reply."""
        prompt = self.chat.prompt(conversation())
        return self.chat.engine.generate([prompt], max_tokens=self.tokens)[0][0]


class Clock:
    """A streamer that notes when it was given the prompt, and then each token."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, _: torch.Tensor) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to show."""


class Theirs:
    """`transformers`' generate on the same token ids and pixels, read anew from the picture as ours are."""

    def __init__(self, setting: str, folder: Path, arguments: Any) -> None:
        from transformers import AutoModelForImageTextToText
        from transformers.generation import CompileConfig

        _, dtype, attention, *cache = setting.split()
        model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention
        )
        self.model = model.eval()
        self.model.generation_config.eos_token_id = None
        self.cache = {"cache_implementation": "static"} if "static" in cache else {}
        if "compiled" in cache:
            how = CompileConfig(fullgraph=False)
            how._compile_all_devices = True  # `generate` compiles decoding on GPUs alone unless told
            self.model.generation_config.compile_config = how
            self.model.model.vision_model.forward = torch.compile(self.model.model.vision_model.forward)
        else:
            self.model.generation_config.disable_compile = True
        read = json.loads((folder / PROMPT).read_text())
        self.source, self.pixels = torch.tensor([read["ids"]]), PixelSpec.parse(read["pixels"])
        self.tokens, self.dtype = arguments.tokens, getattr(torch, dtype)

    def __call__(self) -> tuple[float, float]:
        """Seconds to the first token, and from there to the last."""
        began, clock = time.perf_counter(), Clock()
        self._generate(clock)
        return clock.times[1] - began, clock.times[-1] - clock.times[1]

    def ids(self) -> list[int]:
        """The tokens of a reply."""
        return self._generate(None)

    @torch.inference_mode()
    def _generate(self, clock: Clock | None) -> list[int]:
        pixels = to_tiles([picture()], self.pixels)[0][None].to(self.dtype)
        given = {"input_ids": self.source, "attention_mask": torch.ones_like(self.source), "pixel_values": pixels}
        count = {"max_new_tokens": self.tokens, "min_new_tokens": self.tokens}
        ids = self.model.generate(**given, **count, do_sample=False, streamer=clock, **self.cache)
        written: list[int] = ids[0, self.source.shape[1] :].tolist()
        return written


class Side:
    """One setting in a process of its own, where nothing that another one holds or compiles is in its way."""

    made: Any = None  # in that process: Ours or Theirs

    def __init__(self, setting: str, folder: Path, arguments: Any, stack: ExitStack) -> None:
        told = (setting, folder, arguments)
        fresh = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(1, mp_context=fresh, initializer=self._open, initargs=told)
        self.pool = stack.enter_context(pool)

    @classmethod
    def _open(cls, setting: str, folder: Path, arguments: Any) -> None:
        torch.set_num_threads(arguments.threads)
        cls.made = (Ours if setting in OURS else Theirs)(setting, folder, arguments)

    def __call__(self) -> tuple[float, float]:
        """Seconds to the first token, and from there to the last."""
        return self.pool.submit(Side._time).result()

    def ids(self) -> list[int]:
        """The tokens of a reply."""
        return self.pool.submit(Side._ids).result()

    def peak(self) -> float:
        """GB that the process has held at most."""
        return self.pool.submit(peak_memory_gb).result()

    @classmethod
    def _time(cls) -> tuple[float, float]:
        first, rest = cls.made()
        return first, rest

    @classmethod
    def _ids(cls) -> list[int]:
        written: list[int] = cls.made.ids()
        return written


def picture() -> ImageRef:
    """A picture that is not one colour."""
    x = torch.arange(512)
    waves = torch.stack([(x[:, None] * 3 + x * k) % 256 for k in (1, 2, 5)], dim=-1)
    return ImageRef.of(Image.fromarray(waves.byte().numpy()))


def conversation() -> list[Message]:
    return [Message("user", (picture(), QUESTION))]


def make(arguments: Any, folder: Path) -> ModelSpec:
    """A model of random weights with a tokenizer of its own, in the Hub's layout."""
    named = preset(arguments.preset)
    assert named.vision is not None and named.language is not None
    longest = arguments.longest or named.vision.pixels.size
    spec = ModelSpec.parse(override(named.to_dict(), [f"vision.pixels.tiles.longest={longest}"]))
    marks = [f"<row_{r}_col_{c}>" for r in range(1, 7) for c in range(1, 7)]
    tokenizer = Tokenizer.train([QUESTION, conversation()[0].text], 400, extra=[FAKE, GLOBAL, *marks, IMAGE])
    token = tokenizer.id_of(IMAGE)
    spec = ModelSpec.parse(override(spec.to_dict(), [f"bridge.token={token}"]))
    model = sepiola.build(spec)
    with torch.no_grad():  # logits far enough apart that both sides, in float32, write the same
        for name, parameter in model.network.named_parameters():
            if parameter.dim() > 1 and name.startswith(("language.", "bridge.")):
                parameter.mul_(2)
    whole = Model(model.network.to(torch.bfloat16), spec, tokenizer)
    whole.save_hub(folder)
    chat = Chat(whole.engine, whole.processor, tokenizer, lambda _: torch.zeros(0))
    assert spec.vision is not None
    read = {"ids": list(chat.prompt(conversation()).tokens), "pixels": spec.vision.pixels.to_dict()}
    (folder / PROMPT).write_text(json.dumps(read))
    return spec


def bytes_a_token(folder: Path) -> int:
    """Bytes of the weights that one more token reads, in bfloat16: the language model's without its embeddings."""
    language: Any = sepiola.load(folder).network.language
    read = sum(p.numel() for p in language.parameters())
    return 2 * (read if language.head.projection is None else read - language.embedding.weight.numel())


def memory_rate() -> float:
    """Bytes a second at which this machine reads a large vector: the best of five."""
    numbers = torch.ones(2**27, dtype=torch.float32)
    return numbers.nbytes / min(seconds_of(lambda: numbers.sum()) for _ in range(5))


Times = dict[str, list[float]]


def in_turn(sides: dict[str, Side], names: list[str], rounds: int) -> tuple[Times, Times]:
    """Each named side's seconds to the first token, and from there to the last, in so many rounds."""
    firsts: Times = {name: [] for name in names}
    rests: Times = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            first, rest = sides[name]()
            firsts[name].append(first)
            rests[name].append(rest)
    return firsts, rests


def best(names: tuple[str, ...], times: Times) -> str:
    return min(names, key=lambda name: statistics.median(times[name]))


def run(arguments: Any) -> dict[str, Any]:
    """One comparison; every number that is printed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        spec = make(arguments, folder)
        sides = {setting: Side(setting, folder, arguments, stack) for setting in (*OURS, *PEERS)}
        exact = {name: side.ids() for name, side in sides.items() if "float32" in name}
        for side in sides.values():
            side()  # warms up
        firsts, rests = in_turn(sides, list(sides), SCREENED)
        finals = {what: (best(OURS, times), best(PEERS, times)) for what, times in (("first", firsts), ("rest", rests))}
        last_firsts, last_rests = in_turn(
            sides, list(dict.fromkeys(finals["first"] + finals["rest"])), arguments.rounds
        )
        read, rate = bytes_a_token(folder), memory_rate()
        figures: dict[str, Any] = {
            "preset": arguments.preset,
            "tiles": len(to_tiles([picture()], spec.vision.pixels)[0]),  # type: ignore[union-attr]
            "prompt_tokens": len(json.loads((folder / PROMPT).read_text())["ids"]),
            "tokens": arguments.tokens,
            "written_alike_in_float32": len({tuple(ids) for ids in exact.values()}) == 1,
        }
        for what, times, (ours, peer) in (
            ("first token", last_firsts, finals["first"]),
            ("decoding", last_rests, finals["rest"]),
        ):
            figures[f"{what}: settings"] = f"{ours} / {peer}"
            figures[f"{what}: ratio"] = round(ratio(times[peer], times[ours]), 2)
        after = arguments.tokens - 1
        firsts, rests = firsts | last_firsts, rests | last_rests
        return {
            **figures,
            "first_token_seconds": {name: round(statistics.median(t), 4) for name, t in firsts.items()},
            "tokens_per_second": {name: round(after / statistics.median(t), 2) for name, t in rests.items()},
            "megabytes_read_a_token": round(read / 1e6, 1),
            "gigabytes_a_second": round(rate / 1e9, 1),
            "tokens_per_second_at_most": round(rate / read, 1),
            "peak_memory_gb": {name: round(sides[name].peak(), 2) for name in finals["rest"]},
        }


if __name__ == "__main__":
    main()
