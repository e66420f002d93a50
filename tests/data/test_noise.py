"""What pretraining hides: each corruption against its paper, and against the text it came from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sepiola.data.batching import IGNORED, Sample
from sepiola.data.noise import Denoising, Masking, SpanCorruption

END, MASK = 1, 3
TEXTS = st.lists(st.integers(10, 60), min_size=1, max_size=80)
SENTINELS = list(range(99, 89, -1))


def piece(ids: list[int]) -> Sample:
    return Sample("d", (9,), [*ids, END])


@given(TEXTS, st.integers(0, 9))
def test_masking_changes_what_it_labels_and_nothing_else(ids: list[int], seed: int) -> None:
    noised = Masking(MASK, 100, frozenset((0, END)))(piece(ids), np.random.default_rng(seed))
    read, labels, original = np.array(noised.source), np.array(noised.target), np.array([*ids, END])
    hidden = labels != IGNORED
    assert hidden.sum() == max(1, round(0.15 * len(ids))) and not hidden[-1]
    assert (labels[hidden] == original[hidden]).all() and (read[~hidden] == original[~hidden]).all()


def test_masking_masks_eight_of_ten_and_draws_one() -> None:
    noised = Masking(MASK, 100, frozenset())(Sample("d", (), [7] * 40_000), np.random.default_rng(0))
    read = np.array(noised.source)[np.array(noised.target) != IGNORED]
    assert abs((read == MASK).mean() - 0.8) < 0.02
    assert abs((read == 7).mean() - 0.1) < 0.02


@given(TEXTS, st.integers(0, 9))
def test_span_corruption_can_be_undone(ids: list[int], seed: int) -> None:
    noised = SpanCorruption(SENTINELS, END)(piece(ids), np.random.default_rng(seed))
    *source, last = noised.source
    *target, ending = noised.target
    assert (last, ending) == (END, END)
    used = [t for t in target if t in SENTINELS]
    assert used == SENTINELS[: len(used)] == [t for t in source if t in SENTINELS]
    hidden = {s: target[target.index(s) + 1 : target.index(n)] for s, n in pairwise(used)}
    hidden[used[-1]] = target[target.index(used[-1]) + 1 :]
    undone = [token for t in source for token in hidden.get(t, [t])]
    assert undone == ids


def test_span_corruption_hides_as_much_as_t5() -> None:
    ids = list(range(100, 612))
    lengths, hidden = [], []
    for seed in range(50):
        target = SpanCorruption(list(range(700, 800)), END)(piece(ids), np.random.default_rng(seed)).target
        spans = sum(t >= 700 for t in target)
        lengths.append((len(target) - 1 - spans) / spans)
        hidden.append(len(target) - 1 - spans)
    assert abs(np.mean(lengths) - 3.0) < 0.1
    assert set(hidden) == {round(0.15 * 512)}


@given(TEXTS, st.integers(0, 9))
def test_denoising_shuffles_whole_sentences_and_infills(ids: list[int], seed: int) -> None:
    closing = np.zeros(100, dtype=bool)
    closing[[20, 30]] = True
    noised = Denoising(MASK, END, closing)(piece(ids), np.random.default_rng(seed))
    assert list(noised.target) == [*ids, END]
    *source, last = noised.source
    left = [t for t in source if t != MASK]
    assert last == END
    assert len(ids) - len(left) <= round(0.3 * len(ids))
    assert all(left.count(t) <= ids.count(t) for t in left)
    whole = Denoising(MASK, END, closing, share=0.0)(piece(ids), np.random.default_rng(seed))
    sentences = np.split(np.array(ids), np.flatnonzero(closing[ids]) + 1)
    body = list(whole.source[:-1])
    assert sorted(body) == sorted(ids)
    assert all("".join(map(chr, s)) in "".join(map(chr, body)) for s in sentences)


def test_denoising_infills_a_third() -> None:
    noised = Denoising(MASK, END, np.zeros(600, dtype=bool))(piece(list(range(10, 522))), np.random.default_rng(0))
    gone = 512 - sum(t not in (MASK, END) for t in noised.source)
    assert 0.2 * 512 < gone <= 0.3 * 512
    assert list(noised.source).count(MASK) > 20


def test_same_generator_same_noise() -> None:
    ids = list(range(10, 60))
    for noise in (Masking(MASK, 100, frozenset()), SpanCorruption(SENTINELS, END)):
        first, second, other = (noise(piece(ids), np.random.default_rng(seed)) for seed in (4, 4, 5))
        assert list(first.source) == list(second.source) != list(other.source)
