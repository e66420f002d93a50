"""Tidepool's preferences: equal length, one false claim, spans that tell where, and words that tell nothing."""

from __future__ import annotations

import pytest

from sepiola.data.example import Example
from sepiola.data.preferences import completions_of
from sepiola.datasets import read
from sepiola.errors import DataError
from sepiola.evaluation.baselines.preferences import preference_baselines
from sepiola.tidepool import FAMILIES, false_claims, preferences, split_of
from sepiola.tidepool.preferences import LACKING

QUICK = ("counting", "thermometers", "objects", "charts")


def false(example: Example, text: str) -> tuple[int, int]:
    about = example.metadata
    return false_claims(text, about["scene"], about["family"], about["language"])


def test_one_completion_is_true_and_the_other_wrong_by_one_claim() -> None:
    kinds = sum(
        (name, language) not in LACKING[what] for name in FAMILIES for language in ("en", "zh") for what in LACKING
    )
    examples = preferences("train", kinds, seed=1, size=64)
    assert len({(e.metadata["family"], e.metadata["language"], e.metadata["text"]) for e in examples}) == kinds
    for example in examples:
        true, wrong = completions_of(example)
        assert (true.score, wrong.score) == (0.0, -1.0) and example.target == true.text
        assert false(example, true.text)[0] == 0 < false(example, true.text)[1]
        assert false(example, wrong.text)[0] == 1
        assert len(true.text) == len(wrong.text)
        assert split_of(example.metadata["group"]) == "train"
        mended, at = list(wrong.text), list(true.text)
        for begin, end in wrong.corrected:
            mended[begin:end] = at[begin:end]
        if [end - begin for begin, end in wrong.corrected] == [end - begin for begin, end in true.corrected]:
            assert "".join(mended) == true.text, "the spans hold all that differs"


def test_several_are_ranked_by_their_false_claims() -> None:
    for example in preferences("val", 8, families=QUICK, size=64, completions=4):
        completions = completions_of(example)
        scores = [completion.score for completion in completions]
        assert scores == sorted(scores, reverse=True) and scores[0] == 0.0 > scores[1]
        assert [-false(example, c.text)[0] for c in completions] == scores
        assert len({len(c.text) for c in completions}) == 1


def test_words_alone_do_not_tell_which_is_true() -> None:
    options = {"families": QUICK, "size": 64}
    train, test = preferences("train", 400, seed=3, **options), preferences("test", 240, seed=3, **options)
    assert not {e.metadata["group"] for e in train} & {e.metadata["group"] for e in test}
    for language in ("en", "zh"):
        known, asked = ([e for e in some if e.metadata["language"] == language] for some in (train, test))
        found = preference_baselines(known, asked)["linear"]
        assert abs(found.correct / found.count - 0.5) < 0.16, "three deviations of 120 tosses"


def test_the_same_seed_makes_the_same_and_options_are_checked() -> None:
    first, again = (preferences("train", 3, families=("charts",), size=64) for _ in range(2))
    assert first == again
    by_reader = read("tidepool", None, "train", count=3, task="preferences", families=["charts"], size=64)
    assert [e.target for e in by_reader] == [e.target for e in first]
    for options, message in (
        ({"completions": 1}, "completions: got 1; expected 2 to 9"),
        ({"texts": ["poems"]}, "expected some of captions, rationales"),
        ({"families": ["magnets"], "languages": ["en"]}, "of equal length differ by one fact"),
    ):
        with pytest.raises(DataError, match=message):
            preferences("train", 1, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="completions: options of the task 'preferences'"):
        read("tidepool", None, "train", count=1, completions=3)
