"""The prompting benchmarks: rows as they are laid out, shots apart from what is tested, and the official judgements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sepiola.errors import DataError
from sepiola.evaluation.benchmarks import BENCHMARKS
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.asking import plain_text
from sepiola.evaluation.prompting.item import PromptSet
from sepiola.evaluation.prompting.measure import shot_pool, shots_of

TASKS = {name: task for name, task in BENCHMARKS.items() if isinstance(task, Prompted)}
FOLDERS = {"lambada_cloze": "lambada", "cmmlu_cloze": "cmmlu", "bbh_direct": "bbh"}
SIZES = {  # tested, shots
    "lambada": (5153, 100),
    "cmmlu": (11582, 335),
    "bbh": (6511, 81),
    "gsm8k": (1319, 7473),
    "nq_open": (3610, 1800),
    "cmrc2018": (3219, 1002),
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def jsonl(path: Path, *records: dict[str, object]) -> None:
    write(path, "\n".join(json.dumps(record, ensure_ascii=False) for record in records))


def write_benchmarks(root: Path) -> None:
    """Two rows, or so, of every benchmark."""
    passages = [{"text": f"He was asked {n} times and said\u2028that he was {word}"} for n, word in enumerate("ab")]
    jsonl(root / "lambada" / "lambada_test.jsonl", *passages, *({"text": f"Line {n} is over"} for n in range(100)))
    header = ",Question,A,B,C,D,Answer\n"
    write(root / "cmmlu" / "test" / "agronomy.csv", header + "0,水稻属于,豆科,禾本科,菊科,十字花科,B\n")
    write(root / "cmmlu" / "dev" / "agronomy.csv", header + '0,"肥料, 按成分",氮,磷,钾,钙,A\n1,害虫是,蚜,蜂,蚕,鸟,A\n')
    tasks = {"sorting": ("Sort: b a", "a b"), "logic": ("not True is", "False")}
    shot = "Q: {}\nA: Let's think step by step.\nWe see. So the answer is {}.\n\n"
    for task, (asked, target) in tasks.items():
        examples = [{"input": asked, "target": target}]
        write(root / "bbh" / "bbh" / f"{task}.json", json.dumps({"examples": examples}))
        shots = shot.format("Sort: d c", "c d") + shot.format("Sort: f e", "e f")
        write(root / "bbh" / "cot-prompts" / f"{task}.txt", f"A warning.\n-----\nDo what is asked.\n\n{shots}".strip())
    jsonl(root / "gsm8k" / "test.jsonl", {"question": "2 and 3?", "answer": "2+3=<<2+3=5>>5\n#### 5"})
    jsonl(root / "gsm8k" / "train.jsonl", {"question": "A dozen hundreds?", "answer": "12*100=1200\n#### 1,200"})
    jsonl(root / "nq_open" / "NQ-open.dev.jsonl", {"question": "who wrote hamlet", "answer": ["Shakespeare", "W. S."]})
    jsonl(root / "nq_open" / "NQ-open.efficientqa.dev.1.1.jsonl", {"question": "what is h2o?", "answer": ["water"]})
    for name, context, asked, answer in (
        ("dev", "范廷颂是越南人。", "范廷颂是哪国人？", "越南"),
        ("trial", "长江长六千公里。", "长江多长？", "六千公里"),
    ):
        answers = [{"text": answer, "answer_start": 0}]
        paragraph = {"context": context, "qas": [{"id": f"{name}-0", "question": asked, "answers": answers}]}
        data = {"data": [{"paragraphs": [paragraph]}]}
        write(root / "cmrc2018" / f"cmrc2018_{name}.json", json.dumps(data, ensure_ascii=False))


def prompt(name: str, root: Path, shots: int, number: int = 0) -> str:
    task = TASKS[name]
    rows = task.read(root / FOLDERS.get(name, name))
    item = rows.tested[number]
    return plain_text(item, shots_of(task, shot_pool(rows), item, shots, 0)) + "|" + item.answer


def test_prompts_with_no_one_and_more_shots(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    head = "以下是关于农学的单项选择题，请直接给出正确答案的选项。\n\n"
    asked = "题目：水稻属于\nA. 豆科\nB. 禾本科\nC. 菊科\nD. 十字花科\n答案是：|B"
    first = "题目：肥料, 按成分\nA. 氮\nB. 磷\nC. 钾\nD. 钙\n答案是：A\n\n"
    second = "题目：害虫是\nA. 蚜\nB. 蜂\nC. 蚕\nD. 鸟\n答案是：A\n\n"
    assert [prompt("cmmlu", tmp_path, n) for n in range(3)] == [
        head + asked,
        head + first + asked,
        head + first + second + asked,
    ]
    assert prompt("cmmlu_cloze", tmp_path, 1) == "题目：肥料, 按成分\n答案是：氮\n\n题目：水稻属于\n答案是：|禾本科"
    opening = "Do what is asked.\n\n"
    chain = "Q: Sort: d c\nA: Let's think step by step.\nWe see. So the answer is c d.\n\n"
    assert prompt("bbh", tmp_path, 0) == opening + "Q: not True is\nA: Let's think step by step.| False"
    assert prompt("bbh", tmp_path, 1, 1) == opening + chain + "Q: Sort: b a\nA: Let's think step by step.| a b"
    direct = "Q: Sort: d c\nA: c d\n\nQ: Sort: f e\nA: e f\n\n"
    assert prompt("bbh_direct", tmp_path, 2, 1) == opening + direct + "Q: Sort: b a\nA:| a b"
    solved = "Question: A dozen hundreds?\nAnswer: 12*100=1200\n#### 1,200\n\n"
    assert prompt("gsm8k", tmp_path, 1) == solved + "Question: 2 and 3?\nAnswer:| 2+3=<<2+3=5>>5\n#### 5"
    assert prompt("nq_open", tmp_path, 1) == "Q: what is h2o?\nA: water\n\nQ: who wrote hamlet?\nA:| Shakespeare"
    passage = "短文：长江长六千公里。\n问题：长江多长？\n答案：六千公里\n\n"
    passage += "短文：范廷颂是越南人。\n问题：范廷颂是哪国人？\n答案：|越南"
    assert prompt("cmrc2018", tmp_path, 1) == "阅读短文，用短文中的原话回答问题。\n\n" + passage
    assert prompt("lambada", tmp_path, 0, 1) == "He was asked 1 times and said\u2028that he was| b"
    assert prompt("lambada_cloze", tmp_path, 0, 1) == "He was asked 1 times and said\u2028that he was ____. ->| b"


@pytest.mark.parametrize("name", list(TASKS))
def test_the_real_rows_and_their_shots_stand_apart(name: str, data_root: Path) -> None:
    folder = data_root / FOLDERS.get(name, name)
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    task = TASKS[name]
    rows = task.read(folder)
    assert (len(rows.tested), len(rows.shots)) == SIZES[FOLDERS.get(name, name)]
    assert len({item.id for item in rows.tested}) == len(rows.tested)
    for item in (*rows.tested, *rows.shots):
        assert item.prompt and item.answer.strip()
        assert not item.options or (item.answer in item.options and all(o.strip() for o in item.options))
    pool = shot_pool(rows)
    shown = {(i.prompt, i.options): i.id for items in pool.values() for i in items}
    clash = [i.id for i in rows.tested if shown.get((i.prompt, i.options), i.id) != i.id]
    assert not clash
    assert set(pool) == {item.group for item in rows.tested}
    five = 3 if name.startswith("bbh") else 5
    for item in rows.tested[:: len(rows.tested) // 20]:
        shots = shots_of(task, pool, item, five, seed=1)
        assert shots == shots_of(task, pool, item, five, seed=1)
        assert len({s.id for s in shots}) == five and {s.group for s in shots} == {item.group}
        assert item.prompt not in {s.prompt for s in shots} or item.options
        assert task.fixed == (shots == shots_of(task, pool, item, five, seed=2))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("gsm8k/test.jsonl", '{"question": "?", "answer": "5"}', "no number after ####"),
        ("gsm8k/test.jsonl", '{"question": "?"', "line 1: not valid JSON"),
        ("nq_open/NQ-open.dev.jsonl", '{"question": "?"}', "the field 'answer' is missing"),
        ("cmmlu/test/agronomy.csv", ",Question,A,B,C,D,Answer\n0,水稻,豆,禾,菊,,B\n", "row 0: expected Question, A"),
        ("bbh/cot-prompts/logic.txt", "x\n-----\nDo.\n\nQ: a\nA: b", "shot 1 has no"),
    ],
)
def test_damaged_files_are_named(file: str, text: str, message: str, tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    write(tmp_path / file, text)
    with pytest.raises(DataError, match=message):
        TASKS[file.split("/")[0]].read(tmp_path / file.split("/")[0])


def test_folders_without_a_file_are_refused(tmp_path: Path) -> None:
    for task in TASKS.values():
        with pytest.raises(DataError):
            task.read(tmp_path)


def test_a_row_that_is_tested_is_no_shot(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    rows = TASKS["gsm8k"].read(tmp_path / "gsm8k")
    twice = PromptSet(rows.tested, (*rows.shots, *(type(i)("train-9", i.prompt, i.answer) for i in rows.tested)))
    assert [i.id for i in shot_pool(twice)[""]] == ["train-0"]
