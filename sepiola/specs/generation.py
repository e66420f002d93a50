"""How a checkpoint wants to be asked to write: the settings of the Hub's `generation_config.json` that we honour.

Their names are the file's, and what it leaves out is as `transformers`' `generate` has it.
"""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from sepiola.specs.base import Spec

PENALTIES = (
    "repetition_penalty",
    "no_repeat_ngram_size",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)
"""The settings that change what is written greedily."""


class GenerationSpec(Spec):
    """Defaults of writing. `max_length` and `min_length` count a decoder's prompt, and an encoder-decoder's start
    token; `max_new_tokens` and `min_new_tokens` count what is written, and come before them.

    `do_sample` says that the checkpoint's own figures were drawn at `temperature`, `top_k`, `top_p` and `min_p`.
    """

    do_sample: bool = False
    temperature: NonNegativeFloat = 1.0
    top_k: NonNegativeInt = 50
    top_p: float = Field(default=1.0, gt=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: PositiveFloat = 1.0
    no_repeat_ngram_size: NonNegativeInt = 0
    max_length: PositiveInt | None = None
    max_new_tokens: PositiveInt | None = None
    min_length: NonNegativeInt = 0
    min_new_tokens: NonNegativeInt | None = None
    forced_bos_token_id: NonNegativeInt | None = None
    forced_eos_token_id: NonNegativeInt | None = None
    suppress_tokens: tuple[NonNegativeInt, ...] = ()
    begin_suppress_tokens: tuple[NonNegativeInt, ...] = ()
    stop_strings: tuple[str, ...] = ()

    def room(self, prompt_tokens: int, default: int) -> int:
        """How many tokens may follow a prompt of so many (1 for an encoder-decoder); `default` where nothing is said.

        At least one.
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        return default if self.max_length is None else max(1, self.max_length - prompt_tokens)
