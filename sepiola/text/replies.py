"""What a reply says once all is left out that is no part of the answer: thinking, tags, Markdown and TeX, refusals.

Models think aloud before they answer, set their answer in tags or in a box, and say that they do not know. Only what is
left is read (`sepiola.text.answers`).
"""

from __future__ import annotations

import re
import unicodedata

EDGES = " \t\n.。,，;；:：!！?？、\"'“”‘’「」『』"

_TAGS = r"think|thinking|thought|reasoning|reflection"
_THOUGHT = re.compile(rf".*(?:</(?:{_TAGS})>|\[/THINK\])", re.DOTALL | re.IGNORECASE)
_THINKING = re.compile(rf"<(?:{_TAGS})>|\[THINK\]", re.IGNORECASE)
_END = re.compile(r"<\|(?:im_end|endoftext|eot_id|end)\|>|</s>|<end_of_turn>|<end_of_utterance>")
_HTML = re.compile(r"<(b|i|u|p|em|strong)>(.*?)</\1>", re.DOTALL)
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKUP = re.compile(
    r"\*+|__+|`+|~~+|\\boxed|\\(?:text|math)[a-z]*(?=\{)|\\[()\[\]]|^#+\s|^\s*[-•>]\s+|[{}$]|\\!|\\,", re.MULTILINE
)
_BRACKETS = str.maketrans({"【": "[", "】": "]", "〔": "[", "〕": "]", "〈": "[", "〉": "]"})
_SEVERAL = re.compile(r"\[+(?=\[)|\](?=\]+)|\((?=\()|(?<=\))\)")
_QUOTED = re.compile(r"[\"'“‘「『《<]\s*([A-Za-z])\s*[.。]?[\"'”’」』》>]")

_NOT = r"(?:\bnot|\bcannot|n['’]t|\bunable\s+to|\bimpossible\s+to)"
_UNKNOWN = re.compile(
    rf"{_NOT}\s+(?:\w+\s+)?(?:be\s+)?(?:know|tell|say|answer(?:ed)?|determined?|decided?|identify|identified|sure|certain"
    r"|judged?|possible\s+to\s+(?:tell|say|know|see|determine|answer)|(?:entirely\s+|very\s+|really\s+)?clear\b)"
    rf"|{_NOT}\s+(?:see|view|access|open|process)\s+(?:\w+\s+)?(?:images?|pictures?|photos?)\b"
    r"|\b(?:hard|difficult)\s+to\s+(?:tell|say|know|see|determine)\b"
    r"|\bno\s+(?:idea|clue|way\s+to\s+(?:tell|know))\b|\b(?:unsure|uncertain|unclear|undetermined|indeterminate)\b"
    r"|\bn/a\b|\b(?:whether|if\s+(?:it|there|this|that))\b"
    r"|不知|不清楚|不确定|不太清楚|不明确|不能(?:确定|判断|回答|看出)|无法|没法|看不清|说不准|说不清|不好说|不一定|难以|难说|未知|是否",
    re.IGNORECASE,
)
_CLAUSE = re.compile(
    r"(?<=[.。!！?？;；\n])\s*|[,，]?\s*(?=\b(?:but|however|though)\b|但|不过|然而)"
    r"|[,，]\s*(?=(?:maybe|perhaps|probably|possibly|i\s+(?:think|guess|believe|would)|i['’]d|it\s+(?:may|might|could)|可能|也许|大概|应该|我))",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"\bwait\b|\bactually\b|\bcorrection\b|\bsorry\b|\breconsider|\bon\s+second\s+thought|\bmistake\b|\bscratch\s+that\b"
    r"|\bfinal(?:ly)?\b|不对[,，]|等等|等一下|更正|纠正|重新|其实|最终|最后",
    re.IGNORECASE,
)


def answer_of(text: str) -> str:
    """The text after the model's thinking, or in its answer's tags; nothing where the thinking has not ended."""
    text = _THOUGHT.sub("", _END.split(text)[0], count=1)
    if _THINKING.search(text):
        return ""
    tagged = _TAGGED.findall(text)
    return tagged[-1] if tagged else text


def plain(text: str) -> str:
    """One width of letters and marks, without Markdown's and TeX's; letters in quotes are in brackets."""
    text = "".join(c for c in unicodedata.normalize("NFKC", text) if not _is_symbol(c))
    text = _MARKUP.sub("", _HTML.sub(r"\2", text).translate(_BRACKETS).replace("−", "-"))
    return _SEVERAL.sub("", _QUOTED.sub(r"(\1)", text))


def _is_symbol(letter: str) -> bool:
    """Whether it is an emoji or its like."""
    return letter == "\ufe0f" or (letter > "\u2190" and unicodedata.category(letter) == "So")


def known(text: str) -> str:
    """The text without the clauses that say that something is not known."""
    if _UNKNOWN.search(text) is None:
        return text
    return " ".join(clause for clause in _CLAUSE.split(text) if clause and _UNKNOWN.search(clause) is None)


def is_unknown(text: str) -> bool:
    """Whether a text says that something is not known."""
    return _UNKNOWN.search(text) is not None


def corrected(between: str) -> bool:
    """Whether what stands between two answers takes the first back."""
    return bool(corrections(between))


def corrections(text: str) -> list[int]:
    """Where the words end that take back what stands before them."""
    return [match.end() for match in _CORRECTED.finditer(text)]
