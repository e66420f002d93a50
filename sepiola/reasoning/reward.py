"""Scores of a reward model: one number a text or conversation, read at its last token.

A conversation is laid out as the model was trained: by its chat template, or else in the words in which recipes have
prompts and replies, the end token last. Pictures stand in its messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from sepiola.data.batching import Sample
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.data.scored import ScoredCollator
from sepiola.errors import CheckpointError, DataError, SepiolaError
from sepiola.generation.image_features import encode_tiles
from sepiola.models.linear_reward import LinearReward
from sepiola.models.multimodal.interleaved import in_line, interleaved
from sepiola.models.multimodal.vision_language import vision_of
from sepiola.models.reward import scores
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat import ChatTemplate, as_messages
from sepiola.text.conversation import Conversations, ConversationSamples, without_pictures
from sepiola.text.encoding import encode, placing
from sepiola.text.layouts import LAYOUTS
from sepiola.text.processor import Processor

ROWS = 16  # sequences that are read at once
LAST_TURN = "a conversation is scored by its last turn, which is the assistant's; this one has none"
TEXT_ALONE = "the conversation shows pictures, and this reward model reads text alone; leave them out"
Scored = str | Sequence[Message | Mapping[str, object]]


class Scores(Protocol):
    """What a loaded reward model says of itself."""

    @property
    def answering(self) -> AnsweringSpec | None: ...
    @property
    def network(self) -> nn.Module: ...
    @property
    def spec(self) -> ModelSpec: ...
    @property
    def processor(self) -> Processor: ...


class RewardModel:
    """A reward model with what stands around it; `answering` says how it was trained to read, if it does: in the words
    of a layout, or without pictures.
    """

    def __init__(
        self, network: nn.Module, spec: ModelSpec, processor: Processor, answering: AnsweringSpec | None = None
    ) -> None:
        """Raises SepiolaError for another model, and CheckpointError for one without a tokenizer."""
        if spec.classifier is None or spec.classifier.kind != "reward" or spec.language is None:
            raise SepiolaError(
                "only a reward model scores texts: train one (objective: reward), or load a …ForSequenceClassification "
                "with one label"
            )
        if processor.tokenizer is None:
            raise CheckpointError(f"'{spec.name}' has no tokenizer: put its tokenizer.json beside the weights")
        self.network = network
        self.spec = spec
        self.language = spec.language
        self.tokenizer = processor.tokenizer
        self.processor = processor
        self.layout = LAYOUTS.get(answering.layout or "") if answering is not None else None
        self.blind = answering is not None and not answering.images
        self._features: dict[tuple[ImageRef, ...], Tensor] = {}

    @classmethod
    def of(cls, model: Scores) -> RewardModel:
        """What a loaded model scores by."""
        if isinstance(model.network, LinearReward):
            return LinearRewardModel(model.network)
        return cls(model.network, model.spec, model.processor, model.answering)

    def score(self, items: Sequence[Scored]) -> list[float]:
        """The score of each text or conversation. Raises DataError for one that is empty, or too long for the model."""
        if isinstance(items, str) or any(isinstance(item, Message | Mapping) for item in items):
            raise DataError("score takes a list of texts or of conversations: put this one into a list")
        return self._scores([self._sample(item) for item in items])

    def reward(self, messages: Sequence[Message | Mapping[str, object]]) -> float:
        """The score of one conversation: of its last turn, which is the assistant's."""
        if isinstance(messages, str | Mapping | Message):
            raise DataError("reward takes a conversation, a list of messages whose last one is the assistant's")
        turns = as_messages(messages)
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise DataError(LAST_TURN)
        return self.score([turns])[0]

    def replies(self, prompts: Sequence[Example], replies: Sequence[tuple[str, bool]]) -> list[float]:
        """The score of each prompt's reply, which says whether it came to its end; if not, it is read without one. Of
        prompts with pictures a model of text alone reads the text, as it did when it was taught.
        """
        read = without_pictures if self.spec.bridge is None else list[Message]
        return self._scores(
            [
                self._fitting(self._conversation([*read(prompt.messages), Message("assistant", (text,))], ended=ended))
                for prompt, (text, ended) in zip(prompts, replies, strict=True)
            ]
        )

    @torch.inference_mode()
    def _scores(self, samples: Sequence[Sample]) -> list[float]:
        self.network.eval()
        device = next(self.network.parameters()).device
        tokens, kind = self.language.tokens, self.language.kind
        collate = ScoredCollator(tokens, kind=kind, features=self._encode, **in_line(self.network))
        order = sorted(range(len(samples)), key=lambda i: samples[i].length)
        found = [0.0] * len(samples)
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            batch = collate([samples[i] for i in chosen])
            for i, number in zip(chosen, scores(self.network, batch.to(device)).tolist(), strict=True):
                found[i] = number
        self._features.clear()
        return found

    def _encode(self, rows: Sequence[Sequence[ImageRef]]) -> list[Tensor]:
        """Features `(patches, width)` of each row's pictures, each encoded once."""
        if self.spec.vision is None:
            raise SepiolaError(f"'{self.spec.name}' {self.spec.sees_no_pixels}")
        vision, weight = vision_of(self.network), next(self.network.parameters())
        for images in {tuple(row) for row in rows} - self._features.keys():
            self._features[images] = weight.new_zeros(0, vision.width)
            if images:
                pixels = self.spec.vision.pixels
                encoded = encode_tiles(vision, images, pixels, weight.device, weight.dtype, whole=False)
                self._features[images] = encoded
        return [self._features[tuple(row)] for row in rows]

    def _sample(self, item: Scored) -> Sample:
        return self._fitting(self._text(item) if isinstance(item, str) else self._conversation(as_messages(item)))

    def _fitting(self, sample: Sample) -> Sample:
        """The sample. Raises DataError where the model does not read so many tokens."""
        most = self.language.positions.length if self.language.positions.kind == "learned" else None
        tokens = sample.positions_for(self.language.kind) + (self.language.kind == "decoder")
        if most is not None and tokens > most:
            raise DataError(f"a text of {tokens} tokens; the model reads 1 to {most}")
        return sample

    def _text(self, text: str) -> Sample:
        if self.language.kind == "encoder-decoder":
            raise DataError(
                "this reward model reads the prompt in its encoder and the reply in its decoder: give conversations"
            )
        ids = self.tokenizer.encode(text, framed=True)
        if not ids:
            raise DataError("a text of 0 tokens; the model reads 1 or more")
        return Sample("text", (), tuple(ids))

    def _conversation(self, turns: Sequence[Message], *, ended: bool = True) -> Sample:
        if self.spec.bridge is None and any(not isinstance(part, str) for turn in turns for part in turn.content):
            raise DataError(TEXT_ALONE)
        if not turns or turns[-1].role != "assistant":
            raise DataError(LAST_TURN)
        example = Example("conversation", tuple(turns[:-1]), turns[-1].text)
        if self.chat is not None:
            return self.chat.scored(example, ended=ended)
        (sample,) = encode(
            [example],
            self.tokenizer,
            self.language.tokens,
            close=self.language.kind == "encoder-decoder",
            images=not self.blind,
            layout=self.layout,
            qformer_tokenizer=self.processor.qformer_tokenizer,
            **placing(interleaved(self.network)),
        )
        return sample if ended else _without_end(sample)

    @cached_property
    def chat(self) -> ConversationSamples | None:
        """What lays conversations out by the chat template; None where there is none."""
        if self.processor.template is None:
            return None
        sees = interleaved(self.network)
        place = None if sees is None or sees.token is None else self.tokenizer.name_of(sees.token)
        conversations = Conversations(self.tokenizer, self.processor.template, place)
        decoder = self.language.kind == "decoder"
        images, fused = None if self.blind else sees, not self.blind and sees is None and self.spec.bridge is not None
        return ConversationSamples(conversations, self.language.tokens.end, decoder=decoder, images=images, fused=fused)


class LinearRewardModel(RewardModel):
    """A linear reward model, which reads what messages say and nothing around it. It can score any policy's replies."""

    def __init__(self, network: LinearReward) -> None:
        self.network = network
        self.linear = network

    def score(self, items: Sequence[Scored]) -> list[float]:
        """As a reward model does; a text is a reply to nothing."""
        if isinstance(items, str) or any(isinstance(item, Message | Mapping) for item in items):
            raise DataError("score takes a list of texts or of conversations: put this one into a list")
        return self.linear.scores([self._parts(item) for item in items])

    def replies(self, prompts: Sequence[Example], replies: Sequence[tuple[str, bool]]) -> list[float]:
        """The score of each prompt's reply; whether it came to its end is not seen."""
        return self.linear.scores([(prompt.prompt, text) for prompt, (text, _) in zip(prompts, replies, strict=True)])

    def _parts(self, item: Scored) -> tuple[str, str]:
        """What was said before, and what is scored. Raises DataError for what is no text with an answer."""
        if isinstance(item, str):
            return "", item
        turns = as_messages(item)
        if not turns or turns[-1].role != "assistant":
            raise DataError(LAST_TURN)
        if any(not isinstance(part, str) for turn in turns for part in turn.content):
            raise DataError(TEXT_ALONE)
        return Example("conversation", tuple(turns[:-1]), "").prompt, turns[-1].text


class ScoresTexts:
    """The verbs of a reward model."""

    def score(self: Scores, items: Sequence[Scored]) -> list[float]:
        """A reward model's score of each text or conversation. Raises as `RewardModel`."""
        return RewardModel.of(self).score(items)

    def reward(self: Scores, messages: Sequence[Message | Mapping[str, object]]) -> float:
        """A reward model's score of a conversation's last turn, the assistant's. Raises as `RewardModel`."""
        return RewardModel.of(self).reward(messages)


def _without_end(sample: Sample) -> Sample:
    return replace(sample, target=sample.target[:-1]) if len(sample.target) > 1 else sample


def words_of(template: ChatTemplate | None, layout: str | None = None) -> str:
    """What tells one way of laying conversations out from others: a chat template by its digest, a layout, or lines."""
    if template is not None:
        said = json.dumps(dict(template.templates), sort_keys=True)
        return f"the chat template {hashlib.sha256(said.encode()).hexdigest()[:12]}"
    return f"the layout {layout}" if layout else "one message a line"
