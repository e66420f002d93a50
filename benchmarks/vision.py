"""Images a second of a vision encoder against `transformers`: `python benchmarks/vision.py --json`.

The peer is `ViTModel` on the same weights with its fastest attention (SDPA), eager and, unless
`--no-compile`, through `torch.compile` (which is given a minute); the better one counts. Rounds alternate
between the two, so that what else the machine does meets both; the ratio is the median over the pairs.
`peak_share` is the share of the bf16 matrix product rate measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import alternate, matmul_rate, parser, ratio, report
from torch import Tensor, nn

from sepiola.checkpoints.families import vit
from sepiola.models.build import build, preset
from sepiola.runtime.prepacked_vit import prepack
from sepiola.specs.model import ModelSpec
from sepiola.specs.vision import ViTSpec

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
    options = parser(__doc__)
    options.add_argument("--preset", default="vit-base-16-224", help="a preset of the vit family")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--no-compile", action="store_true", help="leave torch.compile out of the comparison")
    options.set_defaults(rounds=9)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    report(arguments, run(arguments))


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """One comparison; every number that is printed."""
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
    works = {name: partial(encoder, pixels) for name, encoder in encoders.items()}
    alternate(works, 1)  # warms up
    times = alternate(works, arguments.rounds)
    seconds = {name: statistics.median(taken) for name, taken in times.items()}
    best = min((name for name in encoders if name != "sepiola"), key=lambda name: seconds[name])
    rate, work = matmul_rate(), flops(spec.vision, model.patches) * arguments.batch
    difference = (ours(pixels).float() - peer(pixels).last_hidden_state.float()).abs().mean()
    return {
        "preset": arguments.preset,
        "batch": arguments.batch,
        "peer": best,
        "torch_compile": note,
        "ratio": round(ratio(times[best], times["sepiola"]), 2),
        "images_per_second": {name: round(arguments.batch / s, 2) for name, s in seconds.items()},
        "matmul_tflops": round(rate / 1e12, 3),
        "peak_share": {name: round(work / s / rate, 3) for name, s in seconds.items()},
        "mean_difference": round(difference.item(), 5),
    }


if __name__ == "__main__":
    main()
