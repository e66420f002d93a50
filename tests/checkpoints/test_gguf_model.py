"""GGUF files: every weight and key against the model, and llama.cpp writes what sepiola writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

import sepiola
from sepiola.api import Model
from sepiola.checkpoints.families.llama import to_hub
from sepiola.checkpoints.gguf_model import architecture_of, save_gguf
from sepiola.checkpoints.gguf_tokenizer import BYTE, CONTROL, UNUSED, USER_DEFINED
from sepiola.cli.app import app
from sepiola.errors import SepiolaError, SpecError
from sepiola.generation.chat import Chat
from sepiola.specs.model import TransformerSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from tests.checkpoints.small_tokenizers import TOLD, bytewise, sentencepiece
from tests.tiny import Raw, decoder, encoder_decoder, llama, randomise

gguf = pytest.importorskip("gguf", reason="needs the gguf package: pip install 'sepiola[gguf]'")

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
KNOWN = [text[: len(text) // 3] for text in TOLD]


def gemma(vocabulary: int, **changes: Any) -> Raw:
    """A decoder of Gemma 3's choices; of three layers, the second sees all."""
    return llama(
        vocabulary,
        64,
        3,
        feed_forward={"width": 96, "activation": "gelu_tanh", "gated": True},
        norm={"kind": "rms", "place": "sandwich", "zero_centred": True, "eps": 1e-6},
        attention={"heads": 4, "kv_heads": 2, "head_width": 32, "qk_norm": True, "scale": 0.2, "window": 8}
        | {"full_every": 2},
        positions={"kind": "rotary", "length": 256, "base": 1e6, "local_base": 1e4}
        | {"scaling": {"kind": "linear", "factor": 8}},
        embedding_scale=8.0,
        **changes,
    )


def shaped(name: str) -> tuple[Raw, Tokenizer]:
    """A spec and a tokenizer as a family has them."""
    tokenizer = {
        "llama": lambda: sentencepiece(gemma=False),
        "gemma3": lambda: sentencepiece(gemma=True),
        "smollm": lambda: bytewise("smollm"),
        "llama 3": lambda: bytewise("llama-bpe"),
    }.get(name, lambda: bytewise("qwen2"))()
    rows, wide = tokenizer.vocabulary + 3, {"width": 64, "layers": 2, "hidden": 96}
    attention = {"heads": 4, "kv_heads": 2}
    positions = {"kind": "rotary", "length": 256, "base": 50_000.0}
    stretched = {"kind": "llama3", "factor": 8, "original_length": 32, "low_freq_factor": 1, "high_freq_factor": 4}
    match name:
        case "llama":
            return llama(rows, **wide, attention=attention, positions=positions, tied=False), tokenizer
        case "llama 3":
            positions |= {"scaling": stretched}
            return llama(rows, **wide, attention={**attention, "scale": 0.1}, positions=positions), tokenizer
        case "smollm":
            everywhere = {**attention, "bias": True, "output_bias": True}
            return llama(rows, **wide, attention=everywhere, positions=positions), tokenizer
        case "qwen2":
            return llama(
                rows, **wide, attention={**attention, "bias": True, "output_bias": False}, positions=positions
            ), tokenizer
        case "qwen3":
            positions |= {"scaling": {"kind": "yarn", "factor": 4, "original_length": 64}}
            return llama(
                rows, **wide, attention={**attention, "head_width": 32, "qk_norm": True}, positions=positions
            ), tokenizer
    return gemma(rows), tokenizer


def model_of(name: str) -> Model:
    """A model of random weights that ends at the end token of its tokenizer."""
    raw, tokenizer = shaped(name)
    ends = {"llama": "</s>", "gemma3": "<eos>"}
    end = tokenizer.id_of(ends.get(name, "<end>")) or 0
    begin = next(iter(tokenizer.opening()), end)
    built = sepiola.build({"name": name, "language": {**raw, "tokens": {"pad": 0, "end": end, "start": begin}}}, seed=1)
    randomise(built, std=0.1, generator=torch.Generator().manual_seed(2))
    template = ChatTemplate({"default": CHATML}, {"eos_token": "<|im_end|>"})
    return Model(built.network, built.spec, Processor.of(built.spec, tokenizer, template))


def taught(model: Model, steps: int = 150) -> Model:
    """The model once it knows the texts by heart, so that what comes next is no matter of rounding."""
    tokenizer, tokens = model.require_tokenizer(), model.spec.language.tokens  # type: ignore[union-attr]
    rows = [[*tokenizer.encode(text, framed=True), tokens.end] for text in TOLD]
    longest = max(map(len, rows))
    batch = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=4e-3)
    for _ in range(steps):
        logits = model.network(batch[:, :-1].clamp(min=0))
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2  # which of the texts begins is open
    return model


def written(model: Model, path: Path, bits: int) -> list[str]:
    chat = Chat(model.engine, model.processor, model.require_tokenizer())
    return save_gguf(path, model.network, model.processor, model.require_tokenizer(), bits, chat.ends)


SHAPES = ("llama", "llama 3", "smollm", "qwen2", "qwen3", "gemma3")


@pytest.mark.parametrize("name", SHAPES)
def test_llama_cpp_writes_the_same_tokens(tmp_path: Path, name: str) -> None:
    """From text to tokens, in English and Chinese, greedily: with the weights that the file holds."""
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama.cpp: pip install llama-cpp-python")
    model = taught(model_of(name))
    tokenizer, end = model.require_tokenizer(), model.processor.ends[0]
    for bits in (16, 8, 4):
        path = tmp_path / f"{bits}.gguf"
        written(model, path, bits)
        read_back(model, path)
        theirs = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, verbose=False)
        for prompt in ("It is 2024 and", "耳乌贼 has 12", "海里有<|im_end|>\n", "  a<tool>b  c\n\n", *KNOWN):
            expected = tokenizer.encode(prompt, framed=True)
            assert theirs.tokenize(prompt.encode(), add_bos=True, special=True) == expected
            theirs.reset()
            theirs.eval(expected)
            logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(theirs.ctx), (model.network.spec.vocabulary,))
            ours = model(torch.tensor([expected]))[0, -1].detach().numpy()
            assert np.corrcoef(ours, logits)[0, 1] > (0.9999 if bits == 16 else 0.999)
        for prompt in KNOWN:
            expected = tokenizer.encode(prompt, framed=True)
            after: list[int] = []
            for token in theirs.generate(expected, temp=0.0, repeat_penalty=1.0):
                if llama_cpp.llama_vocab_is_eog(theirs._model.vocab, token) or len(after) == 40:
                    break
                after.append(token)
            ours = model.generate(torch.tensor([expected]), max_tokens=40)[0].tolist()
            assert after == (ours[: ours.index(end)] if end in ours else ours)
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好, what is 12?"}]
        read = theirs.create_chat_completion(turns, max_tokens=1)["usage"]["prompt_tokens"]
        assert read == model.chat(turns, max_tokens=1).prompt_tokens
        theirs.close()


def read_back(model: Model, path: Path) -> None:
    """Gives the model the weights of a file."""
    found = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    spec = model.network.spec
    heads, kv = spec.attention.heads, spec.attention.kv_heads or spec.attention.heads

    def rows(name: str, count: int) -> torch.Tensor:
        values = torch.from_numpy(np.array(found[name]))
        if architecture_of(spec) != "llama":
            return values
        return values.reshape(count, -1, 2, *values.shape[1:]).transpose(1, 2).reshape(values.shape)

    with torch.no_grad():
        for number, layer in enumerate(model.network.decoder.layers):
            prefix = f"blk.{number}"
            for kind, whole in layer.attention.qkv.named_parameters():
                q, k = rows(f"{prefix}.attn_q.{kind}", heads), rows(f"{prefix}.attn_k.{kind}", kv)
                scale = 1.0
                if spec.attention.scale is not None and not spec.attention.qk_norm:
                    scale = spec.attention.scale * layer.attention.head_width**0.5
                whole.copy_(torch.cat((q / scale, k, torch.from_numpy(np.array(found[f"{prefix}.attn_v.{kind}"])))))
            parts = {"attn_output": layer.attention.out, "ffn_down": layer.feed_forward.down}
            for name, linear in parts.items():
                linear.weight.copy_(torch.from_numpy(np.array(found[f"{prefix}.{name}.weight"])))
            gate_up = [torch.from_numpy(np.array(found[f"{prefix}.ffn_{part}.weight"])) for part in ("gate", "up")]
            layer.feed_forward.gate_up.weight.copy_(torch.cat(gate_up))
        model.network.embedding.weight.copy_(torch.from_numpy(np.array(found["token_embd.weight"])))
        if not spec.tied:
            model.network.head.projection.weight.copy_(torch.from_numpy(np.array(found["output.weight"])))


def test_transformers_reads_the_same_model(tmp_path: Path) -> None:
    """Another reader of GGUF, which knows places of rows, norms and sizes for LLaMA and Qwen2, has our logits."""
    for name in ("llama", "qwen2"):
        model = randomise(model_of(name), std=0.3, generator=torch.Generator().manual_seed(0))
        written(model, tmp_path / "model.gguf", 16)
        read_back(model, tmp_path / "model.gguf")
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32).eval()
        tokens = torch.randint(model.network.spec.vocabulary, (1, 30))
        with torch.no_grad():
            torch.testing.assert_close(theirs(tokens).logits, model(tokens), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_every_weight_is_in_its_place(tmp_path: Path, name: str) -> None:
    """The Hub's tensors, under the names that the gguf package gives them, and the numbers that a model is read by."""
    model = model_of(name)
    spec, language = model.spec, model.network.spec
    written(model, tmp_path / "model.gguf", 16)
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    found = {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    architecture = architecture_of(language)
    kind = next(kind for kind, known in gguf.MODEL_ARCH_NAMES.items() if known == architecture)
    names = gguf.get_tensor_name_map(kind, language.layers)
    attention = language.attention.spelled_out(language.width)
    heads = {"q_proj": attention.heads, "k_proj": attention.kv_heads}
    divisors = found.pop("rope_freqs.weight", None)
    assert (divisors is not None) == (name == "llama 3")
    for hub_name, tensor in to_hub(model.network.state_dict(), spec).items():
        values, part = tensor.float(), hub_name.split(".")[-2]
        if part == "q_proj" and not attention.qk_norm:
            values = values * attention.scale * attention.head_width**0.5
        if part == "q_norm":
            values = (values + (architecture == "gemma3")) * attention.scale * attention.head_width**0.5
        elif architecture == "gemma3" and "norm" in part:
            values = values + 1
        if architecture == "llama" and part in heads:
            pairs = values.reshape(heads[part], 2, attention.head_width // 2, -1)
            values = pairs.transpose(1, 2).reshape(values.shape)
        file_name = names.get_name(hub_name, try_suffixes=(".weight", ".bias"))
        if values.dim() == 2:
            values = values.bfloat16().float()
        torch.testing.assert_close(torch.from_numpy(np.array(found.pop(file_name))), values, atol=1e-6, rtol=1e-2)
    assert not found

    def stated(key: str) -> object:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    assert stated("general.architecture") == architecture
    sizes = {"embedding_length": 64, "block_count": language.layers, "feed_forward_length": 96, "context_length": 256}
    sizes |= {"attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": attention.head_width}
    sizes |= {"rope.freq_base": language.positions.base, "rope.dimension_count": attention.head_width}
    if name == "gemma3":
        sizes |= {"attention.sliding_window": 8, "attention.sliding_window_pattern": [True, False, True]}
        sizes |= {"rope.freq_base_swa": 1e4}
    assert {key: stated(f"{architecture}.{key}") for key in sizes} == sizes
    assert stated(f"{architecture}.attention.layer_norm_rms_epsilon") == pytest.approx(language.norm.eps)
    tokenizer, words = model.require_tokenizer(), stated("tokenizer.ggml.tokens")
    assert isinstance(words, list) and len(words) == language.vocabulary
    types = stated("tokenizer.ggml.token_type")
    for index, (word, kind) in enumerate(zip(words, types, strict=True)):
        if index >= tokenizer.vocabulary:
            assert (word, kind) == (f"[PAD{index}]", UNUSED)
        else:
            assert word == tokenizer.name_of(index)
            assert (kind == CONTROL) == (tokenizer.is_special(index) and word != "<unk>")
            assert (kind == BYTE) == (word.startswith("<0x")) and (kind == USER_DEFINED) == (word == "<tool>")
    assert stated("tokenizer.ggml.eos_token_id") == model.processor.ends[0]
    assert stated("tokenizer.ggml.add_bos_token") is bool(tokenizer.opening())
    assert stated("tokenizer.ggml.add_eos_token") is False
    assert stated("tokenizer.ggml.pre") == {"smollm": "smollm", "llama 3": "llama-bpe"}.get(
        name, "default" if name in ("llama", "gemma3") else "qwen2"
    )
    assert stated("tokenizer.chat_template") == CHATML


def test_what_llama_cpp_has_no_place_for_is_refused(tmp_path: Path) -> None:
    rotary = {"kind": "rotary", "length": 64}
    for changes, reason in {
        "has mixtures of experts": {"feed_forward": {"width": 8, "activation": "silu", "gated": True, "experts": 2}},
        "normalises the queries and keys of all heads as one": {"attention": {"heads": 2, "qk_norm": "joined"}},
        "has a feed-forward without a gate": {"feed_forward": {"width": 8, "activation": "silu"}},
        "has norms of kind layer": {"norm": {"kind": "layer"}},
        "has norms post": {"norm": {"kind": "rms", "place": "post"}},
        "has learned positions": {"positions": {"kind": "learned", "length": 8}},
        r"sees 8 tokens of 64 \(attention.window\)": {"attention": {"heads": 2, "window": 8}, "positions": rotary},
        "scales its embeddings by 2": {"embedding_scale": 2.0},
        "has a bias in its head": {"head": {"bias": True}},
        "has biases, where qwen3 has none": {"attention": {"heads": 2, "qk_norm": True, "bias": True}},
        "has the activation gelu, where llama has silu": {"feed_forward": {"width": 8, "gated": True}},
    }.items():
        with pytest.raises(SepiolaError, match=changes):
            architecture_of(TransformerSpec.parse(llama(**reason)))
    wide = {"kind": "rotary", "length": 64, "scaling": {"kind": "dynamic", "factor": 2}}
    tokenizer = bytewise("qwen2")
    for network, message in (
        (
            sepiola.build({"language": llama(tokenizer.vocabulary, positions=wide)}).network,
            "does not stretch positions",
        ),
        (sepiola.build({"language": encoder_decoder()}).network, "decoders that read text alone"),
        (sepiola.build({"language": decoder()}).network, "without a gate"),
        (sepiola.build({"language": llama(50)}).network, "has a token 4.., and the model 50 rows"),
    ):
        with pytest.raises(SepiolaError, match=message):
            save_gguf(tmp_path / "a" / "b.gguf", network, Processor(tokenizer, ends=(1,)), tokenizer, 8, {1})
    network = sepiola.build({"language": llama(tokenizer.vocabulary)}).network
    for processor, bits, message in (
        (Processor(tokenizer), 8, "names no end token"),
        (Processor(tokenizer, ends=(1,)), 5, "bits: got 5; expected 4"),
    ):
        with pytest.raises(SepiolaError, match=message):
            save_gguf(tmp_path / "a" / "b.gguf", network, processor, tokenizer, bits, {*processor.ends})
    assert not (tmp_path / "a").exists()


def test_export_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_of("qwen2").save(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--to", "gguf", "--json", "--out"]
    for more, file in ((["--bits", "4"], "model-Q4_0.gguf"), ([], "model-Q8_0.gguf")):
        result = CliRunner().invoke(app, [*command, str(tmp_path / "out"), *more])
        assert result.exit_code == 0, result.output
        figures = json.loads(result.stdout)
        assert figures["out"] == str(tmp_path / "out" / file)
        assert figures["bytes"] == (tmp_path / "out" / file).stat().st_size
        assert "llama.cpp does not normalise texts (NFC)" in figures["notes"][0]
    before = (tmp_path / "out" / "model-Q4_0.gguf").stat().st_size
    assert before < (tmp_path / "out" / "model-Q8_0.gguf").stat().st_size
    result = CliRunner().invoke(app, [*command, str(tmp_path / "out" / "mine.gguf"), "--bits", "16"])
    assert result.exit_code == 0 and (tmp_path / "out" / "mine.gguf").is_file()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mine.gguf",
        "model-Q4_0.gguf",
        "model-Q8_0.gguf",
    ]
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(SepiolaError, match=r"pip install 'sepiola\[gguf\]'"):
        CliRunner().invoke(app, [*command, str(tmp_path / "out" / "other.gguf")], catch_exceptions=False)
    with pytest.raises(SpecError, match="--bits is for --to edge and gguf"):
        hf = ["export", str(tmp_path / "model"), "--to", "hf", "--bits", "4", "--out", str(tmp_path / "hf")]
        CliRunner().invoke(app, hf, catch_exceptions=False)
