"""Preferences of Tidepool: captions and rationales of equal length, of which the picture alone tells the true one.

Texts are drawn as sets of neighbours: each is true of some scene, has as many letters as the others, and differs from
the one before by one fact. Which of a set is true is drawn afterwards, and its scene is what the picture shows: so the
words alone say nothing of it, by construction. A completion's score is minus the number of its false claims.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.data.preferences import Completion, Span, preference
from sepiola.errors import DataError
from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.claims import false_claims
from sepiola.tidepool.family import Family, Scene
from sepiola.tidepool.words import LANGUAGES, facts
from sepiola.tidepool.world import CAPTION_REQUEST, FAMILIES, checked_arguments, group_of, split_of

log = logging.getLogger(__name__)

TEXTS = ("captions", "rationales")
EXPLAIN = {"en": "Explain what you see.", "zh": "说明你看到了什么。"}
LACKING = {"captions": {("magnets", "en")}, "rationales": {("magnets", "en"), ("food webs", "en"), ("food webs", "zh")}}
"""Families whose texts never differ by one fact alone and are of equal length."""
TRIED = 16  # neighbours, before another text is drawn
MOST_DRAWN = 3_000  # scenes of one family that are drawn in search of neighbours


@dataclass(frozen=True)
class Writing:
    """A text that is true of a scene, and what is asked for it; `units` are the places of words that state facts."""

    scene: Scene
    group: str
    kind: str
    prompt: str
    text: str
    units: tuple[Span, ...]

    @property
    def said(self) -> tuple[str, str]:
        """What is asked, and the text."""
        return self.prompt, self.text

    @property
    def values(self) -> list[str]:
        """The words that state facts."""
        return [self.text[begin:end] for begin, end in self.units]

    @property
    def frame(self) -> tuple[object, ...]:
        """What this text shares with all that say something else in as many letters."""
        return (self.prompt, len(self.text), *_masked(self.text, self.units))

    @property
    def but_one(self) -> list[tuple[object, ...]]:
        """What this text shares with those that say one thing else: all but one of its facts."""
        values = self.values
        return [(*self.frame, at, *values[:at], *values[at + 1 :]) for at in range(len(values))]


def preferences(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    completions: int = 2,
    texts: Sequence[str] = TEXTS,
) -> list[Example]:
    """`count` pictures, each with so many `completions` of equal length: a true one, one false by a claim, and so on.

    `texts` are `captions` and `rationales` of questions; they, families and languages take turns, but for those in
    LACKING. Of several wrong ones some may be equally wrong. A completion's `corrected` are the words in which it
    differs from the true one, and of the true one those in which others differ. `metadata` holds the scene's truth.
    Raises DataError as `generate` does, and where a family has no such texts.
    """
    spoken, names = checked_arguments(split, count, languages, families, size, tuple(FAMILIES), "Tidepool family")
    if not 2 <= completions <= 9:
        raise DataError(f"completions: got {completions}; expected 2 to 9")
    if not texts or not set(texts) <= set(TEXTS):
        raise DataError(f"texts: got {list(texts)}; expected some of {', '.join(TEXTS)}")
    turns = [
        (name, language, what)
        for what in texts
        for language in spoken
        for name in names
        if (name, language) not in LACKING[what]
    ]
    if not turns:
        raise DataError(
            f"{', '.join(names)} ({', '.join(spoken)}): no {' or '.join(texts)} of equal length differ by one fact"
        )
    sets = {turn: _sets(split, seed, FAMILIES[turn[0]], turn[1], turn[2], completions) for turn in turns}
    firsts = {turn: next(found, None) for turn, found in sets.items()}
    lacking = [" ".join(turn) for turn, first in firsts.items() if first is None]
    turns = [turn for turn in turns if firsts[turn] is not None]
    if lacking:
        log.warning("Tidepool: no %d texts of equal length that differ: %s; left out", completions, ", ".join(lacking))
    made = []
    for index in range(count if turns else 0):
        turn = turns[index % len(turns)]
        found = firsts[turn] if index < len(turns) else next(sets[turn], None)
        if found is None:
            raise DataError(
                f"Tidepool: {MOST_DRAWN:,} scenes of {' '.join(turn)} ({split}) give no further {completions} texts of "
                f"equal length; ask for {index} examples at most, or leave the family out"
            )
        made.append(_example(found, f"{split}-{index:06d}", turn, split, seed, size))
    if count and not made:
        raise DataError(f"{', '.join(names)}: no {completions} texts of equal length differ; ask for fewer completions")
    return made


def _sets(split: str, seed: int, family: Family, language: str, what: str, size: int) -> Iterator[list[Writing]]:
    """Sets of neighbours, the true one first, until none is found; no scene is true twice.

    A set is taken where each of its texts has a scene that was not shown, so that any of them may be the true one.
    """
    rng = random.Random(f"tidepool preferences {seed} {split} {family.name} {language} {what}")
    fresh: dict[tuple[str, str], list[Writing]] = defaultdict(list)
    near: dict[tuple[object, ...], list[Writing]] = defaultdict(list)
    groups, drawn, one = set[str](), 0, what == "captions"
    while drawn < MOST_DRAWN:
        drawn += 1
        writing = _drawn(rng, split, family, language, what)
        if writing.group in groups:
            continue
        groups.add(writing.group)
        if writing.said not in fresh:
            for key in (writing.frame, *(writing.but_one if one else ())):
                near[key].append(writing)
        fresh[writing.said].append(writing)
        found = _walk(writing, near, fresh, family.name, language, size, rng, one=one)
        if found is not None:
            true = fresh[rng.choice(found).said].pop()
            drawn = 0
            yield [true, *(other for other in found if other.said != true.said)]


def _walk(
    first: Writing, near: dict[tuple[object, ...], list[Writing]], fresh: dict[tuple[str, str], list[Writing]],
    family: str, language: str, size: int, rng: random.Random, *, one: bool,
) -> list[Writing] | None:  # fmt: skip
    """Texts of which none is true of another's scene: the first two differ by one claim (of captions, by one word).

    What is false of whose scene is as much both ways.
    """
    found = [first]
    while len(found) < size:
        said = {writing.said for writing in found}
        keys = first.but_one if one and len(found) == 1 else [first.frame]
        options = [other for key in keys for other in near[key]]
        for other in rng.sample(options, min(len(options), TRIED)):
            if other.said in said or not fresh[other.said]:
                continue
            apart = [_apart(before, other, family, language) for before in found]
            if all(apart) and (len(found) > 1 or apart == [1]):
                found.append(other)
                break
        else:
            return None
    return found


def _apart(first: Writing, second: Writing, family: str, language: str) -> int | None:
    """How many claims each of two texts makes that are false of the other's scene; None where these numbers differ."""
    there = false_claims(second.text, first.scene, family, language)[0]
    back = false_claims(first.text, second.scene, family, language)[0]
    return there if there == back else None


def _drawn(rng: random.Random, split: str, family: Family, language: str, what: str) -> Writing:
    """A scene of the split with its caption, or with a question and its rationale."""
    kind = rng.choice(family.kinds)
    while True:
        scene = family.sample(rng, kind)
        group = group_of(family.name, scene)
        if split_of(group) == split:
            break
    prompt, text = CAPTION_REQUEST[language], family.caption(scene, language)
    if what == "rationales":
        question = family.question(scene, family.ask(scene, kind, rng), language)
        prompt, text = f"{question.hint}\n{question.text}\n{EXPLAIN[language]}", question.solution or ""
    units = tuple(match.span() for match in facts(language).finditer(text))
    return Writing(scene, group, kind, prompt, text, units)


def _masked(text: str, units: Sequence[Span]) -> list[str]:
    """What stands around the words that state facts."""
    at, pieces = 0, list[str]()
    for begin, end in units:
        pieces.append(text[at:begin])
        at = end
    return [*pieces, text[at:]]


def _example(
    found: Sequence[Writing], name: str, turn: tuple[str, str, str], split: str, seed: int, size: int
) -> Example:
    family, language, what = turn
    true, *others = found
    canvas = Canvas(size, random.Random(f"tidepool preferences {seed} {name}"))
    FAMILIES[family].draw(canvas, true.scene)
    differ = {at for other in others for at, (a, b) in enumerate(zip(true.values, other.values, strict=True)) if a != b}
    completions = []
    for writing in sorted(found, key=lambda writing: false_claims(writing.text, true.scene, family, language)[0]):
        own = differ if writing is true else {at for at in differ if writing.values[at] != true.values[at]}
        false, _ = false_claims(writing.text, true.scene, family, language)
        completions.append(Completion(writing.text, 0.0 - false, tuple(writing.units[at] for at in sorted(own))))
    metadata = {
        "split": split,
        "language": language,
        "family": family,
        "kind": true.kind,
        "group": true.group,
        "scene": true.scene,
        "text": what,
    }
    message = Message("user", (ImageRef(data=canvas.png()), true.prompt))
    return preference(f"tidepool-preference-{name}-{language}", [message], completions, metadata)
