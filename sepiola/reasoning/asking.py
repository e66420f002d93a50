"""How questions are put to a model: as it was trained to answer, else by its chat template, else as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sepiola.checkpoints.store import write_yaml_file
from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.data.language import language_of
from sepiola.errors import DataError, shown
from sepiola.specs.base import read_yaml
from sepiola.specs.recipe import AnsweringSpec
from sepiola.specs.safe_files import check_whole_text
from sepiola.text.chat_questions import CHAT

STRATEGY = "strategy.yaml"
EARLIER_SOURCE_TOKENS = 512  # what a saved strategy that names no number was trained to read


def default_asking(*, chats: bool) -> AnsweringSpec:
    """How a model is asked that no recipe of ours taught to answer; `chats` says whether it has a chat template."""
    return AnsweringSpec(layout="chat", answer_format=CHAT) if chats else AnsweringSpec(layout="text")


def question_example(
    question: str, images: Sequence[ImageRef], choices: tuple[str, ...], hint: str, *, sees: bool = True
) -> Example:
    """One question as somebody asks it, in the language that it is asked in. Raises DataError for what is no text, and
    for a picture that the model does not see.
    """
    if images and not sees:
        raise DataError("the question shows pictures, and this model reads text alone; leave them out")
    given = {"question": question, "hint": hint} | {f"choices[{n}]": choice for n, choice in enumerate(choices)}
    for name, text in given.items():
        if not isinstance(text, str):
            raise DataError(f"{name} is {shown(text)}; expected a text")
        check_whole_text(text, name, DataError)
    language = "zh" if language_of(question) == "zh" else "en"
    asked = Question(question, choices, hint=hint)
    return Example("question", (Message("user", (*images, question)),), "", asked, {"language": language})


def read_strategy(folder: Path) -> AnsweringSpec | None:
    """The strategy that is saved in a checkpoint folder, if any."""
    path = folder / STRATEGY
    if not path.is_file():
        return None
    raw = read_yaml(path)
    return AnsweringSpec.parse(
        {"source_tokens": EARLIER_SOURCE_TOKENS, **raw} if isinstance(raw, Mapping) else raw, str(path)
    )


def save_strategy(folder: Path, answering: AnsweringSpec) -> None:
    """Writes what `read_strategy` reads."""
    write_yaml_file(folder / STRATEGY, {**answering.to_dict(), "source_tokens": answering.source_tokens})
