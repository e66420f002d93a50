"""Scaling laws: the fit finds what points were made of, and its band holds what it says."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sepiola.errors import SepiolaError, TrainingError
from sepiola.evaluation.report.scaling import checked, fit, forecast

COMPUTE = np.geomspace(3e10, 1e13, 5)
BEYOND = 4e14


def law(compute: float, floor: float) -> float:
    return 60 * compute**-0.1 + floor


@pytest.mark.parametrize("floor", [0.0, 2.0])
def test_the_fit_finds_what_exact_points_were_made_of(floor: float) -> None:
    found = fit([(c, law(c, floor)) for c in COMPUTE])
    assert found.a == pytest.approx(60, rel=1e-3) and found.b == pytest.approx(-0.1, rel=1e-3)
    assert found.c == pytest.approx(floor, abs=2e-3)
    assert found.loss(BEYOND) == pytest.approx(law(BEYOND, floor), rel=1e-4)
    assert found.freedom == 2


@pytest.mark.parametrize("count", [4, 5])
def test_the_band_holds_a_new_point_19_times_of_20(count: int) -> None:
    """Whatever the noise: with few points Student's t is wide because the spread is guessed from few."""
    generator = np.random.default_rng(0)
    compute, inside, ladders = np.geomspace(3e10, 1e13, count), 0, 60
    for _ in range(ladders):
        found = fit([(c, law(c, 2.0) + generator.normal(0, 0.02)) for c in compute])
        interval = found.interval(BEYOND)
        assert interval is not None
        inside += interval[0] < law(BEYOND, 2.0) + generator.normal(0, 0.02) < interval[1]
    assert 0.88 * ladders <= inside < ladders


def test_three_points_have_a_law_and_no_band() -> None:
    found = fit([(c, law(c, 2.0)) for c in COMPUTE[:3]])
    assert found.loss(BEYOND) == pytest.approx(law(BEYOND, 2.0), rel=1e-3)
    assert found.freedom == 0 and found.interval(BEYOND) is None


def test_what_has_no_law_is_refused() -> None:
    with pytest.raises(TrainingError, match="got 2 points"):
        fit([(1e10, 5.0), (1e11, 4.0)])
    with pytest.raises(TrainingError, match="do not fall"):
        fit([(c, 4 + 0.1 * i) for i, c in enumerate(COMPUTE)])


def test_without_scipy_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(SepiolaError, match=r"pip install 'sepiola\[eval\]'"):
        fit([(c, law(c, 2.0)) for c in COMPUTE])


def test_a_forecast_is_checked_beside_its_baselines() -> None:
    points = [(c, law(c, 2.0)) for c in COMPUTE]
    found = checked(forecast(points, BEYOND), 1.01 * law(BEYOND, 2.0))
    assert found["relative_error"] == pytest.approx(1 / 1.01 - 1, rel=1e-3)
    assert found["in_band"] is False  # exact points leave no room
    last, line = found["baselines"].values()
    assert last["loss"] == points[-1][1] and last["relative_error"] > 0.2
    assert line["loss"] < found["predicted"]["loss"]  # it knows no floor
    assert checked(forecast(points[:3], BEYOND), 4.0)["in_band"] is None
