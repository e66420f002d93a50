"""Stretched rotary positions against `transformers`: in every spelling of a config, beyond the original length, cached,
in generation across the border, and back.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import sepiola
from sepiola.checkpoints.families.llama import config_from_spec
from sepiola.errors import SepiolaError
from sepiola.generation.engine import Prompt
from sepiola.specs.model import ModelSpec
from tests.checkpoints.families.test_llama import GEMMA, LLAMA
from tests.tiny import llama

LENGTH, ORIGINAL = 32, 16
SHAPE = {**LLAMA, "head_dim": 8, "max_position_embeddings": LENGTH, "tie_word_embeddings": False}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**SHAPE, "rope_theta": 500.0},
    "qwen2": {**SHAPE, "rope_theta": 3000.0},
    "qwen3": {**SHAPE, "head_dim": 16},
    "mistral": {**SHAPE, "sliding_window": 20},
    "gemma3_text": {**GEMMA, "max_position_embeddings": LENGTH, "rope_local_base_freq": 70.0, "rope_theta": 900.0},
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.3, 1.7],
    "long_factor": [1.5, 3.0, 4.0, 9.0],
    "original_max_position_embeddings": ORIGINAL,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": ORIGINAL,
}
ROPES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 3.0},
    "linear by one": {"rope_type": "linear", "factor": 1.0},
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
    "yarn": YARN,
    "yarn, original length left out": {"rope_type": "yarn", "factor": 4.0},
    "yarn, factor null": {**YARN, "factor": None},
    "yarn, attention factor": {**YARN, "attention_factor": 0.7},
    "yarn, betas": {**YARN, "beta_fast": 8, "beta_slow": 0.5},
    "yarn, scales": {**YARN, "mscale": 0.8, "mscale_all_dim": 1.4},
    "yarn, one scale": {**YARN, "mscale": 0.8, "mscale_all_dim": 0},
    "yarn, whole pairs or not": {**YARN, "beta_fast": 2, "truncate": False},
    "llama3": LLAMA3,
    "longrope": LONG,
    "longrope, factor": {**LONG, "factor": 4.0},
    "longrope, attention factor": {**LONG, "attention_factor": 1.3},
}
BY_LENGTH = ("dynamic", "longrope")


def written(folder: Path, kind: str, **changes: Any) -> Path:
    """A checkpoint of random weights as `transformers` writes it, with changes of its config; None takes a key out."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**SHAPES[kind]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.3)
    model.save_pretrained(folder)
    return changed(folder, **changes)


def changed(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: v for key, v in config.items() if v is not None}))
    return folder


def spellings(kind: str, rope: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The changes of a config that state one rope, in each way in which files do."""
    theta, near = SHAPES[kind].get("rope_theta", 10_000.0), SHAPES[kind].get("rope_local_base_freq")
    old = {"rope_theta": theta, "rope_local_base_freq": near, "rope_parameters": None}
    oldest = {("type" if key == "rope_type" else key): value for key, value in rope.items()}
    new: dict[str, Any] = {"rope_theta": theta, **rope}
    if near is not None:
        local = {"rope_type": "default", "rope_theta": near}
        top = {"truncate": rope["truncate"]} if "truncate" in rope else {}
        new = {"full_attention": new, "sliding_attention": local, **top}
    return {
        "type": {**old, "rope_scaling": oldest},
        "rope_type": {**old, "rope_scaling": rope},
        "rope_parameters": {"rope_parameters": new, "rope_theta": None, "rope_local_base_freq": None},
    }


def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def source(length: int, rows: int = 1) -> torch.Tensor:
    return torch.randint(3, LLAMA["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_logits_of_every_spelling_below_and_beyond_the_lengths(kind: str, name: str, tmp_path: Path) -> None:
    if kind == "gemma3_text" and name.endswith("left out"):
        pytest.skip("transformers itself fails on it")
    written(tmp_path, kind)
    plain = reference(tmp_path)(source(90)).logits
    for spelling in spellings(kind, ROPES[name]).values():
        changed(tmp_path, rope_scaling=None)
        changed(tmp_path, **spelling)
        ours = sepiola.load(tmp_path)
        with torch.no_grad():
            for length in (ORIGINAL - 3, ORIGINAL, ORIGINAL + 1, LENGTH, LENGTH + 1, 90):
                wanted = reference(tmp_path)(source(length)).logits
                torch.testing.assert_close(ours(source(length)), wanted, atol=1e-4, rtol=0)
    assert name == "linear by one" or (wanted - plain).abs().max() > 0.01


@pytest.mark.parametrize("name", ["linear", "dynamic", "yarn", "llama3"])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "mistral"])
def test_logits_of_other_families(kind: str, name: str, tmp_path: Path) -> None:
    written(tmp_path, kind, **spellings(kind, ROPES[name])["type"])
    with torch.no_grad():
        torch.testing.assert_close(
            sepiola.load(tmp_path)(source(70)), reference(tmp_path)(source(70)).logits, atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("name", ["linear", "dynamic", "yarn", "llama3", "longrope"])
@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_generation_across_the_borders_is_that_of_transformers(kind: str, name: str, tmp_path: Path) -> None:
    written(tmp_path, kind, **spellings(kind, ROPES[name])["rope_type"], eos_token_id=None)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    ours = sepiola.load(tmp_path)
    for length in (ORIGINAL - 5, ORIGINAL + 1, LENGTH - 5, LENGTH + 8):
        theirs = reference(tmp_path).generate(
            source(length), max_new_tokens=30, do_sample=False, eos_token_id=None, output_logits=True,
            return_dict_in_generate=True, pad_token_id=0,
        )  # fmt: skip
        state, tokens = ours.network.begin(source(length), 30), theirs.sequences[:, length - 1 :]
        with torch.inference_mode():
            steps = [ours.network.head(ours.network.extend(tokens[:, t : t + 1], state)) for t in range(30)]
        wanted = torch.stack(theirs.logits, dim=1)
        torch.testing.assert_close(torch.cat(steps, dim=1), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [name for name in ROPES if name not in BY_LENGTH and "longrope" not in name])
def test_cached_is_uncached_where_the_length_does_not_matter(name: str, tmp_path: Path) -> None:
    network = sepiola.load(written(tmp_path, "llama", **spellings("llama", ROPES[name])["type"])).network
    with torch.inference_mode():
        state = network.begin(source(50)[:, :20], 30)
        steps = [network.head(network.extend(source(50)[:, t : t + 1], state)) for t in range(19, 50)]
        torch.testing.assert_close(torch.cat(steps, 1), network(source(50))[:, 19:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BY_LENGTH)
def test_a_row_goes_by_its_own_length_whatever_stands_beside_it(name: str, tmp_path: Path) -> None:
    ours = sepiola.load(written(tmp_path, "llama", **spellings("llama", ROPES[name])["type"]))
    rows, mask = source(40, 2), torch.ones(2, 40, dtype=torch.long)
    mask[0, :30] = 0
    with torch.no_grad():
        given = ours(rows, attention_mask=mask)
        torch.testing.assert_close(given[:1, 30:], ours(rows[:1, 30:]), atol=1e-5, rtol=0)
        torch.testing.assert_close(given[1:], ours(rows[1:]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", BY_LENGTH)
def test_a_continuation_is_scored_as_a_part_of_the_whole_text(name: str, tmp_path: Path) -> None:
    """However far below the border its prompt ends, and whatever else is scored with it."""
    ours = sepiola.load(written(tmp_path, "llama", **spellings("llama", ROPES[name])["type"]))
    border = ORIGINAL if name == "longrope" else LENGTH
    prompts = [source(border - 4)[0].tolist(), source(border - 9)[0].tolist(), source(border + 5)[0].tolist()]
    options = [[[5], [6, 7, 8, 9, 10, 11, 12], [6, 7, 8]], [[9] * 3, [4] * 30], [[8, 3]]]
    wanted = []
    for prompt, choices in zip(prompts, options, strict=True):
        for choice in choices:
            theirs = reference(tmp_path)  # one that has read a longer text keeps its base
            with torch.no_grad():
                logits = theirs(torch.tensor([prompt + choice[:-1]])).logits[0, len(prompt) - 1 :].log_softmax(-1)
            wanted.append(float(logits[range(len(choice)), choice].sum()))
    scores = ours.engine.score([Prompt(tokens) for tokens in prompts], options)
    assert [score.log_likelihood for row in scores for score in row] == pytest.approx(wanted, abs=1e-4)
    alone = ours.engine.score([Prompt(prompts[0])], [options[0][:1]])
    assert alone[0][0].log_likelihood == pytest.approx(wanted[0], abs=1e-4)


@pytest.mark.parametrize("name", ROPES)
@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_an_export_computes_the_same_in_transformers(kind: str, name: str, tmp_path: Path) -> None:
    if kind == "gemma3_text" and name.endswith("left out"):
        pytest.skip("transformers itself fails on it")
    written(tmp_path / "hub", kind, **spellings(kind, ROPES[name])["rope_parameters"])
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "back")
    ours.save(tmp_path / "ours")
    with torch.no_grad():
        wanted = ours(source(50))
        torch.testing.assert_close(reference(tmp_path / "back")(source(50)).logits, wanted, atol=1e-4, rtol=0)
        for folder in ("back", "ours"):
            torch.testing.assert_close(sepiola.load(tmp_path / folder)(source(50)), wanted, atol=1e-6, rtol=0)


def test_layers_with_a_window_may_be_stretched_too(tmp_path: Path) -> None:
    ropes = {
        "full_attention": {"rope_theta": 900.0, **YARN},
        "sliding_attention": {"rope_theta": 70.0, "rope_type": "linear", "factor": 2.0},
    }
    written(tmp_path / "hub", "gemma3_text", rope_parameters=ropes)
    ours = sepiola.load(tmp_path / "hub")
    ours.save_hub(tmp_path / "back")
    with torch.no_grad():
        for folder in ("hub", "back"):
            wanted = reference(tmp_path / folder)(source(50)).logits
            torch.testing.assert_close(ours(source(50)), wanted, atol=1e-4, rtol=0)


def test_bases_that_a_config_leaves_to_its_family(tmp_path: Path) -> None:
    for kind, keys in (("gemma3_text", ("rope_parameters", "rope_local_base_freq", "rope_theta")), ("llama", ())):
        folder = written(tmp_path / kind, kind, **dict.fromkeys((*keys, "rope_parameters")))
        with torch.no_grad():
            wanted = reference(folder)(source(30)).logits
            torch.testing.assert_close(sepiola.load(folder)(source(30)), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"type": "su", "factor": 2.0}, "config.json: rotary positions of type 'su' are not supported; known: default"),
        ({"rope_type": "Yarn", "factor": 2.0}, "did you mean 'yarn'?"),
        ({"rope_type": "linear"}, "rotary positions of type 'linear' need factor"),
        ({**LLAMA3, "high_freq_factor": 0.5}, r"high_freq_factor \(0.5\) must be above low_freq_factor \(1.0\)"),
        ({**LONG, "long_factor": [1.0]}, "long_factor has 1 numbers; a head of 8 needs 4"),
        ({"rope_type": "linear", "factor": -2.0}, r"positions.scaling.factor: .* greater than or equal to"),
        ({"rope_type": "linear", "factor": "two"}, r"positions.scaling.factor: .* got 'two'"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not supported"),
        ([2.0], r"config.json: rope_scaling is \[2.0\]; expected"),
    ],
)
def test_what_cannot_be_read_is_said(rope: object, message: str, tmp_path: Path) -> None:
    written(tmp_path, "llama", rope_parameters=None, rope_scaling=rope)
    with pytest.raises(SepiolaError, match=message):
        sepiola.load(tmp_path)


def test_keys_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rope = {"type": "linear", "factor": 2.0, "beta_fast": 4, "mrope_section": [1, 2]}
    with caplog.at_level(logging.WARNING):
        sepiola.load(written(tmp_path, "llama", rope_parameters=None, rope_scaling=rope))
    assert "type 'linear' do not read beta_fast, mrope_section" in caplog.text


def test_a_plain_model_says_nothing_of_scaling() -> None:
    spec = ModelSpec.parse({"family": "llama", "language": llama()})
    assert "rope_scaling" not in config_from_spec(spec)
