"""Baselines of preferences: length alone, and a linear machine that learns from differences."""

from __future__ import annotations

import pytest

from sepiola.data.example import Message
from sepiola.data.preferences import Completion, preference
from sepiola.evaluation.baselines.preferences import pairs_of, preference_baselines


def pair(name: str, better: str, worse: str, language: str = "en") -> object:
    completions = [Completion(worse, 0.0), Completion(better, 1.0)]
    return preference(name, [Message("user", ("?",))], completions, {"language": language})


def test_pairs_of_a_ranking_leave_ties_out() -> None:
    ranking = [Completion("a", 1.0), Completion("b", 2.0), Completion("c", 1.0)]
    assert pairs_of([preference("r", [], ranking)]) == [("b", "a"), ("b", "c")]


@pytest.mark.parametrize(("language", "kind", "rude"), [("en", "please friend", "go away"), ("zh", "请坐", "走开")])
def test_words_are_learned_and_length_is_counted(language: str, kind: str, rude: str) -> None:
    train = [pair(f"t{n}", f"{kind} {n}", f"{rude} {n}", language) for n in range(8)]
    asked = [pair("a", f"{kind} 9", f"{rude} 9 9", language), pair("b", kind, f"{rude} 9", language)]
    asked += [pair("c", f"{kind} 12345678901234", rude, language)]
    found = preference_baselines(train, asked)  # type: ignore[arg-type]
    assert found["linear"].correct == found["linear"].count == 3
    lengths = [(len(better) > len(worse)) + (len(better) == len(worse)) / 2 for better, worse in pairs_of(asked)]  # type: ignore[arg-type]
    assert (found["longer"].correct, found["shorter"].correct) == (sum(lengths), 3 - sum(lengths))
    assert "linear" not in preference_baselines([], asked)  # type: ignore[arg-type]
