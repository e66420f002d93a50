"""Answers as people write them: which of a question's choices a text names, and what an open answer says.

Models that were trained on no format of ours say "A", "(b)", "A. cat", "Cat.", "The answer is B" or 「选B」. The reader
goes from the surest sign to the least: the letter alone or as a label, the letter or the option's text after words that
announce an answer, yes and no where these are the choices, a letter in brackets, an option's number, and the one option
that the text mentions. What two signs of one kind contradict, and nothing takes back, or nothing tells, is no answer:
None, which is counted as unparsed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from sepiola.text.replies import EDGES, answer_of, corrected, is_unknown, known, plain
from sepiola.text.yes_no import NO, YES, affirms

_ARTICLE = re.compile(r"^(?:an?|the)\s+|^一[只个张辆条把台本头匹]")

# A letter that stands alone. A small one is a letter only in brackets, a large "A" or "I" no word before other words.
_END = r"(?![A-Za-z0-9'’])"
_BECAUSE = r"(?:and|or|nor|because|since|as|for|which|where|but|not|is|it)"
_LETTER = rf"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\)|([B-HJ-Z]){_END}|([AI]){_END}(?![^\S\n]+(?!{_BECAUSE}\b)\w))"
_SMALL = r"(?=\s*(?:[.,;:!?]|$|\n|because\b|since\b))"
_ALONE = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.,;:!?]*")
_LABEL = re.compile(
    r"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\)|([A-Z])\s*(?:[.:、,。](?=\s|$|[^\x00-\x7f])|\n|\s[-–—=→]+\s"
    r"|\s+(?=\(|because\b|since\b)|\s*(?=选项|项|吧|因为))|([b-hj-z])\s+(?=because\b|since\b))"
)
_GLUED = re.compile(r"([A-Z])[.:、](?=\S)")
_OR = re.compile(
    rf"\s*(?:,|/|、|&|\+|和|或|或者|与|及|,?\s*\b(?:and|or)\b)\s*(?:(?:both|maybe|perhaps|possibly|even)\s+)?{_LETTER}"
)

_LEAD = r"(?:\s+(?:that|it\s+is|it's|clearly|definitely|probably|most\s+likely|option|choice|letter)\b)*"
_NAMED = rf"{_LEAD}(?:\s*(?:option|choice|letter|answer|选项|答案))?\s*[:：]?\s*"
_STATED = re.compile(
    r"(?:"
    r"\b(?:answer|option|choice|letter|solution)\s+(?:would\s+be|should\s+be|must\s+be|has\s+to\s+be|is|are)\b\s*[:：]?"
    r"|\b(?:answer\s*[:=-]|ans\s*[.:]|(?:selected|chosen)\s*:)"
    r"|\b(?:choose|chose|pick|select|go\s+with|vote\s+for)\b"
    r"|答案(?:应该|应当|应)?(?:是|为|选)?\s*[:：]?(?!不)"
    r"|(?<!不)(?<!不能)(?<!不应)(?:应该选择|应选择|应选|选择|选(?!项)|故选|本题选)\s*[:：]?"
    rf"){_NAMED}",
    re.IGNORECASE,
)
_HINTED = re.compile(
    r"(?:"
    r"\b(?:option|choice|letter|answer)\b"
    r"|\b(?:it\s+is|it's|it’s|(?:must|should|would|could|has\s+to|may|might)\s+be|think|say|guess|believe)\b"
    r"|\b(?:so|thus|hence|therefore|definitely|certainly|clearly|probably|likely|maybe|perhaps|possibly|but|rather)\b,?"
    r"|选项(?:应该|应当|应)?(?:是|为)?\s*[:：]?(?!不)"
    rf"|(?:我认为|我觉得|我猜|应该|可能|也许|大概|就)(?:是|选)?|(?<![不就还])是){_NAMED}",
    re.IGNORECASE,
)
_JUDGED = re.compile(
    rf"(?:\boption\s+|\bchoice\s+|选项\s*)?{_LETTER}\s*"
    r"(?:(?:is|would\s+be)\s+(?:the\s+)?(?:correct|right|best|true|answer)|it\s+is\b|(?:选项|项)?(?:是)?(?:正确|对(?!不)|最合适))"
)
_LARGE_BRACKETS = re.compile(r"\(\s*([A-Z])\s*\)|\[\s*([A-Z])\s*\]")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_NUMBERED = re.compile(r"(?:option|choice|选项)\s*$", re.IGNORECASE)
_NUMERALS = "一二三四五六七八九十"
_ORDINAL = re.compile(
    rf"\b(?:options?|choices?)\s*(?:number\s*|no\.?\s*|#\s*)?(\d+)\b(?![.,]\d)|选项\s*(\d+|[{_NUMERALS}])"
    rf"|(?:^|\b(?:is|be|choose|pick|select|say|with)\s+)(?:the\s+)?({'|'.join(_ORDINALS)})\s+(?:option|choice|answer|one)\b"
    rf"|^(?:the\s+)?({'|'.join(_ORDINALS)})\W*$"
    rf"|第\s*(\d+|[{_NUMERALS}])\s*(?:个|项|种)?(?:选项|答案|(?=[。.,，!]|$))",
    re.IGNORECASE,
)
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|no|never|without|neither|nor|cannot|rather\s+than|instead\s+of|unlike|isn|aren|wasn)|n['’]t|不是|不选|没有|并非|不|非|排除)"
    r"[\s,(\[]*(?:an?\s+|the\s+|be\s+|any\s+|(?:option|choice|answer)\s+|(?:选项|一[只个张辆条把])\s*)*$",
    re.IGNORECASE,
)
_DENIED_CUE = re.compile(r"(?:\b(?:not|never)|n['’]t|不)\s*$", re.IGNORECASE)
_DENIED_AFTER = re.compile(
    r"^[)\]]?\s*(?:(?:is|are|was)\s+(?:not|wrong|incorrect|false)\b|(?:is|are)n['’]t\b|(?:选项|项)?(?:是)?(?:错|不对|不正确|不是))",
    re.I,
)

_OPENING = re.compile(
    r"^(?:(?:so|therefore|thus)[, ]+)?(?:(?:based\s+on|in)\s+the\s+(?:image|picture|photo)[, ]+)?"
    r"(?:i\s+(?:would\s+)?(?:think|believe|guess|say)\s+(?:that\s+)?|我(?:觉得|认为|猜)|(?:maybe|perhaps|probably|possibly)\s+)?"
    r"(?:(?:the\s+)?(?:(?:final|correct|right|my)\s+)?answer\s*(?:is|:)\s*:?|a\s*:\s+|i\s+(?:can\s+)?see\s+"
    r"|(?:it|this|that|they|these)(?:\s+(?:is|are)|['’]s|['’]re|\s+(?:looks?\s+like|(?:appears?|seems?)\s+to\s+be))"
    r"|there\s+(?:is|are)|there['’]s"
    r"|答案?(?:是|为)?\s*[::]|答案(?:是|为)|(?:这|那|它|应该|可能|大概|图(?:片)?中)?(?:[是为](?=.)|(?<=中)有))?\s*",
    re.IGNORECASE,
)
_REASON = re.compile(r",\s*(?:because|since|as)\b.*|[,，]?因为.*", re.IGNORECASE)
_SAID = re.compile(
    r"(?:\b(?:final\s+|correct\s+|right\s+|my\s+)?answer\s*(?:is\b\s*:?|:)|答案(?:是|为)?\s*[:：]|答案[是为])"
    r"\s*((?:(?![.。!！?？;；]\s)[^\n])+)",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"not\b|不", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DIGITS = {**{word: str(n) for n, word in enumerate(_WORDS)}, **{c: str(n) for n, c in enumerate(_NUMERALS, 1)}}
_DIGITS |= {"两": "2", "零": "0"}
_NUMBER = re.compile(r"(?<![A-Za-z0-9_./])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\d*/)")
_MARKED = re.compile(r"####\s*([^\n]+)")
_ENDS = re.compile(r"(?<=[.。!！?？])\s+|(?<=[。！？])|\n")
_FINISHED = re.compile(r"[.。!！]\W*$|=\s*\S+$")
_BRIEF = re.compile(r"^(?!.*[,，](?!\d))\W*(?:(?:[^\s.]|\.(?=\d))+\s*){1,4}$")
_CONCLUDES = re.compile(
    r"=|\b(?:so|thus|hence|therefore|total|altogether|overall|finally|answer|result)\b|因此|所以|一共|总共|共|总计|故|答",
    re.I,
)

_ANSWER_LEAD = re.compile(r"^(?:the answer is|answer:|答案是|答案为|答案:)\s*:?\s*", re.IGNORECASE)


def read_choice(text: str, choices: Sequence[str], *, lettered: bool = True) -> int | None:
    """The index of the choice that a text names; None when it names none, or more than one.

    `lettered` says that the question showed the choices by letters (A, B, …).
    """
    said, options = plain(answer_of(text)).strip(), [plain(choice).strip() for choice in choices]
    if not choices:
        return None
    if not any(is_unknown(option) for option in options):
        said = known(said).strip()
    if not said:
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
    """What an open answer says, without the words and marks that people put around it: "It is a chair." is "chair".

    Of several lines, the first, or what the last that announces an answer says; "" where it is not known.
    """
    reply = known(plain(answer_of(text)).strip()).strip()
    stated = _SAID.findall(reply)
    line = stated[-1] if stated else next((part for part in reply.splitlines() if part.strip(EDGES)), "")
    said = _REASON.sub("", line).strip(EDGES)
    said = _OPENING.sub("", said, count=1).strip(EDGES).removesuffix("吧")
    return _ARTICLE.sub("", said.casefold()).strip(EDGES)


def normalised(text: str) -> str:
    """An open answer reduced to what is compared: one width and case, no outer spaces or end punctuation."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _ANSWER_LEAD.sub("", plain).strip(" .。!?\"'()“”")


def read_final(text: str) -> str | None:
    """What stands after the last words that announce an answer, after ####, or in the last box, as it is written.

    None where there is none, and where two of them contradict each other and nothing takes the first back.
    """
    reply = answer_of(text)
    found = sorted(
        (m.start(), m.end(), _bared(m[1])) for sign in (_SAID, _BOXED, _MARKED) for m in sign.finditer(reply)
    )
    found = [one for one in found if one[2] and not _NEGATED.match(one[2])]
    if not found or (len({answer for _, _, answer in found}) > 1 and not corrected(reply[found[-2][0] : found[-1][1]])):
        return None
    return found[-1][2]


def read_number(text: str) -> str | None:
    """The number that a reply ends in: what `read_final` reads, or the only one that it, or its conclusion, names.

    Commas between thousands are left out. None where there is none, or where several contradict each other.
    """
    reply = answer_of(text)
    if any(sign.search(reply) for sign in (_SAID, _BOXED, _MARKED)):
        return _only_number(plain(read_final(reply) or ""))
    sentences = [part for part in _ENDS.split(known(plain(reply))) if part.strip()]
    if not _FINISHED.search(" ".join(sentences)) and (len(sentences) != 1 or not _BRIEF.search(sentences[0])):
        return None
    if len(sentences) > 1 and _CONCLUDES.search(sentences[-1]):
        return _only_number(sentences[-1])
    return _only_number(" ".join(sentences))


def _only_number(said: str) -> str | None:
    """The one number that a text names, or that stands after its last equals sign or word that concludes."""
    for part in (_CONCLUDES.split(said)[-1], said):
        found = {number.replace(",", "").lstrip("+") for number in _NUMBER.findall(part)}
        if len(found) == 1:
            return re.sub(r"\.0+$", "", found.pop())
    return None


def _bared(text: str) -> str:
    """A text without Markdown around it and without its full stop."""
    inner = re.sub(r"^\\(?:text|math)[a-z]*\{(.*)\}$", r"\1", text.strip())
    return inner.strip(" \t*`_").removesuffix(".").removesuffix("。").strip(" \t*`_")


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip(EDGES + "()[]")


def _short(text: str) -> str:
    """A text as it is compared: no article, numbers in digits without commas, units at them."""
    bare = _ARTICLE.sub("", _bare(text))
    bare = re.sub(r"(?<=\d),(?=\d{3}\b)", "", bare)
    return _DIGITS.get(bare, re.sub(r"(?<=\d)\s+(?=[a-z%°])", "", bare))


def _equal(said: str, options: Sequence[str]) -> set[int]:
    """The options that a text is, article and outer marks aside; those of the same case where several are."""
    for same in (str.strip, lambda t: " ".join(t.split()).strip(EDGES + "()[]"), _bare, _short):
        if found := {i for i, option in enumerate(options) if same(option) and same(option) == same(said)}:
            return found
    if re.fullmatch(r"-?\d+(?:\.\d+)?", number := _short(said)):  # a number without the unit that all options have
        return {i for i, option in enumerate(options) if _NUMBER.findall(_short(option)) == [number]}
    return set()


def _by_letter(said: str, options: Sequence[str]) -> set[int]:
    """The letter alone, as a label before other words, after words that announce it, or called right."""
    if alone := _ALONE.fullmatch(said):
        letter = alone[1]
        spelled = {i for i, option in enumerate(options) if option == said}
        if letter.islower() and said == letter and spelled:  # "a" where the options are articles
            return spelled
        return _indices([letter], options)
    lines = [m[1] for line in said.splitlines() if (m := _ALONE.fullmatch(line.strip()))]
    if len(lines) > 1 and len(lines) == len([line for line in said.splitlines() if line.strip()]):
        return _indices(lines, options)
    first = re.match(_LETTER, said)
    if first and (more := _listed(said, first.end())):
        return _indices([_group(first), *more], options)
    label = _LABEL.match(said) or _GLUED.match(said)
    if label and not _DENIED_AFTER.match(said[label.end() :]) and (found := _indices([_group(label)], options)):
        glued = label.re is _GLUED
        if not glued or said[label.end() :].casefold().startswith(options[min(found)].casefold()):
            stated = _announced(said, options)
            if (listed := _lists(said, options)) > 1:
                labels = [_group(m) for line in said.splitlines() if (m := _LABEL.match(line.strip()))]
                return stated or (_indices(labels[-1:], options) if len(labels) > listed else set())
            taken_back = stated and stated != found and corrected(said[label.end() :])
            return stated if taken_back else found
    return _announced(said, options) or _last_line(said, options)


def _lists(said: str, options: Sequence[str]) -> int:
    """How many options are written out with their letters, as when a model repeats the question."""
    shown = (rf"{chr(ord('A') + i)}\s*[.):、]\s*{re.escape(option)}" for i, option in enumerate(options) if option)
    return sum(re.search(pattern, said, re.IGNORECASE) is not None for pattern in shown)


def _announced(said: str, options: Sequence[str]) -> set[int]:
    """The letters that announcements name: those that state an answer, else those that hint at one.

    Of two that contradict each other the last counts where it takes the first back, and all where nothing does.
    """
    judged = [(m.start(), m.end(), _indices([_group(m)], options)) for m in _JUDGED.finditer(said)]
    for signs, others, small in ((_STATED, judged, r"([a-z])"), (_HINTED, [], r"([b-hj-z])")):
        found = [*others]
        for cue in signs.finditer(said):
            letter = re.compile(rf"{_LETTER}|{small}{_SMALL}").match(said, cue.end())
            if letter is None or _denied(said, cue.end(), letter.end()) or _DENIED_CUE.search(said[: cue.start()]):
                continue
            if len(letter[0]) == 2 and letter[0].endswith(")") and said.count("(") >= said.count(")"):
                continue  # the bracket of something else
            found.append((cue.start(), letter.end(), _indices([_group(letter), *_listed(said, letter.end())], options)))
        found = sorted((one for one in found if one[2]), key=lambda one: one[:2])
        if found:
            return _settled(said, found)
    return set()


def _settled(said: str, found: Sequence[tuple[int, int, set[int]]]) -> set[int]:
    """What several answers in a text (begin, end, options) come to."""
    if len(found) > 1 and found[-2][2] != found[-1][2] and corrected(said[found[-2][1] : found[-1][1]]):
        return found[-1][2]
    return set().union(*(one[2] for one in found))


def _last_line(said: str, options: Sequence[str]) -> set[int]:
    """A letter that is the last line of several."""
    *before, last = said.splitlines()
    alone = _ALONE.fullmatch(last.strip()) if before else None
    return _indices([alone[1]], options) if alone and (alone[1].isupper() or len(alone[0]) > 1) else set()


def _listed(said: str, at: int) -> list[str]:
    """Further letters of a list that goes on at a place: "A and B", "A, C"; not one that is called wrong."""
    letters = []
    while (more := _OR.match(said, at)) and not _DENIED_AFTER.match(said[more.end() :]):
        letters.append(_group(more))
        at = more.end()
    return letters


def _by_announced_text(said: str, options: Sequence[str]) -> set[int]:
    """An option's text that is the whole answer, or the rest of a sentence that announces one."""
    if found := _equal(said, options):
        return found
    stated = []
    for cue in sorted((m for signs in (_STATED, _HINTED) for m in signs.finditer(said)), key=lambda m: m.end()):
        rest = said[cue.end() :]
        for end in (m.start() for m in re.finditer(r"$|\.(?!\d)|[。!！\n,，;；]", rest)):
            if _NUMBERED.search(said[: cue.end()]) and rest[:end].strip().isdigit():
                continue  # the option's number, or its text
            if (found := _equal(rest[:end], options)) and not _DENIED_CUE.search(said[: cue.start()]):
                stated.append((cue.end(), cue.end() + end, found))
    return _settled(said, stated) if stated else set()


def _by_yes_or_no(said: str, options: Sequence[str]) -> set[int]:
    """Yes or no, where these are the two options."""
    if not is_yes_or_no(options):
        return set()
    yes = 0 if _bare(options[0]) in YES else 1
    verdict = affirms(said)
    return set() if verdict is None else {yes if verdict else 1 - yes}


def _by_brackets(said: str, options: Sequence[str]) -> set[int]:
    """Large letters in brackets, anywhere; those that are denied do not count."""
    found = (m for m in _LARGE_BRACKETS.finditer(said) if not _denied(said, m.start(), m.end()))
    return _indices([_group(m) for m in found], options)


def _by_ordinal(said: str, options: Sequence[str]) -> set[int]:
    """An option's number: "option 2", "the second one", 「第二个」; also the option whose own text that number is."""
    found = [_group(m).casefold() for m in _ORDINAL.finditer(said) if not _denied(said, m.start(), m.end())]
    digits = [_DIGITS.get(name, name) for name in found]
    places = {_ORDINALS.index(name) if name in _ORDINALS else int(name) - 1 for name in digits}
    texts = {i for i, option in enumerate(options) if _short(option) in digits}
    return {place for place in places if 0 <= place < len(options)} | texts


def _by_mention(said: str, options: Sequence[str]) -> set[int]:
    """Options whose text stands in the answer; not inside a longer option's, and not denied."""
    if is_yes_or_no(options):  # the sentence tells, not the word
        return set()
    folded = re.sub(r"(?<=\d),(?=\d{3}\b)", "", said.casefold())
    places = [(m.start(), m.end(), i) for i, option in enumerate(options) for m in _mentions(folded, option)]
    outer = [
        place
        for place in places
        if not any(o[0] <= place[0] and place[1] <= o[1] and o[:2] != place[:2] for o in places)
    ]
    return {i for start, end, i in outer if not _denied(folded, start, end)}


def _mentions(folded: str, option: str) -> Iterator[re.Match[str]]:
    name = re.sub(r"(?<=\d),(?=\d{3}\b)", "", _bare(option))
    if not name or (len(name) == 1 and name.isascii() and name.isalpha()):
        return iter(())
    before = r"(?<![a-z0-9])" if re.match(r"[a-z]", name) else r"(?<![a-z0-9.,\-])" if name[0].isdigit() else ""
    after = r"(?![a-z0-9])" if re.search(r"[a-z]$", name) else r"(?![a-z0-9]|[.,]\d)" if name[-1].isdigit() else ""
    words = r"\s+".join(map(re.escape, name.split()))
    words = re.sub(r"(?<=\d)\\s\+(?=[a-z%°])", r"\\s*", words)
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
LETTERED = (_by_letter, _by_announced_text, _by_yes_or_no, _by_brackets, _by_ordinal, _by_mention)
