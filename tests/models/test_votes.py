"""Votes of similar training questions against brute force, and who has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from sepiola.data.example import Question
from sepiola.data.image import ImageRef
from sepiola.errors import SepiolaError
from sepiola.models.picture_votes import Floats, Known, PictureVotes, pixels_of
from sepiola.models.text_votes import TextVotes, option_grams, question_grams
from sepiola.specs.conditional_logit import PictureVoteSpec, TextVoteSpec
from sepiola.text.option_features import Asked, hashed
from tests.tiny import colour_picture, noise_picture

ANIMALS = ("shark", "salmon", "trout", "whale", "seal", "heron", "eagle", "frog", "toad", "newt")


def known(text: str, choices: Sequence[str], answer: int, image: ImageRef | None = None) -> Known:
    wrong = -1 / (len(choices) - 1)
    labels = tuple(1.0 if i == answer else wrong for i in range(len(choices)))
    return Known(Asked(Question(text, tuple(choices), answer), frozenset()), labels, image)


def drawn(count: int = 40) -> list[Known]:
    rng = np.random.default_rng(0)
    kinds = ("fish", "mammal", "bird", "amphibian 两栖")
    return [
        known(
            f"Which is a {rng.choice(kinds)} of pond {n % 7}?",
            [*rng.choice(ANIMALS, 3, replace=False)],
            int(rng.integers(3)),
        )
        for n in range(count)
    ]


def texts(spec: TextVoteSpec, questions: Sequence[Known], encode: object = None) -> TextVotes:
    votes = TextVotes(spec, {})
    for name, value in votes.remember(questions, encode).items():  # type: ignore[arg-type]
        setattr(votes, name, value)
    return votes


def tfidf(texts: Sequence[str], grams: object) -> list[dict[str, float]]:
    """TF-IDF by the formula, without hashing."""
    counts = [Counter(grams(text)) for text in texts]  # type: ignore[operator]
    documents = Counter(gram for own in counts for gram in own)
    found = []
    for own in counts:
        row = {g: (1 + math.log(n)) * (math.log((1 + len(texts)) / (1 + documents[g])) + 1) for g, n in own.items()}
        length = math.sqrt(sum(v * v for v in row.values()))
        found.append({g: v / length for g, v in row.items()})
    return found


def test_votes_of_texts_are_those_of_brute_force() -> None:
    questions = drawn()
    votes = texts(TextVoteSpec(neighbours=5, buckets=1 << 22), questions)
    distinct = list(dict.fromkeys(option for each in questions for option in each.asked.lower))
    asked = tfidf(["\n".join((e.asked.question.text, *e.asked.question.choices)) for e in questions], question_grams)
    options = dict(zip(distinct, tfidf(distinct, option_grams), strict=True))

    def cosine(a: dict[str, float], b: dict[str, float]) -> float:
        return sum(value * b.get(gram, 0.0) for gram, value in a.items())

    for place in range(5):
        mine = questions[place].asked
        found = votes.votes(mine, learning=False, encode=None)
        for option, text in enumerate(mine.lower):
            pairs = [
                (cosine(asked[place], asked[n]) ** 4 * cosine(options[text], options[other]), label)
                for n, each in enumerate(questions)
                for other, label in zip(each.asked.lower, each.labels, strict=True)
            ]
            nearest = sorted(pairs, reverse=True)[:5]
            weights = sorted((weight for weight, _ in pairs), reverse=True)
            if weights[4] - weights[5] > 1e-6:  # no tie that is broken by chance
                assert found[option, 0] == pytest.approx(sum(w * label for w, label in nearest), abs=1e-3)


def test_a_question_has_no_vote_on_itself_nor_has_one_that_repeats_it() -> None:
    repeated = known("which is a FISH of pond 0?", ["Whale", "shark", "seal"], 0)
    mine = known("Which is a fish of pond 0?", ["shark", "whale", "seal"], 1)
    others = drawn(12)
    for spec, encode in ((TextVoteSpec(), None), (TextVoteSpec(by="states"), letters)):
        for learning in (True, False):
            with_them = texts(spec, [*others, mine, repeated], encode).votes(
                mine.asked, learning=learning, encode=encode
            )
            assert (with_them[1, 0] > 0.5) is not learning
        without = texts(spec, [*others, known("Something else 鲸", ["a1", "b1", "c1"], 0)], encode)
        if spec.by == "states":  # TF-IDF weighs words by how many questions there are
            alone = without.votes(mine.asked, learning=True, encode=encode)
            together = texts(spec, [*others, mine, repeated], encode).votes(mine.asked, learning=True, encode=encode)
            assert np.abs(alone - together).max() < 0.2


def letters(texts: Sequence[str]) -> Floats:
    """Vectors of how often each letter stands in a text."""
    counts = np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in texts], np.float32) + 1e-3
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_votes_by_states_need_an_encoder() -> None:
    votes = texts(TextVoteSpec(by="states"), drawn(4), letters)
    with pytest.raises(SepiolaError, match="need an encoder"):
        votes.votes(drawn(1)[0].asked, learning=False, encode=None)


def pictures(questions: Sequence[Known], **spec: int) -> PictureVotes:
    votes = PictureVotes(PictureVoteSpec(side=4, **spec), {})
    for name, value in votes.remember(questions).items():
        setattr(votes, name, value)
    return votes


def test_votes_of_pictures_are_those_of_brute_force() -> None:
    questions = [known("Which state is it?", ["Ohio", "Iowa", "Utah"], n % 3, noise_picture(n)) for n in range(9)]
    mine = questions[0]
    assert mine.image is not None
    own = pixels_of(mine.image, 4) / 255
    distances = [float(((pixels_of(q.image, 4) / 255 - own) ** 2).mean()) for q in questions[1:] if q.image]
    near = sorted(zip(distances, questions[1:], strict=True), key=lambda pair: pair[0])[:4]
    weights = np.array([1 / (d + 1e-4) for d, _ in near])
    expected = sum(w * np.array(q.labels) for w, (_, q) in zip(weights / weights.sum(), near, strict=True))
    found = pictures(questions, neighbours=4).votes(mine.asked, mine.image, learning=True)
    assert found[:, 0] == pytest.approx(expected, abs=1e-5)


def test_the_same_picture_votes_but_not_on_its_own_question_nor_on_one_that_repeats_it() -> None:
    map_of_ohio = noise_picture(5)
    ohio = known("Which state is it?", ["Ohio", "Iowa"], 0, map_of_ohio)
    repeats = known("which state is it?", ["iowa", "ohio"], 1, map_of_ohio)
    other = known("Which state is it?", ["Ohio", "Utah"], 0, map_of_ohio)
    asked, image = ohio.asked, map_of_ohio
    assert pictures([ohio, repeats]).votes(asked, image, learning=True).any() == np.False_
    assert pictures([ohio, repeats]).votes(asked, image, learning=False)[0, 0] == pytest.approx(1.0)
    assert pictures([ohio, other]).votes(asked, image, learning=True)[0, 0] == pytest.approx(1.0)


def test_questions_of_another_kind_and_those_without_a_picture_have_no_vote() -> None:
    common = frozenset(map(hashed, ("colour", "is")))
    image, choices = colour_picture("red"), ("red", "blue")
    seen = Known(Asked(Question("Is its colour red?", choices, 0), common), (1.0, -1.0), image)
    votes = pictures([seen, known("Is its colour red?", choices, 1)])
    assert len(votes.pixels) == 1
    assert votes.votes(Asked(Question("Is my colour blue?", choices, 0), common), image, learning=False).any()
    assert not votes.votes(Asked(Question("Colour is this?", choices, 0), common), image, learning=False).any()
    assert not votes.votes(seen.asked, None, learning=False).any()
