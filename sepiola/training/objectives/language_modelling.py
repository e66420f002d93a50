"""Language modelling: predict each target token from those before it and from what was read (teacher forcing).

Questions are laid out by a prompt format (`QCM-LE`), messages by the words of a `layout`, by a chat template or as they
are, and plain text is cut into windows. Of a conversation all replies are learned, and nothing else. With `shots`, a
row of training holds so many examples of one episode before one more, so that the model learns to read demonstrations;
a decoder learns all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt

from sepiola.data.batching import Row, Sample
from sepiola.data.example import Example, each_reply
from sepiola.errors import DataError, TrainingError
from sepiola.models.multimodal.interleaved import interleaved
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec, Layout
from sepiola.specs.stage import ObjectiveSpec, StageSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.chat_questions import CHAT
from sepiola.text.conversation import Conversations, ConversationSamples, own_template
from sepiola.text.encoding import in_rows
from sepiola.text.layouts import LAYOUTS
from sepiola.text.pretraining import is_plain
from sepiola.text.processor import Processor
from sepiola.text.prompts import PromptFormat
from sepiola.training.objectives.writing import Writing

log = logging.getLogger(__name__)


class PromptsSpec(ObjectiveSpec):
    """`format` lays questions out; absent, examples are used as they are. `layout` names the words around images and
    requests (MiniGPT-4's); with `chat` the template beside the recipe's tokenizer lays conversations out, or a plain
    one of our own, which goes with the model. `images: false` leaves pictures out, for a language model that learns to
    speak before it sees. `rationales` says whether a format that reads a rationale gets the dataset's (`gold`) or the
    one that the strategy's rationale model writes (`generated`).
    """

    format: str | None = None
    layout: Layout | Literal["chat"] | None = None
    images: bool = True
    rationales: Literal["gold", "generated"] = "gold"
    shots: NonNegativeInt = 0

    @property
    def answers(self) -> bool:
        """In its format."""
        return self.format is not None

    def reads(self) -> str:
        """A bare question, or all of the example."""
        return self.format if self.format is not None and PromptFormat.parse(self.format).input == "B" else ""

    def check(self, model: ModelSpec, stage: StageSpec) -> None:
        """Raises ValueError for an encoder, which sees what it would predict, for shots without a decoder, and for
        generated rationales that its format does not read. Raises SpecError for a format that is none.
        """
        super().check(model, stage)
        layout = PromptFormat.parse(self.format) if self.format is not None else None
        if self.rationales == "generated" and (layout is None or not layout.takes_rationale):
            raise ValueError(f"'{stage.name}': rationales: generated needs a format that reads one, such as QCMG-A")
        kind = model.language.kind if model.language is not None else None
        if kind == "encoder" and self.predicts:
            raise ValueError(f"'{stage.name}': an encoder sees both ways; its objective is 'masked'")
        if self.shots and kind != "decoder":
            raise ValueError(f"'{stage.name}': shots are for language-modelling with a decoder")
        if self.shots and self.layout == "chat":
            raise ValueError(f"'{stage.name}': shots stand in a row as they are; layout: chat lays out conversations")


class LanguageModellingSpec(PromptsSpec):
    """Prompts and targets as they are laid out, or windows of plain text."""

    kind: Literal["language-modelling"]


class LanguageModelling(Writing):
    """The cross-entropy of what is laid out as prompts and targets, or of plain text."""

    spec: ClassVar[type[ObjectiveSpec]] = LanguageModellingSpec

    @classmethod
    def texts(cls, stage: StageSpec, example: Example) -> Iterable[str]:
        """Bare questions as they are, others with all that they have."""
        bare = stage.objective.reads()
        if not bare or example.question is None:
            return super().texts(stage, example)
        laid_out = PromptFormat.parse(bare).apply(example)
        return laid_out.prompt, laid_out.target

    @property
    def own(self) -> PromptsSpec:
        """The spec of this objective's fields."""
        assert isinstance(self.stage.objective, PromptsSpec)
        return self.stage.objective

    @property
    def format(self) -> PromptFormat | None:
        """How questions are laid out, if they are."""
        return PromptFormat.parse(self.own.format) if self.own.format is not None else None

    @property
    def reads_generated(self) -> bool:
        """Whether its rationales are written by another stage's model."""
        return self.format is not None and self.format.takes_rationale and self.own.rationales == "generated"

    def identity(self) -> list[object]:
        """With the rationales that it reads, if it reads any."""
        reads = self.format is not None and self.format.takes_rationale
        chat = [self.template.to_config()] if self.own.layout == "chat" else []
        key = self.setting.rationales_key(generated=self.reads_generated) if reads else None
        return [*super().identity(), key, *chat]

    def answering(self) -> AnsweringSpec:
        """Answers in the stage's format. Raises SpecError where it has none."""
        if self.own.format is None:
            return super().answering()
        return AnsweringSpec(
            images=self.setting.images,
            answer_format=self.own.format,
            layout=self.own.layout,
            source_tokens=self.stage.source_tokens,
            answer_tokens=self.stage.target_tokens,
        )

    def replying(self) -> AnsweringSpec:
        """In the stage's layout; a conversation is read as far as the model reads."""
        if self.own.layout == "chat":
            chat = {"layout": "chat", "answer_format": CHAT, "source_tokens": None}
            return super().replying().model_copy(update=chat)
        return super().replying().model_copy(update={"layout": self.own.layout})

    @property
    def place(self) -> str | None:
        """The name of the token that stands for pictures, if one does."""
        sees = interleaved(self.network)
        return None if sees is None or sees.token is None else self.setting.tokenizer.name_of(sees.token)

    @cached_property
    def template(self) -> ChatTemplate:
        """What lays conversations out."""
        end = self.setting.tokenizer.name_of(self.language.tokens.end)
        return self.setting.template or own_template(self.place, end or "")

    def processor(self, processor: Processor) -> Processor:
        """With the chat template that the model learned by, if it did."""
        return processor if self.own.layout != "chat" else replace(processor, template=self.template)

    def samples(self, data: DataSpec) -> Sequence[Sample | Row]:
        """The data as samples. Raises TrainingError when no record holds what the format asks for."""
        examples = self.laid_out(data)
        if not examples:
            raise TrainingError(
                f"stage '{self.stage.name}': no example of {data.reader} ({data.split}) holds what the format "
                f"{self.own.format} asks for"
            )
        if is_plain(examples):
            return self.windows(examples)
        if self.own.layout == "chat":
            return self.conversations(examples, data)
        examples = [one for example in examples for one in each_reply(example)]
        samples = self.encoded(examples, **self.encoding)
        return in_rows(examples, samples, self.own.shots) if self.own.shots else samples

    @property
    def encoding(self) -> dict[str, Any]:
        """How messages become tokens where no chat template lays them out: keywords of `encoded`."""
        layout = LAYOUTS.get(self.own.layout or "")
        return {"images": self.setting.images and self.own.images, "layout": layout}

    @cached_property
    def conversing(self) -> ConversationSamples:
        """What lays conversations out by the template."""
        seen = self.setting.images and self.own.images
        images = interleaved(self.network) if seen else None
        return ConversationSamples(
            Conversations(self.setting.tokenizer, self.template, self.place),
            self.language.tokens.end,
            decoder=self.language.kind == "decoder",
            images=images,
            fused=seen and images is None and self.setting.spec.bridge is not None,
        )

    def conversations(self, examples: Sequence[Example], data: DataSpec) -> list[Sample]:
        """Conversations laid out by the template, their replies learned.

        Those that the template refuses are left out, and counted. Raises TrainingError where none is left.
        """
        samples, faults = list[Sample](), list[str]()
        for example in examples:
            try:
                samples += self.conversing.of(example)
            except DataError as error:
                faults.append(f"{example.id}: {error}")
        if faults:
            log.warning("%d conversations of %s are left out: %s", len(faults), data.reader, faults[0])
        if not samples:
            raise TrainingError(
                f"stage '{self.stage.name}': no conversation of {data.reader} can be laid out: {faults[0]}"
            )
        return samples

    def laid_out(self, data: DataSpec) -> list[Example]:
        """The examples as prompt and target; records that lack what the format is made of are left out."""
        examples, layout = self.setting.read(data), self.format
        if layout is None:
            return examples
        if not layout.takes_rationale:
            return [layout.apply(e) for e in examples if layout.trainable(e)]
        written = self.setting.rationales(examples, generated=self.reads_generated)
        return [
            layout.apply(e, written[e.id]) for e in examples if e.id in written and layout.trainable(e, written[e.id])
        ]
