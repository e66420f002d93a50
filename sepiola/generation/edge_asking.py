"""How questions are put to a model, as the runtime without torch reads it: the words of its prompt formats, held
against what `sepiola.text` lays out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sepiola.data.example import Example, Message, Question
from sepiola.errors import SpecError
from sepiola.specs.recipe import AnsweringSpec
from sepiola.text.chat_questions import WORDS, ChatQuestions, format_of
from sepiola.text.prompts import FRAMES, PromptFormat
from sepiola.text.replies import EDGES
from sepiola.text.yes_no import NO, YES

Words = dict[str, dict[str, object]]
_LAYOUTS = (None, "text", "chat")
_KINDS = ("direct", "one-stage", "two-stage")


def asking_of(answering: AnsweringSpec, *, context: int | None, opening: tuple[int, ...]) -> dict[str, object]:
    """`sepiola_edge.asking.Asking`, as `edge.json` holds it. Raises SpecError for a way of asking that it has not."""
    if answering.layout not in _LAYOUTS:
        raise SpecError(f"the edge runtime has no prompt layout '{answering.layout}'")
    if answering.kind not in _KINDS:
        raise SpecError(f"the edge runtime has no strategy '{answering.kind}'; it has {', '.join(_KINDS)}")
    answer = format_of(answering.answer_format)
    rationale = None if answering.rationale_format is None else PromptFormat.parse(answering.rationale_format)
    if answer.takes_rationale and answering.kind != "two-stage":
        raise SpecError(f"the prompt format {answer.name} shows a rationale, which nobody writes")
    return {
        "kind": answering.kind,
        "layout": answering.layout,
        "images": answering.images,
        "source_tokens": answering.source_tokens,
        "context": context,
        "answer_tokens": answering.answer_tokens,
        "rationale_tokens": answering.rationale_tokens,
        "opening": list(opening) if answering.layout == "text" else [],
        "pictures_last": isinstance(answer, PromptFormat) and answer.input == "B",
        "answer": words_of(answer),
        "rationale": None if rationale is None else words_of(rationale),
    }


def words_of(prompt_format: PromptFormat | ChatQuestions) -> Words:
    """The words of a format in both languages (`sepiola_edge.questions.Format`).

    Raises SpecError for a format that shows what no question brings.
    """
    if isinstance(prompt_format, ChatQuestions):
        words = {language: _chat_words(language) for language in WORDS}
    else:
        words = {language: _words(prompt_format, language) for language in FRAMES}
    _check(prompt_format, words)
    return words


def _chat_words(language: str) -> dict[str, object]:
    context, by_letter, in_short = WORDS[language]
    return {
        "lines": [["hint", context, None], ["question", ""], ["listed", "", by_letter, in_short]],
        "cue": None,
        "answer": "letter",
        "yes_or_no": {"yes": sorted(YES), "no": sorted(NO), "edges": EDGES + "()[]"},
        "sentence": None,
        "reasons": None,
    }


def _words(prompt_format: PromptFormat, language: str) -> dict[str, object]:
    frame = FRAMES[language]
    lines: list[list[str | None]] = []
    for letter in prompt_format.input:
        match letter:
            case "Q":
                lines.append(["question", frame.question])
            case "B":
                lines.append(["question", ""])
            case "C":
                lines.append(["hint", frame.context, frame.empty_context])
            case "M":
                lines.append(["options", frame.options])
            case "G":
                lines.append(["rationale", frame.solution])
            case _:
                raise SpecError(f"the prompt format {prompt_format.name} shows the record's own lecture or explanation")
    gives = prompt_format.gives_rationale
    first = prompt_format.output[0] in "AT"
    lettered = "M" in prompt_format.input and "A" in prompt_format.output
    cue = None if prompt_format.input == "B" else (frame.solution if gives else frame.answer).rstrip()
    return {
        "lines": lines,
        "cue": cue,
        "answer": "letter" if lettered else "text",
        "sentence": [frame.sentence, frame.stop],
        "reasons": None if not gives else "last" if first else "first",
        "because": frame.because,
        "space": frame.space,
    }


def _check(prompt_format: PromptFormat | ChatQuestions, words: Mapping[str, dict[str, object]]) -> None:
    """Raises SpecError where the edge runtime would ask otherwise."""
    from sepiola_edge.questions import Format
    from sepiola_edge.questions import Question as EdgeQuestion

    edge = Format.of(words)
    for text in ("What is red?", "什么是红色的？"):
        language = "zh" if text[0] == "什" else "en"
        for choices in ((), ("an apple", " a pear "), ("yes", "no"), ("是", "否"), ("Yes.", "maybe")):
            for hint in ("", " Look. "):
                for rationale in (None, "Solution: An apple is red. ", "解释：苹果是红的。"):
                    shows = prompt_format.takes_rationale
                    if shows and rationale is None:
                        continue
                    asked = Question(text, choices, hint=hint, lecture="", solution=rationale or "")
                    example = Example("q", (Message("user", (text,)),), "", asked, {"language": language})
                    ours = prompt_format.apply(example, rationale if shows else None).prompt
                    given = EdgeQuestion(text, choices, hint)
                    if edge.prompt(given, rationale if shows else None) != ours:
                        raise SpecError(f"the edge runtime does not lay out the prompt format {prompt_format.name}")
                    if not isinstance(prompt_format, PromptFormat) or prompt_format.gives_answer:
                        targets = [prompt_format.target(_answered(example, i)) for i in range(len(choices))]
                        if edge.options(given, rationale or "") != targets:
                            raise SpecError(f"the edge runtime does not answer by the format {prompt_format.name}")


def _answered(example: Example, answer: int) -> Example:
    assert example.question is not None
    return dataclasses.replace(example, question=dataclasses.replace(example.question, answer=answer))
