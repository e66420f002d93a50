"""Plots as inline SVG, written by hand: they need no library, follow the page's colours in light and dark,
and stay small. Colours come from the page through the classes `mark`, `curve`, `curve second`, `axis` and
`grid`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup, escape

Point = tuple[float, float]


def interval_bars(rows: Sequence[tuple[str, float, tuple[float, float] | None]]) -> Markup:
    """Horizontal bars of shares (0 to 1) with their intervals; one row is (name, share, interval or None)."""
    width, label, step, top = 460, 150, 28, 6
    scale = width - label - 50
    bottom = top + step * len(rows)
    parts = [_open(width, bottom + 24, "Accuracy with 95% intervals")]
    for percent in (0, 25, 50, 75, 100):
        x = label + scale * percent / 100
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{percent}%</text>')
    for index, (name, share, interval) in enumerate(rows):
        middle = top + step * (index + 0.5)
        short = name if len(name) <= 22 else name[:21] + "…"
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
