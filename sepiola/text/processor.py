"""What stands around a model's weights, in one object: its tokenizer, chat template, special ids, context and defaults
of writing.

The Hub keeps these in half a dozen files (`sepiola.checkpoints.processor` reads and writes them); every verb asks here.
How pictures are prepared is the vision encoder's own (`PixelSpec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sepiola.errors import CheckpointError
from sepiola.specs.generation import GenerationSpec
from sepiola.specs.model import ModelSpec
from sepiola.specs.rating import AttributeSpec
from sepiola.text.chat import ChatTemplate
from sepiola.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Processor:
    """`ends` are all tokens that end what is written, and none where the checkpoint names none. `start` opens a text
    that has no token of its own, `pad` fills rows; None where there is no such token.

    `context` is how many tokens the model was made to read in a row; None where that is not said. `qformer_tokenizer`
    is what an instructed Q-Former reads by. `tokenizer_config` and `generation_config` are the checkpoint's files of
    that name as they were, the template left out: what we do not honour leaves with the model as it came. `functions`
    are what the model was taught to call by tokens, in their order, as name, signature and tool: an empty list where
    the tokens are numbers of what a request declares. None for other models. `attributes` are what it was taught to
    rate replies by, None where it was not.
    """

    tokenizer: Tokenizer | None = None
    template: ChatTemplate | None = None
    ends: tuple[int, ...] = ()
    start: int | None = None
    pad: int | None = None
    context: int | None = None
    generation: GenerationSpec = field(default_factory=GenerationSpec)
    qformer_tokenizer: Tokenizer | None = None
    tokenizer_config: Mapping[str, object] = field(default_factory=dict)
    generation_config: Mapping[str, object] = field(default_factory=dict)
    functions: tuple[Mapping[str, object], ...] | None = None
    attributes: tuple[AttributeSpec, ...] | None = None

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        tokenizer: Tokenizer | None = None,
        template: ChatTemplate | None = None,
        qformer_tokenizer: Tokenizer | None = None,
    ) -> Processor:
        """The processor of a model that is all in its spec."""
        if spec.language is None:
            return cls(tokenizer, template, qformer_tokenizer=qformer_tokenizer)
        tokens = spec.language.tokens
        return cls(
            tokenizer,
            template,
            ends=(tokens.end,),
            start=tokens.start if spec.language.kind == "decoder" else None,
            pad=tokens.pad,
            context=spec.language.positions.length,
            qformer_tokenizer=qformer_tokenizer,
        )

    @property
    def prefix(self) -> int | None:
        """What an empty text is read as: the start token, else the tokenizer's own end token, else the first end."""
        return self.start if self.start is not None else self.named("eos_token", next(iter(self.ends), None))

    def require_tokenizer(self, model: str) -> Tokenizer:
        """Raises CheckpointError, which names the `model`, where there is none."""
        if self.tokenizer is None:
            raise CheckpointError(
                f"'{model}' has no tokenizer: put its tokenizer.json beside the weights, or give token ids. "
                "From a SentencePiece model, transformers writes one: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        return self.tokenizer

    def named(self, name: str, default: int | None = None) -> int | None:
        """The id of a token that the tokenizer's config names (`eos_token` …)."""
        text = special_token(self.tokenizer_config, name)
        known = self.tokenizer.id_of(text) if text is not None and self.tokenizer is not None else None
        return default if known is None else known


def special_token(config: Mapping[str, object], name: str) -> str | None:
    """The text of a named special token in a `tokenizer_config.json`: a text, or a dict with its `content`."""
    token = config.get(name)
    text = token.get("content") if isinstance(token, Mapping) else token
    return text if isinstance(text, str) else None
