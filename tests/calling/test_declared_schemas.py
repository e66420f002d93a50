"""Schemas of functions that people declare: random weights write nothing but what fits them, in every budget."""

from __future__ import annotations

import json
import random
import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from sepiola.calling.schemas import FORMATS
from sepiola.datasets import read
from sepiola.errors import SepiolaError
from sepiola.generation.sampling import Sampling
from tests.json_values import fits
from tests.tiny import byte_model, llama

BUDGETS = (8, 16, 32, 128)
SETS = {"bfcl": ("act/bfcl", "test"), "toolalpaca": ("act/toolalpaca", "test")}


def declared(root: Path) -> list[dict[str, Any]]:
    """Some schemas of each set, and of Glaive in Chinese."""
    drawn, chosen = random.Random(0), []
    for name, (folder, split) in SETS.items():
        tools = [tool for e in read(name, root / folder, split) for tool in e.metadata["tools"]]
        schemas = {json.dumps(tool["function"]["parameters"], sort_keys=True) for tool in tools}
        chosen += drawn.sample(sorted(schemas), 20)
    glaive = [t for e in read("glaive", root / "align" / "llamafactory_demo", "train", languages=["zh"])
              for t in e.metadata["tools"]]  # fmt: skip
    schemas = {json.dumps(tool["function"]["parameters"], sort_keys=True) for tool in glaive}
    return [json.loads(schema) for schema in [*chosen, *drawn.sample(sorted(schemas), 20)]]


def test_declared_schemas_hold_in_every_budget(data_root: Path) -> None:
    model = byte_model(llama())
    written, refused = dict.fromkeys(BUDGETS, 0), 0
    for seed, schema in enumerate(declared(data_root)):
        grammar = model.grammar(schema)
        budget = BUDGETS[seed % len(BUDGETS)]
        if len(grammar.shortest) > budget:
            with pytest.raises(SepiolaError, match=rf"has {len(grammar.shortest)} tokens, and {budget} may be written"):
                model.generate("查一下北京", constraint=schema, max_tokens=budget)
            refused += 1
            budget = len(grammar.shortest)
        sampling = Sampling(temperature=1.5, seed=seed)
        text = model.generate("查一下北京的天气", constraint=schema, max_tokens=budget, sampling=sampling)
        assert fits(json.loads(text), schema), (text, schema)
        assert len(model.require_tokenizer().encode(text)) <= budget
        written[min(b for b in BUDGETS if budget <= b) if budget <= 128 else 128] += 1
    assert min(written.values()) > 0 and 0 < refused < 45


def test_chinese_values_hold_in_every_budget() -> None:
    model = byte_model(llama())
    schema = {
        "type": "object",
        "properties": {
            "城市": {"type": "string", "minLength": 1, "maxLength": 6},
            "天气": {"type": "array", "items": {"enum": ["晴", "多云", "下雨"]}, "minItems": 1, "maxItems": 3},
        },
        "required": ["城市", "天气"],
        "additionalProperties": False,
    }
    least = len(model.grammar(schema).shortest)
    for budget in (8, 16, 32, least, least + 1, 128):
        for seed in range(4):
            if budget < least:
                with pytest.raises(SepiolaError, match=f"and {budget} may be written: raise max_tokens"):
                    model.generate("天气", constraint=schema, max_tokens=budget)
                continue
            sampling = Sampling(temperature=1.5, seed=seed)
            value = json.loads(model.generate("天气", constraint=schema, max_tokens=budget, sampling=sampling))
            assert fits(value, schema) and 1 <= len(value["城市"]) <= 6


@pytest.mark.parametrize("pattern", ["^[0-9a-f]{128}$", "^[A-Za-z0-9]{40}$", "^(红|蓝){3}$"])
def test_long_keys_are_written_letter_by_letter(pattern: str) -> None:
    schema = {"type": "object", "properties": {"key": {"type": "string", "pattern": pattern}}, "required": ["key"]}
    written = byte_model(llama()).generate("a", constraint=schema, max_tokens=400)
    assert re.fullmatch(pattern, json.loads(written[: written.index('"', 8) + 1] + "}")["key"])


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_end_however_many_there_are(kind: str) -> None:
    model = byte_model(llama())
    part = {"type": "string", "format": kind}
    schema = {"type": "object", "properties": dict.fromkeys("abc", part), "required": ["a", "b", "c"]}
    grammar = model.grammar(schema)
    for more in (0, 3, 60):
        sampling = Sampling(temperature=1.5, seed=more)
        budget = len(grammar.shortest) + more
        value = json.loads(model.generate("何时", constraint=schema, max_tokens=budget, sampling=sampling))
        for text in map(value.get, "abc"):
            if kind == "date":
                assert date.fromisoformat(text)
            elif kind in ("time", "date-time"):
                assert datetime.fromisoformat(text if kind == "date-time" else f"2000-01-01T{text}").tzinfo
