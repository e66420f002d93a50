"""Episodes: made-up words for something in Tidepool's pictures, bound anew each time (fast mapping).

An episode draws a family, one trait of one of its objects (the colour of the left one, say), two values of it and two
made-up words. Each of its examples is a picture with one of the two values; its answer is that value's word. What the
words mean, and that they speak of this trait, stands nowhere but in the other examples: without them a question is a
toss of a coin, and neither pictures nor weights know the answer.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from sepiola.data.example import Example, Message, Question
from sepiola.errors import DataError
from sepiola.tidepool.words import LANGUAGES, word
from sepiola.tidepool.world import captions

_WORDS = {
    "en": "dax wug blick toma zorp fep mib nalo kiv rusk pimwit gorp tulver sarn yeb quon lutch dobe frim vash",
    "zh": "达克 乌格 布利 托玛 佐普 菲普 米布 纳洛 基夫 鲁斯 皮威 戈尔 图维 萨恩 耶布 昆恩 卢奇 多贝 弗林 瓦什",
}
FIXED = ("kind", "place")  # what an object is of, not what it looks like

Aspect = tuple[str, int, str]  # family, object, trait


def episodes(
    split: str,
    count: int,
    *,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
    families: Sequence[str] | None = None,
    size: int = 128,
    length: int = 9,
    scenes: int = 3_000,
    described: float = 0.0,
    named: float = 0.0,
    aspects: Sequence[str] | None = None,
) -> list[Example]:
    """`count` episodes of `length` examples, one after the other, over `scenes` pictures of the split.

    Questions have no words, but in the share that is `described`: there the name of the value stands in the picture's
    place, and the task is one for a language model. In the share of episodes that is `named` the words are the values'
    own names. `aspects` says what words may be bound to, such as `colour 1`, the colour of the first object; any trait
    of any object unless given. `metadata` holds the `episode` and its `aspect`; families and languages take turns.
    Raises DataError as `generate` does, and for too few scenes.
    """
    pool = captions(split, scenes, seed=seed, languages=languages, families=families, size=size)
    by_value: dict[Aspect, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, scene in enumerate(pool):
        for number, traits in enumerate(scene.metadata["objects"]):
            for trait in traits.keys() - set(FIXED):
                if aspects is not None and f"{trait} {number + 1}" not in aspects:
                    continue
                by_value[scene.metadata["family"], number, trait][traits[trait]].append(at)
    places: dict[str, list[Aspect]] = defaultdict(list)
    for aspect in sorted(by_value):
        values = {value: scenes for value, scenes in by_value[aspect].items() if len(scenes) >= length}
        by_value[aspect] = values
        if len(values) > 1:
            places[aspect[0]].append(aspect)
    if not places:
        raise DataError(
            f"{scenes} scenes are too few for episodes of {length} examples; raise 'scenes'"
            + (f", or these have none of the aspects {', '.join(aspects)}" if aspects is not None else "")
        )
    made: list[Example] = []
    for index in range(count):
        turn, place = divmod(index, len(places))
        language = languages[(turn + place) % len(languages)]
        rng = random.Random(f"tidepool episode {seed} {split} {index}")
        aspect = rng.choice(list(places.values())[place])
        name = f"tidepool-episode-{split}-{index:06d}-{language}"
        chosen = rng.sample(sorted(by_value[aspect]), 2)
        words = [word(language, value) for value in chosen]
        if rng.random() >= named:
            words = rng.sample(_WORDS[language].split(), 2)
        bound = dict(zip(chosen, words, strict=True))
        made += _episode(name, pool, by_value[aspect], aspect, bound, language, length, described, rng)
    return made


def _episode(
    name: str,
    pool: Sequence[Example],
    values: dict[str, list[int]],
    aspect: Aspect,
    bound: dict[str, str],
    language: str,
    length: int,
    described: float,
    rng: random.Random,
) -> list[Example]:
    chosen, words = tuple(bound), tuple(bound.values())
    unused = [rng.sample(values[value], length) for value in chosen]
    family, number, trait = aspect
    examples = []
    for place in range(length):
        answer = rng.randrange(2)
        scene = pool[unused[answer].pop()]
        text = word(language, chosen[answer]) if rng.random() < described else ""
        question = Question(text, words, answer)
        metadata = {
            "split": scene.metadata["split"],
            "language": language,
            "family": family,
            "group": scene.metadata["group"],
            "episode": name,
            "aspect": f"{family}: {trait} {number + 1}",
        }
        message = Message("user", (text,) if text else scene.images)
        examples.append(Example(f"{name}-{place:02d}", (message,), words[answer], question, metadata))
    return examples
