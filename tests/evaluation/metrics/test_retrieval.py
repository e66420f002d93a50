"""Recall at k against ranks counted by hand, and chance against every order of the candidates."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch

from sepiola.data.example import Example, Message
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.evaluation.metrics.retrieval import recalls, retrieval, retrieval_tables


def test_ranks_by_hand_and_ties_against_the_model() -> None:
    right = torch.eye(12, dtype=torch.bool)
    scores = torch.zeros(12, 12)
    for query, before in enumerate([0, 0, 1, 4, 5, 9, 10, 11]):  # strangers that score higher than the right one
        scores[query] = torch.linspace(1, 2, 12)
        scores[query, query] = 9.0
        strangers = [c for c in range(12) if c != query][:before]
        scores[query, strangers] = 10.0
    found = recalls(scores, right)  # the last four queries have all scores equal
    assert [found[f"R@{k}"]["recall"] for k in (1, 5, 10)] == [2 / 12, 4 / 12, 6 / 12]
    low, high = found["R@5"]["interval"]
    assert low < 4 / 12 < high and found["R@5"]["count"] == 12


def test_chance_is_that_of_every_order() -> None:
    right = torch.tensor([[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1]], dtype=torch.bool)
    found = recalls(torch.zeros(2, 6), right)
    orders = list(permutations(range(6)))
    for cut in (1, 5):
        share = sum(any(row[c] for c in order[:cut]) for row in right for order in orders) / (2 * len(orders))
        assert found[f"R@{cut}"]["chance"] == pytest.approx(share)
    assert found["R@10"]["chance"] == 1.0


def test_a_picture_is_found_by_any_of_its_captions() -> None:
    """Two captions of one picture, and one caption of two pictures; what is no pair is left out."""

    def example(name: str, caption: str, *pictures: bytes) -> Example:
        return Example(name, (Message("user", (*(ImageRef(data=p) for p in pictures), "?")),), caption)

    examples = [
        example("1", "a dog", b"a"),
        example("2", "一只狗", b"a"),
        example("3", "a cat", b"b"),
        example("4", "a cat", b"c"),
        example("5", "", b"d"),
        example("6", "two", b"e", b"f"),
    ]

    class Told:
        def scores(self, images: list[ImageRef], texts: list[str]) -> torch.Tensor:
            assert [i.data for i in images] == [b"a", b"b", b"c"] and texts == ["a dog", "一只狗", "a cat"]
            return torch.tensor([[0.0, 1.0, 0.5], [0.2, 0.3, 0.9], [0.6, 0.1, 0.4]])

    matcher: Any = Told()
    found = retrieval(matcher, examples)
    assert (found["images"], found["texts"]) == (3, 3)
    assert found["image_to_text"]["R@1"]["recall"] == pytest.approx(2 / 3)  # the third picture finds "a dog" first
    assert found["text_to_image"]["R@1"]["recall"] == pytest.approx(2 / 3)  # "a dog" finds the third picture first
    (table,) = retrieval_tables(found)
    assert [line["name"] for line in table["lines"]] == ["This model", "chance"]
    assert table["columns"][0]["name"] == "image to text R@1" and table["lines"][0]["cells"][0]["value"] == "66.7"
    with pytest.raises(DataError, match="one image and a caption each"):
        retrieval(matcher, examples[4:])


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        recalls(torch.full((2, 2), torch.nan), torch.eye(2, dtype=torch.bool))
