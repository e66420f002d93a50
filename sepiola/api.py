"""What a user holds: model, tokenizer and engine in one object that is called, generates and answers questions.

`load` takes a run, a checkpoint folder of ours, a folder in the Hub's layout, or a Hub id; `build` takes a preset's
name or a spec and initialises fresh weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sepiola.acting.constraint import Constraint, Tool, grammar_of, tools_of
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.checkpoints import hub, loading, store
from sepiola.checkpoints import processor as processors
from sepiola.data.example import Example, Message
from sepiola.data.image import AnyImage, ImageRef
from sepiola.errors import SepiolaError
from sepiola.generation.chat import Chat, ChatReply
from sepiola.generation.engine import Engine
from sepiola.generation.example_generator import ExampleGenerator
from sepiola.generation.image_features import ImageEncoder, encode_tiles, keeps_last
from sepiola.generation.keeping import KeepingEngine, check_alone
from sepiola.generation.matcher import Compares, Matcher, dual_encoder, retriever
from sepiola.generation.sampling import Sampling
from sepiola.generation.stopping import Ending
from sepiola.generation.text_prompt import TextPrompts, generate_text
from sepiola.generation.text_scorer import TextScorer
from sepiola.generation.token_ids import generate_ids
from sepiola.models.build import build as build_network
from sepiola.models.build import preset
from sepiola.models.multimodal.vision_language import vision_of
from sepiola.reasoning.answering import AnswersQuestions
from sepiola.reasoning.asking import read_strategy, save_strategy
from sepiola.reasoning.chains import VERIFIERS, Verifier
from sepiola.reasoning.ensembles import Joined, member_folder, read_ensemble
from sepiola.reasoning.reward import ScoresTexts
from sepiola.reasoning.sample_and_rank import RatesReplies
from sepiola.reasoning.side_by_side import side_by_side
from sepiola.runtime import executor
from sepiola.runtime.executor import Executor
from sepiola.specs.ensemble import CombiningSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.vision import PixelSpec
from sepiola.text.chat import ChatTemplate, as_messages
from sepiola.text.layouts import LAYOUTS
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer

RATIONALE = "rationale"
NEW_TOKENS = 128
"""Tokens that `generate` writes at most where neither the caller nor the checkpoint names a number."""


class Model(AnswersQuestions, RatesReplies, ScoresTexts):
    """A network with its spec, its processor (tokenizer, chat template, end tokens …) and its way of answering.

    A tokenizer in the processor's place stands for that of the spec with this tokenizer.
    `kept` is what it was before it learned its last tokens, and what writes all that needs none of them
    (`sepiola.generation.keeping`). Calling a model calls the network; attributes that are not here are the network's.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        processor: Processor | Tokenizer | None = None,
        answering: AnsweringSpec | None = None,
        rationale: Model | None = None,
        image_encoder: ImageEncoder | None = None,
    ) -> None:
        self._network: nn.Module | None = network.eval()
        self._executor: Executor | None = None
        self.spec = spec
        self._processor = processor if isinstance(processor, Processor) else Processor.of(spec, processor)
        self.answering = answering
        self.rationale = rationale
        self._image_encoder = image_encoder
        self._verifiers: dict[tuple[str, str], Verifier] = {}
        self.ensemble: Joined[Model] | None = None
        self.kept: Model | None = None

    @classmethod
    def joined(cls, members: Sequence[Model], combining: CombiningSpec) -> Model:
        """Members that answer questions together. It has the first one's spec and tokenizer, and writes no text."""
        first = members[0]
        model = cls(first.network, first.spec, first.processor, first.asking, image_encoder=first._image_encoder)
        model.ensemble = Joined(tuple(members), combining, side_by_side)
        return model

    def __call__(self, *tensors: Tensor, **keywords: object) -> Tensor:
        """The network's forward pass: logits of a language model, features of a vision encoder."""
        return self.network(*tensors, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name in ("network", "_network"):
            raise AttributeError(name)
        return getattr(self.network, name)

    @property
    def processor(self) -> Processor:
        """What stands around the weights: tokenizer, chat template, special ids, context, defaults of writing."""
        return self._processor

    @processor.setter
    def processor(self, processor: Processor) -> None:
        self._processor = processor
        self._run_by(self._executor)

    @property
    def tokenizer(self) -> Tokenizer | None:
        return self._processor.tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None) -> None:
        self.processor = dataclasses.replace(self._processor, tokenizer=tokenizer, tokenizer_config={})

    @property
    def template(self) -> ChatTemplate | None:
        return self._processor.template

    @template.setter
    def template(self, template: ChatTemplate | None) -> None:
        self.processor = dataclasses.replace(self._processor, template=template)

    @property
    def network(self) -> nn.Module:
        """The network with its plain weights. Raises SepiolaError once `prepack` has released them."""
        if self._network is None:
            raise SepiolaError(
                f"the plain weights of '{self.spec.name}' were given up by prepack(release=True): it generates, "
                "and can be neither called, trained nor saved. Load it again, or use prepack(), which keeps them"
            )
        return self._network

    def eval(self) -> Model:
        if self._network is not None:
            self._network.eval()
        return self

    def to(self, *arguments: Any, **keywords: Any) -> Model:
        """Moves or casts the network, as `torch.nn.Module.to` does. It then runs as it is, no longer prepacked."""
        self.network.to(*arguments, **keywords)
        if self.kept is not None:
            self.kept.to(*arguments, **keywords)
        return self._run_by(None)

    def prepack(self, *, release: bool = False) -> Model:
        """As `run("prepacked")`: weights laid out anew for bfloat16 products on this CPU, where it has them."""
        return self.run("prepacked", release=release)

    def run(self, runtime: str, *, bits: int | None = None, release: bool = False) -> Model:
        """Generates by `torch`, `prepacked` or `native`, the C++ core, with weights of 4, 8 (the default) or 16 `bits`.
        What the network learns later counts after the next `run`. With `release` it is given up, matrix by matrix.
        """
        if self.ensemble is not None:
            run = [member.run(runtime, bits=bits, release=release) for member in self.ensemble.members]
            self.ensemble = Joined(tuple(run), self.ensemble.combining, side_by_side)
            return self
        self._require_text()
        made = executor(runtime, self.network, bits=bits, release=release)
        if self.kept is not None:
            self.kept.run(runtime, bits=bits, release=release)
        self._network = None if release else self._network
        return self._run_by(made)

    def _run_by(self, executor: Executor | None) -> Model:
        self._executor = executor
        for built in ("engine", "_chat", "_prompts", "vocabulary"):
            self.__dict__.pop(built, None)
        return self

    @cached_property
    def engine(self) -> Engine:
        """The engine over this model in its running form. Raises SepiolaError where it writes no text."""
        self._require_text()
        made, ends = self._executor or executor("torch", self.network), frozenset(self._processor.ends)
        return Engine(made, ends=ends) if self.kept is None else KeepingEngine(made, self.kept.engine, ends=ends)

    def _require_text(self) -> None:
        if self.ensemble is not None:
            raise SepiolaError("an ensemble writes no text: ask it with choices, or load one of its members")
        if reason := self.spec.writes_no_text:
            raise SepiolaError(f"'{self.spec.name}' {reason}")

    def generate(
        self,
        prompt: str | Tensor,
        *,
        attention_mask: Tensor | None = None,
        images: AnyImage | Sequence[AnyImage] | None = None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        constraint: Constraint | None = None,
        stop: str | Sequence[str] | None = (),
        on_text: Callable[[str], None] | None = None,
    ) -> str | Tensor:
        """Continues a text, or token ids `(batch, tokens)`; then new ids `(batch, new tokens)`, padded after the end.

        A text is read whole, with the tokenizer's special tokens, and comes back as it was written, spaces and all.
        `images` are pictures for a text, and a tensor of pixels or features, one for each row, for ids. Of the ids,
        `attention_mask` is 0 at padding; without it the padding token is, unless that ends a text too. `max_tokens` is
        by default what the checkpoint says, or 128. Under a `constraint`, a JSON Schema or a list of functions, nothing
        is written but JSON or calls that fit. `stop` and `on_text` are `chat`'s; a row of ids keeps its stop string.
        """
        room, sampling = partial(self._room, asked=max_tokens), Sampling.asked(sampling, self._processor.generation)
        grammar, ending = None if constraint is None else self.grammar(constraint), Ending.asked(stop, on_text)
        if not isinstance(prompt, str):
            write = partial(generate_ids, processor=self._processor, room=room, sampling=sampling, grammar=grammar)
            return write(self.engine, prompt, attention_mask, images, ending)
        pictures = ImageRef.each_of(images)
        if grammar is None and self.answering is not None and self.answering.layout is not None:
            example = Example("prompt", (Message("user", (*pictures, prompt)),), "")  # in a recipe's own words
            return self.example_generator(room(0)).write_one(example, sampling, ending)
        return generate_text(self._prompts, prompt, pictures, ending, room=room, sampling=sampling, grammar=grammar)

    def grammar(self, constraint: Constraint) -> Grammar:
        """The constraint, compiled for this model. Raises SpecError for one that is not supported."""
        return grammar_of(constraint, self.vocabulary, self._processor.functions)

    @cached_property
    def vocabulary(self) -> ConstraintVocabulary:
        return ConstraintVocabulary(self.require_tokenizer(), self.engine.spec.vocabulary, [*self.engine.ends])

    @property
    def sampling(self) -> Sampling:
        """How every verb writes where nothing is asked (`Sampling.of`)."""
        return Sampling.of(self._processor.generation)

    def _room(self, prompt_tokens: int, asked: int | None) -> int:
        """How many tokens are written at most: as asked, or as the checkpoint says."""
        read = prompt_tokens if self.engine.causal else 1
        return self._processor.generation.room(read, NEW_TOKENS) if asked is None else asked

    @cached_property
    def _prompts(self) -> TextPrompts:
        return TextPrompts(self.engine, self._processor, self.require_tokenizer(), self.image_encoder)

    def chat(
        self,
        messages: Sequence[Message | Mapping[str, object]],
        *,
        tools: Sequence[Tool] | None = None,
        max_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] | None = (),
        on_text: Callable[[str], None] | None = None,
    ) -> ChatReply:
        """The assistant's next turn in a conversation of several turns, with pictures in any of them.

        Messages are ours, or dicts as on the Hub and of OpenAI (`sepiola.text.chat.as_message`). `tools`, functions or
        OpenAI's dicts, are declared as the chat template has it. `on_text` is given the text piece by piece as it is
        written. `max_tokens` is by default what the checkpoint says, or 512. `stop` are stop strings beside the
        checkpoint's. Raises DataError when pictures and their places do not match.
        """
        said, sampling = as_messages(messages), Sampling.asked(sampling, self._processor.generation)
        return self._chat.reply(said, max_tokens, sampling, on_text, stops=stop, tools=tools_of(tools) or None)

    @cached_property
    def _chat(self) -> Chat:
        return Chat(self.engine, self._processor, self.require_tokenizer(), self.image_encoder)

    def verifier(self, folder: str, vote: str) -> Verifier:
        """What scores this model's chains for a vote by the model in a folder, which is loaded once."""
        if (folder, vote) not in self._verifiers:
            self._verifiers[folder, vote] = VERIFIERS[vote](load(folder))
        return self._verifiers[folder, vote]

    def example_generator(self, target_tokens: int, answering: AnsweringSpec | None = None) -> ExampleGenerator:
        """Text over this model's engine, laid out by `answering`, by default as the model is asked (`asking`)."""
        tokenizer, answering = self.require_tokenizer(), answering or self.asking
        encode = self.image_encoder if answering.images else None
        layout, image_encoder = answering.layout, None if encode is None else keeps_last(encode)
        return ExampleGenerator(
            self.engine,
            tokenizer,
            image_encoder,
            source_tokens=answering.source_tokens,
            target_tokens=target_tokens,
            context=self._processor.context,
            qformer_tokenizer=self._processor.qformer_tokenizer,
            layout=LAYOUTS.get(layout or ""),
            chat=Chat(self.engine, self._processor, tokenizer, image_encoder) if layout == "chat" else None,
            opening=tokenizer.opening() if layout == "text" else (),
            sampling=self.sampling,
            stops=self._processor.generation.stop_strings,
        )

    @property
    def image_encoder(self) -> ImageEncoder | None:
        """What turns pictures into what the model takes; None for a model that reads text alone."""
        return (self._image_encoder or self.encode_images) if self.spec.bridge is not None else None

    def text_scorer(self, length: int | None = None) -> TextScorer:
        """Text over this model's engine, in rows of `length` tokens at most. Raises as `example_generator`."""
        return TextScorer(
            self.engine,
            self.require_tokenizer(),
            length=length or self._processor.context,
            prefix=self._processor.prefix,
            sampling=self.sampling,
            stops=self._processor.generation.stop_strings,
            chat=self._chat if self.asking.layout == "chat" else None,
        )

    def matcher(self) -> Matcher:
        """Compares pictures and texts by a dual encoder's towers. Raises SepiolaError for another model."""
        return Matcher(dual_encoder(self.network), self.require_tokenizer(), self._pixels())

    def retriever(self) -> Compares:
        """What finds pictures by texts, and back: a dual encoder or a Q-Former with heads. Raises SepiolaError else."""
        return retriever(self.network, self.require_tokenizer(), self._pixels())

    def _pixels(self) -> PixelSpec:
        if self.spec.vision is None:
            raise SepiolaError(f"'{self.spec.name}' {self.spec.sees_no_pixels}")
        return self.spec.vision.pixels

    def require_tokenizer(self) -> Tokenizer:
        return self._processor.require_tokenizer(self.spec.name)

    def encode_images(self, images: Sequence[ImageRef]) -> Tensor:
        """The vision encoder's features of the images, one after the other, `(patches, width)`, each at its own size;
        where the text places them, `(tiles, patches, width)`.
        """
        pixels, made = self._pixels(), self._executor
        weight = made or next(self.network.parameters())
        features = vision_of(self.network) if made is None else made.features
        return encode_tiles(features, images, pixels, weight.device, weight.dtype, whole=self.spec.interleaved)

    def save(self, folder: str | Path) -> None:
        """Writes a checkpoint folder that `load` reads, in place of the one that is there."""
        with store.saving(folder) as aside:
            if self.ensemble is not None:
                for number, member in enumerate(self.ensemble.members):
                    member.save(member_folder(aside, number))
                return store.write_yaml_file(aside / store.ENSEMBLE, self.ensemble.combining.to_dict())
            store.save(aside, self.network, self.spec, None if self.tokenizer is None else self.tokenizer.to_json())
            processors.save(aside, self._processor, writes=self.spec.writes_no_text is None)
            if self.answering is not None:
                save_strategy(aside, self.answering)
            for name, beside in ((RATIONALE, self.rationale), (store.KEPT, self.kept)):
                if beside is not None:
                    beside.save(aside / name)

    def save_hub(self, folder: str | Path, *, max_shard: int = hub.MAX_SHARD) -> None:
        """Writes the Hub's layout, which `transformers` loads; more than `max_shard` bytes go to several files."""
        if self.ensemble is not None:
            raise SepiolaError("the Hub's layout holds one model, and this is an ensemble: save its members one by one")
        check_alone(self.kept, "the Hub's layout")
        hub.save(folder, self.network, self.spec, max_shard=max_shard, processor=self._processor)


def load(
    path_or_hub_id: str | Path,
    *,
    adapter: str | Path | None = None,
    vision_only: bool = False,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    runtime: str = "torch",
    bits: int | None = None,
    calibrate: Mapping[str, object] | None = None,
) -> Model:
    """Loads a run, a checkpoint folder, or a Hub id; an adapter there comes with the base that it names.

    The `adapter` of a folder or a Hub id, in peft's layout, is merged into the model that answers. With `vision_only`
    nothing but the vision encoder is read. `runtime` and `bits` are those of `Model.run`; by `calibrate`, data in a
    recipe's words, matrices are rounded (`round_by`). Raises CheckpointError when it does not fit or is not there.
    """
    together = read_ensemble(loading.local_folder(path_or_hub_id)) if adapter is None and not vision_only else None
    if together is not None:
        member = partial(load, dtype=dtype, device=device, runtime=runtime, bits=bits, calibrate=calibrate)
        return Model.joined([member(folder) for folder in together[0]], together[1])
    read = loading.load(path_or_hub_id, adapter=adapter, vision_only=vision_only, dtype=dtype, device=device)
    if vision_only:
        return Model(read.network, read.spec)
    rationale = load(beside, dtype=dtype, device=device) if (beside := read.folder / RATIONALE).is_dir() else None
    model = Model(read.network, read.spec, read.processor, read_strategy(read.folder) or read.answering, rationale)
    model.kept = load(beside, dtype=dtype, device=device) if (beside := read.folder / store.KEPT).is_dir() else None
    if calibrate is not None:
        from sepiola.evaluation.calibration import round_by  # all readers of data with it

        round_by(calibrate, model, [one.network for one in (model, rationale, model.kept) if one is not None])
    for stage in filter(None, (model, rationale) if runtime != "torch" or bits is not None else ()):
        stage.run(runtime, bits=bits)
    return model


def build(preset_or_spec: str | ModelSpec | Mapping[str, object], *, seed: int = 0) -> Model:
    """A model with fresh weights. Raises SpecError for an unknown preset or a wrong spec."""
    spec = preset(preset_or_spec) if isinstance(preset_or_spec, str) else ModelSpec.parse(preset_or_spec)
    return Model(build_network(spec, seed=seed), spec)
