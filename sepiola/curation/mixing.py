"""Which kind of a teacher's rationales to learn, skill by skill (T-SciQ, Wang et al., 2023, arXiv 2305.03453).

A student of each kind answers validation questions, and a skill takes the kind whose student answers more of its
questions right.

T-SciQ's public code counts the errors on the test split; here test is refused, for what is chosen on it cannot be
measured on it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sepiola.data.example import Example
from sepiola.data.files import write_text
from sepiola.datasets.rationales import read_rationales
from sepiola.datasets.records import json_lines
from sepiola.errors import DataError
from sepiola.evaluation.metrics.accuracy import verdicts
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import Plain


@dataclass(frozen=True)
class Taught:
    """Rationales of one kind, and the answers to validation questions of the student that learned them: a file as a run
    keeps it (`answers-scienceqa-val.jsonl`).
    """

    rationales: Path
    answers: Path

    @property
    def name(self) -> str:
        """The kind's: that of its file."""
        return self.rationales.stem


def mix(examples: Sequence[Example], taught: Sequence[Taught], out: Path, *, by: str = "skill") -> Plain:
    """Writes to `out` for each question the rationale of the kind that its skill takes, where there is one, and returns
    what was chosen: for each skill of the validation `examples` the kind, and how many of its questions each student
    answers right.

    Of equal kinds the one that is better over all of the examples is taken, and so it is for skills that none of them
    has; of kinds that are equal there, too, the first. Raises DataError for answers to other questions, two kinds of
    one name, and a file that is there.
    """
    names = [each.name for each in taught]
    if len(taught) < 2 or len({*names}) < len(names):
        raise DataError(f"kinds go by the names of their files; got {', '.join(names)}: give two or more")
    if out.exists():
        raise DataError(f"{out} is there already: remove it, or name another file")
    right = {each.name: _right(examples, each.answers) for each in taught}
    overall = {name: sum(each.values()) for name, each in right.items()}
    best = max(names, key=lambda name: overall[name])
    skills: defaultdict[str, list[str]] = defaultdict(list)
    for example in examples:
        if example.metadata.get(by) is not None:
            skills[str(example.metadata[by])].append(example.id)
    scores = {skill: {name: sum(right[name][i] for i in ids) for name in names} for skill, ids in skills.items()}
    chosen = {skill: max(names, key=lambda n: (own[n], overall[n], n == best)) for skill, own in scores.items()}
    records = {each.name: read_rationales(each.rationales) for each in taught}
    lines = _mixed(records, chosen, best)
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return {
        "validation": len(examples),
        "right": overall,
        "otherwise": best,
        "skills": {
            skill: {"kind": chosen[skill], "questions": len(ids), "right": scores[skill]}
            for skill, ids in sorted(skills.items())
        },
        "kept": {name: sum(line["kind"] == name for line in lines) for name in names},
        "file": str(out),
    }


def _mixed(records: Mapping[str, Mapping[str, Plain]], chosen: Mapping[str, str], best: str) -> list[Plain]:
    """The rationale of each question; of a kind that its skill did not take where it has no other."""
    lines = []
    for name in dict.fromkeys(i for own in records.values() for i in own):
        there = {kind: own[name] for kind, own in records.items() if name in own}
        skill = next(record.get("skill") for record in there.values())
        kind = chosen.get(str(skill), best)
        kind = kind if kind in there else next(iter(there))
        lines.append({**there[kind], "kind": kind})
    return lines


def _right(examples: Sequence[Example], path: Path) -> dict[str, bool]:
    """Whether a student answers each question right, by its id."""
    answers = [Answer.of(line) for line in json_lines(path, "id", "output")]
    known = [
        e for e in examples if e.question is not None and (e.question.answer is not None or e.question.answer_text)
    ]
    if not known or {a.id for a in answers} != {e.id for e in examples} or len(known) < len(examples):
        raise DataError(
            f"{path}: answers to {len(answers)} questions, which are not the {len(examples)} that are chosen by; give "
            "the answers of a run that was evaluated on the same data"
        )
    return {verdict.example.id: verdict.correct for verdict in verdicts(list(examples), answers)}
