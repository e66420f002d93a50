"""The kinds of inputs: what is whole of each, how it is damaged, and what is then done with it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

import sepiola
from sepiola.api import Model
from sepiola.data.image import ImageRef
from sepiola.datasets import read_spec
from sepiola.experiments.recipe_files import read_recipe, shipped
from sepiola.specs.base import override, read_yaml
from sepiola.specs.data import DataSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.tokenizer import Tokenizer
from tests.fuzz import acting, attacks
from tests.fuzz.mutations import NASTY, damaged_bytes, damaged_data, damaged_text
from tests.tiny import RECIPE, byte_model, llama

Action = Callable[[], object]
Kind = Callable[[random.Random, Path, Path], Action]
"""A damaged input in a folder of its own, from the whole ones of another; what is done with it is its value."""

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}"
    "{% for part in m['content'] %}{{ part['text'] if part['type'] == 'text' else '<image>' }}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is this? 这是什么？"}]
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "ICO")
READERS = ("pairs", "coco_mini", "scienceqa", "daquar", "easy_vqa", "thucnews", "text", "flickr8k")
OPTIONS = ("size", "seed", "task", "languages", "families", "count", "root", "split", "held_out", "with_image", "most")


def whole(folder: Path) -> None:
    """Writes what the damaged inputs are made of."""
    made = byte_model(llama())
    model = Model(made.network, made.spec.model_copy(update={"family": "llama"}), made.tokenizer)
    model.save_hub(folder / "hub")
    model.save(folder / "ours")
    (folder / "hub" / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    _adapter(folder / "adapter", made.spec.language.vocabulary, made.spec.language.width)
    _datasets(folder / "data")


def _adapter(folder: Path, tokens: int, width: int) -> None:
    """One of every kind of tensor that peft writes."""
    folder.mkdir()
    layers, embedding = "base_model.model.model.layers", "base_model.model.model.embed_tokens"
    tensors = {
        f"{layers}.{layer}.self_attn.q_proj.{name}": torch.ones(shape)
        for layer in range(2)
        for name, shape in (
            ("lora_A.weight", (2, width)),
            ("lora_B.weight", (width, 2)),
            ("lora_magnitude_vector", (width,)),
        )
    }
    tensors |= {f"{embedding}.token_adapter.trainable_tokens_delta": torch.ones(2, width)}
    tensors |= {
        "base_model.model.lm_head.weight": torch.ones(tokens, width),
        f"{layers}.0.input_layernorm.weight": torch.ones(width),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_dora": True, "bias": "none", "use_rslora": False}
    config |= {"modules_to_save": ["lm_head", "input_layernorm"], "trainable_token_indices": {"embed_tokens": [3, 5]}}
    config |= {
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {r"layers\.1\..*q_proj": 3},
        "target_modules": ["q_proj"],
    }
    _dump(folder / "adapter_config.json", config)


def _datasets(folder: Path) -> None:
    images = folder / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(images / "1.png")
    problem = {"question": "Which?", "choices": ["a", "b"], "answer": 0, "image": None, "split": "train"}
    problem |= dict.fromkeys(
        ("hint", "lecture", "solution", "task", "grade", "subject", "topic", "category", "skill"), ""
    )
    pair = {"id": "1", "image": "images/1.png", "request": "Say.", "text": "Red. 红", "language": "en"}
    photo = {
        "id": 1,
        "image": "images/1.png",
        "split": "train",
        "captions": ["red"],
        "objects": [["cat", [0, 0, 1, 1]]],
    }
    files = {
        "problems.json": json.dumps({"1": problem, "2": problem}),
        "pid_splits.json": json.dumps({"train": ["1", "2"]}),
        "pairs.jsonl": json.dumps(pair) + "\n" + json.dumps({**pair, "id": "2", "language": "zh"}) + "\n",
        "captions.jsonl": json.dumps(photo) + "\n" + json.dumps({**photo, "id": 2}) + "\n",
        "data.csv": "question,answer,image_id\nwhat?,red,1\n",
        "train_images_list.txt": "1\n",
        "test_images_list.txt": "2\n",
        "answers.txt": "yes\nno\n",
        "train/questions.json": json.dumps([["Red?", "yes", 1]]),
        "thucnews_headlines_class.txt": "体育\n财经\n",
        "thucnews_headlines_dev.txt": "球队赢了\t0\n股市涨了\t1\n",
        "thucnews_headlines_test.txt": "天气\t1\n",
        "a.txt": "The squid.\n\n耳乌贼。\n",
        "captions.txt": "image,caption\n1.png,A red square .\n",
        "zh/flickr8kzhc.caption.txt": "1.png#zhc#0 红色\n",
        **{f"Flickr_8k.{split}Images.txt": "1.png\n" if split == "train" else "" for split in ("train", "dev", "test")},
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copytree(images, folder / "train" / "images")


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data), encoding="utf-8", errors="replace")


def _damage_file(path: Path, rng: random.Random) -> None:
    """Damages a file as data where it is JSON, else as text or bytes."""
    raw = path.read_bytes()
    try:
        if path.suffix == ".json" and rng.random() < 0.7:
            _dump(path, damaged_data(json.loads(raw), rng, 1 if rng.random() < 0.7 else 3))
            return
        if path.suffix == ".jsonl" and rng.random() < 0.7:
            lines = [json.dumps(damaged_data(json.loads(line), rng)) for line in raw.decode().splitlines()]
            path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
            return
        if path.suffix in (".json", ".jsonl", ".txt", ".csv", ".yaml", ".jinja") and rng.random() < 0.8:
            path.write_text(damaged_text(raw.decode(), rng), encoding="utf-8", errors="replace")
            return
    except ValueError:  # a real file that is damaged as it is
        pass
    path.write_bytes(damaged_bytes(raw, rng))


def _used(folder: Path) -> None:
    """A loaded model reads a line and writes two tokens."""
    model = sepiola.load(folder)
    with torch.no_grad():
        model.generate("Hello 世界", max_tokens=2)


def config(rng: random.Random, folder: Path, source: Path) -> Action:
    """A model's folder at the Hub with a damaged configuration; half of them real ones, whose weights are empty."""
    real = sorted(Path(os.environ.get("SEPIOLA_DATA", "/nonexistent"), "hub_configs").glob("*/config.json"))
    if real and rng.random() < 0.5:
        for path in rng.choice(real).parent.glob("*config.json"):
            shutil.copyfile(path, folder / path.name)
        names = sorted(folder.glob("*.json"))
        _damage_file(folder / "config.json" if rng.random() < 0.8 else rng.choice(names), rng)
        save_file({}, folder / "model.safetensors")
    else:
        shutil.copytree(source / "hub", folder, dirs_exist_ok=True)
        name = rng.choice(["config.json", "config.json", "generation_config.json", "tokenizer_config.json"])
        _damage_file(folder / name if (folder / name).is_file() else folder / "config.json", rng)
    return lambda: _used(folder)


def tokenizer(rng: random.Random, folder: Path, source: Path) -> Action:
    """A damaged tokenizer.json."""
    shutil.copyfile(source / "hub" / "tokenizer.json", folder / "tokenizer.json")
    if rng.random() < 0.4:
        raw = json.loads((folder / "tokenizer.json").read_bytes())
        attacks.tokenizer(raw, rng)
        _dump(folder / "tokenizer.json", raw)
    else:
        _damage_file(folder / "tokenizer.json", rng)

    def use() -> None:
        loaded = Tokenizer.load(folder / "tokenizer.json")
        loaded.decode(loaded.encode("Hello 世界 \N{GRINNING FACE} aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"))

    return use


def template(rng: random.Random, folder: Path, source: Path) -> Action:
    """A damaged chat template."""
    shutil.copyfile(source / "hub" / "tokenizer_config.json", folder / "tokenizer_config.json")
    text = damaged_text(TEMPLATE, rng)
    if rng.random() < 0.3:
        text = (text if rng.random() < 0.5 else "") + rng.choice(attacks.TEMPLATES)
    (folder / "chat_template.jinja").write_text(text, encoding="utf-8", errors="replace")

    def use() -> None:
        loaded = ChatTemplate.load(folder)
        if loaded is not None:
            loaded.render(TALK)

    return use


def weights(rng: random.Random, folder: Path, source: Path) -> Action:
    """A checkpoint folder, ours or the Hub's, with damaged weights or a damaged spec."""
    home = source / rng.choice(["hub", "ours"])
    shutil.copytree(home, folder, dirs_exist_ok=True)
    if home.name == "hub" and rng.random() < 0.2:
        _dump(
            folder / "model.safetensors.index.json", attacks.shards(folder, _header(folder / "model.safetensors"), rng)
        )
        return lambda: _used(folder)
    if rng.random() < 0.15:
        attacks.instead(rng.choice(sorted(folder.iterdir())), rng)
        return lambda: _used(folder)
    name = "spec.yaml" if (folder / "spec.yaml").is_file() and rng.random() < 0.3 else "model.safetensors"
    if name != "spec.yaml" and rng.random() < 0.5:
        _damage_header(folder / name, rng)
    else:
        _damage_file(folder / name, rng)
    return lambda: _used(folder)


def adapter(rng: random.Random, folder: Path, source: Path) -> Action:
    """An adapter with a damaged config, or damaged tensors."""
    shutil.copytree(source / "adapter", folder, dirs_exist_ok=True)
    if rng.random() < 0.5:
        _damage_file(folder / "adapter_config.json", rng)
    else:
        (_damage_header if rng.random() < 0.7 else _damage_file)(folder / "adapter_model.safetensors", rng)

    def use() -> None:
        sepiola.load(source / "hub", adapter=folder)(torch.tensor([[5, 9]]))

    return use


def _header(path: Path) -> Any:
    raw = path.read_bytes()
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])


def _damage_header(path: Path, rng: random.Random) -> None:
    """Damages what a safetensors file says of its tensors: names, shapes, dtypes, places."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    data = _header(path)
    if rng.random() < 0.5:
        attacks.header(data, rng)
    else:
        data = damaged_data(data, rng, 1)
    said = json.dumps(data).encode("utf-8", "replace")
    path.write_bytes(len(said).to_bytes(8, "little") + said + raw[8 + length :])


def image(rng: random.Random, folder: Path, source: Path) -> Action:
    """A damaged picture of any format."""
    mode = rng.choice(["RGB", "L", "P", "RGBA", "1", "I;16"])
    file = io.BytesIO()
    picture = Image.new(mode, (rng.randint(1, 40), rng.randint(1, 40)))
    kind = rng.choice(FORMATS)
    try:
        picture.save(file, kind)
    except (OSError, ValueError, KeyError):
        picture.convert("RGB").save(file, kind)
    path = folder / "picture"
    data = attacks.picture(rng) if rng.random() < 0.2 else file.getvalue()
    path.write_bytes(data if rng.random() < 0.1 else damaged_bytes(data, rng))

    def use() -> None:
        ImageRef(path=path).open()
        ImageRef(data=path.read_bytes()).open()

    return use


def recipe(rng: random.Random, folder: Path, source: Path) -> Action:
    """A damaged recipe."""
    path = folder / "r.yaml"
    if rng.random() < 0.2:
        text = shipped()[rng.choice(sorted(shipped()))].read_text(encoding="utf-8")
        attack = rng.choice(attacks.YAML)
        path.write_text(rng.choice([attack, text + attack, attack + text]), encoding="utf-8", errors="surrogatepass")
    elif rng.random() < 0.5:
        text = shipped()[rng.choice(sorted(shipped()))].read_text(encoding="utf-8")
        path.write_text(damaged_text(text, rng), encoding="utf-8", errors="replace")
    else:
        raw = RECIPE if rng.random() < 0.5 else read_yaml(shipped()[rng.choice(sorted(shipped()))])
        _dump(path, damaged_data(raw, rng))
    return lambda: read_recipe(str(path))


def assignment(rng: random.Random, folder: Path, source: Path) -> Action:
    """`--set` with a key and a value that may be anything."""
    name = rng.choice(sorted(shipped()))
    key = _key(read_yaml(shipped()[name]), rng)
    value = (
        json.dumps(rng.choice(NASTY)) if rng.random() < 0.6 else damaged_text(rng.choice(["{a: 1}", "[en, zh]"]), rng)
    )
    if rng.random() < 0.2:
        key, value = rng.choice(["name", "stages.0.name", "arms"]), json.dumps(rng.choice(attacks.NAMES))
    elif rng.random() < 0.2:
        value = rng.choice([*attacks.VALUES, *attacks.YAML])
    text = f"{key}={value}" if rng.random() < 0.9 else damaged_text(f"{key}={value}", rng)
    return lambda: read_recipe(name, [text])


def _key(raw: Any, rng: random.Random) -> str:
    here, path = raw, []
    while isinstance(here, dict | list) and here and (not path or rng.random() < 0.8):
        step: Any = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        path.append(str(step))
        here = here[step]
    if rng.random() < 0.2:
        path[rng.randrange(len(path))] = rng.choice(
            ["²", "-1", "9" * 5000, "", "x", "0", "like", "__class__", "[0]", "\ud800", "a\0b"]
        )
    return ".".join(path)


def records(rng: random.Random, folder: Path, source: Path) -> Action:
    """A folder of a dataset of which one file of records is damaged."""
    shutil.copytree(source / "data", folder, dirs_exist_ok=True)
    reader = rng.choice(["pairs", "coco_mini"])
    _damage_file(folder / {"pairs": "pairs.jsonl", "coco_mini": "captions.jsonl"}[reader], rng)
    return lambda: read_spec(DataSpec(reader=reader, root=str(folder)))


def data_folder(rng: random.Random, folder: Path, source: Path) -> Action:
    """A folder of a dataset with some file damaged, gone, or another thing; or options of a reader."""
    shutil.copytree(source / "data", folder, dirs_exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = rng.choice(files)
    match rng.randrange(5):
        case 0:
            path.unlink()
        case 1:
            attacks.instead(path, rng)
        case _:
            _damage_file(path, rng)
    given: dict[str, Any] = {"reader": rng.choice(READERS), "root": str(folder), "options": {}}
    if rng.random() < 0.3:
        given |= {"reader": rng.choice(["tidepool", "pope", *READERS]), "count": 3}
        text = f"{rng.choice(OPTIONS)}={json.dumps(rng.choice(NASTY))}"
        return lambda: read_spec(DataSpec.parse({**given, "options": override({}, [text], "--option")}))
    return lambda: [image.open() for example in read_spec(DataSpec.parse(given)) for image in example.images]


KINDS: dict[str, Kind] = {
    "config": config,
    "tokenizer": tokenizer,
    "template": template,
    "weights": weights,
    "adapter": adapter,
    "image": image,
    "recipe": recipe,
    "set": assignment,
    "records": records,
    "folder": data_folder,
    **acting.KINDS,
}
