"""What a recipe reads before it trains: its tokenizer, and its model with that tokenizer's vocabulary."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from sepiola.checkpoints import hub
from sepiola.checkpoints import processor as processors
from sepiola.checkpoints.loading import qformer_tokenizer
from sepiola.checkpoints.store import TOKENIZER
from sepiola.data.example import Example
from sepiola.data.files import locked, write_text
from sepiola.datasets import DataCache
from sepiola.models.resize import bridge_tokens, fitted
from sepiola.specs.data import DataSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.recipe import RecipeSpec
from sepiola.specs.stage import StageSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.conversation import Conversations
from sepiola.text.processor import Processor
from sepiola.text.tokenizer import Tokenizer
from sepiola.training.objectives import OBJECTIVES, Objective

log = logging.getLogger(__name__)


class RecipeText:
    """A recipe's tokenizer and spec; a trained tokenizer is kept in `shared`."""

    def __init__(self, recipe: RecipeSpec, shared: Path, data: DataCache) -> None:
        self.recipe = recipe
        self.shared = shared
        self.data = data

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The recipe's tokenizer: read, or trained on all that its data says, whatever the stages' formats.

        So arms of a comparison that train on the same data have the same tokenizer.
        """
        spec = self.recipe.tokenizer
        assert spec is not None
        if spec.path is not None:
            tokenizer = Tokenizer.load(spec.path) if self._beside is None else self._beside.require_tokenizer(spec.path)
            for name in bridge_tokens(self.recipe.model, self.qformer_tokenizer):
                tokenizer = tokenizer.with_token(name)
            return tokenizer
        stages = {f"{stage.data.model_dump_json()}{stage.objective.reads()}": stage for stage in self.recipe.stages}
        texts = [text for key in sorted(stages) for text in self._texts(stages[key]) if text]
        extra = list(dict.fromkeys(token for stage in self.recipe.stages for token in stage.objective.tokens()))
        extra += bridge_tokens(self.recipe.model, self.qformer_tokenizer)
        key = digest([spec.model_dump(), extra, hashlib.sha256("\0".join(texts).encode()).hexdigest()])
        path = self.shared / "stages" / f"tokenizer-{key}.json"
        with locked(path.parent):
            if not path.is_file():
                write_text(path, Tokenizer.train(texts, spec.vocabulary or 0, spec.kind, extra).to_json())
        return Tokenizer.load(path)

    @cached_property
    def qformer_tokenizer(self) -> Tokenizer | None:
        """By what an instructed Q-Former reads, if the checkpoint that it begins with has a tokenizer for it."""
        weights = self.recipe.weights
        source = weights.get("bridge") if isinstance(weights, dict) else weights
        instructed = getattr(self.recipe.model.bridge, "instructed", False)
        return qformer_tokenizer(source) if instructed and source is not None else None

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The chat template that lies beside the recipe's tokenizer, if that is a file."""
        path = self.recipe.tokenizer.path if self.recipe.tokenizer is not None else None
        return None if path is None else ChatTemplate.load(Path(path).parent, sees=self.recipe.model.vision is not None)

    @cached_property
    def _beside(self) -> Processor | None:
        """What stands beside the recipe's tokenizer, if that is a `tokenizer.json`, as its checkpoint reads it."""
        path = self.recipe.tokenizer.path if self.recipe.tokenizer is not None else None
        if path is None or Path(path).name != TOKENIZER or not Path(path).is_file():
            return None
        folder = Path(path).parent
        config = hub.read_config(folder) if (folder / hub.CONFIG).is_file() else None
        return processors.read(folder, self.recipe.model, config)

    def processor(self, spec: ModelSpec, objective: Objective) -> Processor:
        """What stands around the weights that a stage leaves.

        A tokenizer that lies in a checkpoint's folder brings the special tokens and settings that lie there; and to a
        model that chats, how the checkpoint writes (`generation_config.json`).
        """
        tokenizer, beside = None if self.recipe.tokenizer is None else self.tokenizer, self._beside
        made = Processor.of(spec, tokenizer, qformer_tokenizer=self.qformer_tokenizer)
        if tokenizer is None or beside is None or spec.language is None:
            return objective.processor(made)
        made = dataclasses.replace(
            made,
            ends=tuple(dict.fromkeys((*made.ends, *beside.ends))),
            start=beside.start,
            pad=beside.pad,
            tokenizer_config=beside.tokenizer_config,
        )
        made = objective.processor(made)
        if made.template is None:
            if beside.template is not None and self.recipe.tokenizer is not None:
                _leaves_template_out(str(self.recipe.tokenizer.path))
            return made
        ends = Conversations(tokenizer, made.template).ends(made.ends)
        return dataclasses.replace(
            made,
            ends=(*made.ends, *sorted(ends.difference(made.ends))),
            generation=beside.generation,
            generation_config=beside.generation_config,
        )

    def read(self, data: DataSpec) -> list[Example]:
        """The examples of some data, read once."""
        return self.data.read(data)

    def _texts(self, stage: StageSpec) -> Iterator[str]:
        """All that the stage's data says."""
        objective = OBJECTIVES[stage.objective.kind]
        for example in self.read(stage.data):
            yield from objective.texts(stage, example)

    @cached_property
    def spec(self) -> ModelSpec:
        """The recipe's model with the tokenizer's vocabulary when that was trained here."""
        if self.recipe.tokenizer is None:
            return self.recipe.model
        trained = self.recipe.trains_tokenizer
        return fitted(self.recipe.model, self.tokenizer, trained=trained, qformer=self.qformer_tokenizer)


@lru_cache(maxsize=64)
def _leaves_template_out(path: str) -> None:
    """Says once that a checkpoint's chat template is not the model's."""
    log.warning(
        "%s: its chat template does not go with the model, which was not taught by it; `layout: chat` of an objective "
        "teaches by it",
        path,
    )


def digest(parts: Sequence[object]) -> str:
    """What tells plain data from other data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
