"""GPT-1's input transformations (Radford et al., 2018, section 3.3): a question's parts as one sequence or several.

| task | sequences |
| --- | --- |
| classification | the text |
| entailment | premise, hypothesis |
| similarity | one text, the other; and the other way round |
| multiple choice | context, option: one for each option |

The text, the hypothesis and one of two similar texts are the question's `text`; the premise and the other text its
`hint`. A context is hint and text, as the paper joins document and question.
"""

from __future__ import annotations

from collections.abc import Sequence

from sepiola.data.batching import IGNORED
from sepiola.data.classification import TaskSample
from sepiola.data.example import Example, Question
from sepiola.errors import DataError
from sepiola.specs.model import TaskKind, TaskSpec
from sepiola.text.tokenizer import Tokenizer


def sequences(example: Example, kind: TaskKind) -> list[tuple[str, ...]]:
    """The texts of each sequence. Raises DataError when the example lacks what the task reads."""
    question = _question(example, kind)
    whole = "\n".join(part for part in (question.hint, question.text) if part)
    if kind == "multiple-choice":
        if not question.choices:
            raise DataError(f"{example.id}: multiple choice needs the question's options, and it has none")
        return [(whole, choice) for choice in question.choices]
    if kind == "classification":
        return [(whole,)]
    if not question.hint:
        missing = "premise" if kind == "entailment" else "second text"
        raise DataError(f"{example.id}: {kind} reads two texts; give the {missing} as the question's hint")
    pair = (question.hint, question.text)
    return [pair] if kind == "entailment" else [pair, pair[::-1]]


def labels_of(examples: Sequence[Example], kind: TaskKind) -> tuple[str, ...]:
    """What the examples are told apart by: the options that all their questions share; none for multiple choice.

    Raises DataError when questions have options of their own, or none.
    """
    if kind == "multiple-choice":
        return ()
    if not examples:
        raise DataError(f"{kind} tells apart what its examples' options say; there are no examples")
    labels = _question(examples[0], kind).choices
    for example in examples:
        _check_labels(example, kind, labels)
    return labels


def encode_task(examples: Sequence[Example], tokenizer: Tokenizer, task: TaskSpec) -> list[TaskSample]:
    """The examples as samples. Raises DataError when one lacks what the task reads, or has other labels."""
    samples = []
    for example in examples:
        question = _question(example, task.kind)
        if task.labels and question.choices:
            _check_labels(example, task.kind, task.labels)
        found = [tuple(map(tuple, tokenizer.encode_batch(texts))) for texts in sequences(example, task.kind)]
        if task.tokens is None and not found[0][0]:
            raise DataError(f"{example.id}: the text is empty, and this model's sequences have no other tokens")
        answer = IGNORED if question.answer is None else question.answer
        samples.append(TaskSample.of(example.id, found, answer))
    return samples


def _check_labels(example: Example, kind: TaskKind, labels: tuple[str, ...]) -> None:
    choices = _question(example, kind).choices
    if len(choices) < 2 or choices != labels:
        raise DataError(
            f"{example.id}: {kind} tells one set of labels apart ({', '.join(labels) or 'none'}), and this question's "
            f"options are {', '.join(choices) or 'none'}; for options of each question's own use multiple-choice"
        )


def _question(example: Example, kind: TaskKind) -> Question:
    if example.question is None:
        raise DataError(f"{example.id}: {kind} needs the question's parts, and this example has messages only")
    return example.question
