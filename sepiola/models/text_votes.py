"""What similar training questions say of a question's options. Every option of every training question is a pair,
right or wrong; the pairs nearest to the question and one of its options vote on that option: the likeness of the
questions, to a power, times that of the options. Texts are compared by TF-IDF (hashed, so that no vocabulary is kept)
or by vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sepiola.errors import SepiolaError
from sepiola.models.picture_votes import Known
from sepiola.specs.conditional_logit import Shape, TextVoteSpec
from sepiola.text.option_features import Asked, hashed, words

Floats = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Floats]
"""Vectors of texts, of length 1."""

_TYPES = {
    "owners": torch.int64,
    "offered": torch.int64,
    "labels": torch.float32,
    "groups": torch.int64,
}
_SIDES = ("question", "option")
_SPARSE = {"rows": torch.int32, "values": torch.float32, "ends": torch.int64, "rarity": torch.float32}


def question_grams(text: str) -> list[str]:
    """Runs of one to three words within a line, marks left out."""
    lines = [[word for word in words(line) if word[0].isalnum()] for line in text.split("\n")]
    return [" ".join(said[i : i + n]) for said in lines for n in (1, 2, 3) for i in range(len(said) - n + 1)]


def option_grams(text: str) -> list[str]:
    """Runs of one to five characters within a word and the blanks around it: "lions" is like "lion"."""
    padded = [f" {word} " for word in text.lower().split()]
    return [word[i : i + n] for word in padded for n in range(1, 6) for i in range(max(0, len(word) - n) + 1)]


class TextVotes(nn.Module):
    """Training pairs that vote, `(pairs,)` each: the question (`owners`), its option (`offered`), the `labels`, and the
    question's hash (`groups`). Beside them vectors of all questions, and of all options that are not alike.

    The vectors are an encoder's states (`vectors`, of questions that are not alike), or TF-IDF, kept as an inverted
    index: one place after the other, whose entries end at `ends`, the `rows` that are not 0 there and their `values`;
    and every place's `rarity`. Vectors and values are of half precision, and integers as short as they may be.
    """

    owners: Tensor
    offered: Tensor
    labels: Tensor
    groups: Tensor

    names = ("vote", "share")
    """`vote` is the summed worth of the nearest pairs, `share` the same as a part of their weight."""

    def __init__(self, spec: TextVoteSpec, shapes: dict[str, Shape]) -> None:
        super().__init__()
        self.spec = spec
        kinds = {"vectors": torch.float32} if spec.by == "states" else _SPARSE
        types = {**_TYPES, **{f"{side}_{name}": kind for side in _SIDES for name, kind in kinds.items()}}
        for name, kind in types.items():
            self.register_buffer(name, torch.zeros(shapes.get(name, (0,)), dtype=kind))

    def remember(self, known: Sequence[Known], encode: Encode | None) -> dict[str, Tensor]:
        """What it is to remember of the training questions, by the names of its buffers."""
        counts = [len(each.labels) for each in known]
        asked = [self._asked(each.asked) for each in known]
        # TF-IDF counts in how many questions a word stands, those that are alike among them.
        questions, owners = numbered(asked) if self.spec.by == "states" else (asked, np.arange(len(asked)))
        options, offered = numbered([option for each in known for option in each.asked.lower])
        arrays: dict[str, NDArray[np.generic]] = {
            "owners": short(np.repeat(owners, counts)),
            "offered": short(offered),
            "labels": np.array([label for each in known for label in each.labels], np.float32),
            "groups": np.repeat(np.array([each.asked.group for each in known], np.int64), counts),
        }
        for side, texts in (("question", questions), ("option", options)):
            states = self.spec.by == "states"
            found = {"vectors": halved(self._encoded(texts, encode))} if states else self._fitted(side, texts)
            arrays |= {f"{side}_{name}": array for name, array in found.items()}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def votes(self, asked: Asked, *, learning: bool, encode: Encode | None) -> Floats:
        """What the nearest pairs say of each option `(options, names)`. When `learning`, questions with the same words
        and options, the question itself among them, have no vote.
        """
        result = np.zeros((len(asked.lower), len(self.names)), np.float32)
        if not len(self.owners):
            return result
        (nearness,) = self._likeness("question", [self._asked(asked)], encode)
        spread = (nearness**self.spec.question_power)[self.owners.numpy()]
        offered, labels = self.offered.numpy(), self.labels.numpy()
        if learning:
            spread[self.groups.numpy() == asked.group] = 0
        count = min(self.spec.neighbours, len(labels))
        heaviest = 0.0
        for place, likeness in enumerate(self._likeness("option", asked.lower, encode)):
            weights = spread * (likeness**self.spec.option_power)[offered]
            nearest = np.argpartition(-weights, count - 1)[:count]
            result[place] = weights[nearest] @ labels[nearest]
            heaviest = max(heaviest, float(weights[nearest].sum()))
        result[:, 1] /= heaviest + 1e-6
        return result

    def _asked(self, asked: Asked) -> str:
        """A question as it is compared: with its hint, and by TF-IDF with its options, which say what it is about."""
        question = asked.question
        options = question.choices if self.spec.by == "tfidf" else ()
        return "\n".join(part for part in (question.text, question.hint, *options) if part)

    def _likeness(self, side: str, texts: Sequence[str], encode: Encode | None) -> list[Floats]:
        """The cosine of each text with all that are remembered `(rows,)`, or 0 where it is negative."""
        if self.spec.by == "states":
            vectors = getattr(self, f"{side}_vectors").numpy()
            return [*np.maximum(self._encoded(texts, encode) @ vectors.T, 0)]
        rows, values, ends, rarity = (getattr(self, f"{side}_{name}").numpy() for name in _SPARSE)
        count = int((self.owners if side == "question" else self.offered).max()) + 1
        found = []
        for text in texts:
            places, weights = _weighted(self._counts(side, text), rarity)
            entries = [slice(ends[place - 1] if place else 0, ends[place]) for place in places]
            products = [values[entry] * weight for entry, weight in zip(entries, weights, strict=True)]
            met = np.concatenate([rows[entry] for entry in entries])
            found.append(np.bincount(met, np.concatenate(products), count).astype(np.float32))
        return found

    @staticmethod
    def _encoded(texts: Sequence[str], encode: Encode | None) -> Floats:
        if encode is None:
            raise SepiolaError("votes by states need an encoder: give the model a 'language' of kind encoder")
        return encode(texts)

    def _counts(self, side: str, text: str) -> Counter[int]:
        """How often each gram stands in a text, by its place; one place is there in every text."""
        grams = question_grams(text) if side == "question" else option_grams(text)
        return Counter({0: 1}) + Counter(hashed(gram) % (self.spec.buckets - 1) + 1 for gram in grams)

    def _fitted(self, side: str, texts: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        counts = [self._counts(side, text) for text in texts]
        frequency = np.zeros(self.spec.buckets)
        for own in counts:
            frequency[[*own]] += 1
        rarity = (np.log((1 + len(texts)) / (1 + frequency)) + 1).astype(np.float32)
        rarity[0] = 1e-3
        rows = [_weighted(own, rarity) for own in counts]
        places = np.concatenate([places for places, _ in rows])
        order = np.argsort(places, kind="stable")
        owners = np.repeat(np.arange(len(rows), dtype=np.int32), [len(places) for places, _ in rows])
        return {
            "rows": short(owners[order]),
            "values": halved(np.concatenate([values for _, values in rows])[order]),
            "ends": short(np.bincount(places, minlength=self.spec.buckets).cumsum()),
            "rarity": rarity,
        }


def numbered(texts: Sequence[str]) -> tuple[list[str], NDArray[np.integer]]:
    """The texts that are not alike, in their order, and the number of each text among them."""
    distinct = list(dict.fromkeys(texts))
    number = {text: place for place, text in enumerate(distinct)}
    return distinct, np.array([number[text] for text in texts], np.int64)


def short(numbers: NDArray[np.integer]) -> NDArray[np.integer]:
    """Integers, 0 or more, in the shortest of 16, 32 and 64 bits that holds them all."""
    most = int(numbers.max(initial=0))
    return numbers.astype(next(kind for kind in (np.int16, np.int32, np.int64) if most <= np.iinfo(kind).max))


def halved(values: Floats) -> Floats:
    """The nearest numbers of half precision, which a checkpoint stores as such."""
    return values.astype(np.float16).astype(np.float32)


def _weighted(counts: Counter[int], rarity: Floats) -> tuple[NDArray[np.int64], Floats]:
    """TF-IDF with 1 + log of the counts, of length 1: the places that are not 0, and their values."""
    places = np.fromiter(counts, np.int64)
    values = (1 + np.log(np.fromiter(counts.values(), np.float64))) * rarity[places]
    return places, (values / np.linalg.norm(values)).astype(np.float32)
