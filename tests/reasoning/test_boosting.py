"""SAMME against scikit-learn's AdaBoost on its own toy, and where questions have their own number of options."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sepiola.errors import DataError
from sepiola.reasoning.boosting import samme_round


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_alphas_and_weights_are_scikit_learns(classes: int) -> None:
    """The quantile toy of scikit-learn's example "Multi-class AdaBoosted decision trees", at 300 points."""
    datasets = pytest.importorskip("sklearn.datasets")
    ensemble, tree = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("sklearn.tree")
    x, y = datasets.make_gaussian_quantiles(n_samples=300, n_features=4, n_classes=classes, random_state=1)
    model = ensemble.AdaBoostClassifier(tree.DecisionTreeClassifier(max_depth=2), n_estimators=8, random_state=0)
    model.fit(x, y)
    weights = tuple([1 / 300] * 300)
    assert len(model.estimators_) == 8
    for member, alpha, error in zip(model.estimators_, model.estimator_weights_, model.estimator_errors_, strict=True):
        wrong = member.predict(x) != y
        assert float(np.asarray(weights)[wrong].sum()) == pytest.approx(error, rel=1e-9)
        one = samme_round(weights, [classes] * 300, (~wrong).tolist())
        assert one.alphas == {classes: pytest.approx(alpha, rel=1e-9)}
        weights = one.weights


def test_two_options_are_adaboost() -> None:
    one = samme_round([0.25] * 4, [2] * 4, [True, True, True, False])
    assert one.alphas == {2: pytest.approx(math.log(3))}
    assert one.weights == pytest.approx((1 / 6, 1 / 6, 1 / 6, 1 / 2)), "right and wrong weigh alike afterwards"
    assert sum(one.weights) == pytest.approx(1)


def test_each_number_of_options_has_its_own_error_and_vote() -> None:
    options = [2, 2, 2, 2, 4, 4, 4, 4]
    right = [True, True, True, False, True, False, False, True]
    one = samme_round([1 / 8] * 8, options, right)
    assert one.alphas == {2: pytest.approx(math.log(3)), 4: pytest.approx(math.log(3))}
    for size in (2, 4):
        own = [n for n, k in enumerate(options) if k == size]
        alone = samme_round([0.25] * 4, [size] * 4, [right[n] for n in own])
        assert alone.alphas[size] == pytest.approx(one.alphas[size])
        assert alone.weights == pytest.approx([one.weights[n] / sum(one.weights[m] for m in own) for n in own]), (
            "within one number of options it is plain SAMME"
        )


def test_no_better_than_chance_has_no_vote_and_stops() -> None:
    half = samme_round([0.25] * 4, [2] * 4, [True, True, False, False])
    assert half.alphas == {} and half.weights == (0.25,) * 4
    assert samme_round([0.25] * 4, [4] * 4, [True, False, False, False]).alphas == {}, "e = 1 - 1/K"
    assert samme_round([0.2] * 5, [4] * 5, [True, True, False, False, False]).alphas[4] > 0
    mixed = samme_round([0.25] * 4, [2, 2, 3, 3], [False, True, True, False])
    assert set(mixed.alphas) == {3} and mixed.weights[0] == mixed.weights[1], "no vote, no change of weights"


def test_a_perfect_member_has_a_finite_vote_and_ends_boosting() -> None:
    one = samme_round([0.5, 0.25, 0.25], [3] * 3, [True] * 3)
    assert one.perfect and math.isfinite(one.alphas[3]) and one.weights == pytest.approx((0.5, 0.25, 0.25))


@pytest.mark.parametrize(
    ("weights", "options", "right"),
    [([1.0], [2, 2], [True]), ([0.0, 0.0], [2, 2], [True, True]), ([0.5, 0.5], [1, 2], [True, True])],
)
def test_what_cannot_be_boosted_is_refused(weights: list[float], options: list[int], right: list[bool]) -> None:
    with pytest.raises(DataError, match="boosting"):
        samme_round(weights, options, right)
