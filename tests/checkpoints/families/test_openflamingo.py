"""OpenFlamingo's checkpoints onto LLaMA and CLIP: logits as of the parts written out, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from sepiola.checkpoints.families import openflamingo
from sepiola.errors import CheckpointError

VOCABULARY, IMAGE, LAYERS = 101, 102, 4
WIDTH, IMAGE_WIDTH, HEADS = 24, 48, 2
LLAMA = {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 40, "num_hidden_layers": LAYERS}
LLAMA |= {"num_attention_heads": 4, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
CLIP = {"hidden_size": IMAGE_WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
CLIP |= {"image_size": 32, "patch_size": 8}

Base = tuple[Any, Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, Path]:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    llama, clip = LlamaForCausalLM(LlamaConfig(**LLAMA)).eval(), CLIPVisionModel(CLIPVisionConfig(**CLIP)).eval()
    for module in (llama, clip):
        for parameter in module.parameters():
            parameter.data.normal_(0.05, 0.25)
    llama.save_pretrained(folder / "llama")
    clip.save_pretrained(folder / "clip")
    return (llama, clip), folder


def trained(names: str = "lang_encoder.gated_cross_attn_layers.{}", every: int = 2) -> dict[str, Tensor]:
    """What OpenFlamingo saves, with random values."""
    inner = HEADS * 64
    shapes: dict[str, tuple[int, ...]] = {"perceiver.latents": (3, IMAGE_WIDTH)}
    for n in range(2):
        at = f"perceiver.layers.{n}"
        shapes |= {
            f"{at}.0.{m}.{kind}": (IMAGE_WIDTH,) for m in ("norm_media", "norm_latents") for kind in ("weight", "bias")
        }
        shapes |= {f"{at}.0.to_q.weight": (inner, IMAGE_WIDTH), f"{at}.0.to_kv.weight": (2 * inner, IMAGE_WIDTH)}
        shapes |= {
            f"{at}.0.to_out.weight": (IMAGE_WIDTH, inner),
            f"{at}.1.0.weight": (IMAGE_WIDTH,),
            f"{at}.1.0.bias": (IMAGE_WIDTH,),
        }
        shapes |= {
            f"{at}.1.1.weight": (4 * IMAGE_WIDTH, IMAGE_WIDTH),
            f"{at}.1.3.weight": (IMAGE_WIDTH, 4 * IMAGE_WIDTH),
        }
    shapes |= {"perceiver.norm.weight": (IMAGE_WIDTH,), "perceiver.norm.bias": (IMAGE_WIDTH,)}
    for n in range(every - 1, LAYERS, every):
        at = names.format(n)
        shapes |= {f"{at}.attn.norm.{k}": (WIDTH,) for k in ("weight", "bias")}
        shapes |= {f"{at}.attn.to_q.weight": (inner, WIDTH), f"{at}.attn.to_kv.weight": (2 * inner, IMAGE_WIDTH)}
        shapes |= {f"{at}.attn.to_out.weight": (WIDTH, inner), f"{at}.attn_gate": (1,), f"{at}.ff_gate": (1,)}
        shapes |= {f"{at}.ff.0.weight": (WIDTH,), f"{at}.ff.0.bias": (WIDTH,)}
        shapes |= {f"{at}.ff.1.weight": (4 * WIDTH, WIDTH), f"{at}.ff.3.weight": (WIDTH, 4 * WIDTH)}
    shapes["lang_encoder.model.embed_tokens.weight"] = (VOCABULARY + 2, WIDTH)
    torch.manual_seed(1)
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


class Written:
    """OpenFlamingo's forward pass over the tensors of one part, by their names."""

    def __init__(self, state: dict[str, Tensor], prefix: str) -> None:
        self.state = {n.removeprefix(prefix + "."): t for n, t in state.items() if n.startswith(prefix + ".")}

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.state[f"{name}.weight"].T

    def feed_forward(self, x: Tensor, name: str) -> Tensor:
        return self.linear(F.gelu(self.linear(self.norm(x, f"{name}.0"), f"{name}.1")), f"{name}.3")

    def attend(self, queries: Tensor, context: Tensor, name: str, seen: Tensor | None = None) -> Tensor:
        q, (k, v) = self.linear(queries, f"{name}.to_q"), self.linear(context, f"{name}.to_kv").chunk(2, -1)
        q, k, v = (x.unflatten(-1, (HEADS, 64)).transpose(0, 1) for x in (q, k, v))
        scores = q @ k.transpose(1, 2) / 8
        if seen is not None:
            scores = scores.masked_fill(~seen, -1e30)
        weights = scores.softmax(-1) if seen is None else scores.softmax(-1) * seen.any(-1, keepdim=True)
        return self.linear((weights @ v).transpose(0, 1).flatten(1), f"{name}.to_out")

    def resample(self, features: Tensor) -> Tensor:
        x = self.state["latents"]
        for n in range(2):
            media, latents = (self.norm(y, f"layers.{n}.0.norm_{m}") for y, m in ((features, "media"), (x, "latents")))
            x = x + self.attend(latents, torch.cat((media, latents)), f"layers.{n}.0")
            x = x + self.feed_forward(x, f"layers.{n}.1")
        return self.norm(x, "norm")

    def gate(self, x: Tensor, media: Tensor, seen: Tensor) -> Tensor:
        x = x + self.attend(self.norm(x, "attn.norm"), media, "attn", seen) * self.state["attn_gate"].tanh()
        return x + self.feed_forward(x, "ff") * self.state["ff_gate"].tanh()


@torch.no_grad()
def expected(base: Base, state: dict[str, Tensor], tokens: Tensor, pixels: Tensor, every: int = 2) -> Tensor:
    """Logits of the base with the gated layers hooked in, for one row; of the old tokens, as the head is frozen."""
    llama, clip = base
    perceiver = Written(state, "perceiver")
    features = clip(pixel_values=pixels).last_hidden_state[:, 1:]
    media = torch.cat([perceiver.resample(one) for one in features])
    number = (tokens[0] == IMAGE).cumsum(0)
    seen = number[:, None] == torch.arange(1, len(pixels) + 1).repeat_interleave(3)
    hooks = []
    for n in range(every - 1, LAYERS, every):
        part = Written(state, f"lang_encoder.gated_cross_attn_layers.{n}")

        def hook(_: Any, arguments: tuple[Any, ...], part: Written = part) -> tuple[Any, ...]:
            return (part.gate(arguments[0][0], media, seen)[None], *arguments[1:])

        hooks.append(llama.model.layers[n].register_forward_pre_hook(hook))
    vectors = state["lang_encoder.model.embed_tokens.weight"][tokens]
    logits: Tensor = llama(inputs_embeds=vectors).logits
    for each in hooks:
        each.remove()
    return logits


@pytest.mark.parametrize("every", [1, 2])
def test_a_checkpoint_stands_on_its_base(base: tuple[Base, Path], every: int, tmp_path: Path) -> None:
    parts, folder = base
    state = trained(every=every)
    frozen = {
        "lang_encoder.old_decoder_blocks.0.mlp.up_proj.weight": torch.randn(3),
        "vision_encoder.proj": torch.randn(2),
    }
    torch.save(
        {"model_state_dict": {f"module.{n}": t for n, t in (state | frozen).items()}}, tmp_path / "checkpoint.pt"
    )
    model, spec = openflamingo.load(
        tmp_path / "checkpoint.pt", language=folder / "llama", vision=folder / "clip", token=IMAGE
    )
    assert (spec.bridge.every, spec.bridge.first) == (every, every - 1) and spec.language.vocabulary == VOCABULARY + 2
    tokens = torch.tensor([[1, 40, IMAGE, 41, 42, VOCABULARY, IMAGE, 43, 44, 45]])
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        given = model(tokens, images=pixels)
    wanted = expected(parts, state, tokens, pixels, every)
    assert wanted.std() > 0.1 and (wanted - expected(parts, state, tokens, pixels.flip(0), every)).abs().max() > 0.01
    torch.testing.assert_close(given[..., :VOCABULARY], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "names", ["lang_encoder.gated_cross_attn_layers.{}", "lang_encoder.model.layers.{}.gated_cross_attn_layer"]
)
def test_written_back_it_is_what_was_read(base: tuple[Base, Path], names: str, tmp_path: Path) -> None:
    """By either of the names that a released file may use, and as plain tensors without the wrapping of training."""
    _, folder = base
    torch.save(trained(names), tmp_path / "theirs.pt")
    parts = {"language": folder / "llama", "vision": folder / "clip", "token": IMAGE}
    model, spec = openflamingo.load(tmp_path / "theirs.pt", **parts)
    openflamingo.save(tmp_path / "ours.pt", model, embedding="model.embed_tokens.weight")
    written = torch.load(tmp_path / "ours.pt")["model_state_dict"]
    wanted = trained()
    assert written.keys() == wanted.keys()
    assert all(torch.equal(written[name], wanted[name]) for name in wanted)
    again, same = openflamingo.load(tmp_path / "ours.pt", **parts)
    assert same == spec and all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())


def test_what_does_not_fit_is_refused(base: tuple[Base, Path], tmp_path: Path) -> None:
    _, folder = base
    parts = {"language": folder / "llama", "vision": folder / "clip", "token": IMAGE}
    cases = {
        r"gated layers stand before layers \[3, 9\] of 4": {
            n.replace("attn_layers.1.", "attn_layers.9."): t for n, t in trained().items()
        },
        "unexpected tensor bridge.media_time_embs": trained() | {"media_time_embs": torch.ones(2)},
        "missing tensor bridge.layers.1.attention_gate": {
            n: t for n, t in trained().items() if ".1.attn_gate" not in n
        },
    }
    for message, state in cases.items():
        torch.save(state, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=message):
            openflamingo.load(tmp_path / "c.pt", **parts)
    (tmp_path / "c.pt").write_bytes(b"none")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        openflamingo.load(tmp_path / "c.pt", **parts)
