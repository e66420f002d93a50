"""Open answers to questions about pictures, as their benchmarks score them.

VQA (Antol et al., arXiv 1505.00468) has ten people answer each question: an answer is right to the degree
min(n / 3, 1) when n of them gave it, after a normalisation that this module states anew (`vqa_normalised`).
DAQUAR (Malinowski and Fritz, arXiv 1410.0210) has answers of several things, "table, chair", which are compared as
sets. Its WUPS gives partial credit to related words of WordNet; at the threshold 1.0 it is equality of the sets, which
is what is counted here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.evaluation.figures import Cell, Column, Figures, Line, Table
from sepiola.evaluation.metrics.accuracy import join_by_id
from sepiola.evaluation.metrics.bootstrap import RESAMPLES, ratio_interval
from sepiola.reasoning.answer import Answer
from sepiola.text.answers import normalised, read_open

FIGURES = {"exact": "Exact", "sets": "Equal sets", "soft": "Soft accuracy"}

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0", **{word: str(n) for n, word in enumerate(_DIGITS)}}
_ARTICLES = ("a", "an", "the")
_APOSTROPHES = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't shan't she'd've should've shouldn't shouldn't've somebody'd somebody'd've somebody'll somebody's
someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're
there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't
wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_apostrophes() -> dict[str, str]:
    """Each contraction by what is written for it when some or all of its apostrophes are left out."""
    found = {}
    for whole in _APOSTROPHES.split():
        places = [i for i, character in enumerate(whole) if character == "'"]
        for left_out in ({places[0]}, {places[-1]}, set(places)):
            found["".join(c for i, c in enumerate(whole) if i not in left_out)] = whole
    return found


_CONTRACTIONS = _without_apostrophes()
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_LONE_STOP = re.compile(r"\.(?!\d)")


def vqa_normalised(text: str) -> str:
    """An answer as VQA's evaluation compares it: lower case, numbers in digits, no articles, contractions whole.

    A mark of punctuation that touches a space anywhere in the text is dropped, as are all marks where a comma stands
    in a number; elsewhere a mark becomes a space, and a full stop goes unless a digit follows.
    """
    plain = text.replace("\n", " ").replace("\t", " ").strip()
    result = plain
    for mark in _PUNCTUATION:
        drop = f"{mark} " in plain or f" {mark}" in plain or _COMMA_IN_NUMBER.search(plain)
        result = result.replace(mark, "" if drop else " ")
    result = _LONE_STOP.sub("", result)
    words = (_NUMBERS.get(word, word) for word in result.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def soft_accuracy(given: str, answers: Sequence[str], *, leave_one_out: bool = False) -> float:
    """How right an answer is, 0 to 1: min(n / 3, 1) where n of the people's `answers` are the same.

    With `leave_one_out` the mean over the people left out, as VQA's own script has it: of ten that agree three times,
    0.9. Figures that are to stand beside published ones need it.
    """
    same = sum(vqa_normalised(answer) == vqa_normalised(given) for answer in answers)
    if not leave_one_out:
        return min(same / 3, 1.0)
    agree, differ = min(max(same - 1, 0) / 3, 1.0), min(same / 3, 1.0)
    return (same * agree + (len(answers) - same) * differ) / len(answers)


def equal_sets(given: str, truth: str) -> bool:
    """Whether two answers name the same things, parted by commas, in any order."""
    first, second = ({vqa_normalised(part) for part in text.split(",")} - {""} for text in (given, truth))
    return first == second


def vqa_figures(
    examples: Sequence[Example], answers: Sequence[Answer], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Figures]:
    """Of the open questions `exact` and `sets`, and `soft` of those whose metadata has the people's `answers`.

    Each is `{"value", "interval", "count"}`, 0 to 1, with the 95% bootstrap over pictures; nothing without open
    questions. What stands around an answer ("The answer is", 「答案是」) is no part of it. Raises
    DataError when ids do not match.
    """
    scores: dict[str, list[tuple[str, float]]] = {}
    for example, answer in join_by_id(examples, answers):
        question = example.question
        if question is None or question.choices or question.answer_text is None:
            continue
        given, picture = _given(answer.output, question.answer_text), str(example.metadata.get("group", example.id))
        judged = {
            "exact": float(vqa_normalised(given) == vqa_normalised(question.answer_text)),
            "sets": float(equal_sets(given, question.answer_text)),
        }
        if people := example.metadata.get("answers"):
            judged["soft"] = soft_accuracy(given, people, leave_one_out=True)
        for name, score in judged.items():
            scores.setdefault(name, []).append((picture, score))
    return {name: _figure(found, seed, resamples) for name, found in scores.items()}


def _given(output: str, right: str) -> str:
    """What was answered: the output, or where that is not right, what the reader makes of it."""
    said = normalised(output)
    return said if vqa_normalised(said) == vqa_normalised(right) else normalised(read_open(output)) or said


def _figure(scores: Sequence[tuple[str, float]], seed: int, resamples: int) -> Figures:
    by_picture: dict[str, list[float]] = {}
    for picture, score in scores:
        by_picture.setdefault(picture, []).append(score)
    table = np.array([[sum(found), len(found)] for found in by_picture.values()])
    interval = ratio_interval(table[:, 0], table[:, 1], seed, resamples)
    value = float(table[:, 0].sum() / table[:, 1].sum())
    return {"value": value, "interval": interval, "count": len(scores)}


def vqa_tables(figures: Figures) -> list[Table]:
    """The table of a set's open questions, the model and its baselines in lines; none without such questions."""
    own = figures.get("vqa")
    if not own:
        return []
    lines = [_line("This model", own, own, own=True)]
    for name, baseline in figures["baselines"].items():
        if baseline.get("vqa"):
            lines.append(_line(name.replace("_", " "), own, baseline["vqa"]))
    columns: list[Column] = [
        {"name": FIGURES[key], "notes": [f"n = {figure['count']:,}"]} for key, figure in own.items()
    ]
    note = "Percent; below each figure its 95% interval over pictures; n is the number of questions."
    return [{"title": "Open answers", "columns": columns, "lines": lines, "note": note}]


def _line(name: str, columns: Figures, figures: Figures, *, own: bool = False) -> Line:
    cells = [_cell(figures[key]) if key in figures else None for key in columns]
    return {"name": name, "own": own, "published": False, "cells": cells}


def _cell(figure: Figures) -> Cell:
    low, high = figure["interval"]
    return {"value": f"{100 * figure['value']:.1f}", "note": f"{100 * low:.1f} to {100 * high:.1f}"}
