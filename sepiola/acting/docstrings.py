"""What a docstring says of a function: what it does, what its parameters are, and how people ask for it.

Parameters stand in a section of Google's style (`Args:`) or NumPy's (a heading underlined with dashes), or in Sphinx's
fields (`:param name: …`); a colon may be a full-width one.
"""

from __future__ import annotations

import re

_HEADINGS = r"(?:(?:Other |Keyword )?(?:Args|Arguments|Parameters)|参数)"
_SECTION = re.compile(rf"(?:{_HEADINGS}|Returns?|Raises|Yields|Examples?|Notes?) ?[:：]|[:@]\w+\b[^:]*:.*")
_GOOGLE = re.compile(rf"^{_HEADINGS} ?[:：]\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_NUMPY = re.compile(rf"^{_HEADINGS}\n-{{3,}}\n((?:(?!.*\n-{{3,}}$).*(?:\n|\Z))*)", re.MULTILINE)
_KINDS = r"(?:param|parameter|arg|argument|key|keyword)"
_FIELD = re.compile(rf"^[:@]{_KINDS}[ \t]+(?:[^:\n]*[ \t])?(\w+)[ \t]*:(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_EXAMPLES = re.compile(r"^Examples:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_SESSION = re.compile(r"^[ \t]*>>>.*\n?(?:[ \t]*\S.*\n?)*", re.MULTILINE)


def summary_of(docstring: str) -> str:
    """The first paragraph, as far as it is none of the sections and fields that say more."""
    lines = docstring.split("\n\n")[0].splitlines()
    kept = next((lines[:at] for at, line in enumerate(lines) if at and _SECTION.fullmatch(line)), lines)
    return " ".join(" ".join(kept).split())


def arguments_of(docstring: str) -> dict[str, str]:
    """What is said of each parameter."""
    said: dict[str, str] = {}
    for section in _GOOGLE.findall(docstring):
        said |= _listed(section.expandtabs(4).splitlines(), r"\*{0,2}(\w+)(?: ?\(.*?\))? ?[:：] *(.*)")
    for section in _NUMPY.findall(docstring):
        said |= _listed(section.expandtabs(4).splitlines(), r"((?:\*{0,2}\w+(?:, )?)+)(?: ?[:：].*)?()$")
    for name, text in _FIELD.findall(docstring):
        said[name] = " ".join(text.split())
    return said


def phrasings_of(docstring: str) -> list[str]:
    """The phrasings of a docstring's `Examples:` section, one a line; a session of Python's (`>>>`) is none."""
    found = _EXAMPLES.search(docstring)
    lines = (line.strip().removeprefix("- ") for line in _SESSION.sub("", found[1]).splitlines()) if found else ()
    return [line for line in lines if line]


def _listed(lines: list[str], head: str) -> dict[str, str]:
    """What stands under each name: a line of the least depth that is a `head` (names, and what is said behind them)."""
    said: dict[str, str] = {}
    names: list[str] = []
    depth = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in lines:
        found = re.match(rf" {{{depth}}}{head}", line)
        if found:
            names = [name.lstrip("*") for name in found[1].split(", ")]
            said |= dict.fromkeys(names, found[2])
        else:
            said |= {name: f"{said[name]} {line.strip()}".strip() for name in names}
    return said
