"""The sides of `acting.py`: what they read and write, our engine, and `transformers`."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
import torch
from scripted import Scripted
from torch import Tensor

import sepiola
from sepiola.acting.phone import android, functions
from sepiola.acting.phone.tasks import Task, task_of
from sepiola.acting.sets import as_taught, taught
from sepiola.api import Model
from sepiola.calling import calls
from sepiola.calling.constraints import ConstraintVocabulary, Grammar
from sepiola.calling.functional import functional
from sepiola.calling.functions import Call, Function
from sepiola.generation.engine import Prompt
from sepiola.generation.prefix import Prefix
from sepiola.models.build import preset
from sepiola.text.tokenizer import Tokenizer
from sepiola.tidepool.phone import requests

LEARNED = 8000
"""Tokens that a tokenizer learns; the others are there to be masked."""
ROOM = 256
"""Tokens that may be written under a grammar, as an agent's."""


# ---------------------------------------------------------------------------------------------------- what is written


@cache
def phone_as_taught() -> tuple[Mapping[str, object], ...]:
    """What an agent keeps of the phone's ten: which arguments are copied, too."""
    return taught(functions(), requests("train", 600, kinds=["text"]))


@cache
def functions_of(count: int) -> tuple[Function, ...]:
    """So many functions: the phone's, as they are taught, and Android's, and then the same under other names."""
    own = [*as_taught(phone_as_taught()), *android.functions()]
    return tuple(
        own[i] if i < len(own) else dataclasses.replace(own[i % len(own)], name=f"{own[i % len(own)].name}_{i}")
        for i in range(count)
    )


def tokenizer_of(vocabulary: int, count: int) -> Tokenizer:
    """A tokenizer of `vocabulary` tokens for requests, their calls, and `count` declarations."""
    read = requests("train", 3000, kinds=["text", "irrelevant", "near miss"])
    texts = [*(e.prompt for e in read), *(json_of(task_of(e).calls) for e in read[:1000])]
    texts += [declaration(functions_of(22))] * 20
    learned = Tokenizer.train(texts, min(LEARNED, vocabulary), extra=calls.tokens_of(count))
    raw = json.loads(learned.to_json())
    words: dict[str, int] = raw["model"]["vocab"]
    pieces, number, drawn = [w for w in words if len(w) > 1], learned.vocabulary, random.Random(0)
    words |= {token["content"]: token["id"] for token in raw["added_tokens"]}
    while number < vocabulary:
        word = drawn.choice(pieces) + drawn.choice(pieces).lstrip("Ġ")
        if word not in words:
            words[word], number = number, number + 1
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(raw)))


def declaration(some: Sequence[Function]) -> str:
    return json.dumps([function.tool["function"] for function in some], ensure_ascii=False) + "\n"


def called(task: Task, some: Sequence[Function]) -> str:
    """The right calls in the functional form, as they are taught: with days that count from today."""
    return calls.write(task.calls, some, task.today)


def spoken(task: Task) -> str | None:
    """What copied arguments are spans of, as the agent has it: the request, unless there are pictures."""
    return None if task.example.images else task.example.prompt


def json_of(some: Sequence[Call]) -> str:
    return json.dumps([call.to_json() for call in some], ensure_ascii=False, separators=(",", ":"))


@cache
def asked(count: int, among: int = 10) -> tuple[Task, ...]:
    """Test requests of one call of one of the first functions, English and Chinese by turns."""
    names = {function.name for function in functions()[:among]}
    some = [task_of(e) for e in requests("test", 12 * count, seed=7, kinds=["text"])]
    return tuple([task for task in some if task.calls[0].name in names][:count])


# ------------------------------------------------------------------------------------------------------------- sides


@dataclass
class Work:
    """What one side reads, writes and writes by."""

    prompt: list[int]
    script: list[int]
    grammar: Grammar | None = None


class Texts:
    """What is read and written, in a tokenizer of `vocabulary` tokens with marks for so many functions."""

    def __init__(self, vocabulary: int, count: int) -> None:
        self.tokenizer = tokenizer_of(vocabulary, count)
        self.vocabulary = ConstraintVocabulary(self.tokenizer, vocabulary, [1])

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.backend.encode(text, add_special_tokens=False).ids
        return ids

    def functional(self, task: Task, some: Sequence[Function]) -> Work:
        grammar = functional(some, self.vocabulary, said=spoken(task))
        return Work(self.ids(task.example.prompt), self.ids(called(task, some)), grammar)

    def declared(self, task: Task, some: Sequence[Function]) -> Work:
        grammar = self.vocabulary.compiled("json", calls.json_form(some))
        prompt = [*self.ids(declaration(some)), *self.ids(task.example.prompt)]
        return Work(prompt, self.ids(json_of(task.calls)), grammar)


class Engine(Texts):
    """Our engine, by default bfloat16 and prepacked, with a tokenizer of the shape's size."""

    def __init__(self, name: str, count: int, folder: Path | None = None, *, native: bool = False) -> None:
        spec = preset(name)
        assert spec.language is not None
        super().__init__(spec.language.vocabulary, count)
        network = sepiola.build(spec).network
        whole = Model(network if native else network.to(torch.bfloat16), spec, self.tokenizer)
        if folder is not None:
            whole.save_hub(folder)
        self.model = whole.run("native" if native else "prepacked", release=True)

    def write(self, work: Work, prefix: Prefix | None = None) -> None:
        """Writes the script, which must come out."""
        engine = self.model.engine
        engine.prefix = prefix
        count = ROOM if work.grammar else len(work.script)
        sampling = Scripted(script=tuple(work.script))
        asked = [Prompt(work.prompt)]
        written = engine.generate(asked, max_tokens=count, sampling=sampling, grammar=work.grammar)[0][0]
        assert written == work.script, "the grammar does not allow the script"


class Theirs:
    """`transformers`' generate in one setting, on the same weights and the same ids."""

    def __init__(self, setting: str, folder: Path) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.generation import CompileConfig

        dtype, attention, *more = setting.split()
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention
        ).eval()
        self.model.generation_config.eos_token_id = None
        self.static = {"cache_implementation": "static"} if "static" in more else {}
        self.model.generation_config.disable_compile = "compiled" not in more
        if "compiled" in more:
            how = CompileConfig(fullgraph=False)
            how._compile_all_devices = True  # `generate` compiles decoding on GPUs alone unless told
            self.model.generation_config.compile_config = how

    @torch.inference_mode()
    def keep(self, prefix: Sequence[int]) -> Any:
        """The cache of a prefix, for `write` to copy."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        self.model(input_ids=torch.tensor([[*prefix]]), past_key_values=cache, logits_to_keep=1)
        return cache

    @torch.inference_mode()
    def write(self, work: Work, kept: Any = None) -> None:
        import copy

        from transformers import LogitsProcessor, LogitsProcessorList

        script, begin = work.script, len(work.prompt)

        class Raised(LogitsProcessor):
            def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
                scores = scores.clone()
                scores[:, script[input_ids.shape[1] - begin]] = scores.max() + 1
                return scores

        ids = torch.tensor([work.prompt])
        given = {"past_key_values": copy.deepcopy(kept)} if kept is not None else self.static
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=len(script),
            do_sample=False,
            logits_processor=LogitsProcessorList([Raised()]),
            pad_token_id=0,
            **given,
        )
        assert out[0, begin:].tolist() == script
