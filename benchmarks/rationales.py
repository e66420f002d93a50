"""Where rationales help and where they harm: what the arms of a comparison answer, by kind of question and by what
their rationales say, and what a two-stage model answers from other rationales than its own.

    python benchmarks/rationales.py runs/scienceqa-stages [--split val] [--least 15]

The questions are those of the comparison's evaluation set of that split, of which the runs keep their answers. The
two-stage arm's second model reads, beside what its first one writes, the dataset's rationale, another question's, and
none.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import sepiola
from sepiola.data.example import Example
from sepiola.data.sampler import spread
from sepiola.datasets import DATASETS, read_spec
from sepiola.evaluation.metrics.accuracy import verdicts, wilson_interval
from sepiola.experiments.evaluate import answers_files
from sepiola.experiments.paired import differences, read_answers
from sepiola.experiments.recipe_files import parse_recipe
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.strategies import TwoStage
from sepiola.specs.base import read_yaml
from sepiola.text.prompts import PromptFormat, split_rationale

Right = Mapping[str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--least", type=int, default=15, help="Questions of a kind that is shown by itself.")
    given = parser.parse_args()
    arms = sorted(path.parent for path in given.comparison.glob("*/report.json"))
    arms.sort(key=lambda folder: folder.name != "answer alone")
    files = {arm.name: answers_of(arm, given.split) for arm in arms}
    examples = examples_of(arms[0], given.split)
    answers = {name: read_answers(path) for name, path in files.items()}
    right = {name: judged(examples, each) for name, each in answers.items()}
    print(f"{len(examples)} questions of {given.split}")
    by_kind(examples, right, given.least)
    for name, gain in differences(examples, {name: [path] for name, path in files.items()}).items():
        low, high = gain["difference_interval"]
        print(f"{name} over {arms[0].name}: {100 * gain['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
    for name, each in answers.items():
        if any(answer.rationale for answer in each):
            by_rationale(name, examples, each, right[name], right[arms[0].name])
    for arm in arms:
        strategy = sepiola.load(arm).strategy()
        if isinstance(strategy, TwoStage):
            exchanged(arm.name, strategy, examples, answers[arm.name])


def answers_of(arm: Path, split: str) -> Path:
    """Where an arm's answers to the questions of a split lie."""
    recipe = parse_recipe(read_yaml(arm / "recipe.yaml"))
    return next(p for p, data in zip(answers_files(arm, recipe), recipe.evaluation, strict=True) if data.split == split)


def examples_of(arm: Path, split: str) -> list[Example]:
    """The questions of a split, as an arm was measured on them."""
    recipe = parse_recipe(read_yaml(arm / "recipe.yaml"))
    return next(read_spec(data) for data in recipe.evaluation if data.split == split and data.reader in DATASETS)


def judged(examples: Sequence[Example], answers: Sequence[Answer]) -> dict[str, bool]:
    """Whether each question is answered right."""
    return {verdict.example.id: verdict.correct for verdict in verdicts([*examples], [*answers])}


def by_kind(examples: Sequence[Example], right: Mapping[str, Right], least: int) -> None:
    """Accuracy of each arm over all questions, by picture, by subject, and by a question's first words."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for example in examples:
        assert example.question is not None
        kinds["all"].append(example.id)
        kinds["with a picture" if example.images else "text alone"].append(example.id)
        kinds[f"subject: {example.metadata.get('subject')}"].append(example.id)
        kinds["solution known" if known(example) else "solution not known"].append(example.id)
        kinds[f"“{' '.join(example.question.text.split()[:3])} …”"].append(example.id)
    print(f"{'':42}{'count':>6}  {'  '.join(f'{name[:22]:>22}' for name in right)}")
    for kind, ids in kinds.items():
        if len(ids) >= least:
            shares = (share([own[i] for i in ids]) for own in right.values())
            print(f"{kind[:41]:42}{len(ids):6}  {'  '.join(f'{each:>22}' for each in shares)}")


def by_rationale(name: str, examples: Sequence[Example], answers: Sequence[Answer], right: Right, first: Right) -> None:
    """Accuracy by what the rationale says: which of the options it names, and whether it is the dataset's."""
    said = {answer.id: answer.rationale or "" for answer in answers}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for example in examples:
        groups[named(example, said[example.id])].append(example.id)
        if gold := known(example):
            same = " ".join(said[example.id].split()) == " ".join(gold.split())
            groups["word for word the dataset's" if same else "another than the dataset's"].append(example.id)
    print(f"{name}, by its rationale (beside it: the first arm on these questions)")
    for group, ids in groups.items():
        print(f"  {group:34}{len(ids):6}{share([right[i] for i in ids]):>24}{share([first[i] for i in ids]):>24}")


def known(example: Example) -> str:
    """The dataset's rationale as a second model reads it; "" where it is not known."""
    return split_rationale(PromptFormat.parse("QCM-LE").target(example))[0]


def named(example: Example, rationale: str) -> str:
    """Which options a rationale names."""
    question = example.question
    assert question is not None and question.answer is not None
    text = rationale.casefold()
    there = [choice.strip().casefold().rstrip(".") in text for choice in question.choices]
    others = sum(there) - there[question.answer]
    if there[question.answer]:
        return "names the right option and others" if others else "names the right option alone"
    return "names wrong options alone" if others else "names no option"


def exchanged(name: str, strategy: TwoStage, examples: Sequence[Example], answers: Sequence[Answer]) -> None:
    """Accuracy of the second model over the questions whose rationale is known, from several rationales."""
    gold = {e.id: text for e in examples if (text := known(e))}
    asked = [e for e in examples if e.id in gold]
    own = {a.id: a.rationale or "" for a in answers if a.id in gold}
    others = random.Random(0).sample([*own.values()], len(own))
    read = {
        "what its first model writes": own,
        "the dataset's": gold,
        "what was written for another question": dict(zip(own, others, strict=True)),
        "none": dict.fromkeys(own, ""),
    }
    print(f"{name}: its second model on {len(asked)} questions, from rationales")
    for kind, rationales in read.items():
        outcome = judged(asked, strategy.second.answer_from(asked, rationales))
        print(f"  {kind:40}{share([*outcome.values()]):>24}")
    for example in spread(asked, 4):
        print(f"  {example.id}: {own[example.id][:150]!r} for {gold[example.id][:150]!r}")


def share(outcomes: Sequence[bool]) -> str:
    """A share in percent with its 95% interval."""
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return f"{100 * sum(outcomes) / len(outcomes):.1f} ({100 * low:.1f}–{100 * high:.1f})"


if __name__ == "__main__":
    main()
