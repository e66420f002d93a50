"""CMMLU (Li et al., 2023, arXiv 2306.09212): Chinese multiple choice in 67 subjects, five shots for each.

`cmmlu` is laid out word for word as by the official code (haonan-li/CMMLU, `src/mp_utils.py`): the options are shown,
and the likeliest letter counts. `cmmlu_cloze` shows the question alone and scores the text of each option by its
log-likelihood per byte, which tells small models apart that do not know letters yet. Shots are the subject's first
questions of `dev`.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

from sepiola.datasets.records import read_file
from sepiola.errors import DataError
from sepiola.evaluation.benchmarks.prompted import Prompted
from sepiola.evaluation.prompting.item import PromptItem, PromptSet
from sepiola.evaluation.prompting.task import Choose

LETTERS = ("A", "B", "C", "D")


def read(root: Path, *, cloze: bool) -> PromptSet:
    """The questions of `test/SUBJECT.csv`, with shots from `dev/SUBJECT.csv`."""
    return PromptSet(_items(root, "test", cloze), _items(root, "dev", cloze))


def _items(root: Path, split: str, cloze: bool) -> tuple[PromptItem, ...]:
    items = []
    for path in sorted((root / split).glob("*.csv")):
        head = f"以下是关于{_SUBJECTS.get(path.stem, path.stem)}的单项选择题，请直接给出正确答案的选项。\n\n"
        for number, record in enumerate(csv.DictReader(io.StringIO(read_file(path), newline=""))):
            options = tuple(record.get(letter) or "" for letter in LETTERS)
            if record.get("Answer") not in LETTERS or not all(options):
                raise DataError(f"{path}, row {number}: expected Question, A, B, C, D and Answer (one of A to D)")
            letter, id = str(record["Answer"]), f"{path.stem}/{split}-{number}"
            if cloze:
                prompt, answer = f"题目：{record['Question']}\n答案是：", options[LETTERS.index(letter)]
                items.append(PromptItem(id, prompt, answer, options, group=path.stem))
            else:
                shown = "".join(f"\n{name}. {option}" for name, option in zip(LETTERS, options, strict=True))
                prompt = f"题目：{record['Question']}{shown}\n答案是："
                items.append(PromptItem(id, prompt, letter, LETTERS, head=head, group=path.stem))
    if not items:
        raise DataError(f"{root / split}: no subject there; give the folder that holds dev/ and test/")
    return tuple(items)


_NAMES = """
agronomy=农学 anatomy=解剖学 ancient_chinese=古汉语 arts=艺术学 astronomy=天文学 business_ethics=商业伦理
chinese_civil_service_exam=中国公务员考试 chinese_driving_rule=中国驾驶规则 chinese_food_culture=中国饮食文化
chinese_foreign_policy=中国外交政策 chinese_history=中国历史 chinese_literature=中国文学
chinese_teacher_qualification=中国教师资格 clinical_knowledge=临床知识 college_actuarial_science=大学精算学
college_education=大学教育学 college_engineering_hydrology=大学工程水文学 college_law=大学法律
college_mathematics=大学数学 college_medical_statistics=大学医学统计 college_medicine=大学医学
computer_science=计算机科学 computer_security=计算机安全 conceptual_physics=概念物理学
construction_project_management=建设工程管理 economics=经济学 education=教育学 electrical_engineering=电气工程
elementary_chinese=小学语文 elementary_commonsense=小学常识 elementary_information_and_technology=小学信息技术
elementary_mathematics=初等数学 ethnology=民族学 food_science=食品科学 genetics=遗传学 global_facts=全球事实
high_school_biology=高中生物 high_school_chemistry=高中化学 high_school_geography=高中地理
high_school_mathematics=高中数学 high_school_physics=高中物理学 high_school_politics=高中政治
human_sexuality=人类性行为 international_law=国际法学 journalism=新闻学 jurisprudence=法理学
legal_and_moral_basis=法律与道德基础 logical=逻辑学 machine_learning=机器学习 management=管理学 marketing=市场营销
marxist_theory=马克思主义理论 modern_chinese=现代汉语 nutrition=营养学 philosophy=哲学
professional_accounting=专业会计 professional_law=专业法学 professional_medicine=专业医学
professional_psychology=专业心理学 public_relations=公共关系 security_study=安全研究 sociology=社会学
sports_science=体育学 traditional_chinese_medicine=中医中药 virology=病毒学 world_history=世界历史
world_religions=世界宗教
"""
_SUBJECTS = dict(pair.split("=") for pair in _NAMES.split())
LETTERED = Prompted("test", partial(read, cloze=False), Choose(), True, "subject")
CLOZE = Prompted("test", partial(read, cloze=True), Choose(per_byte=True), True, "subject")
