"""What somebody would write who means harm, or had an odd tool: by the kind of file."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

TEMPLATES = (
    "{{ ''.__class__.__mro__ }}",
    "{% for i in range(10**9) %}{{ i }}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}",
    "{{ cycler.__init__.__globals__.os.system('id') }}",
    "{{ lipsum.__globals__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__.__mro__}'.format('') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ 9**9**9 }}",
    "{{ 9**(9**9) }}",
    "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{{ messages | tojson(indent=10**9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 'a'.ljust(10**10) }}",
    "{{ ('a'*99999)|replace('a','b'*99999) }}",
    "{{ (['a'*99999]*99999)|join }}",
    "{% set ns=namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    "{% set ns=namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "{{ raise_exception('x\\n' * 10**6) }}",
    "{{ " + "(" * 3000,
    "{% if 1 %}" * 400,
    "{{ messages.append(1) }}{{ namespace(__init__=1) }}",
    "{{ strftime_now('\\ud800') }}",
)

YAML = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nname: [*c, *c]\n",
    "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(9)),
    "&a [*a]",
    "<<: {name: x}\n<<: [1]\n",
    "<<: 5\n",
    "name: !!python/object/apply:os.system [id]\n",
    "name: !!python/name:os.system\n",
    "name: !!binary aGVsbG8=\n",
    "name: x\nname: y\n",
    "? {a: 1}\n: 2\n",
    "? [a]\n: 2\n",
    "name: " + "[" * 3000 + "\n",
    "name: " + "{a: " * 300 + "\n",
    "seed: " + "9" * 5000 + "\n",
    "seed: .nan\nname: 0x_\n",
    "seed: 1:2:3\nname: 2020-13-45\n",
    '"\\ud800": 1\n',
    "%YAML 9.9\n---\na: 1\n",
    "--- 1\n--- 2\n",
    "\tname: x\n",
    "name: 'a\x00b'\n",
    "\ufeff\ufeffname: x\n",
    "model: {like: ../../etc/passwd}\n",
)

NAMES = (
    *(
        "../x",
        "/abs",
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "checkpoint",
        "stages",
        "con",
        "nul.txt",
        "a" * 300,
        "a\nb",
        "a\0b",
    ),
    *("Å", "A\u030a", "\u202ex", "\u200b", " x", "x.", "-x", "~", "$HOME", "%s", "*", "a:b", "CHECKPOINT", "\ud800"),
)

VALUES = (
    "__class__",
    "[0]",
    "{}",
    "null",
    "true",
    ".nan",
    ".inf",
    "1e999",
    "-1",
    "0x10",
    "1_000",
    "*x",
    "&x",
    "!!python/x",
)


def tokenizer(raw: dict[str, Any], rng: random.Random) -> None:
    """Changes a `tokenizer.json`, in place, to one that means harm."""
    step = rng.choice(
        [
            {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
            {
                "type": "Split",
                "pattern": {"Regex": rng.choice(["(", "", r"(.*)\1", "(?<x>a\\g<x>?b)c"])},
                "behavior": "Removed",
            },
            {"type": "FixedLength", "length": rng.choice([0, 1, 1 << 62])},
            {
                "type": "Metaspace",
                "replacement": rng.choice(["", "ab", "\u2581"]),
                "prepend_scheme": "always",
                "split": True,
            },
        ]
    )
    replace = {
        "type": "Replace",
        "pattern": {rng.choice(["String", "Regex"]): "a"},
        "content": "a" * rng.choice([1, 30, 9999]),
    }
    table = rng.choice(["", "AAAA", "/////w==", "ALQCAACEAAAAAACAAQAAgMz8", None, 5])
    token = {**raw["added_tokens"][0], "content": rng.choice(["", "a", "\0", "<new>", "\ud800"])}
    token["id"] = rng.choice([-1, 0, 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1.5, None, 300])
    model = rng.choice(
        [
            {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "none"},
            {
                "type": "WordPiece",
                "vocab": {"a": 0},
                "unk_token": "x",
                "continuing_subword_prefix": "",
                "max_input_chars_per_word": 9,
            },
            {"type": "Unigram", "unk_id": rng.choice([None, 0, 5]), "vocab": [["a", -1.0]] * rng.choice([0, 1, 2])},
            {
                "type": "BPE",
                "vocab": {"a": 0, "b": rng.choice([0, -1, 1 << 31, 9])},
                "merges": rng.choice([[], ["a b"], ["a"]]),
            },
        ]
    )
    match rng.randrange(7):
        case 0:
            raw["pre_tokenizer"] = step
        case 1:
            raw["normalizer"] = {"type": "Sequence", "normalizers": [replace] * rng.choice([1, 4, 40])}
        case 2:
            raw["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": table}
        case 3:
            raw["added_tokens"].append(token)
        case 4:
            raw["model"] = model
        case 5:
            raw["decoder"] = rng.choice([{**replace}, {"type": "Strip", "content": "a", "start": 10**9, "stop": 10**9}])
        case _:
            ids = {"<x>": {"id": "<x>", "ids": [rng.choice([-1, 0, 1 << 31])], "tokens": ["<x>"]}}
            single = [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
            raw["post_processor"] = {
                "type": "TemplateProcessing",
                "single": single,
                "pair": single,
                "special_tokens": ids,
            }


def shards(folder: Path, header: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """An index of shards, one of which lies elsewhere or is another thing."""
    name = "model-00001-of-00001.safetensors"
    os.rename(folder / "model.safetensors", folder / name)
    files: dict[str, Any] = {tensor: name for tensor in header if tensor != "__metadata__"}
    odd = rng.choice(
        ["../x.safetensors", "/etc/passwd", ".", "..", "", "a\0b", "a" * 5000, "config.json", "odd", 5, None]
    )
    files[rng.choice(list(files))] = odd
    match rng.randrange(4):
        case 0:
            (folder / "odd").symlink_to("/etc/passwd")
        case 1:
            (folder / "odd").symlink_to("odd")
        case 2:
            os.mkfifo(folder / "odd")
    return {"weight_map": files}


def header(said: dict[str, Any], rng: random.Random) -> None:
    """Lets the head of a safetensors file lie, in place."""
    entry = said[rng.choice([name for name in said if name != "__metadata__"])]
    match rng.randrange(4):
        case 0:
            entry["data_offsets"] = rng.choice(
                [[0, 1 << 63], [-8, 0], [8, 0], [0, 0], [], said[list(said)[-1]]["data_offsets"]]
            )
        case 1:
            entry["shape"] = rng.choice([[1 << 32, 1 << 32], [-1, 4], [], [0], [1] * 2000])
        case 2:
            entry["dtype"] = rng.choice(["F16", "I64", "BOOL", "F4", "F8_E4M3", "", 5])
        case _:
            said["__metadata__"] = rng.choice([5, {"a": [1]}, {"a": "b" * 10**6}, None])


def picture(rng: random.Random) -> bytes:
    """A picture that is far larger than its file, or claims so."""
    image = Image.new("RGB", (8, 8), "red")
    frames = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(99)]

    def saved(kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    side = rng.choice([0, 1, 20_000, 100_000, (1 << 31) - 1])
    dib = struct.pack("<IiiHHIIiiII", 40, side, -side, 1, rng.choice([1, 8, 24]), rng.choice([0, 1, 3]), 0, 0, 0, 0, 0)
    jpeg = saved("JPEG")
    return rng.choice(
        [
            lambda: png(side, rng.choice([1, side])),
            lambda: png(4, 4, _chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**8), 1))),
            lambda: png(4, 4, _chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8), 1))),
            lambda: png(4, 4, _chunk(b"eXIf", b"II*\0" + b"\xff" * 999)),
            lambda: saved("GIF", save_all=True, append_images=frames),
            lambda: saved("TIFF", save_all=True, append_images=frames),
            lambda: saved("WEBP", save_all=True, append_images=frames),
            lambda: jpeg[:2] + b"\xff\xe1\xff\xffExif\0\0MM\0*\0\0\0\x08" + b"\xff" * 65519 + jpeg[2:],
            lambda: saved("JPEG", icc_profile=rng.randbytes(200)),
            lambda: b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + dib,
            lambda: b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 256, 4, 1 << 31, 8) + b"\0\0\0\0",
            lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
            lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            lambda: gzip.compress(jpeg),
            lambda: b"",
        ]
    )()


def png(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG of that head, with fewer pixels than it says if it is large."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(min((width * 3 + 1) * height, 10**6)))
    return b"\x89PNG\r\n\x1a\n" + head + extra + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def instead(path: Path, rng: random.Random) -> None:
    """Sets another thing, or the same in another dress, in a file's place."""
    old = path.read_bytes()
    path.unlink()
    match rng.randrange(9):
        case 0:
            path.mkdir()
        case 1:
            os.mkfifo(path)
        case 2:
            path.symlink_to(path.name)
        case 3:
            path.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "/nowhere", ".."]))
        case 4:
            path.write_bytes(b"\xef\xbb\xbf" + old.replace(b"\n", b"\r\n"))
        case 5:
            path.write_bytes(old.replace(b" ", b"\0"))
        case 6:
            path.write_bytes(old.decode("utf-8", "replace").encode("utf-16"))
        case 7:
            path.write_bytes(b"" if rng.random() < 0.5 else rng.choice([b"[", b'{"a":', b"\xff"]) * 50_000)
        case _:
            return
