"""How questions are put to a model: as it was trained to answer, else by its chat template, else as plain text."""

from __future__ import annotations

import shutil
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
VERIFIER = "verifier"  # the folder beside it that holds the strategy's verifier
EARLIER_SOURCE_TOKENS = 512  # what a saved strategy that names no number was trained to read


def default_asking(*, chats: bool) -> AnsweringSpec:
    """How a model is asked that no recipe of ours taught to answer; `chats` says whether it has a chat template."""
    return AnsweringSpec(layout="chat", answer_format=CHAT) if chats else AnsweringSpec(layout="text")


def question_example(
    question: str, images: Sequence[ImageRef], choices: tuple[str, ...], hint: str, *, sees: bool = True
) -> Example:
    """One question as somebody asks it, in the language that it is asked in. Raises DataError for what is no text, a
    choice that is empty or there twice, and a picture that the model does not see.
    """
    if images and not sees:
        raise DataError("the question shows pictures, and this model reads text alone; leave them out")
    given = {"question": question, "hint": hint} | {f"choices[{n}]": choice for n, choice in enumerate(choices)}
    for name, text in given.items():
        if not isinstance(text, str):
            raise DataError(f"{name} is {shown(text)}; expected a text")
        check_whole_text(text, name, DataError)
    for number, choice in enumerate(choices):
        if not choice.strip() or choice in choices[:number]:
            raise DataError(f"choices[{number}] is {shown(choice)}; expected texts, each of them once")
    language = "zh" if language_of(question) == "zh" else "en"
    asked = Question(question, choices, hint=hint)
    return Example("question", (Message("user", (*images, question)),), "", asked, {"language": language})


def read_strategy(folder: Path) -> AnsweringSpec | None:
    """The strategy that is saved in a checkpoint folder, if any."""
    path = folder / STRATEGY
    if not path.is_file():
        return None
    raw = read_yaml(path)
    answering = AnsweringSpec.parse(
        {"source_tokens": EARLIER_SOURCE_TOKENS, **raw} if isinstance(raw, Mapping) else raw, str(path)
    )
    return _verified_by(answering, str(folder / VERIFIER)) if _verifier(answering) == VERIFIER else answering


def save_strategy(folder: Path, answering: AnsweringSpec) -> None:
    """Writes what `read_strategy` reads, and beside it the verifier of the strategy where it is a folder."""
    verifier = Path(_verifier(answering) or "")
    if verifier.name and verifier.is_dir():
        checkpoint = verifier / "checkpoint"
        shutil.copytree(checkpoint if checkpoint.is_dir() else verifier, folder / VERIFIER)
        answering = _verified_by(answering, VERIFIER)
    write_yaml_file(folder / STRATEGY, {**answering.to_dict(), "source_tokens": answering.source_tokens})


def _verifier(answering: AnsweringSpec) -> str | None:
    """The folder of the reward model that weighs the strategy's chains, if one does."""
    return getattr(answering.strategy, "verifier", None)


def _verified_by(answering: AnsweringSpec, folder: str) -> AnsweringSpec:
    strategy = answering.strategy.model_copy(update={"verifier": folder})
    return answering.model_copy(update={"strategy": strategy})
