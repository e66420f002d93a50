"""Plots as SVG: to scale, the same bytes twice, text in any language, and nothing where nothing is to be seen."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from markupsafe import Markup

from sepiola.evaluation.report.plots import (
    MARK,
    SECOND,
    chain_curves,
    interval_bars,
    loss_curve,
    power_law,
    price,
    risk_coverage,
    shortened,
    shot_curves,
    standalone,
    thinned,
)
from sepiola.evaluation.report.scaling import forecast

Drawing = ElementTree.Element
COSTS = [("投影", 100.0, 0.6), ("Q-Former <b>", 400.0, 0.75), ("$x$ & resampler", 800.0, 0.7)]
SHOTS = [("true answers", [(0, 0.3, (0.2, 0.4)), (4, 0.5, (0.4, 0.6))])]


def parsed(plot: Markup) -> Drawing:
    """The plot as a file of its own; its elements without their namespace."""
    root = ElementTree.fromstring(standalone(plot))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def texts(root: Drawing) -> list[str]:
    return [text.text or "" for text in root.iter("text")]


def dots(root: Drawing, color: str) -> list[tuple[float, float]]:
    """Centres of markers filled with a colour, in the order they are drawn."""
    used = [use for use in root.iter("use") if f"{color})" in use.get("style", "").split("fill:")[-1].split(";")[0]]
    return [(float(use.get("x", "")), float(use.get("y", ""))) for use in used]


def paths(root: Drawing, property: str, color: str) -> list[list[tuple[float, float]]]:
    """Corners of the paths that have this colour as their `fill` or `stroke`."""
    found = []
    for path in root.iter("path"):
        styles = dict(part.strip().split(": ", 1) for part in path.get("style", "").split(";") if ":" in part)
        if color in styles.get(property, ""):
            numbers = [float(n) for n in path.get("d", "").split() if n not in "MLCz"]
            found.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return found


def law(compute: float) -> float:
    return 60 * compute**-0.1 + 2


def scaling_plot() -> Markup:
    compute = np.geomspace(3e10, 1e13, 5)
    points = [(float(c), law(c) + n) for c, n in zip(compute, (0.01, -0.01, 0.01, -0.01, 0.01), strict=True)]
    found = forecast(points, 4e14)
    predicted = (4e14, found["predicted"]["loss"])
    return power_law(points, found["curve"], predicted, found["predicted"]["interval"], (4e14, predicted[1] - 0.3))


PLOTS = {
    "accuracy": lambda: interval_bars([("有视觉 with eyes", 0.8, (0.7, 0.9)), ("blind", 0.4, None)]),
    "price": lambda: price(COSTS, "ms to the first token"),
    "loss": lambda: loss_curve("对齐", [(i, 4.0 / i) for i in range(1, 50)], [(10, 1.0), (40, 0.5)]),
    "scaling": scaling_plot,
    "shots": lambda: shot_curves(SHOTS, 0.25),
    "chains": lambda: chain_curves([("plain", SHOTS[0][1]), ("oracle", SHOTS[0][1])]),
    "coverage": lambda: risk_coverage([(0.5, 0.9), (1.0, 0.7)]),
}


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_is_self_contained_has_a_title_and_is_the_same_twice(name: str) -> None:
    plot = PLOTS[name]()
    assert plot == PLOTS[name]()
    root = parsed(plot)
    assert root.get("role") == "img" and root[0].tag == "title" and root[1].tag == "desc" and root[0].text
    assert not {"script", "style", "image", "metadata"} & {element.tag for element in root.iter()}
    assert "http" not in plot and "DejaVu" not in plot and "nan" not in plot
    above = {child: parent for parent in root.iter() for child in parent}
    styles = [text.get("style", "") + above[text].get("style", "") for text in root.iter("text")]
    assert styles and all("fill: var(--" in style for style in styles), "texts follow the page's colours"


def test_a_plot_is_the_same_in_another_process() -> None:
    code = "from tests.evaluation.report.test_plots import PLOTS; print(''.join(PLOTS[n]() for n in PLOTS), end='')"
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert again.stdout == "".join(PLOTS[name]() for name in PLOTS)


@pytest.mark.filterwarnings("error")
def test_names_are_text_as_they_are_written() -> None:
    root = parsed(price(COSTS, "价格"))
    assert {"投影", "Q-Former <b>", "$x$ & resampler", "价格"} <= set(texts(root))
    assert "有视觉 with eyes" in texts(parsed(PLOTS["accuracy"]()))


def test_bars_are_as_long_as_their_shares() -> None:
    plot = interval_bars([("one", 0.4, (0.3, 0.5)), ("two & a very long name of a system", 0.8, None)])
    root = parsed(plot)
    short, long = (bar[1][0] - bar[0][0] for bar in paths(root, "fill", MARK))
    assert long == pytest.approx(2 * short, abs=0.2)
    (whisker,) = [line for line in paths(root, "stroke", "--ink") if len(line) == 2 and line[0][1] == line[1][1]]
    assert whisker[1][0] - whisker[0][0] == pytest.approx(short / 2, abs=0.2)
    assert "two & a very long name of a system" in texts(root)
    assert (root[1].text or "").startswith("one: 40.0%; two & a very")


def test_costs_are_to_scale_and_their_names_apart() -> None:
    crowd = [(f"arm {i}", 100.0 + i, 0.5 + i / 1000) for i in range(12)]
    root = parsed(price([*COSTS, *crowd], "cost"))
    first, second, third = dots(root, MARK)[:3]
    assert second[0] - first[0] == pytest.approx(0.75 * (third[0] - second[0]), abs=0.2)
    assert first[1] - second[1] == pytest.approx(3 * (third[1] - second[1]), abs=0.2)
    names = {name for name, *_ in [*COSTS, *crowd]}
    heights = sorted(float(t.get("y", "")) for t in root.iter("text") if t.text in names)
    assert len(heights) == 15 and np.diff(heights).min() > 12
    bottom = float(root.get("viewBox", "").split()[3])
    assert heights[0] > 0 and heights[-1] < bottom


def test_what_does_not_differ_is_not_drawn() -> None:
    assert price([("eyes", 9.0, 0.9), ("blind", 9.0, 0.4)], "cost") == ""
    assert price([("eyes", 9.0, 0.9)], "cost") == price([], "cost") == ""
    assert interval_bars([("eyes", 0.9, None)]) == interval_bars([]) == ""
    assert loss_curve("", [(5, 2.0)], [(5, 3.0)]) == loss_curve("", [], []) == ""
    assert shot_curves([("true answers", SHOTS[0][1][:1])], 0.25) == ""
    assert chain_curves([]) == "" and risk_coverage([(1.0, 0.5)]) == ""


def test_loss_curve_is_drawn_inside_and_to_scale() -> None:
    root = parsed(loss_curve("align", [(0, 4.0), (50, 2.0), (100, 1.0)], []))
    ((x0, y0), (x1, y1), (x2, y2)) = next(line for line in paths(root, "stroke", MARK) if len(line) == 3)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(2 * (y2 - y1), abs=0.4)
    *_, width, height = (float(v) for v in root.get("viewBox", "").split())
    assert 0 < x0 < x2 <= width and 0 <= y0 < y2 < height


@pytest.mark.parametrize(
    "points",
    [[(1, 3.0), (2, 3.0)], [(1, 0.0), (2, 0.0)], [(1, 1e-9), (2, 1e9)], [(1, -1.0), (2, 1e-300)]],
)
def test_loss_curve_of_flat_and_extreme_points(points: list[tuple[float, float]]) -> None:
    svg = loss_curve("", points, points)
    assert "nan" not in svg and "inf" not in svg
    assert len(texts(parsed(svg))) < 40


def test_one_validation_loss_is_a_dot_beside_the_line() -> None:
    root = parsed(loss_curve("", [(1, 2.0), (9, 1.0)], [(9, 1.5)]))
    assert len(dots(root, SECOND)) == 2  # in the plot, and in the legend


def test_points_of_a_ladder_lie_where_they_belong() -> None:
    root = parsed(scaling_plot())
    trained = dots(root, MARK)[1:6]  # the first is the band
    assert np.allclose(np.diff([x for x, _ in trained]), trained[1][0] - trained[0][0], atol=0.2)  # even in logarithms
    assert [y for _, y in trained] == sorted(y for _, y in trained)  # losses fall, so points go down the page
    ((x, y),) = dots(root, SECOND)[:1]
    assert x > trained[-1][0] and y > trained[-1][1]
    circle = next(corners for corners in paths(root, "stroke", "--ink") if len(corners) > 4)
    left, right = min(x for x, _ in circle), max(x for x, _ in circle)
    assert (left + right) / 2 == pytest.approx(x, abs=0.1) and right - left > 5  # hollow: what was predicted
    assert y > max(y for _, y in circle)  # what was measured lies 0.3 below
    labels = {"".join(text.itertext()) for text in root.iter("text")}
    assert {"1011", "1012", "1013", "1014"} <= {re.sub(r"\s", "", label) for label in labels}  # the powers are raised


def test_shots_stand_over_their_number() -> None:
    root = parsed(PLOTS["shots"]())
    (x0, y0), (x4, y4) = dots(root, MARK)[:2]
    assert x0 < x4 and y0 > y4
    assert {"0", "4", "100%", "true answers", "chance"} <= set(texts(root))


def test_long_names_are_cut_by_their_width() -> None:
    assert shortened("twelve chars", 12) == "twelve chars" and shortened("", 3) == ""
    assert shortened("twelve chars", 8) == "twelve …"
    assert shortened("十二个汉字的名字", 16) == "十二个汉字的名字"
    assert shortened("十二个汉字的名字", 9) == "十二个汉…"


def test_thinning_keeps_the_ends_and_the_mean() -> None:
    rng = random.Random(0)
    series = [(float(i), rng.random()) for i in range(10_001)] + [(1e9, float("inf"))]
    thin = thinned(series, 100)
    assert len(thin) == 100
    assert sum(y for _, y in thin) / 100 == pytest.approx(sum(y for _, y in series[:-1]) / 10_001, abs=1e-3)
    assert thinned(series[:5], 100) == series[:5]
