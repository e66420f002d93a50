"""Images a second of a vision encoder against `transformers`: `python benchmarks/vision.py --json`.

The peer is `ViTModel` on the same weights with its fastest attention (SDPA), eager and, unless
`--no-compile`, through `torch.compile` (which is given a minute); the better one counts. Rounds alternate
between the two, so that what else the machine does meets both; the ratio is the median over the pairs.
`cpu_ratio` is the same in processor time, which other programs disturb less than the clock. `peak_share` is
the share of the bf16 matrix product rate measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.checkpoints import vit
from sepiola.models.build import build, preset
from sepiola.models.vision.prepack import prepack
from sepiola.specs.model import ModelSpec, ViTSpec

Encoder = Callable[[Tensor], Any]


def peer_of(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """`transformers`' ViT with our weights, through the files that both read."""
    import tempfile
    from pathlib import Path

    from safetensors.torch import save_file
    from transformers import ViTModel

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(vit.config_from_spec(spec)))
        state = vit.to_hub(model.state_dict(), spec)
        save_file(state, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        peer = ViTModel.from_pretrained(
            folder, add_pooling_layer=False, attn_implementation="sdpa", dtype=torch.bfloat16
        )
    return peer.eval()


def measure(encoder: Encoder, pixels: Tensor) -> tuple[float, float]:
    """Seconds by the clock and of all processors."""
    clock, cpu = time.perf_counter(), time.process_time()
    encoder(pixels)
    return time.perf_counter() - clock, time.process_time() - cpu


def matmul_rate(rounds: int = 5) -> float:
    """The machine's bf16 matrix products in GFLOP/s: the best of some rounds at 2048³."""
    a, b = (torch.randn(2048, 2048).bfloat16() for _ in range(2))
    best = min(measure(lambda _: a @ b, a)[0] for _ in range(rounds))
    return 2 * 2048**3 / best / 1e9


def flops(spec: ViTSpec, patches: int) -> float:
    """Floating point operations of one picture: the matrix products, which are nearly all."""
    width, inner = spec.width, spec.feed_forward.width
    layer = 2 * patches * width * (4 * width + 2 * inner) + 4 * patches**2 * width
    return spec.layers * layer + 2 * patches * 3 * spec.patch**2 * width


def compiled(peer: nn.Module, pixels: Tensor, limit: float = 60.0) -> tuple[Encoder | None, str]:
    """The peer through `torch.compile`, or None and why not."""
    start = time.perf_counter()
    try:
        fast = torch.compile(peer)
        fast(pixels)
    except Exception as error:  # no compiler, or one that does not work here: the eager peer stands
        return None, f"failed: {type(error).__name__}"
    seconds = time.perf_counter() - start
    return (fast, f"{seconds:.0f} s to compile") if seconds < limit else (None, f"took {seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="vit-base-16-224", help="a preset of the vit family")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out of the comparison")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    result = run(arguments)
    if arguments.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:>24}  {value}")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """One comparison; every number that is printed."""
    torch.set_num_threads(arguments.threads)
    spec = preset(arguments.preset)
    assert isinstance(spec.vision, ViTSpec)
    model = build(spec).bfloat16().eval()
    ours, peer = prepack(model, batch=arguments.batch), peer_of(model, spec)
    size = spec.vision.pixels.size
    pixels = torch.randn(arguments.batch, 3, size, size).bfloat16()
    encoders: dict[str, Encoder] = {"sepiola": ours, "transformers": peer}
    note = "left out"
    if not arguments.no_compile:
        fast, note = compiled(peer, pixels)
        if fast is not None:
            encoders["transformers compiled"] = fast
    for encoder in encoders.values():
        measure(encoder, pixels)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    for _ in range(arguments.rounds):
        for name, encoder in encoders.items():
            times[name].append(measure(encoder, pixels))
    seconds = {name: statistics.median(clock for clock, _ in pairs) for name, pairs in times.items()}
    best = min((name for name in encoders if name != "sepiola"), key=lambda name: seconds[name])
    pairs = list(zip(times[best], times["sepiola"], strict=True))
    rate, work = matmul_rate(), flops(spec.vision, model.patches) * arguments.batch
    difference = (ours(pixels).float() - peer(pixels).last_hidden_state.float()).abs().mean()
    return {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "threads": arguments.threads,
        "peer": best,
        "torch_compile": note,
        "ratio": round(statistics.median(theirs[0] / mine[0] for theirs, mine in pairs), 3),
        "cpu_ratio": round(statistics.median(theirs[1] / mine[1] for theirs, mine in pairs), 3),
        "images_per_second": {name: round(arguments.batch / s, 2) for name, s in seconds.items()},
        "peak_gflops": round(rate),
        "peak_share": {name: round(work / s / 1e9 / rate, 3) for name, s in seconds.items()},
        "mean_difference": round(difference.item(), 5),
    }


if __name__ == "__main__":
    main()
