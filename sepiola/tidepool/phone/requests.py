"""Phone requests in English and Chinese, with and without pictures, whose calls are known.

A request is a template of its function, filled with values, in a frame of openers and politeness; some have a typing
error. Its splits are disjoint in three ways at once: by template, by the scene of its picture, and by every open value
(names, goods, dishes, messages, days, prices …). Closed values (a `Literal`, a small count, a time) and what a picture
can show are the same in all splits: those are combined anew, not new.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

from sepiola.calling.days import date_line
from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.tidepool.canvas import Canvas
from sepiola.tidepool.family import Scene
from sepiola.tidepool.phone import dates, distractors_en, distractors_zh, phrases_en, phrases_zh
from sepiola.tidepool.phone.fills import Context, NoSuchDayError, fill
from sepiola.tidepool.phone.forms import FORMS, FUNCTIONS, Form, Seen
from sepiola.tidepool.phone.grammar import Template, expand, mistyped, of_split, share_of, templates
from sepiola.tidepool.phone.pictures import PICTURES
from sepiola.tidepool.words import LANGUAGES
from sepiola.tidepool.world import checked_arguments, group_of, split_of

KINDS = ("text", "picture", "distracted", "several", "irrelevant", "near miss")
TURNS = (*("text", "picture") * 3, "several", "irrelevant", "near miss", "distracted", "irrelevant", "near miss")
_PHRASES: dict[str, ModuleType] = {"en": phrases_en, "zh": phrases_zh}
_DISTRACTORS: dict[str, ModuleType] = {"en": distractors_en, "zh": distractors_zh}
_TYPOS = 0.08  # share with a typing error
_DATED = 0.5  # share with the date, where no call needs it
_SEEN = 0.25  # share of uncalled requests with a picture
_TWICE = 0.25  # share of several calls with two of one function

Segments = list[tuple[str, bool]]  # text, and whether it is a value
Call = dict[str, object]


@dataclass
class Request:
    """One request: what is said and shown, and the calls that it asks for; a picture may be `needed` for them."""

    segments: Segments
    calls: list[Call]
    templates: list[str]
    picture: str | None = None
    scene: Scene | None = None
    needed: bool = False
    form: str = ""


def requests(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 64,
    kinds: Sequence[str] | None = None,
) -> list[Example]:
    """`count` requests; languages, functions (`families`) and kinds take turns, and one that is named twice has two.

    Kinds: `text` (one call, from the text alone), `picture` (an argument is in the picture), `distracted` (one call,
    and a picture that has nothing to do with it), `several` (two to four calls), `irrelevant` and `near miss` (none).
    `metadata` holds the `calls` (`{"name", "arguments"}`; the target is their JSON), `today` and how `days` of the
    calls count from it, `kind`, `function`, `picture` ("needed", "irrelevant" or "none"), the `templates` and the open
    `values`; with a picture its `scene`, `caption` and `objects`. Pictures are `size` × `size` pixels. Raises DataError
    as `generate` does.
    """
    languages, functions = checked_arguments(split, count, languages, families, size, FUNCTIONS, "phone function")
    turns = list(TURNS if kinds is None else kinds)
    for kind in turns:
        if kind not in KINDS:
            raise DataError(f"unknown kind of phone request '{kind}'; known: {', '.join(KINDS)}")
    if not turns:
        raise DataError(f"kinds: expected a list of one or more of {', '.join(KINDS)}")
    made = []
    for index in range(count):
        turn, place = divmod(index // len(languages), len(functions))
        language = languages[index % len(languages)]
        made.append(_example(split, index, seed, functions[place], turns[(turn + place) % len(turns)], language, size))
    return made


def _example(split: str, index: int, seed: int, function: str, kind: str, language: str, size: int) -> Example:
    rng = random.Random(f"tidepool phone {seed} {split} {index} {function} {kind}")
    while True:
        context = Context(rng, language, split)
        try:
            request = _make(function, kind, context)
        except NoSuchDayError:
            continue
        break
    needs_date = context.today is not None
    today = context.today or dates.some_day(rng)
    text = written(request.segments, language, rng)
    if needs_date or rng.random() < _DATED:
        text = f"{date_line(language, today)}\n{text}"
    metadata: dict[str, object] = {
        "split": split,
        "language": language,
        "kind": kind,
        "function": "" if kind == "irrelevant" else function,
        "form": request.form,
        "calls": request.calls,
        "today": today.isoformat(),
        "days": context.days,
        "picture": "none" if request.scene is None else "needed" if request.needed else "irrelevant",
        "irrelevant": not request.calls,
        "near_miss": kind == "near miss",
        "templates": request.templates,
        "values": context.opened,
        "group": share_group(request.templates, context.opened),
    }
    content: tuple[str | ImageRef, ...] = (text,)
    if request.scene is not None and request.picture is not None:
        picture = PICTURES[request.picture]
        canvas = Canvas(size, rng)
        picture.draw(canvas, request.scene)
        content = (ImageRef(data=canvas.png()), text)
        metadata |= {
            "family": picture.name,
            "scene": request.scene,
            "group": group_of(picture.name, request.scene),
            "caption": picture.caption(request.scene, language),
            "objects": picture.objects(request.scene),
        }
    target = json.dumps(request.calls, ensure_ascii=False)
    name = f"tidepool-phone-{split}-{index:06d}-{language}"
    return Example(name, (Message("user", content),), target, metadata=metadata)


def share_group(used: Sequence[str], values: Sequence[str]) -> str:
    """The identity of a request without a picture: its templates and values."""
    return group_of("phone", {"templates": list(used), "values": list(values)})


def _make(function: str, kind: str, context: Context) -> Request:
    if kind == "irrelevant":
        return _uncalled(_distractors(context.language, "", context.split), context)
    if kind == "near miss":
        return _near_miss(function, context)
    if kind == "several":
        return _several(function, context)
    if kind == "picture":
        return _pictured(function, context)
    request = _called(context.rng.choice(_forms(function, seen=False)), None, context)
    return _any_picture(request, context) if kind == "distracted" else request


def _called(form: Form, scene: Scene | None, context: Context) -> Request:
    template = context.rng.choice(_templates(context.language, form.name, context.split))
    segments, arguments = filled(template, context)
    calls = [_call(form, scene, arguments, context)]
    return Request(framed(segments, template, context), calls, [template.text], form=form.name)


def _call(form: Form, scene: Scene | None, arguments: dict[str, object], context: Context) -> Call:
    read: dict[str, object] = {}
    if form.read is not None and scene is not None and form.picture is not None:
        words = PICTURES[form.picture].words(scene, context.language)
        read = form.read(Seen(words, scene, context.language, context.today or dates.FIRST))
    return {"name": form.function, "arguments": {**form.fixed, **arguments, **read}}


def _pictured(function: str, context: Context) -> Request:
    form = context.rng.choice(_forms(function, seen=True))
    assert form.picture is not None
    picture, scene = form.picture, scene_of(form.picture, context.split, context.rng)
    if form.name == "pet.poster":
        scene = _dated_scene(scene, context)
    request = _called(form, scene, context)
    request.picture, request.scene, request.needed = picture, scene, True
    return request


def _dated_scene(scene: Scene, context: Context) -> Scene:
    """A poster whose day, the next of its date from today on, belongs to the split, as the poster itself does."""
    while True:
        today = dates.some_day(context.rng)
        day = dates.next_occurrence(today, scene["month"], scene["day"])
        if share_of("value", day.isoformat()) == context.split:
            context.today = today
            context.opened.append(day.isoformat())
            context.days[day.isoformat()] = f">{day:%m-%d}"
            return scene
        scene = scene_of("poster", context.split, context.rng)


def scene_of(name: str, split: str, rng: random.Random) -> Scene:
    """A scene of the split for a kind of picture."""
    while True:
        scene = PICTURES[name].sample(rng)
        if split_of(group_of(name, scene)) == split:
            return scene


def _any_picture(request: Request, context: Context, name: str | None = None) -> Request:
    """The request with a picture that its calls do not need."""
    request.picture = context.rng.choice(list(PICTURES)) if name is None else name
    request.scene = scene_of(request.picture, context.split, context.rng)
    return request


def _several(function: str, context: Context) -> Request:
    """Two to four orders in a row, the first of them of `function`; the last may be of one that was called before."""
    rng, language = context.rng, context.language
    others = [other for other in FUNCTIONS if other != function]
    chosen = [function, *rng.sample(others, rng.choice((1, 1, 1, 2, 2, 3)))]
    if rng.random() < _TWICE:
        chosen[-1] = rng.choice(chosen[:-1])
    joined: Segments = []
    calls, used = [], []
    first = Template("")
    for place, name in enumerate(chosen):
        form = rng.choice(_forms(name, seen=False))
        template = rng.choice([found for found in _templates(language, form.name, context.split) if not found.sentence])
        segments, arguments = filled(template, context)
        if place:
            joined.append((rng.choice(_joints(language)), False))
        else:
            first = template
        joined += segments
        calls.append(_call(form, None, arguments, context))
        used.append(template.text)
    return Request(framed(joined, first, context), calls, used)


def _near_miss(function: str, context: Context) -> Request:
    if context.rng.random() < _SEEN:
        asked, template = context.rng.choice(_about(context.language, context.split))
        return _any_picture(_uncalled([template], context), context, asked)
    return _uncalled(_distractors(context.language, function, context.split), context)


def unrelated(context: Context, excluded: Collection[str]) -> Request:
    """A request for what some functions do not do.

    `excluded` are the topics that they serve (of `distractors_en.TOPICS`).
    """
    rng, language, split = context.rng, context.language, context.split
    found = [topic for topic in (*_DISTRACTORS[language].IRRELEVANT, *FUNCTIONS) if topic not in excluded]
    topic = rng.choice(found)
    if topic not in FUNCTIONS:
        return _uncalled(
            of_split(templates([_DISTRACTORS[language].IRRELEVANT[topic]]), split), context, pictured=False
        )
    request = _called(rng.choice(_forms(topic, seen=False)), None, context)
    request.calls = []
    return request


def _uncalled(found: Sequence[Template], context: Context, *, pictured: bool = True) -> Request:
    template = context.rng.choice(found)
    segments, _ = filled(template, context)
    request = Request(framed(segments, template, context), [], [template.text])
    return _any_picture(request, context) if pictured and context.rng.random() < _SEEN else request


def filled(template: Template, context: Context) -> tuple[Segments, dict[str, object]]:
    arguments: dict[str, object] = {}
    segments: Segments = []
    for place, part in enumerate(template.parts):
        if place % 2 == 0:
            segments.append((part, False))
        else:
            said, given = fill(part, context)
            segments.append((said, True))
            arguments |= given
    return segments, arguments


def framed(segments: Segments, template: Template, context: Context) -> Segments:
    """The words in a frame: an opener, politeness, an end."""
    frame = context.rng.choice(_frames(context.language, template.sentence))
    begin, end = frame.split("{core}")
    last = segments[-1][0] or (segments[-2][0] if len(segments) > 1 else "")
    if last and last[-1] in "?？":
        end = ""
    opening = segments[0][0]
    if begin and template.sentence and opening and not re.match(r"I\b", opening):
        segments = [(opening[0].lower() + opening[1:], False), *segments[1:]]
    return [(begin, False), *segments, (end, False)]


def written(segments: Segments, language: str, rng: random.Random) -> str:
    """The text of a request, a few with a typing error outside the values."""
    if rng.random() < _TYPOS:
        places = [place for place, (text, value) in enumerate(segments) if not value and len(text) > 3]
        if places:
            place = rng.choice(places)
            segments = [*segments[:place], (mistyped(segments[place][0], language, rng), False), *segments[place + 1 :]]
    first = next(place for place, (text, _) in enumerate(segments) if text)
    text, value = segments[first]
    if language == "en" and not value and rng.random() < 0.7:
        segments = [*segments[:first], (text[0].upper() + text[1:], False), *segments[first + 1 :]]
    return "".join(text for text, _ in segments)


@lru_cache
def _forms(function: str, *, seen: bool) -> tuple[Form, ...]:
    return tuple(f for f in FORMS.values() if f.function == function and (f.picture is not None) == seen)


@lru_cache
def _templates(language: str, form: str, split: str) -> tuple[Template, ...]:
    return tuple(of_split(templates(_PHRASES[language].PHRASES[form]), split))


@lru_cache
def _distractors(language: str, function: str, split: str) -> tuple[Template, ...]:
    module = _DISTRACTORS[language]
    return tuple(of_split(templates(module.NEAR_MISSES[function] if function else module.IRRELEVANT.values()), split))


@lru_cache
def _about(language: str, split: str) -> tuple[tuple[str, Template], ...]:
    """Questions about pictures, each with the picture that it asks about."""
    asked = {
        t.text: name for name, patterns in _DISTRACTORS[language].ABOUT_PICTURES.items() for t in templates(patterns)
    }
    return tuple((asked[t.text], t) for t in of_split([Template(text, sentence=True) for text in asked], split))


@lru_cache
def _frames(language: str, sentence: bool) -> tuple[str, ...]:
    module = _PHRASES[language]
    return tuple(text for pattern in (module.GREETINGS if sentence else module.FRAMES) for text in expand(pattern))


@lru_cache
def _joints(language: str) -> tuple[str, ...]:
    return tuple(
        text.removeprefix("{first}").removesuffix("{second}")
        for pattern in _PHRASES[language].JOINS
        for text in expand(pattern)
    )
