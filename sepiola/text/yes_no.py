"""Yes and no, as people say them in English and Chinese.

The first sentence that is no question counts, as in POPE's script (arXiv 2305.10355): it says no when "no" or "not" is
a word of it, and what begins with no is no. Where the script takes all else for yes, an affirmation is asked for here;
"yes" before a denial contradicts itself and says neither, and what takes the first answer back comes before it.
"""

from __future__ import annotations

import re

from sepiola.text.replies import EDGES, corrections, known

YES = frozenset(("yes", "是", "是的", "有", "对", "存在"))
NO = frozenset(("no", "否", "不是", "没有", "无", "不", "不对", "不存在"))

_SENTENCE = re.compile(r"[^.。!！?？;；\n]+[.。!！?？;；\n]?")
_CLAUSE = re.compile(r"[,，、:：]|\b(?:but|and|although|while)\b|但|不过")
_IDIOMS = re.compile(
    r"\b(?:no\s+(?:doubt|question|problem|wonder)|without\s+(?:a\s+)?doubt|not\s+only|why\s+not)\b"
    r"|不仅|不止|不但|无疑|有没有|是不是|有无|会不会|能不能|对不对|可能|没准"
)
_BOTH = re.compile(r"\b(?:yes|no)\s*(?:,?\s*(?:and|or|/)\s*)(?:yes|no)\b|是(?:或|和|/)[否不]|有(?:或|和|/)没有?")
_LEADS_YES = re.compile(
    r"^(?:(?:yes|yeah|yep|yup|sure|indeed|correct|right|true|absolutely|affirmative|of\s+course|certainly|definitely)\b(?!\s+not\b)"
    r"|(?:是的?|有的?|对的?|存在|没错|不错|当然|确实|正确)(?=[,，\s]|$))"
)
_LEADS_NO = re.compile(r"^(?:no|nope|nah|not|never|none|negative|false|incorrect|wrong)\b")
_NO_ENGLISH = re.compile(
    r"\b(?:no|not|nope|never)\b|n['’]t\b|\bcannot\b|\b(?:is|are)\s+(?:wrong|incorrect|false|none|nothing)\b"
)
_YES_ENGLISH = re.compile(
    r"\b(?:yes|yeah|yep|yup|sure|indeed|correct|right|true|certainly|definitely|visible|there['’]s"
    r"|there\s+(?:is|are|appears?|seems?)|it\s+(?:is|does|has)|they\s+(?:are|do)|i\s+(?:think|believe)\s+so)\b"
)
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_NO_CHINESE = re.compile(
    r"^(?:不|否|没|无|错)|没有|没看|没见|未见|看不|不是|不存在|不在|不含|不包|不能|不会|不对|并[不非没无]|否定|[:：]否"
)
_YES_CHINESE = re.compile(r"是|有|对|存在|正确|可以|能|会|嗯|没错|不错|包含")


def affirms(said: str) -> bool | None:
    """Whether a reply says yes (True) or no (False); None where it says neither, or both."""
    said = known(said)
    verdict = _first(said)
    later = (_first(said[end:]) for end in reversed(corrections(said)))
    return next((taken for taken in later if taken is not None and verdict is not None), verdict)


def _first(said: str) -> bool | None:
    sentences = [part for part in _SENTENCE.findall(said) if part.strip(EDGES)]
    stated = [part for part in sentences if not part.rstrip().endswith(("?", "？"))] or sentences
    words = {part.strip(EDGES).casefold() for part in stated}
    if not stated or stated[0].strip(EDGES).endswith("吗") or (words & YES and words & NO):
        return None
    return _verdict(stated[0].strip(EDGES).casefold())


def _verdict(sentence: str) -> bool | None:
    if _BOTH.search(sentence):
        return None
    sure = any(word in sentence for word in ("无疑", "without a doubt", "without doubt", "no doubt", "no question"))
    clear = _IDIOMS.sub("", sentence).strip(EDGES)
    if lead := _LEADS_YES.match(clear):
        clauses = [clause for clause in _CLAUSE.split(clear[lead.end() :]) if clause.strip(EDGES)]
        return None if clauses and _denies(clauses[0].strip(EDGES)) else True
    if _denies(clear):
        return False
    affirmed = _YES_CHINESE if _CHINESE.search(clear) else _YES_ENGLISH
    return True if sure or affirmed.search(clear) else None


def _denies(clause: str) -> bool:
    if _CHINESE.search(clause):
        return _NO_CHINESE.search(re.sub("没错|不错", "", clause)) is not None
    return _LEADS_NO.match(clause) is not None or _NO_ENGLISH.search(clause.replace(",", "")) is not None
