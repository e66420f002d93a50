"""Answers as people write them: which of a question's choices a text names, and what an open answer says.

Models that were trained on no format of ours say "A", "(b)", "A. cat", "Cat.", "The answer is B" or 「选B」. The reader
goes from the surest sign to the least: the letter alone or as a label, the letter or the option's text after words that
announce an answer, yes and no where these are the choices, a letter in brackets, and the one option that the text
mentions. What two signs of one kind contradict, or nothing tells, is no answer: None, which is counted as unparsed.

Yes and no are read as by POPE's script (arXiv 2305.10355): of the first sentence, which says no when "no" or "not" is a
word of it. Where the script takes all else for yes, an affirmation is asked for here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

YES = frozenset(("yes", "是", "是的", "有", "对", "存在"))
NO = frozenset(("no", "否", "不是", "没有", "无", "不", "不对", "不存在"))

_THOUGHT = re.compile(r".*</think>", re.DOTALL)
_MARKUP = re.compile(r"\*+|`+|\\boxed|\\text(?:bf)?(?=\{)|^#+\s|[{}$]", re.MULTILINE)
_EDGES = " \t\n.。,，;；:：!！?？、\"'“”‘’「」『』"
_ARTICLE = re.compile(r"^(?:an?|the)\s+")

# A letter that stands alone. A small one is a letter only in brackets, a large "A" or "I" no word before other words.
_END = r"(?![A-Za-z0-9'’])"
_BECAUSE = r"(?:and|or|nor|because|since|as|for|which|where|but|not|is)"
_LETTER = rf"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\)|([B-HJ-Z]){_END}|([AI]){_END}(?!\s+(?!{_BECAUSE}\b)\w))"
_ALONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?[.,;:!]?")
_LABEL = re.compile(
    r"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\)|([A-Z])\s*(?:[.:、,。](?=\s|$|[^\x00-\x7f])|\n|\s[-–—=]\s))"
)
_GLUED = re.compile(r"([A-Z])[.:、](?=\S)")
_OR = re.compile(rf"\s*(?:,|/|、|&|和|或|或者|与|及|,?\s*\b(?:and|or)\b)\s*(?:both\s+)?{_LETTER}")

_NAMED = r"(?:\s*(?:option|choice|letter|answer|选项|答案))?\s*[:：]?\s*"
_ANNOUNCED = re.compile(
    r"(?:"
    r"\b(?:answer|option|choice|solution)\s+(?:would\s+be|should\s+be|must\s+be|is|are)\b\s*[:：]?"
    r"|\b(?:final\s+|correct\s+|right\s+)?answer\s*[:=-]"
    r"|\b(?:choose|chose|pick|select|go\s+with|option|choice)\b"
    r"|\b(?:it\s+is|it's|it’s|must\s+be|should\s+be|think|say|guess)\b"
    r"|(?:答案|选项)(?:应该|应当|应)?(?:是|为|选)?\s*[:：]?(?!不)"
    r"|(?<!不)(?<!不能)(?<!不应)(?:应该选择|应选择|应选|选择|选|故选)\s*[:：]?"
    r"|(?:我认为|我觉得|应该)(?:是|选)?"
    r")(?:\s+(?:that|it\s+is|it's|clearly|definitely|probably|most\s+likely|option|choice)\b)*" + _NAMED,
    re.IGNORECASE,
)
_JUDGED = re.compile(
    rf"(?:\boption\s+|\bchoice\s+|选项\s*)?{_LETTER}\s*"
    r"(?:(?:is|would\s+be)\s+(?:the\s+)?(?:correct|right|best|true|answer)|(?:选项)?(?:是)?(?:正确|对的|最合适))"
)
_BRACKETS = re.compile(r"\(\s*([A-Z])\s*\)|\[\s*([A-Z])\s*\]")
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|no|never|without|neither|nor|cannot|rather\s+than|instead\s+of|unlike)|n['’]t|不是|不选|没有|并非|不|非|排除)"
    r"[\s,]*(?:an?\s+|the\s+|be\s+|any\s+|option\s+|一[只个张辆条把]\s*)*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"^[)\]]?\s*(?:(?:is|are|was)\s+(?:not|wrong|incorrect|false)\b|(?:is|are)n['’]t\b|(?:是)?(?:错|不对|不正确|不是))",
    re.I,
)

_SENTENCE = re.compile(r"[.。!！\n]")
_NO_ENGLISH = re.compile(r"\b(?:no|not|nope)\b|n['’]t\b|\bcannot\b")
_YES_ENGLISH = re.compile(
    r"\b(?:yes|yeah|yep|yup|sure|indeed|correct|certainly|definitely|there\s+(?:is|are|appears?|seems?)|there['’]s|visible|"
    r"it\s+(?:is|does|has)|they\s+(?:are|do))\b"
)
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_NOT_NO = re.compile(r"没错|不错|不仅|不止|不但|无疑|有没有|是不是|是否|有无")
_NO_CHINESE = re.compile(
    r"^(?:不|否|没|无)|没有|没看|没见|未见|看不|不是|不存在|不在|不含|不包|不能|不会|不对|并非|并无|否定"
)
_YES_CHINESE = re.compile(r"是|有|对|存在|正确|可以|能|会|嗯|没错|不错|无疑|包含")

_OPENING = re.compile(
    r"^(?:(?:so|therefore|thus)[, ]+)?(?:(?:the\s+)?(?:(?:final|correct|right)\s+)?answer\s*(?:is|:)\s*:?|"
    r"(?:it|this|that|they|these)(?:\s+(?:is|are)|['’]s|['’]re)|there\s+(?:is|are)|there['’]s|"
    r"答案(?:是|为)?\s*[::]?|(?:这|那|它)(?:是|为)|图中(?:是|有))\s*",
    re.IGNORECASE,
)


def read_choice(text: str, choices: Sequence[str], *, lettered: bool = True) -> int | None:
    """The index of the choice that a text names; None when it names none, or more than one.

    `lettered` says that the question showed the choices by letters (A, B, …).
    """
    said, options = _plain(_answer_of(text)).strip(), [_plain(choice).strip() for choice in choices]
    if not said or not choices:
        return None
    for read in LETTERED if lettered else SPOKEN:
        if found := read(said, options):
            return min(found) if len(found) == 1 else None
    return None


def is_yes_or_no(choices: Sequence[str]) -> bool:
    """Whether the choices are yes and no, in either order, in English or Chinese."""
    names = {_bare(choice) for choice in choices}
    return len(choices) == 2 and bool(names & YES) and bool(names & NO)


def read_open(text: str) -> str:
    """What an open answer says, without the words and marks that people put around it: "It is a chair." is "chair"."""
    said = _plain(_answer_of(text)).strip(_EDGES)
    said = _OPENING.sub("", said, count=1).strip(_EDGES)
    return _ARTICLE.sub("", said.casefold()).strip(_EDGES)


def _answer_of(text: str) -> str:
    """The text after the model's thinking; nothing where it has not ended."""
    text = _THOUGHT.sub("", text, count=1)
    return "" if "<think>" in text else text


def _plain(text: str) -> str:
    """One width of letters and marks, without Markdown's and TeX's."""
    return _MARKUP.sub("", unicodedata.normalize("NFKC", text))


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_EDGES + "()[]")


def _equal(said: str, options: Sequence[str]) -> set[int]:
    """The options that a text is, article and outer marks aside; those of the same case where several are."""
    for same in (lambda t: t.strip(), lambda t: " ".join(t.split()).strip(_EDGES + "()[]"), _bare):
        if found := {i for i, option in enumerate(options) if same(option) and same(option) == same(said)}:
            return found
    short = _ARTICLE.sub("", _bare(said))
    return {i for i, option in enumerate(options) if short and _ARTICLE.sub("", _bare(option)) == short}


def _by_letter(said: str, options: Sequence[str]) -> set[int]:
    """The letter alone, as a label before other words, after words that announce it, or called right."""
    if alone := _ALONE.fullmatch(said):
        letter = alone[1]
        spelled = {i for i, option in enumerate(options) if option == said}
        if letter.islower() and said == letter and spelled:  # "a" where the options are articles
            return spelled
        return _indices([letter], options)
    first = re.match(_LETTER, said)
    if first and (more := _listed(said, first.end())):
        return _indices([_group(first), *more], options)
    label = _LABEL.match(said) or _GLUED.match(said)
    if label and not _DENIED_AFTER.match(said[label.end() :]) and (found := _indices([_group(label)], options)):
        glued = label.re is _GLUED
        if not glued or said[label.end() :].casefold().startswith(options[min(found)].casefold()):
            return _announced(said, options) if _lists(said, options) > 1 else found
    return _announced(said, options)


def _lists(said: str, options: Sequence[str]) -> int:
    """How many options are written out with their letters, as when a model repeats the question."""
    shown = (rf"{chr(ord('A') + i)}\s*[.):、]\s*{re.escape(option)}" for i, option in enumerate(options) if option)
    return sum(re.search(pattern, said, re.IGNORECASE) is not None for pattern in shown)


def _announced(said: str, options: Sequence[str]) -> set[int]:
    """The letters that the last announcement of any names."""
    last: tuple[int, set[int]] = (-1, set())
    for cue in _ANNOUNCED.finditer(said):
        letter = re.compile(_LETTER).match(said, cue.end())
        if letter is None or _denied(said, cue.end(), letter.end()):
            continue
        if len(letter[0]) == 2 and letter[0].endswith(")") and said.count("(") >= said.count(")"):
            continue  # the bracket of something else
        if found := _indices([_group(letter), *_listed(said, letter.end())], options):
            last = (cue.end(), found)
    for judged in _JUDGED.finditer(said):
        if judged.start() > last[0] and (found := _indices([_group(judged)], options)):
            last = (judged.start(), found)
    return last[1]


def _listed(said: str, at: int) -> list[str]:
    """Further letters of a list that goes on at a place: "A and B", "A, C"."""
    letters = []
    while more := _OR.match(said, at):
        letters.append(_group(more))
        at = more.end()
    return letters


def _by_announced_text(said: str, options: Sequence[str]) -> set[int]:
    """An option's text that is the whole answer, or the rest of a sentence that announces one."""
    if found := _equal(said, options):
        return found
    last: set[int] = set()
    for cue in _ANNOUNCED.finditer(said):
        rest = said[cue.end() :]
        for end in (m.start() for m in re.finditer(r"$|\.(?!\d)|[。!！\n,，;；]", rest)):
            if found := _equal(rest[:end], options):
                last = found
    return last


def _by_yes_or_no(said: str, options: Sequence[str]) -> set[int]:
    """Yes or no, where these are the two options."""
    if not is_yes_or_no(options):
        return set()
    yes = 0 if _bare(options[0]) in YES else 1
    verdict = _affirms(said)
    return set() if verdict is None else {yes if verdict else 1 - yes}


def _affirms(said: str) -> bool | None:
    """Whether the first sentence says yes (True) or no (False)."""
    sentence = next((s for part in _SENTENCE.split(said) if (s := part.strip(_EDGES))), "").casefold()
    if _CHINESE.search(sentence):
        clear = _NOT_NO.sub(lambda m: m[0] if m[0] in ("没错", "不错", "无疑") else "", sentence)
        no = _NO_CHINESE.search(re.sub("没错|不错|无疑", "", clear))
        yes = _YES_CHINESE.search(clear)
    else:
        no, yes = _NO_ENGLISH.search(sentence.replace(",", "")), _YES_ENGLISH.search(sentence)
    return False if no else True if yes else None


def _by_brackets(said: str, options: Sequence[str]) -> set[int]:
    """Large letters in brackets, anywhere; those that are denied do not count."""
    found = (m for m in _BRACKETS.finditer(said) if not _denied(said, m.start(), m.end()))
    return _indices([_group(m) for m in found], options)


def _by_mention(said: str, options: Sequence[str]) -> set[int]:
    """Options whose text stands in the answer; not inside a longer option's, and not denied."""
    folded = said.casefold()
    places = [(m.start(), m.end(), i) for i, option in enumerate(options) for m in _mentions(folded, option)]
    outer = [
        place
        for place in places
        if not any(o[0] <= place[0] and place[1] <= o[1] and o[:2] != place[:2] for o in places)
    ]
    return {i for start, end, i in outer if not _denied(folded, start, end)}


def _mentions(folded: str, option: str) -> Iterator[re.Match[str]]:
    name = _bare(option)
    if not name or (len(name) == 1 and name.isascii() and name.isalpha()):
        return iter(())
    before = r"(?<![a-z0-9])" if re.match(r"[a-z]", name) else r"(?<![a-z0-9.,\-])" if name[0].isdigit() else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z]$", name) else r"(?![a-z0-9]|[.,]\d)" if name[-1].isdigit() else ""
    words = r"\s+".join(map(re.escape, name.split()))
    return re.finditer(f"{before}{words}{after}", folded)


def _denied(said: str, start: int, end: int) -> bool:
    return bool(_DENIED_BEFORE.search(said[:start])) or bool(_DENIED_AFTER.match(said[end:]))


def _group(match: re.Match[str]) -> str:
    """The one letter that matched."""
    return next(group for group in match.groups() if group)


def _indices(letters: Sequence[str], options: Sequence[str]) -> set[int]:
    """The options that letters name; a letter beyond them is none."""
    places = {ord(letter.upper()) - ord("A") for letter in letters}
    return {place for place in places if place < len(options)}


SPOKEN = (_by_announced_text, _by_yes_or_no, _by_mention)
LETTERED = (_by_letter, _by_announced_text, _by_yes_or_no, _by_brackets, _by_mention)
