"""Plots as inline SVG, written by hand: they need no library, follow the page's colours in light and dark,
and stay small. Colours come from the page through classes (`mark`, `curve`, `band`, `dot`, `axis`, `grid` …); a plot
in a file of its own brings them along (`standalone`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup, escape

Point = tuple[float, float]
Shots = tuple[int, float, Point]  # demonstrations, accuracy and its interval

_KEY = (
    ("dot", 3.5, "trained, and fitted"),
    ("hollow", 6, "predicted before training"),
    ("dot second", 3.5, "measured"),
)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_OWN_STYLE = (
    "<style>svg{background:#fff;max-width:1000px;font-family:system-ui,sans-serif}.axis{font-size:12px;fill:#5d6872}"
    ".name{fill:#1d2329}.grid{stroke:#dfe3e6}.curve{fill:none;stroke:#4f7cac;stroke-width:1.8}"
    ".band{fill:#4f7cac;opacity:.18}.dot{fill:#4f7cac}.second{fill:#c2571a}.curve.second{fill:none;stroke:#c2571a}"
    ".mark{fill:#4f7cac;opacity:.8}"
    ".whisker{stroke:#1d2329;stroke-width:1.5;fill:none}.hollow{stroke:#1d2329;stroke-width:1.5;fill:none}</style>"
)


def interval_bars(rows: Sequence[tuple[str, float, tuple[float, float] | None]]) -> Markup:
    """Horizontal bars of shares (0 to 1) with their intervals; one row is (name, share, interval or None)."""
    width, label, step, top = 480, 170, 28, 6
    scale = width - label - 50
    bottom = top + step * len(rows)
    parts = [_open(width, bottom + 24, "Accuracy with 95% intervals")]
    for percent in (0, 25, 50, 75, 100):
        x = label + scale * percent / 100
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{percent}%</text>')
    for index, (name, share, interval) in enumerate(rows):
        middle = top + step * (index + 0.5)
        short = name if len(name) <= 25 else name[:24] + "…"
        end = label + scale * share
        parts.append(f'<text class="axis name" x="{label - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(short)}')
        parts.append(f"<title>{escape(name)}</title></text>")
        length = max(0.5, end - label)
        parts.append(f'<rect class="mark" x="{label}" y="{middle - 8:.1f}" width="{length:.1f}" height="16"/>')
        if interval is not None:
            low, high = (label + scale * bound for bound in interval)
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 5:.1f}v10'
                f'M{high:.1f} {middle - 5:.1f}v10"/>'
            )
            end = max(end, high)
        parts.append(f'<text class="axis" x="{end + 7:.1f}" y="{middle + 4:.1f}">{100 * share:.1f}</text>')
    return Markup("".join(parts) + "</svg>")


def price(points: Sequence[tuple[str, float, float]], priced: str) -> Markup:
    """Accuracy over what it costs: points are (name, cost, share from 0 to 1); `priced` names the cost's axis."""
    width, height, left, right, top, bottom = 460, 240, 46, 110, 14, 44
    x_low, x_high = 0.0, 1.1 * max(x for _, x, _ in points) or 1.0
    y_ticks = _ticks(*_span([100 * y for _, _, y in points]))
    y_low, y_high = min(y_ticks[0], *(100 * y for *_, y in points)), max(y_ticks[-1], *(100 * y for *_, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (width - left - right) * (x - x_low) / (x_high - x_low)
        return across, height - bottom - (height - top - bottom) * (y - y_low) / (y_high - y_low)

    parts = [_open(width, height, f"Accuracy over {priced}")]
    for value in y_ticks:
        _, y = place(0, value)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}%</text>')
    for value in _ticks(x_low, x_high):
        if value <= x_high:
            x, _ = place(value, y_low)
            parts.append(f'<text class="axis" x="{x:.1f}" y="{height - bottom + 17}" text-anchor="middle">{value:g}')
            parts.append("</text>")
    parts.append(f'<text class="axis" x="{width - right}" y="{height - 8}" text-anchor="end">{escape(priced)}</text>')
    free = {"start": 0.0, "end": 0.0}  # of labels on either side of their dots: where the next may stand
    for name, cost, share in sorted(points, key=lambda point: -point[2]):
        x, y = place(cost, 100 * share)
        side, shift = ("start", 8) if x < (left + width - right) / 2 else ("end", -8)
        line = max(y + 4, free[side])
        free[side] = line + 13
        parts.append(_dot((x, y), "dot", 4))
        parts.append(f'<text class="axis name" x="{x + shift:.1f}" y="{line:.1f}" text-anchor="{side}">{escape(name)}')
        parts.append("</text>")
    return Markup("".join(parts) + "</svg>")


def loss_curve(name: str, train: Sequence[Point], validation: Sequence[Point]) -> Markup:
    """One stage's training loss (a line) and validation loss (a line with dots) over steps.

    Points that are not finite are left out; at most 400 points are drawn, each the mean of its stretch.
    """
    lines = [thinned(series) for series in (train, validation)]
    points = [point for line in lines for point in line]
    if not points:
        return Markup("")
    width, height, left, right, top, bottom = 460, 220, 46, 14, 12, 34
    x_low, x_high = _span([x for x, _ in points])
    y_ticks = _ticks(*_span([y for _, y in points]))
    y_low, y_high = min(y_ticks[0], *(y for _, y in points)), max(y_ticks[-1], *(y for _, y in points))

    def place(point: Point) -> str:
        x = left + (width - left - right) * (point[0] - x_low) / (x_high - x_low)
        y = height - bottom - (height - top - bottom) * (point[1] - y_low) / (y_high - y_low)
        return f"{x:.1f} {y:.1f}"

    parts = [_open(width, height, f"Loss of stage {name}" if name else "Loss")]
    for value in y_ticks:
        y = place((x_low, value)).split()[1]
        parts.append(f'<line class="grid" x1="{left}" y1="{y}" x2="{width - right}" y2="{y}"/>')
        parts.append(f'<text class="axis" x="{left - 7}" y="{float(y) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _ticks(x_low, x_high):
        if x_low <= value <= x_high:
            x = place((value, y_low)).split()[0]
            parts.append(f'<text class="axis" x="{x}" y="{height - bottom + 17}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text class="axis" x="{width - right}" y="{height - 3}" text-anchor="end">step</text>')
    for line, kind in zip(lines, ("curve", "curve second"), strict=True):
        if line:
            parts.append(f'<path class="{kind}" d="M{"L".join(place(point) for point in line)}"/>')
    if len(lines[1]) <= 60 or len(lines[0]) == 1:
        for line, kind in zip(lines, ("dot", "dot second"), strict=True):
            for x, y in (place(point).split() for point in line if kind != "dot" or len(line) == 1):
                parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.5"/>')
    return Markup("".join(parts) + "</svg>")


def power_law(
    points: Sequence[Point],
    curve: Sequence[tuple[float, float, float | None, float | None]],
    predicted: Point,
    interval: Point | None,
    measured: Point,
) -> Markup:
    """Losses over compute (a logarithmic axis): the points, their curve `(compute, loss, low, high)` with its band, and
    what the curve predicted, with its interval, beside what was measured. A band that leaves the frame is cut there.
    """
    width, height, left, right, top, bottom = 560, 330, 52, 20, 14, 44
    x_low, x_high = (math.log10(v) for v in (points[0][0], predicted[0]))
    x_low, x_high = x_low - 0.04 * (x_high - x_low), x_high + 0.06 * (x_high - x_low)
    losses = [y for _, y in (*points, predicted, measured)]
    reach = max(losses) - min(losses)
    seen = [y for y in interval or () if abs(y - predicted[1]) < reach / 2]
    y_ticks = _ticks(*_span([*losses, *seen]))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(point: Point) -> tuple[float, float]:
        x = left + (width - left - right) * (math.log10(point[0]) - x_low) / (x_high - x_low)
        y = height - bottom - (height - top - bottom) * (min(max(point[1], y_low), y_high) - y_low) / (y_high - y_low)
        return x, y

    def path(line: Sequence[Point]) -> str:
        return "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, line))

    parts = [_open(width, height, "Held-out loss over compute: measured, fitted and predicted")]
    for value in y_ticks:
        y = place((points[0][0], value))[1]
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value, name in _powers(x_low, x_high):
        x = place((value, y_low))[0]
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - bottom}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - bottom + 17}" text-anchor="middle">{name}</text>')
    axis = '<text class="axis" x="{}" y="{}" text-anchor="{}">{}</text>'
    parts.append(axis.format(width - right, height - 8, "end", "training compute, FLOPs"))
    parts.append(axis.format(left + 6, height - bottom - 8, "start", "held-out loss, nats a token"))
    low, high = [(c, v) for c, _, v, _ in curve if v is not None], [(c, v) for c, _, _, v in curve if v is not None]
    if low:
        parts.append(f'<path class="band" d="M{path([*low, *reversed(high)])}Z"/>')
    parts.append(f'<path class="curve" d="M{path([(c, y) for c, y, _, _ in curve])}"/>')
    if interval is not None:
        (x, y), (_, end) = (place((predicted[0], bound)) for bound in interval)
        parts.append(f'<path class="whisker" d="M{x:.1f} {y:.1f}V{end:.1f}"/>')
    for of_kind, (kind, radius, _) in zip((points, [predicted], [measured]), _KEY, strict=True):
        parts += [_dot(place(point), kind, radius) for point in of_kind]
    for row, (kind, radius, name) in enumerate(_KEY):
        y = top + 14 + 19 * row
        parts.append(_dot((width - right - 170, y), kind, radius))
        parts.append(f'<text class="axis name" x="{width - right - 158}" y="{y + 4}">{name}</text>')
    return Markup("".join(parts) + "</svg>")


def shot_curves(
    series: Sequence[tuple[str, Sequence[tuple[int, float, tuple[float, float]]]]], chance: float
) -> Markup:
    """Accuracy (0 to 1) with intervals over the number of demonstrations, up to two series, and a line for chance."""
    width, height, left, right, top, bottom = 460, 240, 46, 14, 34, 34
    shots = sorted({n for _, points in series for n, _, _ in points})
    x_low, x_high = _span([float(n) for n in shots])
    axis = '<text class="axis" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'

    def place(n: float, share: float) -> Point:
        x = left + 10 + (width - left - right - 20) * (n - x_low) / (x_high - x_low)
        return x, height - bottom - (height - top - bottom) * share

    parts = [_open(width, height, "Accuracy over the number of demonstrations, with 95% intervals")]
    for percent in (0, 25, 50, 75, 100):
        y = place(x_low, percent / 100)[1]
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}"/>')
        parts.append(axis.format(left - 7, y + 4, "end", f"{percent}%"))
    parts += [axis.format(place(n, 0)[0], height - bottom + 17, "middle", n) for n in shots]
    parts.append(axis.format(width - right, height - 3, "end", "demonstrations"))
    y = place(x_low, chance)[1]
    parts.append(f'<path class="whisker" stroke-dasharray="4 4" d="M{left} {y:.1f}H{width - right}"/>')
    for row, ((name, points), kind) in enumerate(zip(series, ("", " second"), strict=False)):
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(n, share) for n, share, _ in points))
        parts.append(f'<path class="curve{kind}" d="M{line}"/>')
        for n, share, interval in points:
            (x, y), (_, low), (_, high) = place(n, share), place(n, interval[0]), place(n, interval[1])
            parts.append(f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
            parts.append(_dot((x, y), f"dot{kind}", 3.5))
        parts.append(_dot((left + 10 + 150 * row, 14), f"dot{kind}", 3.5))
        parts.append(axis.format(left + 20 + 150 * row, 18, "start", escape(name)))
    return Markup("".join(parts) + "</svg>")


def standalone(plot: Markup) -> str:
    """A plot as an SVG file, with the colours that a page would give it."""
    opening, _, rest = str(plot).removeprefix("<svg ").partition(">")
    return f'<svg xmlns="http://www.w3.org/2000/svg" {opening}>{_OWN_STYLE}{rest}\n'


def _dot(place: Point, kind: str, radius: float) -> str:
    return f'<circle class="{kind}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:g}"/>'


def _powers(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten between two logarithms and their names; over a short way also twice and five times each."""
    factors = (1, 2, 5) if high - low < 2 else (1,)
    found = [(f, power) for power in range(math.floor(low), math.ceil(high) + 1) for f in factors]
    return [
        (f * 10.0**power, (f"{f}·" if f > 1 else "") + "10" + str(power).translate(_RAISED))
        for f, power in found
        if low <= math.log10(f) + power <= high
    ]


def thinned(series: Sequence[Point], most: int = 400) -> list[Point]:
    """The finite points, or at most `most` means of equal stretches of them."""
    finite = [(x, y) for x, y in series if math.isfinite(x) and math.isfinite(y)]
    if len(finite) <= most:
        return finite
    edges = [round(i * len(finite) / most) for i in range(most + 1)]
    stretches = [finite[a:b] for a, b in itertools.pairwise(edges)]
    return [(sum(x for x, _ in s) / len(s), sum(y for _, y in s) / len(s)) for s in stretches]


def _open(width: int, height: int, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that cover low to high."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
