"""The third step of MiniGPT-4's curation (arXiv 2304.10592, section 3.2): a language model fixes each text.

It answers at an endpoint (`sepiola.generation.endpoint`), or is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable

from sepiola.api import Model
from sepiola.curation.describe import replies
from sepiola.data.example import Message

Repair = Callable[[str], str]
INSTRUCTION = {
    "en": (
        "Fix the errors in the given paragraph. Remove any repeated sentences, meaningless characters, sentences that "
        "are not English, and so on. Remove unnecessary repetition. Rewrite any incomplete sentences. Return the "
        "result alone, without an explanation. If the paragraph is already correct, return it as it is, without an "
        "explanation.\n\n"
    ),
    "zh": (
        "请修正下面这段文字中的错误。删去重复的句子、无意义的字符、不是中文的句子等，去掉不必要的重复，"
        "把不完整的句子改写完整。只返回结果，不要解释。如果这段文字已经正确，请原样返回，不要解释。\n\n"
    ),
}


def request_of(text: str, language: str) -> str:
    """What the repairer is asked, in the text's language."""
    return INSTRUCTION[language] + text


def local(model: Model, tokens: int) -> Repair:
    """A model that is loaded here, as a repairer that writes `tokens` at most."""
    return lambda prompt: replies(model, [(Message("user", (prompt,)),)], tokens)[0][0]
