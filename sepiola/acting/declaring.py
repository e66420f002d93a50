"""Functions that a request declares, and calls of them by number: what a small model reads and writes in place of JSON.

Each function is a line of the prompt, with its number, what it does, and its arguments:

    0. get_weather: Gets the weather. city = where; unit? (celsius|fahrenheit) = of the temperature

A call is written in the functional form, whose token `<fn_0>` is then the function of the line 0. The name is never
spelled, so a model chooses a description and no word. In training, names of functions and arguments are random words
(`masked`), as in Hammer (arXiv 2410.04587), so that descriptions decide.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

from sepiola.acting.wording import words_of
from sepiola.calling.functions import Function, Parameter
from sepiola.specs.base import Plain

NUMBERS = 40
"""Functions that a request may declare."""
DESCRIPTION, ARGUMENT, CHOICES = 160, 48, 8
"""Characters of a function's description and of an argument's, and values of an argument, that its line has."""
_STARTS, _VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"


def declaration(functions: Sequence[Function]) -> str:
    """The lines of the functions."""
    return "\n".join(f"{number}. {line(function)}" for number, function in enumerate(functions))


def line(function: Function) -> str:
    """A function in one line; long descriptions lose their end."""
    arguments = "; ".join(_argument(parameter) for parameter in function.parameters)
    said = _short(function.description, DESCRIPTION).rstrip(".。 ")
    return f"{function.name}: {said}." + (f" {arguments}" if arguments else "")


def _argument(parameter: Parameter) -> str:
    choices = parameter.schema.get("enum", ())
    listed = f" ({'|'.join(str(value) for value in choices[:CHOICES])})" if choices else ""
    said = _short(parameter.description, ARGUMENT)
    return f"{parameter.name}{'' if parameter.required else '?'}{listed}" + (f" = {said}" if said else "")


def _short(text: str, most: int) -> str:
    """A text in one line, with at most so many characters, in whole words."""
    text = " ".join(text.split())
    return text if len(text) <= most else re.sub(r"\s\S*$", "", text[:most])


def masked(function: Function, rng: random.Random) -> Function:
    """The function under a random name, its arguments too; what has no description keeps its name."""
    parameters = tuple(
        dataclasses.replace(parameter, name=_invented(rng)) if parameter.description else parameter
        for parameter in function.parameters
    )
    name = _invented(rng) if function.description else function.name
    return dataclasses.replace(function, name=name, parameters=parameters)


def _invented(rng: random.Random) -> str:
    """A word that says nothing."""
    parts = [rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 4))]
    return "".join(parts) if rng.random() < 0.5 else f"{parts[0]}_{''.join(parts[1:])}"


def tool_of_name(name: str) -> Plain:
    """The declaration of a function of which nothing is known but its name: its words describe it."""
    return {"function": {"name": name, "description": " ".join(words_of(name)), "parameters": {}}}


class Distractors:
    """Functions to declare beside the right ones: half share a word with the name of a right one, where some do."""

    def __init__(self, tools: Sequence[Plain]) -> None:
        self._named: dict[str, Plain] = {}
        self._by_word: dict[str, list[str]] = {}
        for tool in tools:
            name = str(tool["function"]["name"])
            if name not in self._named:
                self._named[name] = tool
                for word in words_of(name):
                    self._by_word.setdefault(word, []).append(name)
        self._names = [*self._named]

    def draw(self, right: Sequence[Plain], count: int, rng: random.Random) -> list[Plain]:
        """So many others, or all there are."""
        names = [str(tool["function"]["name"]) for tool in right]
        alike = {other: None for name in names for word in words_of(name) for other in self._by_word.get(word, ())}
        near = [name for name in alike if name not in names]
        some = rng.sample(near, min(len(near), (count + 1) // 2))
        some += rng.sample(self._names, min(len(self._names), count + len(names)))
        return [self._named[name] for name in dict.fromkeys(some) if name not in names][:count]
