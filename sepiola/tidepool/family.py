"""Family: one kind of Tidepool picture with its questions, in ScienceQA's layout (Lu et al., 2022).

A family samples a scene (plain JSON data: all that an answer may depend on, and the layout), draws it, and
writes question, options, hint, lecture, worked explanation and caption from templates that stand side by
side in English and Chinese. It also says which sentences state something about the picture, and whether
such a statement is true.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sepiola.data.example import Question
from sepiola.specs.base import Plain
from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.words import Key, word

Scene = Plain
Texts = dict[str, dict[str, str]]
Statements = dict[str, list[tuple[str, str]]]
Traits = dict[str, str]


@dataclass(frozen=True)
class Query:
    """What is asked of a scene, before it is put in words: `subject` is what the question is about.

    `options` are keys ("red", 30, "left") in their order; `answer` is an index into them.
    """

    kind: str
    options: tuple[Key, ...]
    answer: int
    subject: Key = ""

    @property
    def right(self) -> Key:
        """The key of the right option."""
        return self.options[self.answer]


class Family(ABC):
    """Base of all families. Subclasses fill in the class attributes and the abstract methods.

    `kinds` names the questions. `text[language]` holds templates: "lecture", "hint" (or "hint.<kind>"),
    "question.<kind>", "option" (or "option.<kind>") and "solution.<kind>". `statements[language]` lists
    (name, pattern): a regular expression whose {slots} are any words of `words.SLOTS`; earlier ones win.
    """

    name: ClassVar[str]
    subject: ClassVar[str]
    grade: ClassVar[str]
    topic: ClassVar[str]
    category: ClassVar[str]
    skill: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]
    text: ClassVar[Texts]
    statements: ClassVar[Statements]

    @abstractmethod
    def sample(self, rng: random.Random, kind: str) -> Scene:
        """A random scene that questions of this kind can be asked of; all right answers equally likely."""

    @abstractmethod
    def ask(self, scene: Scene, kind: str, rng: random.Random) -> Query:
        """A question of this kind about the scene."""

    @abstractmethod
    def draw(self, canvas: Canvas, scene: Scene) -> None:
        """Draws the scene."""

    @abstractmethod
    def caption(self, scene: Scene, language: str) -> str:
        """One or two sentences that state all that questions ask about."""

    @abstractmethod
    def objects(self, scene: Scene) -> list[Traits]:
        """What is to be seen, object by object in a fixed order, each with its traits: what a detector is taught."""

    @abstractmethod
    def check(self, statement: str, values: Sequence[str], scene: Scene) -> bool:
        """Whether a statement is true of the scene; `values` are the keys of its slots, "" where left out."""

    def facts(self, scene: Scene, query: Query, language: str) -> dict[str, Key]:
        """Values for the {slots} of question and solution beside `subject` and `right`: keys or words."""
        return {}

    def solution_template(self, scene: Scene, query: Query) -> str:
        """The name of the template that explains the answer."""
        return f"solution.{query.kind}"

    def say(self, language: str, template: str, **values: Key) -> str:
        """Fills a template; keys become words of the language."""
        return self.text[language][template].format(**{k: word(language, v) for k, v in values.items()})

    def question(self, scene: Scene, query: Query, language: str) -> Question:
        """The question in words, with its options and explanation."""
        text = self.text[language]
        option = f"option.{query.kind}" if f"option.{query.kind}" in text else "option"
        hint = f"hint.{query.kind}" if f"hint.{query.kind}" in text else "hint"
        facts = {"subject": query.subject, "right": query.right, **self.facts(scene, query, language)}
        return Question(
            text=self.say(language, f"question.{query.kind}", **facts),
            choices=tuple(self.say(language, option, option=key) for key in query.options),
            answer=query.answer,
            hint=text[hint],
            lecture=text["lecture"],
            solution=self.say(language, self.solution_template(scene, query), **facts),
        )


def choose(rng: random.Random, right: Key, others: Sequence[Key], count: int) -> tuple[tuple[Key, ...], int]:
    """`count` options in random order, the right one among random others; and the place of the right one."""
    wrong = rng.sample([key for key in others if key != right], count - 1)
    options = [right, *wrong]
    rng.shuffle(options)
    return tuple(options), options.index(right)
