"""A classifier's answers: a question's sequences are read once, and the likeliest label or option is the answer."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence

import torch

from sepiola.data.example import Example
from sepiola.models.classifier import Classifier
from sepiola.reasoning.answer import Answer
from sepiola.text.classification import ClassificationCollator, classification_samples
from sepiola.text.tokenizer import Tokenizer

CLASSIFIER_ROWS = 64  # sequences that a classifier reads at once
OnDone = Callable[[int], None] | None
"""Given how many answers are done since it was last called."""


class ClassifierStrategy:
    """Reads a question's sequences once; the likeliest label or option is the answer.

    Sequences longer than `source_tokens`, or than its model reads, are cut as in training.
    """

    def __init__(self, network: Classifier, tokenizer: Tokenizer, *, source_tokens: int | None = None) -> None:
        self.network = network
        self.tokenizer = tokenizer
        spec = network.spec
        self.source_tokens = min(source_tokens or sys.maxsize, spec.positions.length or sys.maxsize)
        self.collate = ClassificationCollator(
            spec.tokens, network.classifier_spec.tokens, causal=spec.kind == "decoder"
        )

    @torch.inference_mode()
    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        """Raises DataError when an example lacks what the classifier reads."""
        classifier, device = self.network.classifier_spec, self.network.classifier.weight.device
        whole = classification_samples(examples, self.tokenizer, classifier)
        samples = [sample.cut(self.source_tokens, 1) for sample in whole]
        answers: dict[int, Answer] = {}
        order = sorted(range(len(samples)), key=lambda i: samples[i].length)
        for start in range(0, len(order), CLASSIFIER_ROWS):
            chosen = order[start : start + CLASSIFIER_ROWS]
            batch = self.collate([samples[i] for i in chosen]).to(device)
            states = self.network.states(batch.target, attention_mask=batch.target_mask)
            logits = self.network.read(states, batch.ends, batch.lengths).float()
            shares, evidence = logits.softmax(dim=-1).tolist(), logits.logsumexp(dim=-1).tolist()
            for i, row, sure in zip(chosen, shares, evidence, strict=True):
                question = examples[i].question
                options = classifier.labels or (question.choices if question else ())
                best = max(range(len(options)), key=row.__getitem__)
                probabilities = tuple(row[: len(options)])
                cut = samples[i] is not whole[i]
                scored = Answer.scored(examples[i].id, options[best], best, probabilities)
                answers[i] = dataclasses.replace(scored, evidence=sure, prompt_cut=cut)
            if on_done is not None:
                on_done(len(chosen))
        return [answers[i] for i in range(len(examples))]
