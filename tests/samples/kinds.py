"""The kinds of constraints that are sampled under, each a stream of them, and what is wrong with a text of each.

`KINDS` holds them by name.
"""

from __future__ import annotations

import datetime
import inspect
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from sepiola.acting.functions import functions_of
from sepiola.acting.phone import android, functions
from sepiola.calling.functions import Function
from sepiola.datasets import read
from tests.samples.validity import fault_of_calls, fault_of_json

SCHEMAS = 200
"""Schemas that are drawn from the data."""
SETS = (("bfcl", 150), ("toolalpaca", 50))


@dataclass(frozen=True)
class Asked:
    """A constraint under which is written. Its functions are called by their tokens if it is `functional`, else as JSON
    as of a model that was taught none.
    """

    name: str
    constraint: Mapping[str, Any] | Sequence[Function]
    fault: Callable[[str], str]
    functional: bool = False


Kind = Callable[[random.Random, int, Path | None], Asked]
"""The constraint of a number, from a stream that is as long as one likes, and the folder of the data sets."""


def _calls(name: str, chosen: Sequence[Function], functional: bool) -> Asked:
    return Asked(name, chosen, partial(fault_of_calls, functions=chosen, functional=functional), functional)


def functional(rng: random.Random, number: int, root: Path | None) -> Asked:
    """The ten of the phone by their tokens."""
    return _calls("phone", functions(), True)


def declared(rng: random.Random, number: int, root: Path | None) -> Asked:
    """The ten of the phone as JSON."""
    return _calls("phone", functions(), False)


def sets(rng: random.Random, number: int, root: Path | None) -> Asked:
    """Sets of other functions: Android's, or some of random signatures; in either form."""
    chosen = (
        android.functions() if number % 8 == 0 else functions_of([_drawn(rng, n) for n in range(rng.randint(1, 12))])
    )
    return _calls(f"set {number}", chosen, number % 2 == 0)


def schemas(rng: random.Random, number: int, root: Path | None) -> Asked:
    """What functions of BFCL and ToolAlpaca declare as their arguments; every second time with no others allowed."""
    assert root is not None
    drawn = declarations(root)
    schema = json.loads(drawn[number % len(drawn)])
    if (number + number // len(drawn)) % 2:
        schema["additionalProperties"] = False
    return Asked(f"schema {number % len(drawn)}", schema, partial(fault_of_json, schema=schema))


def chinese(rng: random.Random, number: int, root: Path | None) -> Asked:
    """Chinese keys, names, and strings that hold nothing but Chinese."""
    names = rng.sample(("城市", "天气", "收件人", "内容", "颜色", "地址"), rng.randint(1, 3))
    properties = {name: rng.choice(CHINESE)(rng) for name in names}
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    if number % 3 == 0:
        schema = properties[names[0]]
    return Asked(f"chinese {number}", schema, partial(fault_of_json, schema=schema))


HAN = "[\u4e00-\u9fa5]"
WORDS = ("晴", "多云", "下雨", "红色", "牛奶", "客厅", "垃圾分类", "🦑乌贼", "王芳", "café")
CHINESE: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    lambda rng: {"enum": rng.sample(WORDS, rng.randint(1, 5))},
    lambda rng: {"const": rng.choice(WORDS)},
    lambda rng: {"type": "string", "pattern": f"^{HAN}{{1,{rng.randint(1, 6)}}}$"},
    lambda rng: {"type": "string", "pattern": f"^{HAN}{{{rng.randint(1, 2)}}}(市|区|，{HAN}{{1,3}}。)$"},
    lambda rng: {"type": "string", "minLength": rng.randint(0, 2), "maxLength": rng.randint(2, 9)},
    lambda rng: {
        "type": "array",
        "items": {"enum": rng.sample(WORDS, 3)},
        "minItems": rng.randint(0, 1),
        "maxItems": 3,
    },
)


@cache
def declarations(root: Path) -> list[str]:
    """Schemas of both sets, drawn once and for all."""
    rng, chosen = random.Random(0), []
    for name, count in SETS:
        tools = [tool for example in read(name, root / "act" / name, "test") for tool in example.metadata["tools"]]
        found = {json.dumps(t["function"]["parameters"], sort_keys=True, ensure_ascii=False) for t in tools}
        chosen += rng.sample(sorted(found), count)
    rng.shuffle(chosen)
    return chosen


class Item(BaseModel):
    """A thing that is bought."""

    name: Annotated[str, Field(max_length=8)]
    count: Annotated[int, Field(ge=1, le=9)]
    fresh: bool = False


TYPES: tuple[Any, ...] = (
    str,
    Annotated[str, Field(max_length=12)],
    Annotated[str, Field(min_length=2, max_length=5)],
    Annotated[int, Field(ge=-3, le=120)],
    Annotated[float, Field(ge=0, le=1)],
    int,
    bool,
    Literal["红", "蓝", "light green"],
    Literal[1, 2, 30],
    datetime.date,
    datetime.time,
    datetime.datetime,
    Item,
    list[Literal["猫", "狗"]],
    Annotated[list[Item], Field(min_length=1, max_length=2)],
)
DEFAULTS: tuple[tuple[Any, object], ...] = (
    (Annotated[str, Field(max_length=9)] | None, None),
    (Literal["a", "二"] | None, None),
    (datetime.date | None, None),
    (Annotated[int, Field(ge=1, le=9)], 3),
    (bool, False),
    (Literal["慢", "快"], "慢"),
)


def _drawn(rng: random.Random, number: int) -> Callable[..., object]:
    """A function of a random signature, which is never run."""

    def call(**arguments: object) -> None: ...

    types = {f"{rng.choice('abc')}{n}": (rng.choice(TYPES), inspect.Parameter.empty) for n in range(rng.randint(0, 3))}
    types |= {f"may_{n}": rng.choice(DEFAULTS) for n in range(rng.choice((0, 0, 1, 2)))}
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in types.items()
    ]
    call.__name__, call.__doc__ = f"{rng.choice(('do', 'find', 'set'))}_{number}", "Does something. 做事。"
    call.__annotations__ = {name: kind for name, (kind, _) in types.items()}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


KINDS: dict[str, Kind] = {
    "functional": functional,
    "declared": declared,
    "sets": sets,
    "schemas": schemas,
    "chinese": chinese,
}
