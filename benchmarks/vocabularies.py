"""Published vocabularies (GPT-2, GPT-4, GPT-4o, Qwen) as files for `sepiola tokenizer measure --against`.

They are published as ranks (tiktoken): a token's number is also the order in which it is merged. Two packages carry
them, and neither is installed:

    npm pack js-tiktoken@1.0.21                       # gpt2, cl100k_base, o200k_base
    pip download --no-deps dashscope==2.0.2           # qwen, the vocabulary of Qwen to Qwen3
    python benchmarks/vocabularies.py js-tiktoken-1.0.21.tgz dashscope-2.0.2-py3-none-any.whl --out published
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import tarfile
import zipfile
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from sepiola.checkpoints.store import make_folder, write_text

NAMES = ("gpt2", "cl100k_base", "o200k_base")


def from_js_tiktoken(path: Path, name: str) -> tuple[dict[bytes, int], str]:
    """Ranks and pattern of one of js-tiktoken's vocabularies: lines of `! first-rank token token …`."""
    with tarfile.open(path) as archive:
        file = archive.extractfile(f"package/dist/ranks/{name}.cjs")
        assert file is not None
        source = file.read().decode()
    data = json.loads(source[source.index("{") : source.rindex("}") + 1])
    ranks = {}
    for line in data["bpe_ranks"].split("\n"):
        _, first, *tokens = line.split(" ")
        ranks |= {base64.b64decode(token): int(first) + i for i, token in enumerate(tokens)}
    return ranks, data["pat_str"]


def from_dashscope(path: Path) -> tuple[dict[bytes, int], str]:
    """Ranks and pattern of Qwen: lines of `token rank`, and a constant of the module beside them."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("dashscope/resources/qwen.tiktoken").decode().splitlines()
        module = archive.read("dashscope/tokenizers/qwen_tokenizer.py").decode()
    pattern = re.search(r'PAT_STR = r"""(.*?)"""', module)
    assert pattern is not None
    pairs = (line.split() for line in lines if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}, pattern.group(1)


def as_tokenizer(ranks: dict[bytes, int], pattern: str) -> Tokenizer:
    """The same in the `tokenizers` library, where each way to part a token in two is a merge, by the token's rank."""
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letter = {bytes([b]): _letter(b) for b in range(256)}
    spelled = {token: "".join(letter[bytes([b])] for b in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = [(token[:i], token[i:]) for i in range(1, len(token))]
        known = [(left, right) for left, right in cuts if left in ranks and right in ranks]
        known.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(spelled[left], spelled[right]) for left, right in known]
    vocabulary = {spelled[token]: rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), letters])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _letter(byte: int) -> str:
    """The character that stands for a byte in GPT-2's spelling: itself where it prints, else one from 256 on."""
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printing:
        return chr(byte)
    return chr(256 + [b for b in range(256) if b not in printing].index(byte))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("js_tiktoken", type=Path)
    parser.add_argument("dashscope", type=Path)
    parser.add_argument("--out", type=Path, default=Path("published"))
    options = parser.parse_args()
    make_folder(options.out)
    sources = {name: from_js_tiktoken(options.js_tiktoken, name) for name in NAMES}
    sources["qwen"] = from_dashscope(options.dashscope)
    for name, (ranks, pattern) in sources.items():
        write_text(options.out / f"{name}.json", as_tokenizer(ranks, pattern).to_str())
        print(f"{options.out / name}.json: {len(ranks):,} tokens")


if __name__ == "__main__":
    main()
