"""What stands around the weights, from every file of the Hub's layouts, against `transformers`."""

from __future__ import annotations

import itertools
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

import sepiola
from sepiola.checkpoints.processor import as_ids, plain_ids
from sepiola.errors import CheckpointError, SpecError
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from tests.tiny import HUB_LLAMA, byte_model, decoder

TURN = "<|im_end|>"
TOKENIZER = Tokenizer.train(["the quick fox 快狐狸"], 300, extra=[TURN, "<image>"])
END, TURN_END = 1, TOKENIZER.vocabulary - 2
SIZES = {**HUB_LLAMA, "vocab_size": TOKENIZER.vocabulary}


def chain(folder: Path, *path: int, **ids: Any) -> LlamaForCausalLM:
    """A LLaMA that writes `path` after its first token, as itself, in the Hub's layout."""
    model = LlamaForCausalLM(LlamaConfig(**SIZES | {"num_hidden_layers": 1, "hidden_size": 48}, **ids)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.model.norm.weight.fill_(1)
        for place, (token, following) in enumerate(itertools.pairwise(path)):
            model.model.embed_tokens.weight[token, place] = 1
            model.lm_head.weight[following, place] = 1
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(TOKENIZER.to_json(), encoding="utf-8")
    edit(
        folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast", eos_token="</s>", pad_token="<pad>"
    )
    return model


def edit(folder: Path, file: str, **changes: Any) -> None:
    """Changes keys of a JSON file; a key given as Ellipsis goes."""
    path = folder / file
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    new = {key: value for key, value in {**old, **changes}.items() if value is not ...}
    path.write_text(json.dumps(new), encoding="utf-8")


def written(ids: Tensor, after: int) -> list[int]:
    return ids[0, after:].tolist()


@pytest.mark.parametrize(
    ("config", "generation"),
    [
        ([END, TURN_END], [END, TURN_END]),
        (END, [END, TURN_END]),
        (END, TURN_END),
        (TURN_END, ...),
    ],
)
def test_every_end_token_of_the_file_that_counts_ends_a_text(tmp_path: Path, config: Any, generation: Any) -> None:
    letters = TOKENIZER.encode("quick")
    start, *rest = [*letters, TURN_END, *TOKENIZER.encode("狐"), END]
    chain(tmp_path, start, *rest, bos_token_id=None)
    edit(tmp_path, "config.json", eos_token_id=config)
    if generation is ...:
        (tmp_path / "generation_config.json").unlink()
    else:
        edit(tmp_path, "generation_config.json", eos_token_id=generation)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path)
    expected = written(theirs.generate(torch.tensor([[start]]), max_new_tokens=20, do_sample=False), 1)
    model = sepiola.load(tmp_path)
    assert model.generate(torch.tensor([[start]]), max_tokens=20).tolist() == [[*letters[1:]]]
    assert expected == [*letters[1:], TURN_END]
    text = TOKENIZER.decode(letters[:1])
    scorer = model.text_scorer()
    assert scorer.generate([text], max_tokens=20) == [TOKENIZER.decode(letters)[len(text) :]]
    model.save(tmp_path / "ours")
    assert sepiola.load(tmp_path / "ours").processor.ends == model.processor.ends
    edit(tmp_path, "config.json", eos_token_id=[END, TURN_END])
    edit(tmp_path, "generation_config.json", eos_token_id=None)  # transformers would go on for ever
    assert sepiola.load(tmp_path).processor.ends == (END, TURN_END)


def test_null_ids_are_the_tokenizers_own_tokens_and_else_none(tmp_path: Path) -> None:
    config = Qwen3Config(**SIZES, head_dim=8)
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    edit(tmp_path, "config.json", eos_token_id=None, bos_token_id=None, pad_token_id=None)
    bare = sepiola.load(tmp_path).processor
    assert (bare.ends, bare.start, bare.pad, bare.prefix) == ((), None, None, None)
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.to_json(), encoding="utf-8")
    edit(tmp_path, "tokenizer_config.json", eos_token={"content": TURN}, bos_token=None)
    model = sepiola.load(tmp_path)
    known = model.processor
    assert (known.ends, known.start, known.pad, known.prefix) == ((TURN_END,), None, None, TURN_END)
    assert model.spec.language is not None and model.network.spec == model.spec.language
    assert model.spec.language.tokens.model_dump() == {"pad": TURN_END, "end": TURN_END, "start": TURN_END}
    assert model.text_scorer().encode("") == [TURN_END]


def test_a_tokenizer_without_a_start_token_has_none_whatever_the_config_says(tmp_path: Path) -> None:
    chain(tmp_path, 5, 6, bos_token_id=7, eos_token_id=END)
    assert sepiola.load(tmp_path).processor.start == 7
    edit(tmp_path, "tokenizer_config.json", bos_token=None)
    assert sepiola.load(tmp_path).processor.start is None


def test_settings_of_writing_are_read_kept_and_named_where_they_are_not_honoured(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain(tmp_path, 5, 6)
    settings = {"num_beams": 4, "min_length": 3, "length_penalty": 2.0, "max_length": 142, "forced_bos_token_id": 0}
    (tmp_path / "generation_config.json").unlink()
    edit(tmp_path, "config.json", **settings)
    with caplog.at_level(logging.WARNING):
        model = sepiola.load(tmp_path)
    (record,) = caplog.records
    assert "num_beams 4" in record.getMessage() and "length_penalty" not in record.getMessage()
    assert (model.processor.generation.min_length, model.processor.generation.max_length) == (3, 142)
    model.save(tmp_path / "ours")
    kept = json.loads((tmp_path / "ours" / "generation_config.json").read_text(encoding="utf-8"))
    assert kept.items() >= settings.items()
    again = sepiola.load(tmp_path / "ours").processor
    assert again.generation == model.processor.generation and again.context == model.processor.context
    edit(
        tmp_path, "generation_config.json", min_length=1
    )  # where the file is there, config.json's settings are not read
    assert sepiola.load(tmp_path).processor.generation.max_length is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("generation_config.json", "{", "generation_config.json: not valid JSON"),
        ("generation_config.json", "[]", "generation_config.json: expected a JSON object"),
        ("generation_config.json", '{"top_p": 3}', "generation_config.json: top_p"),
        ("tokenizer_config.json", "<<<<", "tokenizer_config.json: not valid JSON"),
    ],
)
def test_damaged_files_are_one_message(tmp_path: Path, file: str, text: str, message: str) -> None:
    chain(tmp_path, 5, 6)
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises((CheckpointError, SpecError), match=message):
        sepiola.load(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("value", ["</s>", [1, "2"], 1.5, True, {"id": 1}], ids=str)
def test_an_id_that_is_none_is_one_message(file: str, value: object, tmp_path: Path) -> None:
    chain(tmp_path, 10, 11)
    edit(tmp_path, file, eos_token_id=value)
    with pytest.raises(CheckpointError, match=f"{file}: eos_token_id is .*; expected a token's id, or a list of them"):
        sepiola.load(tmp_path)


def test_ids_are_numbers_or_none() -> None:
    assert [as_ids(v) for v in (None, -1, 3, [3, -1, 2], True, "3")] == [(), (), (3,), (3, 2), (), ()]
    config = {"eos_token_id": [4, 2], "text_config": {"bos_token_id": None, "pad_token_id": 0}, "hidden_size": 8}
    assert plain_ids(config) == {"eos_token_id": 4, "text_config": {"pad_token_id": 0}, "hidden_size": 8}


def test_a_model_of_our_own_keeps_what_its_spec_says(tmp_path: Path) -> None:
    model = byte_model(decoder(positions={"kind": "learned", "length": 40}, tokens={"pad": 0, "end": 1, "start": 2}))
    assert model.processor == Processor.of(model.spec, model.tokenizer)
    assert (model.processor.ends, model.processor.start, model.processor.context) == ((1,), 2, 40)
    model.save(tmp_path)
    again = sepiola.load(tmp_path).processor
    assert (again.ends, again.start, again.pad, again.context) == ((1,), 2, 0, 40)
