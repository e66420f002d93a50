"""A report's plots, drawn by Matplotlib as SVG that stands inside the page and in a file of its own.

Text stays text, in the reader's own fonts, so that Chinese needs none of ours. Colours are CSS variables of the page,
light or dark, with a light one for a file alone. The same figures give the same bytes. A plot that would say nothing
(fewer than two different points) is empty, and so is every plot where Matplotlib is not installed.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

Point = tuple[float, float]
Interval = tuple[float, float]

INK, SOFT, LINE, CARD, MARK, SECOND = "#1d2329", "#5d6872", "#dfe3e6", "#fffffe", "#4f7cac", "#c2571a"
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", CARD: "card", MARK: "mark", SECOND: "second"}
"""Colours of a plot in a file of its own, and the page's variables that replace them."""

_STYLE: dict[RcKeyType, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "figure.facecolor": CARD,
    "font.family": ["DejaVu Sans"],  # Matplotlib's own, the same on every machine: it measures, the reader's are shown
    "font.size": 11,
    "grid.color": LINE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "sepiola",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
_XMLNS = ' xmlns="http://www.w3.org/2000/svg"'


def available() -> bool:
    """Whether Matplotlib is installed (the extra `eval` brings it)."""
    return find_spec("matplotlib") is not None


def interval_bars(rows: Sequence[tuple[str, float, Interval | None]]) -> Markup:
    """Horizontal bars of shares (0 to 1) with their intervals; one row is (name, share, interval or None)."""
    if len(rows) < 2:
        return Markup("")

    def draw(axes: Axes) -> None:
        for place, (name, share, interval) in enumerate(rows):
            axes.barh(place, 100 * share, height=0.42, color=MARK, alpha=0.8)
            low, high = (100 * bound for bound in interval or (share, share))
            if interval is not None:
                axes.plot([low, high], [place, place], color=INK, linewidth=1.5, marker="|", markersize=9)
            _text(axes, f"{100 * share:.1f}", (max(high, 100 * share), place), (6, 0), SOFT, level=True)
            _text(axes, shortened(name, 60), (0, place - 0.27), (0, 1), INK, level=False)
        axes.set_xlim(0, 108)
        axes.set_ylim(len(rows) - 0.6, -0.75)
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.set_yticks([])
        axes.xaxis.set_major_formatter("{x:g}%")

    figures = "; ".join(f"{name}: {100 * share:.1f}%" for name, share, _ in rows)
    return _drawn(draw, (480, 40 + 44 * len(rows)), "Accuracy with 95% intervals", figures)


def price(points: Sequence[tuple[str, float, float]], priced: str) -> Markup:
    """Accuracy over what it costs: points are (name, cost, share from 0 to 1); `priced` names the cost's axis.

    Names stand in a column at the right, each with a line to its point. Where all cost the same, nothing is drawn.
    """
    costs = [cost for _, cost, _ in points]
    if len(set(costs)) < 2:
        return Markup("")
    height = max(270, 90 + 15 * len(points))

    def draw(axes: Axes) -> None:
        axes.scatter(costs, [100 * share for *_, share in points], s=40, color=MARK, zorder=3)
        axes.set_xlim(-0.03 * max(costs), 1.06 * max(costs))
        axes.margins(y=0.1)
        axes.locator_params(nbins=4)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.set_xlabel(priced, loc="right")
        low, high = axes.get_ylim()
        ordered = sorted(points, key=lambda point: -point[2])
        lines = _spread([(100 * share - low) / (high - low) for *_, share in ordered], 15 / (height - 60))
        for (name, cost, share), line in zip(ordered, lines, strict=True):
            axes.annotate(
                shortened(name, 27),
                (cost, 100 * share),
                (1.03, line),
                textcoords="axes fraction",
                arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 0},
                va="center",
                parse_math=False,
            ).set_in_layout(False)  # its room is kept free

    figures = "; ".join(f"{name}: {100 * share:.1f}% at {cost:,.10g}" for name, cost, share in points)
    return _drawn(draw, (480, height), f"Accuracy over {priced}", figures, right=170)


def loss_curve(name: str, train: Sequence[Point], validation: Sequence[Point]) -> Markup:
    """One stage's training loss (a line) and validation loss (a line with dots) over steps.

    Points that are not finite are left out; at most 400 points are drawn, each the mean of its stretch.
    """
    lines, names = [thinned(series) for series in (train, validation)], ("training loss", "validation loss")
    if len({x for line in lines for x, _ in line}) < 2:
        return Markup("")

    def draw(axes: Axes) -> None:
        for line, label, color in zip(lines, names, (MARK, SECOND), strict=True):
            if line:
                dotted = color == SECOND and len(line) <= 60
                marker = "o" if dotted or len(line) == 1 else ""
                axes.plot(*zip(*line, strict=True), label=label, color=color, marker=marker, markersize=4)
        axes.locator_params(nbins=6)
        axes.set_xlabel("step", loc="right")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)

    ends = [
        f"{label} from {line[0][1]:.3g} to {line[-1][1]:.3g}" for label, line in zip(names, lines, strict=True) if line
    ]
    return _drawn(draw, (480, 230), f"Loss of stage {name}" if name else "Loss", "; ".join(ends))


def power_law(
    points: Sequence[Point],
    curve: Sequence[tuple[float, float, float | None, float | None]],
    predicted: Point,
    interval: Interval | None,
    measured: Point,
) -> Markup:
    """Losses over compute (a logarithmic axis): the points, their curve `(compute, loss, low, high)` with its band, and
    what the curve predicted, with its interval, beside what was measured. A band that leaves the frame is cut there.
    """
    losses = [loss for _, loss in (*points, predicted, measured)]
    reach = max(losses) - min(losses)
    near = [*losses, *(bound for bound in interval or () if abs(bound - predicted[1]) < reach / 2)]

    def draw(axes: Axes) -> None:
        band = [(compute, low, high) for compute, _, low, high in curve if low is not None and high is not None]
        if band:
            compute, low, high = zip(*band, strict=True)
            axes.fill_between(compute, low, high, color=MARK, alpha=0.18, linewidth=0)
        axes.plot([compute for compute, *_ in curve], [loss for _, loss, *_ in curve], color=MARK)
        if interval is not None:
            axes.plot([predicted[0]] * 2, list(interval), color=INK, linewidth=1.5)
        trained = [compute for compute, _ in points], [loss for _, loss in points]
        axes.scatter(*trained, s=40, color=MARK, zorder=3, label="trained, and fitted")
        axes.scatter(*predicted, s=110, facecolor="none", edgecolor=INK, zorder=3, label="predicted before training")
        axes.scatter(*measured, s=40, color=SECOND, zorder=4, label="measured")
        axes.set_xscale("log")
        axes.set_ylim(min(near) - 0.08 * (max(near) - min(near)), max(near) + 0.08 * (max(near) - min(near)))
        axes.set_xlim(points[0][0] * 0.8, predicted[0] * 1.35)
        axes.set_xlabel("training compute, FLOPs", loc="right")
        axes.set_ylabel("held-out loss, nats a token")
        axes.legend(loc="upper right")

    figures = f"predicted {predicted[1]:.4f}, measured {measured[1]:.4f} at {predicted[0]:.3g} FLOPs"
    return _drawn(draw, (480, 310), "Held-out loss over compute: measured, fitted and predicted", figures)


def shot_curves(series: Sequence[tuple[str, Sequence[tuple[int, float, Interval]]]], chance: float) -> Markup:
    """Accuracy (0 to 1) with intervals over the number of demonstrations, up to two series, and a line for chance."""
    shots = sorted({number for _, points in series for number, _, _ in points})
    if len(shots) < 2:
        return Markup("")

    def draw(axes: Axes) -> None:
        axes.axhline(100 * chance, color=INK, linestyle="--", linewidth=1, label="chance")
        for (name, points), color in zip(series, (MARK, SECOND), strict=False):
            places, shares = [n for n, _, _ in points], [100 * share for _, share, _ in points]
            below = [100 * (share - low) for _, share, (low, _) in points]
            above = [100 * (high - share) for _, share, (_, high) in points]
            axes.errorbar(places, shares, [below, above], color=color, marker="o", markersize=5, label=name)
        axes.set_ylim(0, 100)
        axes.set_xticks(shots)
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.set_xlabel("demonstrations", loc="right")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

    ends = [f"{name}: {100 * points[0][1]:.1f}% to {100 * points[-1][1]:.1f}%" for name, points in series]
    return _drawn(draw, (480, 270), "Accuracy over the number of demonstrations, with 95% intervals", "; ".join(ends))


def chain_curves(series: Sequence[tuple[str, Sequence[tuple[int, float, Interval]]]]) -> Markup:
    """Accuracy (0 to 1) over the number of chains (a logarithmic axis), a line for each way to vote, with the intervals
    of the first.
    """
    numbers = sorted({number for _, points in series for number, _, _ in points})
    if len(numbers) < 2:
        return Markup("")
    looks = [(MARK, "-"), (SECOND, "-"), (INK, "-"), (SOFT, "--")]

    def draw(axes: Axes) -> None:
        for place, ((name, points), (color, line)) in enumerate(zip(series, looks, strict=False)):
            places, shares = [n for n, _, _ in points], [100 * share for _, share, _ in points]
            below = [100 * (share - low) for _, share, (low, _) in points]
            above = [100 * (high - share) for _, share, (_, high) in points]
            bars = [below, above] if place == 0 else None
            axes.errorbar(places, shares, bars, color=color, linestyle=line, marker="o", markersize=4, label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [str(number) for number in numbers])
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.set_xlabel("chains", loc="right")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)

    ends = [f"{name}: {100 * points[0][1]:.1f}% to {100 * points[-1][1]:.1f}%" for name, points in series]
    return _drawn(draw, (480, 270), "Accuracy over the number of chains", "; ".join(ends))


def risk_coverage(points: Sequence[Point]) -> Markup:
    """Accuracy of the surest answers (0 to 1) over the share of questions that are answered."""
    if len(points) < 2:
        return Markup("")

    def draw(axes: Axes) -> None:
        axes.plot([100 * x for x, _ in points], [100 * y for _, y in points], color=MARK, marker="o", markersize=4)
        axes.set_xlim(0, 103)
        axes.xaxis.set_major_formatter("{x:g}%")
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.set_xlabel("questions answered, the surest first", loc="right")

    ends = f"{100 * points[0][1]:.1f}% of the surest {100 * points[0][0]:.0f}%, {100 * points[-1][1]:.1f}% of all"
    return _drawn(draw, (480, 250), "Accuracy over coverage", ends)


def standalone(plot: Markup) -> str:
    """A plot as an SVG file."""
    return f"<svg{_XMLNS}{str(plot).removeprefix('<svg')}\n"


def _drawn(draw: Callable[[Axes], None], size: tuple[int, int], title: str, description: str, right: int = 0) -> Markup:
    """The SVG of what `draw` puts on the axes of a figure of that size in pixels, `right` of them kept free."""
    if not available():
        return Markup("")
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    file = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # Chinese is measured as boxes
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1 - right / size[0], 1))
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout=layout)
        draw(figure.subplots())
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawing = file.getvalue()[file.getvalue().index("<svg") :]
    opening, _, rest = drawing.partition(">")
    opening = re.sub(r' (xmlns(:xlink)?|width|height|version)="[^"]*"', "", opening)
    rest = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", rest, count=1, flags=re.DOTALL)
    rest = re.sub(r'<g id="[^"]*">', "<g>", rest).replace("'DejaVu Sans'", "system-ui, sans-serif")
    rest = rest.replace("<use xlink:href=", "<use href=")
    for color, variable in VARIABLES.items():
        rest = rest.replace(f": {color}", f": var(--{variable}, {color})")
    names = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    # What Matplotlib's own style sheet says; in a page it would hold for every plot.
    return Markup(
        f'{opening} role="img" style="stroke-linejoin: round; max-width: {2 * size[0]}px">{names}{rest.strip()}'
    )


def _text(axes: Axes, text: str, place: Point, away: Point, color: str, *, level: bool) -> None:
    """A text some points `away` from a place, or with `level` from its middle. It takes no part in the layout, for
    nobody knows how wide the reader's font is.
    """
    written = axes.annotate(text, place, away, textcoords="offset points", color=color, parse_math=False)
    written.set_verticalalignment("center" if level else "baseline")
    written.set_in_layout(False)


def _spread(heights: Sequence[float], least: float) -> list[float]:
    """Heights from the top down, moved as little as keeps them that far apart, and above 0 where there is room."""
    lines: list[float] = []
    for height in heights:
        lines.append(min([height, *(line - least for line in lines[-1:])]))
    for place in range(len(lines) - 1, -1, -1):
        lines[place] = max(lines[place], least * (len(lines) - 1 - place))
    return lines


def shortened(text: str, most: int) -> str:
    """The text in at most so many columns, Chinese taking two each."""
    ends = list(itertools.accumulate(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text))
    return text if ends[-1:] <= [most] else text[: sum(end < most for end in ends)] + "…"


def thinned(series: Sequence[Point], most: int = 400) -> list[Point]:
    """The finite points, or at most `most` means of equal stretches of them."""
    finite = [(x, y) for x, y in series if math.isfinite(x) and math.isfinite(y)]
    if len(finite) <= most:
        return finite
    means = [np.mean(stretch, axis=0) for stretch in np.array_split(np.array(finite), most)]
    return [(float(x), float(y)) for x, y in means]
