"""sepiola's models in EleutherAI's lm-eval (github.com/EleutherAI/lm-evaluation-harness), under the name `sepiola`.

    python -m sepiola.cli.lm_eval run --model sepiola --model_args path=runs/mine --tasks arc_easy --num_fewshot 5

is lm-eval's own command line with this model in it; in Python, importing this module registers the model. Texts are cut
into tokens as by lm-eval's `hf` model, so that a checkpoint and its export to the Hub's layout get the same scores.
Needs the extra `eval`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sepiola.api import Model, load
from sepiola.errors import DataError, SepiolaError
from sepiola.generation.sampling import Sampling
from sepiola.text.chat import DEFAULT, ChatTemplate

try:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from tqdm import tqdm
except ImportError:
    raise SepiolaError("sepiola.cli.lm_eval needs lm-eval: pip install 'sepiola[eval]'") from None

NEW_TOKENS = 256
"""Tokens that are written where a task names no number; lm-eval's default."""

PART = 256
"""Requests that are answered before lm-eval's cache gets their results."""

_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_log = logging.getLogger(__name__)


@register_model("sepiola")
class SepiolaLM(TemplateLM):
    """A text model as lm-eval asks it. `path` is a run, a checkpoint folder or a Hub id, or a Model.

    `max_length` is how many tokens the model reads in a row: by default its position table, or 2,048.
    """

    def __init__(
        self,
        path: str | Model,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_length: int | None = None,
        max_batch_size: int | None = None,
        adapter: str | None = None,
        runtime: str = "torch",
        bits: int | None = None,
    ) -> None:
        """`adapter` is a folder or a Hub id, as `peft` of lm-eval's `hf`; `runtime` and `bits` are those of `load`.

        `max_batch_size` is what lm-eval's command line gives every model; it says nothing here.
        """
        super().__init__()
        if device is None or (device.startswith("cuda") and not torch.cuda.is_available()):
            device = "cpu"  # lm-eval's command line says cuda on any machine
        if not isinstance(path, Model):
            path = load(path, adapter=adapter, device=device, runtime=runtime, bits=bits)
        model = path
        self.name = model.spec.name
        self.template = model.template
        self.sampling = model.sampling
        self.chosen: str | None = None
        self.text_scorer = model.text_scorer(max_length)
        if str(batch_size).isdigit():
            self.text_scorer.engine.batch = int(str(batch_size))
        self.backend = "causal" if self.text_scorer.engine.causal else "seq2seq"
        self._device = self.text_scorer.engine.device

    @property
    def eot_token_id(self) -> int:
        return self.text_scorer.engine.tokens.end

    @property
    def prefix_token_id(self) -> int:
        return self.text_scorer.encode("")[-1]

    def chat_template(self, chat_template: bool | str = False) -> str:
        """The template's source, for lm-eval's log; a text chooses one of several by name."""
        if not chat_template:
            return ""
        name = chat_template if isinstance(chat_template, str) else DEFAULT
        templates = self._template().templates
        if name not in templates:
            raise SepiolaError(f"no chat template is named '{name}'; this checkpoint has: {', '.join(templates)}")
        self.chosen = name
        return templates[name]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation by the checkpoint's template; without a generation prompt its last turn stays open.

        Where the template refuses it, it goes without its system turn, as under `hf`, with a warning.
        """
        template = self._template()

        def laid_out(turns: list[dict[str, str]]) -> str:
            return template.render(
                turns,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                template=self.chosen,
            )

        try:
            return laid_out(chat_history)
        except DataError as error:
            turns = [turn for turn in chat_history if turn["role"] != "system"]
            if len(turns) in (0, len(chat_history)):
                raise
            _log.warning("the task's description, a system turn, is left out: %s", error)
            return laid_out(turns)

    def _template(self) -> ChatTemplate:
        if self.template is None:
            raise SepiolaError(f"'{self.name}' has no chat template: leave --apply_chat_template out")
        return self.template

    @property
    def max_length(self) -> int:
        """Tokens that the model reads in a row."""
        return self.text_scorer.length

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval's cache of requests calls the tokenizer."""
        return self.name.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **keywords: object) -> list[int]:
        plain = add_special_tokens is False
        return self.text_scorer.tokenizer.encode(string) if plain else self.text_scorer.encode(string)

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **keywords: object,
    ) -> list[tuple[float, bool]]:
        def score(part: Sequence[tuple[tuple[str, str], list[int], list[int]]]) -> list[tuple[float, bool]]:
            scores = self.text_scorer.score_tokens([(context, rest) for _, context, rest in part])
            return [(score.log_likelihood, score.greedy) for score in scores]

        keys = [(len(context), context) for _, context, _ in requests]  # options of one context stay together
        asked = [pair for pair, _, _ in requests]
        return self._in_parts("loglikelihood", requests, asked, keys, score, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        texts = [request.args[0] for request in requests]
        asked, keys = [(text,) for text in texts], [len(text) for text in texts]
        return self._in_parts("loglikelihood_rolling", texts, asked, keys, self.text_scorer.rolling, disable_tqdm)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        results: list[str] = [""] * len(requests)
        alike: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            alike.setdefault(repr(request.args[1]), []).append(number)
        for numbers in alike.values():
            how = generation(requests[numbers[0]].args[1], self.sampling)
            asked = [requests[n].args for n in numbers]
            prompts = [prompt for prompt, _ in asked]

            def write(part: Sequence[str], how: dict[str, Any] = how) -> list[str]:
                return self.text_scorer.generate(part, **how)

            keys = [len(prompt) for prompt in prompts]
            written = self._in_parts("generate_until", prompts, asked, keys, write, disable_tqdm)
            for number, text in zip(numbers, written, strict=True):
                results[number] = text
        return results

    def _in_parts(
        self,
        kind: str,
        requests: Sequence[object],
        asked: Sequence[tuple[Any, ...]],
        keys: Sequence[Any],
        work: Callable[[Any], Sequence[Any]],
        quiet: bool,
    ) -> list[Any]:
        """The work done in parts of like `keys`, the longest first; lm-eval's cache gets each part's results."""
        results: list[object] = [None] * len(requests)
        order = sorted(range(len(requests)), key=keys.__getitem__, reverse=True)
        before = self.text_scorer.cut
        with tqdm(total=len(order), desc=f"Running {kind} requests", disable=quiet) as bar:
            for start in range(0, len(order), PART):
                part = order[start : start + PART]
                for number, result in zip(part, work([requests[n] for n in part]), strict=True):
                    results[number] = result
                    self.cache_hook.add_partial(kind, asked[number], result)
                bar.update(len(part))
        if cut := self.text_scorer.cut - before:
            _log.warning(
                "%d of %d contexts exceed %d tokens and lost their beginning", cut, len(order), self.max_length
            )
        return results


def generation(keywords: dict[str, Any], sampling: Sampling | None = None) -> dict[str, object]:
    """A task's `generation_kwargs` as `TextScorer.generate` takes them; what they leave out is as the checkpoint's own
    `sampling` has it, as under `hf`. Raises SepiolaError for an unknown one.
    """
    given = {key: value for key, value in keywords.items() if value is not None}
    until = given.pop("until", [])
    limits = [int(given.pop(key)) for key in _LIMITS if key in given]
    sampled = given.pop("do_sample", None)
    temperature = float(given.pop("temperature", 1.0 if sampled else 0.0))
    known = [field.name for field in dataclasses.fields(Sampling)]
    if unknown := [key for key in given if key not in known]:
        raise SepiolaError(
            f"generation_kwargs: got {', '.join(unknown)}; known: until, {', '.join((*_LIMITS, 'do_sample', *known))}"
        )
    temperature = 0.0 if sampled is False else temperature
    sampling = dataclasses.replace(sampling or Sampling(), temperature=temperature, **given)
    stops = [until] if isinstance(until, str) else list(until)
    return {"stops": stops, "max_tokens": limits[0] if limits else NEW_TOKENS, "sampling": sampling}


def main() -> None:
    """lm-eval's command line, with `sepiola` among its models."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
