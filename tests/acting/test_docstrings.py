"""What docstrings say of functions, in the forms that Python's users write them in."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import sepiola
from sepiola.acting.docstrings import arguments_of, phrasings_of, summary_of
from sepiola.errors import SpecError

GOOGLE = """Sets a lamp
    of the house:

    {heading}
        room (Optional[str], optional): Which room.
        level{colon} How bright,
            of ten: ten is most.

    Returns:
        nothing
    """
NUMPY = """Sets a lamp
    of the house:

    Parameters
    ----------
    room : str
        Which room.
    level : int, optional
        How bright,
        of ten: ten is most.

    Returns
    -------
    None
        nothing
    """
SPHINX = """Sets a lamp
    of the house:
    :param room: Which room.
    :type room: str
    :param int level: How bright,
        of ten: ten is most.
    :returns: nothing
    """
FORMS = [
    *(GOOGLE.format(heading=heading, colon=":") for heading in ("Args:", "Arguments:", "Parameters:", "Keyword Args:")),
    GOOGLE.format(heading="参数：", colon="："),
    NUMPY,
    SPHINX,
    SPHINX.replace(":param", "@param"),
]


@pytest.mark.parametrize("docstring", FORMS)
def test_every_form_says_the_same(docstring: str) -> None:
    text = inspect.cleandoc(docstring)
    assert summary_of(text) == "Sets a lamp of the house:"
    assert arguments_of(text) == {"room": "Which room.", "level": "How bright, of ten: ten is most."}


def test_a_section_behind_the_first_paragraph_is_none_of_it() -> None:
    text = "Sets a lamp.\nArgs:\n    room: Which room."
    assert (summary_of(text), arguments_of(text)) == ("Sets a lamp.", {"room": "Which room."})
    assert (
        summary_of("Sends to\nthe following people:\nAnna and Tom.") == "Sends to the following people: Anna and Tom."
    )


def test_chinese_parameters_and_two_of_one_line() -> None:
    assert arguments_of("发短信。\n\nArgs:\n    收件人：谁\n    内容: 说什么") == {"收件人": "谁", "内容": "说什么"}
    assert arguments_of("F.\n\nParameters\n----------\nx, y : int\n    A place.") == {"x": "A place.", "y": "A place."}


@pytest.mark.parametrize(
    "section",
    ["Args:\n    rom: Which room.", "Parameters\n----------\nrom : str\n    Which room.", ":param rom: Which."],
)
def test_a_name_that_is_no_parameters_is_refused_in_every_form(section: str) -> None:
    def lamp(room: str) -> Any: ...

    lamp.__doc__ = f"Sets a lamp.\n\n{section}"
    with pytest.raises(SpecError, match="describes 'rom', which is no parameter"):
        sepiola.function(lamp)


def test_a_session_of_python_is_no_phrasing() -> None:
    text = "F.\n\nExamples:\n    turn on the light in {room}\n    >>> lamp('bath')\n    True\n\n    - 打开{room}的灯\n"
    assert phrasings_of(text) == ["turn on the light in {room}", "打开{room}的灯"]
    assert phrasings_of("F.\n\nExamples:\n    >>> lamp('bath')\n    True") == []
