"""Icons of the phone's pictures: each thing as a few shapes on a square from -1 to 1, y down.

A stroke is `(kind, colour, numbers)`: "e" an ellipse `x y rx ry`, "r" a rectangle `x0 y0 x1 y1`, "p" a polygon
`x0 y0 x1 y1 …`, "l" a line through its points, as wide as its first number. A colour is one of the palette, one of
`EXTRA`, or "tint": the colour that the picture gives the thing. Icons of one group differ in outline and in colour.
"""

from __future__ import annotations

from sepiola.tidepool.canvas import Canvas, Rgb

Stroke = tuple[str, str, tuple[float, ...]]

EXTRA: dict[str, Rgb] = {
    "white": (250, 250, 250),
    "cream": (252, 236, 200),
    "orange": (245, 135, 30),
    "brown": (140, 88, 48),
    "grey": (150, 152, 158),
    "pink": (245, 160, 180),
    "sky": (130, 195, 240),
}


def draw_icon(
    canvas: Canvas, strokes: tuple[Stroke, ...], x: float, y: float, radius: float, tint: str = "red"
) -> None:
    """Draws a thing around (x, y), `2 * radius` units wide; `tint` is a colour of the palette."""
    for kind, colour, numbers in strokes:
        name = tint if colour == "tint" else colour
        rgb = canvas.palette[name] if name in canvas.palette else EXTRA[name]
        if kind == "e":
            ex, ey, rx, ry = numbers
            canvas.ellipse(x + radius * ex, y + radius * ey, radius * rx, radius * ry, rgb)
        elif kind == "r":
            x0, y0, x1, y1 = numbers
            canvas.rectangle(x + radius * x0, y + radius * y0, x + radius * x1, y + radius * y1, rgb)
        else:
            width, points = (numbers[0], numbers[1:]) if kind == "l" else (0.0, numbers)
            corners = [(x + radius * px, y + radius * py) for px, py in zip(points[::2], points[1::2], strict=True)]
            if kind == "l":
                canvas.line(corners, rgb, radius * width)
            else:
                canvas.polygon(corners, rgb)


def e(colour: str, *numbers: float) -> Stroke:
    """An ellipse."""
    return "e", colour, numbers


def r(colour: str, *numbers: float) -> Stroke:
    """A rectangle."""
    return "r", colour, numbers


def p(colour: str, *numbers: float) -> Stroke:
    """A polygon."""
    return "p", colour, numbers


def l(colour: str, *numbers: float) -> Stroke:  # noqa: E743
    """A line; its first number is the width."""
    return "l", colour, numbers
