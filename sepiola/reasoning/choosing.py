"""A conditional logit's answers: the likeliest option of each question."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sepiola.data.example import Example
from sepiola.errors import DataError
from sepiola.models.conditional_logit import ConditionalLogit
from sepiola.models.hashed_linear import laid_out
from sepiola.models.text_states import TextStates
from sepiola.models.text_votes import Encode
from sepiola.reasoning.answer import Answer
from sepiola.reasoning.classifying import OnDone
from sepiola.text.option_features import Asked


class OptionsStrategy:
    """Scores the options of each question. `images` says whether pictures may vote, and `encode` gives vectors of texts
    where the network compares them so.
    """

    def __init__(self, network: ConditionalLogit, *, images: bool = True, encode: TextStates | None = None) -> None:
        self.network = network
        self.images = images
        self.encode: Encode | None = encode

    @torch.inference_mode()
    def answer(self, examples: Sequence[Example], on_done: OnDone = None) -> list[Answer]:
        """Raises DataError for an example that has no options."""
        common, device = self.network.words, self.network.weight.device
        answers = []
        for example in examples:
            question = example.question
            if question is None or not question.choices:
                raise DataError(f"{example.id}: this model chooses among a question's options, and there are none")
            image = example.images[0] if example.images and self.images else None
            features = self.network.features(Asked(question, common), image, encode=self.encode)
            scores = self.network(*(tensor.to(device) for tensor in laid_out([features])))
            probabilities = tuple(scores.float().softmax(dim=0).tolist())
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            answers.append(Answer.scored(example.id, question.choices[best], best, probabilities))
            if on_done is not None:
                on_done(1)
        return answers
