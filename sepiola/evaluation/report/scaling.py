"""Predictable scaling: a power law through the final losses of small models, and what it says of a larger one.

GPT-4's report (arXiv 2303.08774, section 3.1) fits `L(C) = a·C^b + c`, the loss `L` of models trained with compute `C`;
`c` is what no compute removes (Henighan et al., arXiv 2010.14701). Here the fit is by least squares on `L` with
`b < 0` and `c >= 0`, and its band is a prediction interval: where one more model would land.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from sepiola.errors import SepiolaError, TrainingError
from sepiola.evaluation.figures import Figures, Headline, Line, Table
from sepiola.evaluation.report.plots import power_law

Floats = NDArray[np.float64]

PARAMETERS = 3  # a, b and c
STARTS = (-0.02, -0.05, -0.1, -0.2, -0.5, -1.0)  # exponents that the fit begins with
DRAWN = 60  # points of the curve that are kept for the plot
BASELINES = {"last_loss": "the last loss again", "log_log_line": "a straight line in log-log, c = 0"}


@dataclass(frozen=True)
class PowerLaw:
    """`a·C^b + c`. The covariance is that of `(a·centre^b, b, c)`; `spread` is how far points lie from the curve."""

    a: float
    b: float
    c: float
    centre: float
    freedom: int
    spread: float | None
    covariance: Floats | None

    def loss(self, compute: float) -> float:
        """The curve at `compute`."""
        return self.a * compute**self.b + self.c

    def interval(self, compute: float) -> tuple[float, float] | None:
        """Where a model of this compute lands in 95 of 100 ladders; None where three points leave nothing to tell.

        By the delta method: the curve's own variance, linear in its parameters, plus that of a point around it, times
        Student's t with `freedom` degrees.
        """
        if self.covariance is None or self.spread is None:
            return None
        slope = _slopes(self.a * self.centre**self.b, self.b, np.log([compute / self.centre]))[0]
        variance = float(slope @ self.covariance @ slope) + self.spread**2
        reach = float(load_scipy().stats.t.ppf(0.975, self.freedom)) * math.sqrt(variance)
        middle = self.loss(compute)
        return middle - reach, middle + reach


def load_scipy() -> Any:
    """SciPy with its optimisers and distributions. Raises SepiolaError where it is not installed."""
    try:
        import scipy.optimize
        import scipy.stats
    except ImportError:
        raise SepiolaError("scaling laws and intervals over seeds need SciPy: pip install 'sepiola[eval]'") from None
    return scipy


def fit(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """The power law through at least three `(compute, loss)` points, by least squares on the loss.

    Raises TrainingError when there are fewer, or when the losses do not fall with compute.
    """
    if len(points) < PARAMETERS:
        raise TrainingError(f"a power law has {PARAMETERS} parameters; got {len(points)} points, expected at least 3")
    compute, losses = np.array(points, dtype=np.float64).T
    centre = float(np.exp(np.log(compute).mean()))
    places = np.log(compute / centre)

    if np.polyfit(places, losses, 1)[0] >= 0:
        shown = ", ".join(f"{loss:.4f}" for loss in losses)
        raise TrainingError(
            f"the losses do not fall as compute grows ({shown}), so there is no law to fit; train longer "
            "(--tokens-per-parameter) or lower the learning rate"
        )

    def residuals(p: Floats) -> Floats:
        return np.asarray(p[0] * np.exp(p[1] * places) + p[2] - losses)

    optimize = load_scipy().optimize
    solutions = [
        optimize.least_squares(
            residuals,
            _start(exponent, places, losses),
            jac=lambda p: _slopes(p[0], p[1], places),
            bounds=([0.0, -np.inf, 0.0], [np.inf, 0.0, np.inf]),
            x_scale="jac",
            ftol=1e-13,
            xtol=1e-13,
            gtol=1e-13,
            max_nfev=2000,
        )
        for exponent in STARTS
    ]
    best = min(solutions, key=lambda s: float(s.cost))
    scale, exponent, floor = (float(v) for v in best.x)
    freedom = len(points) - PARAMETERS
    spread, covariance = None, None
    if freedom:
        slopes = _slopes(scale, exponent, places)
        spread = math.sqrt(2 * float(best.cost) / freedom)
        covariance = np.asarray(spread**2 * np.linalg.pinv(slopes.T @ slopes), dtype=np.float64)
    return PowerLaw(scale * centre**-exponent, exponent, floor, centre, freedom, spread, covariance)


def _slopes(scale: float, exponent: float, places: Floats) -> Floats:
    """Derivatives of the curve by its three parameters `(points, 3)`; places are logarithms from the centre."""
    power = np.exp(exponent * places)
    return np.stack([power, scale * places * power, np.ones_like(places)], axis=1)


def _start(exponent: float, places: Floats, losses: Floats) -> list[float]:
    """The best scale and floor for an exponent, inside their bounds."""
    power = np.exp(exponent * places)
    scale, floor = np.linalg.lstsq(np.stack([power, np.ones_like(power)], axis=1), losses, rcond=None)[0]
    return [max(float(scale), 1e-3), exponent, max(float(floor), 1e-3)]


def forecast(points: Sequence[tuple[float, float]], compute: float) -> Figures:
    """What the points `(compute, loss)`, in order, say of a model trained with `compute`, as plain data.

    `baselines` are what one would say without the law: the last loss again, and a straight line through the logarithms
    (`c = 0`). `curve` holds `[compute, loss, low, high]` from the first point to the forecast.
    """
    law = fit(points)
    places, losses = np.log(np.array(points, dtype=np.float64)).T
    slope, level = (float(v) for v in np.polyfit(places, losses, 1))
    drawn = np.geomspace(points[0][0], compute, DRAWN)
    return {
        "fit": {"a": law.a, "b": law.b, "c": law.c, "spread": law.spread, "degrees_of_freedom": law.freedom},
        "predicted": {"compute": compute, "loss": law.loss(compute), "interval": _listed(law.interval(compute))},
        "baselines": {"last_loss": points[-1][1], "log_log_line": math.exp(level + slope * math.log(compute))},
        "curve": [[float(c), law.loss(c), *(law.interval(c) or (None, None))] for c in drawn],
    }


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def checked(prediction: Figures, measured: float) -> Figures:
    """A forecast beside what was then measured: relative errors (positive is too high), and whether the band held."""
    interval = prediction["predicted"]["interval"]
    return {
        **prediction,
        "measured": measured,
        "relative_error": prediction["predicted"]["loss"] / measured - 1,
        "in_band": None if interval is None else interval[0] <= measured <= interval[1],
        "baselines": {
            name: {"loss": loss, "relative_error": loss / measured - 1}
            for name, loss in prediction["baselines"].items()
        },
    }


# ------------------------------------------------------------------------------------------------ the report


def scaling_plot(scaling: Mapping[str, Any]) -> Markup:
    """The rungs that were fitted, the law with its band, and the last rung as predicted and as measured."""
    *fitted, last = [(rung["compute"], rung["loss"]) for rung in scaling["rungs"]]
    predicted = scaling["predicted"]
    return power_law(fitted, scaling["curve"], (predicted["compute"], predicted["loss"]), predicted["interval"], last)


def scaling_tables(scaling: Figures | None) -> list[Table]:
    """The rungs, then the forecast beside its baselines, as `sepiola.evaluation.report.page.tables` lays tables out."""
    if not scaling:
        return []
    rungs = [
        _line(
            f"width {r['width']}",
            [
                str(r["layers"]),
                f"{r['parameters']:,}",
                f"{r['tokens']:,}",
                f"{r['steps']:,}",
                f"{r['compute']:.3g}",
                f"{r['loss']:.4f}",
            ],
            own=r is scaling["rungs"][-1],
        )
        for r in scaling["rungs"]
    ]
    columns = ["Layers", "Parameters that multiply", "Tokens", "Steps", "Compute", "Loss"]
    law, predicted = scaling["fit"], scaling["predicted"]
    found = [
        _line("power law", [f"{predicted['loss']:.4f}", _band(predicted), _error(scaling)], own=True),
        *(_line(BASELINES[name], [f"{b['loss']:.4f}", "", _error(b)]) for name, b in scaling["baselines"].items()),
        _line("measured", [f"{scaling['measured']:.4f}", "", ""]),
    ]
    width = scaling["rungs"][-1]["width"]
    return [
        _table("Rungs", columns, rungs, "Compute is 6 · parameters · tokens, in FLOPs; the loss is held out, in nats."),
        _table(
            f"The loss of width {width}, predicted before it was trained",
            ["Loss", "95% band", "Error"],
            found,
            f"Power law: {law['a']:.4g} · C^{law['b']:.4g} + {law['c']:.4g}. "
            f"Degrees of freedom of its band: {law['degrees_of_freedom']}.",
        ),
    ]


def scaling_figures(scaling: Figures | None) -> list[Headline]:
    """The headline: what was predicted, what was measured."""
    if not scaling:
        return []
    predicted = scaling["predicted"]
    verdict = {None: "", True: "inside the band", False: "outside the band"}[scaling["in_band"]]
    unscaled = f"the last loss again: {_error(scaling['baselines']['last_loss'])}"
    return [
        {"name": "Predicted loss", "value": f"{predicted['loss']:.4f}", "note": f"95% band {_band(predicted)}"},
        {"name": "Measured loss", "value": f"{scaling['measured']:.4f}", "note": verdict},
        {"name": "Error", "value": _error(scaling), "note": unscaled},
    ]


def _band(predicted: Figures) -> str:
    interval = predicted["interval"]
    return "none of three points" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _error(figures: Figures) -> str:
    return f"{100 * figures['relative_error']:+.2f}%"


def _line(name: str, values: Sequence[str], *, own: bool = False) -> Line:
    return {"name": name, "own": own, "published": False, "cells": [{"value": v, "note": ""} for v in values]}


def _table(title: str, columns: Sequence[str], lines: list[Line], note: str) -> Table:
    return {"title": title, "columns": [{"name": c, "notes": []} for c in columns], "lines": lines, "note": note}
