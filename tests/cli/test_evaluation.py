"""`sepiola eval` on tiny checkpoints of the shapes that people have, as `transformers` writes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sepiola.cli.app import app
from sepiola.cli.options import data_spec
from sepiola.data.example import Example
from sepiola.datasets import read_spec
from sepiola.errors import DataError
from sepiola.generation.engine import Engine, Prompt
from sepiola.text.answers import is_yes_or_no
from sepiola.text.tokenizer import Tokenizer
from tests.datasets.folders import problems
from tests.hub_folders import CONFIGS, NAMES, TEMPLATE, TEXT_CONFIGS, language_folder, vision_language_folder

TEMPLATES = Path(__file__).parents[1] / "text" / "templates"
CHATS = {
    "onevision": TEMPLATE,
    **{
        name: (TEMPLATES / f"{file}.jinja").read_text(encoding="utf-8")
        for name, file in (("llava", "llava"), ("smolvlm", "smolvlm"), ("qwen", "qwen2.5"))
    },
}
SHAPES = [*CONFIGS, *TEXT_CONFIGS]
TOKENIZER = Tokenizer.train([], 259 + len(NAMES), extra=NAMES)  # as all of the checkpoints have it
PICTURED = ["size=64", "pictures=8"]  # Tidepool's scenes, about which POPE asks

# Ten ways to say an option (its letter, large or small, and its text), what an open question asks for, yes, and no.
CHOSEN = ["{l}", "{l}.", "({s})", "{s}) {t}", "{l}. {t}", "{t}", "The answer is {l}.", "**Answer:** {l}"]
CHOSEN += ["答案是{l}。", "我选{l}"]
NAMED = ["{t}", "{t}.", "The answer is {t}.", "Answer: {t}", "It is {t}.", "This is {t}.", "There is {t}", " {t}\n"]
NAMED += ["答案是{t}", "“{t}”"]
YES = ["Yes", "yes.", "Yes, there is.", "**Yes**", "The answer is yes.", "Answer: Yes", "There is one there."]
YES += ["Yes! I can see it.", "It is in the picture, yes", "Yes\nIt is on the left."]
NO = ["No", "no.", "No, there is not.", "**No**", "The answer is no.", "Answer: No", "There is no such thing."]
NO += ["No! I cannot see it.", "It is not in the picture", "There isn't one."]
HAS = ["有", "有。", "是的", "是的，有。", "图中有。", "答案是：有", "对，图中有。", "有的。", "存在。", "是"]
LACKS = ["没有", "没有。", "不是", "不，没有。", "图中没有。", "答案是：没有", "不对，没有。", "无", "不存在。", "否"]
SAID = {"yes": YES, "no": NO, "有": HAS, "没有": LACKS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints by shape. Chat models have a chat template, the others none."""
    place = tmp_path_factory.mktemp("shapes")
    for name in SHAPES:
        write = language_folder if name in TEXT_CONFIGS else vision_language_folder
        write(place / name, name, CHATS.get(name))
    return {name: place / name for name in SHAPES}


def evaluate(capsys: pytest.CaptureFixture[str], benchmark: str, model: Path, *options: str) -> dict[str, Any]:
    """The figures that the command prints."""
    app(["eval", benchmark, "--model", str(model), "--json", *options], standalone_mode=False)
    figures: dict[str, Any] = json.loads(capsys.readouterr().out)
    return figures


@pytest.fixture(scope="module")
def scienceqa(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first questions of ScienceQA's splits, with their pictures."""
    source, folder = data_root / "scienceqa", tmp_path_factory.mktemp("data") / "scienceqa"
    records, splits = (
        json.loads((source / f"{n}.json").read_text(encoding="utf-8")) for n in ("problems", "pid_splits")
    )
    some = {split: splits[split][:20] for split in ("train", "test")}
    kept = {pid: records[pid] for pids in some.values() for pid in pids}
    for file in (record["image_file"] for record in kept.values() if record.get("image_file")):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, folder / file)
    folder.mkdir(exist_ok=True)
    return problems(folder, kept, **some)


@pytest.fixture(scope="module")
def data(data_root: Path, scienceqa: Path) -> dict[str, tuple[str | None, list[str]]]:
    """The folder and the reader's options of each benchmark."""
    return {"pope": (None, PICTURED), "scienceqa": (str(scienceqa), []), "daquar": (str(data_root / "daquar"), [])}


def options_of(folder: str | None, options: Sequence[str]) -> list[str]:
    return ["--data", folder] if folder else [part for option in options for part in ("--option", option)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("benchmark", ["pope", "scienceqa", "daquar"])
def test_questions_are_put_to_every_shape(
    benchmark: str, name: str, folders: dict[str, Path], data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = evaluate(capsys, benchmark, folders[name], *options_of(*data[benchmark]), "--count", "3")
    assert (figures["benchmark"], figures["count"]) == (benchmark, 3)
    assert 0 <= figures["accuracy"] <= 1 and 0 <= figures["unparsed"] <= 3


@pytest.mark.parametrize("name", SHAPES)
def test_chinese_options_are_scored_by_every_shape(
    name: str, folders: dict[str, Path], data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", str(data_root / "cmmlu"), "--only", "agronomy", "--count", "3", "--shots", "1", "--show", "3")
    figures = evaluate(capsys, "cmmlu", folders[name], *options)
    assert (figures["benchmark"], figures["shots"], figures["count"]) == ("cmmlu", 1, 3)
    for shown in figures["shown"]:
        assert shown["right"][0] in shown["scores"] and len(set(shown["scores"].values())) == 4
        assert "单项选择题" in shown["prompt"] and figures["chat_template"] is (name in CHATS)
        assert name in CHATS or shown["prompt"].endswith("答案是：")
    figures = evaluate(capsys, "cmmlu", folders[name], *options, "--no-chat-template")
    assert figures["chat_template"] is False and figures["shown"][0]["prompt"].endswith("答案是：")


def right(example: Example, number: int) -> str:
    """The right answer in one of ten phrasings."""
    question = example.question
    assert question is not None
    if question.answer is None:
        return NAMED[number % 10].format(t=question.answer_text)
    text = question.choices[question.answer]
    if is_yes_or_no(question.choices):
        return SAID[text][number % 10]
    letter = chr(ord("A") + question.answer)
    return CHOSEN[number % 10].format(l=letter, s=letter.lower(), t=text)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("benchmark", ["pope", "scienceqa", "daquar"])
def test_right_answers_in_ten_phrasings_are_all_right(
    benchmark: str,
    name: str,
    folders: dict[str, Path],
    data: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All is real but the step that writes token ids, which is given the question and its pictures."""
    folder, given = data[benchmark]
    examples = read_spec(data_spec(benchmark, folder, "test", 20, given))
    said = [right(example, number) for number, example in enumerate(examples)]
    read: list[Prompt] = []

    def write(engine: Engine, prompts: Sequence[Prompt], **_: Any) -> list[list[list[int]]]:
        read.extend(prompts)
        return [[TOKENIZER.encode(text)] for text in said[len(read) - len(prompts) : len(read)]]

    monkeypatch.setattr(Engine, "generate", write)
    options = options_of(folder, given)
    figures = evaluate(capsys, benchmark, folders[name], *options, "--count", "20")
    assert (figures["count"], figures["accuracy"], figures["unparsed"]) == (20, 1.0, 0)
    assert [p.images is not None for p in read] == [bool(e.images) and name in CONFIGS for e in examples]
    if name != "blip-2 opt":  # whose context has no room for a question in bytes
        assert figures["prompts_cut"] == 0
        for prompt, example in zip(read, examples, strict=True):
            assert example.question is not None and example.question.text in TOKENIZER.decode(prompt.tokens)


@pytest.mark.parametrize("name", ["flan-t5", "qwen"])
@pytest.mark.parametrize("benchmark", ["scienceqa", "daquar"])
def test_a_model_of_text_and_the_baselines_need_no_picture(
    benchmark: str,
    name: str,
    folders: dict[str, Path],
    data: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Records alone, of the training split too: a person who measures a model of text has just that."""
    folder = tmp_path / "records"
    shutil.copytree(data[benchmark][0], folder, ignore=shutil.ignore_patterns("images", "*.webp", "*.png", "*.jpg"))
    assert not list(folder.rglob("*.png"))
    figures = evaluate(capsys, benchmark, folders[name], "--data", str(folder), "--count", "6")
    assert figures["count"] == 6 and list(figures["baselines"]) == ["chance", "majority", "nearest_neighbour"]
    shots = ("--data", str(folder), "--count", "3", "--shots", "1")
    assert evaluate(capsys, benchmark, folders[name], *shots)["count"] == 3
    with pytest.raises(DataError, match=r"example .*: the image .* is missing"):
        evaluate(capsys, benchmark, folders["onevision"], "--data", str(folder), "--count", "20")
    blind = tmp_path / "blind"
    shutil.copytree(folders["onevision"], blind)
    (blind / "strategy.yaml").write_text("{layout: chat, answer_format: chat, images: false}", encoding="utf-8")
    assert evaluate(capsys, benchmark, blind, "--data", str(folder), "--count", "3")["count"] == 3


def test_pictures_of_training_questions_are_needed_by_no_baseline(
    folders: dict[str, Path], scienceqa: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "records"
    shutil.copytree(scienceqa, folder)
    shutil.rmtree(folder / "images" / "train")
    figures = evaluate(capsys, "scienceqa", folders["onevision"], "--data", str(folder), "--count", "3")
    assert "nearest_neighbour" in figures["baselines"] and "baselines_left_out" not in figures
