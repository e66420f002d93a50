"""The Hub's layout: shards, saves that are cut short, memory of a load, the Hub's cache, and what is fetched."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import sepiola
from sepiola.checkpoints import hub
from sepiola.errors import CheckpointError
from tests.hub_folders import vision_language_folder
from tests.tiny import llama

INDEX = "model.safetensors.index.json"
TINY = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 50, "num_hidden_layers": 3, "num_attention_heads": 4}


def tiny(seed: int = 0) -> sepiola.Model:
    language = llama(61, 24, 3, heads=4, hidden=50, tied=False)
    return sepiola.build({"name": "llama", "family": "llama", "language": language}, seed=seed)


def same(one: Any, other: Any) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_model_of_no_family_is_refused_in_plain_words(tmp_path: Path) -> None:
    model = sepiola.build({"name": "own", "language": llama(61, 24, 3)})
    with pytest.raises(CheckpointError, match="of no published family, and the Hub has no layout for it"):
        hub.save(tmp_path / "out", model.network, model.spec)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"architectures": ["OpenAIGPTLMHeadModel"]}, "openai-gpt"),
        ({"afn": "gelu", "n_special": 0}, "openai-gpt"),
        ({"architectures": ["BertForMaskedLM"]}, "bert"),
        ({"architectures": ["T5WithLMHeadModel"]}, "t5"),
        ({"architectures": ["BartModel"]}, "bart"),
        ({"architectures": ["GPT2LMHeadModel"], "model_type": None}, "gpt2"),
    ],
)
def test_a_config_without_a_model_type_is_of_its_classes(
    config: dict[str, Any], kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert hub.read_config(tmp_path)["model_type"] == kind
    assert f"names no model_type; it is read as '{kind}'" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architectures": ["Squid"]},
        {"architectures": ["BertModel", "GPT2Model"]},
        {"architectures": "BertModel"},
    ],
)
def test_a_config_that_does_not_say_what_it_is_of_is_one_message(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="names no model_type, and its architectures") as caught:
        sepiola.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_processor_that_contradicts_its_model_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, file, key, value in (
        ("onevision", "preprocessor_config.json", "image_grid_pinpoints", [[32, 32]]),
        ("onevision", "processor_config.json", "vision_aspect_ratio", "anyres_max_4"),
        ("blip-2 opt", "processor_config.json", "num_query_tokens", 9),
        ("llava", "processor_config.json", "patch_size", 14),
    ):
        folder = tmp_path / f"{name} {key}"
        vision_language_folder(folder, name)
        sepiola.load(folder)
        assert key not in caplog.text
        raw = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**raw, key: value}))
        sepiola.load(folder)
        assert f"{file}: {key} is {value!r}; the model's own" in caplog.text
        caplog.clear()


def test_shards_as_the_hub_writes_them(tmp_path: Path) -> None:
    ours = tiny()
    ours.save_hub(tmp_path, max_shard=20_000)
    index = json.loads((tmp_path / INDEX).read_text())
    shards = sorted(set(index["weight_map"].values()))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    assert names(tmp_path) == {"config.json", "generation_config.json", INDEX, *shards}
    assert {(tmp_path / name).stat().st_mode for name in names(tmp_path)} == {(tmp_path / INDEX).stat().st_mode}
    held = {shard: load_file(tmp_path / shard) for shard in shards}
    assert {name: shard for shard in shards for name in held[shard]} == index["weight_map"]
    sizes = {shard: sum(value.nbytes for value in held[shard].values()) for shard in shards}
    assert all(sizes[shard] <= 20_000 or len(held[shard]) == 1 for shard in shards)
    assert index["metadata"]["total_size"] == sum(sizes.values()) == sum(p.nbytes for p in ours.parameters())
    assert same(sepiola.load(tmp_path), ours)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.randint(3, 61, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(input_ids=tokens).logits, atol=1e-4, rtol=0)


def test_shards_that_the_hub_wrote(tmp_path: Path) -> None:
    theirs = LlamaForCausalLM(LlamaConfig(**TINY)).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / INDEX).is_file()
    tokens = torch.randint(3, 61, (2, 9))
    with torch.no_grad():
        expected = theirs(input_ids=tokens).logits
        torch.testing.assert_close(sepiola.load(tmp_path)(tokens), expected, atol=1e-4, rtol=0)
    next(tmp_path.glob("model-00002-of-*")).unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-\d+\.safetensors: no such file"):
        sepiola.load(tmp_path)


@pytest.mark.parametrize("sizes", [(20_000, hub.MAX_SHARD), (hub.MAX_SHARD, 20_000), (9_000, 20_000)])
def test_a_later_save_leaves_nothing_of_the_earlier(sizes: tuple[int, int], tmp_path: Path) -> None:
    first, second = tiny(1), tiny(2)
    first.save_hub(tmp_path / "both", max_shard=sizes[0])
    (tmp_path / "both" / "README.md").write_text("mine")
    second.save_hub(tmp_path / "both", max_shard=sizes[1])
    second.save_hub(tmp_path / "alone", max_shard=sizes[1])
    assert names(tmp_path / "both") == names(tmp_path / "alone") | {"README.md"}
    assert same(sepiola.load(tmp_path / "both"), second)


def test_a_save_that_is_cut_at_any_moment_leaves_no_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails at the first change of a name, the second … until a save passes: afterwards one of both loads."""
    old, new = tiny(1), tiny(2)
    outcomes: list[str] = []
    for moment in range(100):
        folder, left = tmp_path / str(moment), iter(range(moment))
        old.save_hub(folder, max_shard=20_000)
        with monkeypatch.context() as patch:
            for name in ("replace", "unlink"):
                patch.setattr(os, name, failing(getattr(os, name), left))
            try:
                new.save_hub(folder, max_shard=20_000)
                break
            except CheckpointError:
                pass
        loaded = sepiola.load(folder)
        outcomes.append("old" if same(loaded, old) else "new" if same(loaded, new) else "mix")
    assert set(outcomes) == {"old", "new"}
    assert same(sepiola.load(folder), new) and not list(folder.glob(".*"))


def failing(change: Callable[..., None], left: Iterator[int]) -> Callable[..., None]:
    """`change`, which fails for good once `left` is used up."""

    def call(*arguments: Any, **keywords: Any) -> None:
        if next(left, None) is None:
            raise OSError(5, "Input/output error")
        change(*arguments, **keywords)

    return call


def sparse_llama(folder: Path, dtype: str, layers: int = 8, width: int = 1024) -> Path:
    """A LLaMA of zeros in two shards, whose bytes are holes of the file."""
    shapes = {"model.embed_tokens.weight": (64, width), "lm_head.weight": (64, width), "model.norm.weight": (width,)}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        shapes |= {f"{at}.mlp.{part}_proj.weight": (4 * width, width) for part in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (width, 4 * width)}
        shapes |= {f"{at}.{norm}_layernorm.weight": (width,) for norm in ("input", "post_attention")}
    folder.mkdir()
    order, weight_map = sorted(shapes), {}
    for number, part in enumerate((order[: len(order) // 2], order[len(order) // 2 :]), start=1):
        file, end, header = f"model-0000{number}-of-00002.safetensors", 0, {}
        for name in part:
            begin = end
            end += torch.Size(shapes[name]).numel() * {"BF16": 2, "F32": 4}[dtype]
            header[name] = {"dtype": dtype, "shape": shapes[name], "data_offsets": [begin, end]}
            weight_map[name] = file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            stream.truncate(8 + len(text) + end)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    shape = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    shape |= {"vocab_size": 64, "num_attention_heads": 16, "model_type": "llama"}
    (folder / "config.json").write_text(json.dumps(shape))
    return folder


MEASURE = """
import gc, sys, torch, sepiola
def memory(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
for folder, dtype in zip(sys.argv[1::2], sys.argv[2::2]):
    before = memory("VmRSS:")
    open("/proc/self/clear_refs", "w").write("5")
    model = sepiola.load(folder, dtype=getattr(torch, dtype))
    print((memory("VmHWM:") - before) / sum(p.nbytes for p in model.parameters()))
    del model
    gc.collect()
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is reset through Linux's /proc")
def test_a_load_needs_little_more_than_the_weights(tmp_path: Path) -> None:
    """Peak of the process's memory, page cache in use included, over the bytes of the result: 270 or 540 MB."""
    half, full = sparse_llama(tmp_path / "half", "BF16"), sparse_llama(tmp_path / "full", "F32")
    loads = {(half, "bfloat16"): 0.0, (full, "float32"): 0.0, (half, "float32"): 0.0, (full, "bfloat16"): 0.0}
    arguments = [str(part) for load in loads for part in load]
    # Freed tensors go back to the system at once, so that one load's memory does not serve the next.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], env=environment, check=True, capture_output=True, text=True
    )
    peaks = dict(zip(loads, map(float, result.stdout.split()), strict=True))
    assert all(0.9 < peak < 1.3 for peak in peaks.values()), peaks


LOAD = """
import socket, sys, sepiola
if sys.argv[2] == "offline":
    def refuse(*_, **__):
        raise AssertionError("the network was asked")
    socket.getaddrinfo = socket.socket.connect = refuse
model = sepiola.load(sys.argv[1])
assert "torch._dynamo" not in sys.modules, "a load imports torch's compiler: seconds, and 80 MB"
print(sum(p.double().sum().item() for p in model.parameters()))
"""


def load_apart(name: str, mode: str, **environment: str) -> float:
    """Loads by Hub id in a fresh process, for the Hub's client reads its environment once; the sum of all weights."""
    command = [sys.executable, "-c", LOAD, name, mode]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    result = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return float(result.stdout)


def weights_sum(model: sepiola.Model) -> float:
    return sum(p.double().sum().item() for p in model.parameters())


def test_offline_a_hub_id_comes_from_the_cache(tmp_path: Path) -> None:
    ours, cache = tiny(), tmp_path / "缓存"
    repository = cache / "models--org--name"
    ours.save_hub(repository / "snapshots" / ("a" * 40), max_shard=20_000)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    total = load_apart("org/name", "offline", HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1")
    assert total == pytest.approx(weights_sum(ours), abs=1e-9)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Hub of one repository on this machine: its address, and the folder that it serves."""
    folder, commit = tmp_path / "served", "b" * 40

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                if "/tree/" in self.path:
                    body = [{"type": "file", "path": n, "size": 1, "oid": "0" * 40} for n in sorted(names(folder))]
                    return self.answer(json.dumps(body).encode())
                siblings = [{"rfilename": name} for name in sorted(names(folder))]
                body = {"id": "org/name", "sha": commit, "siblings": siblings}
                return self.answer(json.dumps(body).encode())
            return self.answer((folder / self.path.split("/", 5)[-1]).read_bytes())

        do_HEAD = do_GET  # noqa: N815

        def answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hash(body)}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", folder
        serving.shutdown()


@pytest.mark.parametrize("weights", ["safetensors", "pickled"])
def test_what_is_fetched(weights: str, server: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = server
    ours = tiny()
    ours.save_hub(folder, max_shard=20_000)
    wanted = names(folder) | {"generation_config.json", "chat_template.jinja", "merges.txt"}
    state = {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}
    torch.save(state, folder / "pytorch_model.bin")
    if weights == "pickled":
        for path in folder.glob("model*"):
            path.unlink()
        wanted = {name for name in wanted if not name.startswith("model")} | {"pytorch_model.bin"}
    for name in ("generation_config.json", "chat_template.jinja", "merges.txt", "tf_model.h5", "README.md"):
        (folder / name).write_text("{}")
    total = load_apart("org/name", "online", HF_ENDPOINT=address, HF_HOME=str(tmp_path), HF_HUB_DISABLE_XET="1")
    assert total == pytest.approx(weights_sum(ours), abs=1e-9)
    assert names(tmp_path / "hub" / "models--org--name" / "snapshots" / ("b" * 40)) == wanted
