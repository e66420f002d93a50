"""The strategy of a task's head: a question's sequences are read once; the likeliest label or option is the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sepiola.data.classification import TaskCollator
from sepiola.data.example import Example
from sepiola.models.classifier import TaskModel
from sepiola.reasoning.answer import Answer
from sepiola.text.classification import encode_task
from sepiola.text.tokenizer import Tokenizer

ROWS = 64


class Classifier:
    """Answers by a head. Sequences longer than `source_tokens`, or than its model reads, are cut as in training."""

    def __init__(self, network: TaskModel, tokenizer: Tokenizer, *, source_tokens: int = 512) -> None:
        self.network = network
        self.tokenizer = tokenizer
        spec = network.spec
        self.source_tokens = min(source_tokens, spec.positions.length or source_tokens)
        self.collate = TaskCollator(spec.tokens, network.task.tokens, causal=spec.kind == "decoder")

    @torch.inference_mode()
    def answer(self, examples: Sequence[Example], on_done: Callable[[int], None] | None = None) -> list[Answer]:
        """Raises DataError when an example lacks what the task reads."""
        task, device = self.network.task, self.network.classifier.weight.device
        samples = [s.cut(self.source_tokens, 1) for s in encode_task(examples, self.tokenizer, task)]
        answers: dict[int, Answer] = {}
        order = sorted(range(len(samples)), key=lambda i: samples[i].length)
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            batch = self.collate([samples[i] for i in chosen]).to(device)
            states = self.network.language.states(batch.target, attention_mask=batch.target_mask)
            shares = self.network.read(states, batch.ends).float().softmax(dim=-1).tolist()
            for i, row in zip(chosen, shares, strict=True):
                question = examples[i].question
                options = task.labels or (question.choices if question else ())
                best = max(range(len(options)), key=row.__getitem__)
                answers[i] = Answer(examples[i].id, options[best], best, probabilities=tuple(row[: len(options)]))
            if on_done is not None:
                on_done(len(chosen))
        return [answers[i] for i in range(len(examples))]
