"""Tokenizers in llama.cpp's form: published ones cut texts alike there, and what it has not is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import tokenizers

import sepiola
from sepiola.checkpoints import tokenizer_files
from sepiola.checkpoints.gguf_model import save_gguf
from sepiola.checkpoints.gguf_tokenizer import gguf_tokenizer
from sepiola.errors import SepiolaError
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from tests.checkpoints.small_tokenizers import TOLD, sentencepiece
from tests.tiny import TEXTS, llama

SIGNS = [
    *("def f(x):\n\treturn  x  # 返回\n", "3.14 1024 ½ don't I'LL", "👩\u200d👩\u200d👧🇨🇳🦑", "а\tб", "é ß"),
    *("(foo).bar，中文abc：“好” 1、2\r\n\r\n  x's", "\u3000\u3000从前 有（一只）squid。\n\n"),
]


@pytest.mark.parametrize("name", ["TinyLlama-1.1B-Chat-v1.0", "Qwen2.5-0.5B-Instruct", "SmolVLM-256M-Instruct"])
def test_published_tokenizers_cut_texts_alike(data_root: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("gguf", reason="needs the gguf package: pip install 'sepiola[gguf]'")
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama.cpp: pip install llama-cpp-python")
    folder = data_root / "hub_configs" / name
    tokenizer = tokenizer_files.read(folder, json.loads((folder / "config.json").read_bytes()))
    assert tokenizer is not None
    network = sepiola.build({"language": llama(tokenizer.vocabulary, 32, 1)}).network
    save_gguf(tmp_path / "a.gguf", network, Processor(tokenizer, ends=(2,)), tokenizer, 8, {2})
    theirs = llama_cpp.Llama(str(tmp_path / "a.gguf"), vocab_only=True, verbose=False)
    texts = [*TOLD, *SIGNS]
    with gzip.open(data_root / "text" / "zh" / "cmrc_wiki_paragraphs.txt.gz", "rt", encoding="utf-8") as file:
        texts += file.read(40_000).splitlines()
    for text in texts:
        assert theirs.tokenize(text.encode(), add_bos=True, special=True) == tokenizer.encode(text, framed=True)
    theirs.close()


QWEN35 = (  # as llama.cpp cuts under this name
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def test_tokenizers_of_recipes_are_cut_by_a_name_that_gives_the_same_tokens(data_root: Path) -> None:
    lines = []
    for name in ("en/wikitext2_valid.txt.gz", "zh/cmrc_wiki_paragraphs.txt.gz"):
        with gzip.open(data_root / "text" / name, "rt", encoding="utf-8") as file:
            lines += file.read(150_000).splitlines()
    own = Tokenizer.train([*lines[::2], *TOLD], 3000)
    found = gguf_tokenizer(own, own.vocabulary)
    assert found.cut == "qwen35" and "no token spells" in found.notes[0]
    content = json.loads(own.to_json())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": QWEN35}
    theirs = Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(content)))
    texts = [*lines[1::2], *SIGNS]
    assert len(texts) > 200
    for text in texts:
        assert theirs.encode(text) == own.encode(text), text


def test_tokenizers_that_llama_cpp_has_not_are_refused() -> None:
    content = json.loads(Tokenizer.train(TEXTS, 300).to_json())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\w+"}
    with pytest.raises(SepiolaError, match=r"cuts texts as none of llama\.cpp's that are known here"):
        gguf_tokenizer(Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(content))), 300)
    with pytest.raises(SepiolaError, match="which is of kind Unigram"):
        gguf_tokenizer(Tokenizer.train(TEXTS, 300, "unigram"), 300)
    content = json.loads(sentencepiece(gemma=False).to_json())
    content["model"]["merges"] = content["model"]["merges"][:-1]
    with pytest.raises(SepiolaError, match=r"(?s)has merges that are not SentencePiece's: .* and .* do not"):
        gguf_tokenizer(Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(content))), 900)
    content["model"] |= {"byte_fallback": False}
    with pytest.raises(SepiolaError, match="has no tokens of bytes"):
        gguf_tokenizer(Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(content))), 900)
