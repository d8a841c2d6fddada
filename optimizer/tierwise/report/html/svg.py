"""Small charts: scales, axes and marks, each mark with a ``<title>`` that says what it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.numbers import Bounds, significant

LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 12.0, 44.0


class Scale(NamedTuple):
    """Values low … high on pixels start … end, linear or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of ``value``; what is outside lands on the edge."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the scale."""
        if self.log:
            return self._log_ticks(most) or self._replace(log=False).ticks(most)
        span = (self.high - self.low) or 1.0
        raw = span / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for multiples in ((1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**d for d in decades for m in multiples]
            ticks = [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]
            if len(ticks) <= most:
                return ticks if len(ticks) > 1 else []
        return ticks[:: math.ceil(len(ticks) / most)]


def padded(
    values: Sequence[float], *, log: bool = False, share: float = 0.06
) -> tuple[float, float]:
    """A range with room around the finite ``values``; one value gets a range of its own."""
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    if not finite:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(finite), max(finite)
    if log:
        low, high = math.log(low), math.log(high)
    least = 0.05 if log else 1e-3  # what differs by less is one value
    room = (high - low) * share if high - low > least else (0.7 if log else 0.05)
    low, high = low - room, high + room
    return (math.exp(low), math.exp(high)) if log else (low, high)


@dataclass
class Chart:
    """A chart with two axes, drawn from back to front.

    ``name`` is its text alternative, and ``about`` what it shows in a sentence. ``bare_y``: the y
    axis only places rows, and has neither ticks nor grid.
    """

    name: str
    about: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str = ""
    y_label: str = ""
    log_x: bool = False
    width: int = 400
    height: int = 290
    left: float = LEFT
    right: float = RIGHT
    bare_y: bool = False
    marks: list[Markup] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at_x = Scale(*self.x, self.left, self.width - self.right, self.log_x)
        self.at_y = Scale(*self.y, self.height - BOTTOM, TOP)

    def dot(
        self, x: float, y: float, tone: str, title: str, *, shape: str = "circle", size: float = 5.0
    ) -> None:
        """A mark; ``shape`` is circle, ring, diamond, star, cross or speck."""
        self.marks.append(mark(self.at_x(x), self.at_y(y), tone, title, shape, size))

    def line(self, points: Sequence[tuple[float, float]], tone: str, title: str) -> None:
        """A line through ``points``."""
        path = " ".join(f"{self.at_x(x):.1f},{self.at_y(y):.1f}" for x, y in points)
        self.marks.append(el("polyline", el("title", title), points=path, class_=f"line {tone}"))

    def whisker(self, x: float, ends: Bounds, tone: str, dx: float = 0.0) -> None:
        """An upright interval; nothing where an end is not known."""
        if ends is not None and ends[0] is not None and ends[1] is not None:
            at, low, high = self.at_x(x) + dx, self.at_y(ends[0]), self.at_y(ends[1])
            self.marks.append(_segment(at, low, at, high, f"whisker {tone}"))

    def across(self, ends: Bounds, y: float, tone: str) -> None:
        """A lying interval; nothing where an end is not known."""
        if ends is not None and ends[0] is not None and ends[1] is not None:
            at, low, high = self.at_y(y), self.at_x(ends[0]), self.at_x(ends[1])
            self.marks.append(_segment(low, at, high, at, f"whisker {tone}"))

    def rule(
        self, *, x: float | None = None, y: float | None = None, title: str = "", kind: str = "rule"
    ) -> None:
        """A line from edge to edge."""
        if x is not None:
            at = self.at_x(x)
            ends = (at, self.at_y.start, at, self.at_y.end)
        else:
            at = self.at_y(0.0 if y is None else y)
            ends = (self.at_x.start, at, self.at_x.end, at)
        self.marks.append(_segment(*ends, kind, title))

    def text(
        self,
        x: float,
        y: float,
        said: str,
        *,
        dx: float = 0.0,
        dy: float = 4.0,
        anchor: str = "start",
        kind: str = "label",
    ) -> None:
        """A word beside a point."""
        self.marks.append(
            el(
                "text",
                said,
                x=round(self.at_x(x) + dx, 1),
                y=round(self.at_y(y) + dy, 1),
                text_anchor=anchor,
                class_=kind,
            )
        )

    def svg(self) -> Markup:
        """The whole picture."""
        return picture(self.name, self.about, self.width, self.height, [*self._axes(), *self.marks])

    def _axes(self) -> list[Markup]:
        bottom, parts = self.at_y.start, []
        for tick in () if self.bare_y else self.at_y.ticks():
            at = self.at_y(tick)
            parts.append(_segment(self.at_x.start, at, self.at_x.end, at, "grid"))
            parts.append(_tick(self.at_x.start - 6, at + 4, _said(tick), "end"))
        for tick in self.at_x.ticks(max(3, round(self.width / 75))):
            at = self.at_x(tick)
            parts.append(_segment(at, bottom, at, bottom + 4, "axis"))
            parts.append(_tick(at, bottom + 17, _said(tick), "middle"))
        parts.append(_segment(self.at_x.start, bottom, self.at_x.end, bottom, "axis"))
        middle = (self.at_x.start + self.at_x.end) / 2
        parts.append(
            el(
                "text",
                self.x_label,
                x=round(middle, 1),
                y=self.height - 6,
                text_anchor="middle",
                class_="axis-label",
            )
        )
        if self.y_label:
            y = (self.at_y.start + self.at_y.end) / 2
            parts.append(
                el(
                    "text",
                    self.y_label,
                    transform=f"translate(11 {y:.1f}) rotate(-90)",
                    text_anchor="middle",
                    class_="axis-label",
                )
            )
        return parts


def picture(name: str, about: str, width: float, height: float, marks: Sequence[Markup]) -> Markup:
    """An ``<svg>`` that says what it is to those who do not see it."""
    return el(
        "svg",
        el("title", name),
        el("desc", about),
        *marks,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=f"{name}. {about}",
        style=f"max-width:{width * 1.25:g}px",
    )


def mark(x: float, y: float, tone: str, title: str, shape: str, size: float) -> Markup:
    """One mark at a pixel."""
    said, s = el("title", title), size
    if shape in ("circle", "ring", "speck"):
        return el("circle", said, cx=round(x, 1), cy=round(y, 1), r=s, class_=f"{shape} {tone}")
    if shape == "diamond":
        corners = [(x, y - s), (x + s, y), (x, y + s), (x - s, y)]
    elif shape == "star":
        radii = itertools.cycle((s * 1.25, s * 0.55))
        turns = [math.pi * i / 5 - math.pi / 2 for i in range(10)]
        corners = [
            (x + r * math.cos(t), y + r * math.sin(t)) for t, r in zip(turns, radii, strict=False)
        ]
    else:
        path = f"M{x - s:.1f} {y - s:.1f}l{2 * s:g} {2 * s:g}m0 {-2 * s:g}l{-2 * s:g} {2 * s:g}"
        return el("path", said, d=path, class_=f"cross {tone}")
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return el("polygon", said, points=points, class_=f"circle {tone}")


def key(shape: str, tone: str, said: str) -> Markup:
    """An entry of a legend, in HTML."""
    if shape == "line":
        drawn = _segment(1, 8, 17, 8, f"line {tone}")
    elif shape == "rule":
        drawn = _segment(1, 8, 17, 8, tone)
    elif shape == "upright":
        drawn = _segment(9, 1, 9, 15, tone)
    else:
        drawn = mark(9, 8, tone, "", shape, 5.0)
    picture_ = el("svg", drawn, viewBox="0 0 18 16", width=18, height=16, aria_hidden="true")
    return el("span", picture_, said, class_="key")


def legend(*keys: Markup) -> Markup:
    """Keys in a row."""
    return el("p", joined(keys), class_="legend")


def _segment(x0: float, y0: float, x1: float, y1: float, kind: str, title: str = "") -> Markup:
    return el(
        "line",
        el("title", title) if title else None,
        x1=round(x0, 1),
        y1=round(y0, 1),
        x2=round(x1, 1),
        y2=round(y1, 1),
        class_=kind,
    )


def _tick(x: float, y: float, said: str, anchor: str) -> Markup:
    return el("text", said, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_="tick")


def _said(value: float) -> str:
    if value == round(value) and abs(value) < 10_000:
        return str(int(value))
    return f"{value:.3g}" if 0.001 <= abs(value) < 10_000 else significant(value, 1)
