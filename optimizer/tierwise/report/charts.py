"""SVG charts of the report: typed series in, one SVG element out.

A chart is a frozen dataclass that says what is shown, in the units of the data. ``draw`` computes
scales, ticks and label places for a width and gives back markup; the same chart can be drawn
narrow for phones and wide for screens. Every text is escaped by markupsafe; every mark has a
``<title>``, which browsers show under the pointer. Colours are CSS classes (``report.css``):
``t0`` … ``t5`` for tiers, ``ink`` for what belongs to none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from tierwise.report.text import significant
from tierwise.schema.measured import Bounds

_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 14.0, 12.0, 44.0
"""Room around the plot for ticks and axis labels, in the picture's units."""
_LETTER, _LINE = 7.0, 13.0
"""About what a letter of a label takes across, and a line of text down."""
_ROOM = 0.06
"""Part of the values' range that is left empty at either end of an axis."""
_NAME, _TITLE = 40, 400
"""Characters of a name and of a pointer's text that are shown."""


@dataclass(frozen=True)
class Mark:
    """A point of a series; ``note`` is what the pointer says of it.

    ``shape`` is circle, ring, diamond, star, cross, speck, or empty where only a line goes through.
    ``interval`` is vertical. A ``label`` is placed beside the mark where it covers least.
    """

    x: float
    y: float
    note: str = ""
    shape: str = "circle"
    size: float = 5.0
    interval: Bounds | None = None
    label: str = ""


@dataclass(frozen=True)
class Series:
    """Marks of one colour; ``line`` joins them: solid, dash1, dash2, move (dotted), or not (empty).

    ``dx`` moves intervals aside, in pixels, where those of several series would cover each other.
    """

    name: str
    tone: str
    marks: tuple[Mark, ...]
    line: str = ""
    dx: float = 0.0


class Rule(NamedTuple):
    """A line from edge to edge at a value of x (upright) or of y; ``kind`` is its CSS class."""

    value: float
    note: str
    kind: str = "rule"
    upright: bool = False


@dataclass(frozen=True)
class XYChart:
    """A chart with two axes, drawn in the order of its series.

    ``name`` and ``about`` are its text alternative. ``end_labels`` writes each series' name at its
    last mark.
    """

    name: str
    about: str
    series: tuple[Series, ...]
    x_label: str
    y_label: str = "score"
    log_x: bool = False
    rules: tuple[Rule, ...] = ()
    end_labels: bool = False
    height: int = 290


class IntervalRow(NamedTuple):
    """A named estimate; ``aside`` stands at the right end of its row."""

    name: str
    value: float
    interval: Bounds | None
    aside: str
    note: str
    shape: str = "circle"


@dataclass(frozen=True)
class IntervalChart:
    """Estimates with their intervals, row under row (a forest plot)."""

    name: str
    about: str
    tone: str
    rows: tuple[IntervalRow, ...]
    x_label: str


class Bar(NamedTuple):
    """A bar, and what is said behind it; ``planned`` is an upright mark across it."""

    name: str
    tone: str
    value: float
    said: str
    planned: float | None = None


@dataclass(frozen=True)
class BarChart:
    """Lying bars from 0, one a row."""

    name: str
    about: str
    bars: tuple[Bar, ...]


Chart = XYChart | IntervalChart | BarChart


def draw(chart: Chart, width: int = 400) -> Markup:
    """The chart as an ``<svg>`` element, ``width`` units wide."""
    match chart:
        case XYChart():
            return _draw_xy(chart, width)
        case IntervalChart():
            return _draw_intervals(chart, width)
        case BarChart():
            return _draw_bars(chart, width)


def key(shape: str, tone: str) -> Markup:
    """The sign of a legend's entry: a mark's shape, or ``line``, ``rule`` or ``upright``."""
    lines = {"line": (1, 8, 17, 8), "rule": (1, 8, 17, 8), "upright": (9, 1, 9, 15)}
    if shape in lines:
        sign = _segment(*lines[shape], f"line {tone}" if shape == "line" else tone)
    else:
        sign = _mark(9, 8, tone, "", shape, 5.0)
    return _tag("svg", sign, viewBox="0 0 18 16", width=18, height=16, aria_hidden="true")


# Scales


class Scale(NamedTuple):
    """Values low … high on pixels start … end, linear or logarithmic."""

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
        raw = ((self.high - self.low) or 1.0) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        ticks: list[float] = []
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for multiples in ((1, 2, 5), (1, 3), (1,)):
            ticks = [m * 10.0**d for d in decades for m in multiples]
            ticks = [t for t in ticks if self.low * 0.999 <= t <= self.high * 1.001]
            if len(ticks) <= most:
                return ticks if len(ticks) > 1 else []
        return ticks[:: math.ceil(len(ticks) / most)]


def padded(values: Iterable[float | None], *, log: bool = False) -> tuple[float, float]:
    """A range with room around the finite ``values``; one value gets a range of its own."""
    finite = [v for v in values if v is not None and math.isfinite(v) and (v > 0 or not log)]
    if not finite:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(finite), max(finite)
    if log:
        low, high = math.log(low), math.log(high)
    least = 0.05 if log else 1e-3  # what differs by less is one value
    room = (high - low) * _ROOM if high - low > least else (0.7 if log else 0.05)
    low, high = low - room, high + room
    return (math.exp(low), math.exp(high)) if log else (low, high)


# Where labels go


class Box(NamedTuple):
    """What a mark or a label takes up."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that two boxes share."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, width: float, height: float) -> float:
        """How far it reaches out of a picture."""
        past = (-self.left, -self.top, self.right - width, self.bottom - height)
        return sum(max(0.0, p) for p in past)


class LabelPlace(NamedTuple):
    """Of a label, from its mark."""

    dx: float
    dy: float
    anchor: str

    def box(self, x: float, y: float, text: str) -> Box:
        """What the label takes up."""
        wide = _LETTER * len(text)
        left = x + self.dx - {"start": 0.0, "middle": wide / 2, "end": wide}[self.anchor]
        return Box(left, y + self.dy - _LINE + 3, left + wide, y + self.dy + 3)


_PLACES = [
    LabelPlace(dx, dy, anchor)
    for dy in (-7.0, 14.0, 4.0, -22.0, 28.0, -36.0, 42.0)
    for dx, anchor in ((10.0, "start"), (-10.0, "end"), (0.0, "middle"))
]
"""Best first: beside the mark and a little above or below it, then further off."""


def place(
    x: float, y: float, text: str, taken: Sequence[Box], size: tuple[float, float]
) -> LabelPlace:
    """The first place of those that cover least of what is ``taken`` and of what is outside."""

    def covers(one: LabelPlace) -> float:
        box = one.box(x, y, text)
        return sum(box.overlap(other) for other in taken) + 100 * box.outside(*size)

    return min(_PLACES, key=covers)


def spread(at: Sequence[float], low: float, high: float, gap: float = _LINE) -> list[float]:
    """``at`` moved as little as keeps them ``gap`` apart and between ``low`` and ``high``."""
    order = sorted(range(len(at)), key=lambda i: at[i])
    moved = list(at)
    for before, i in zip([None, *order], order, strict=False):
        moved[i] = max(moved[i], low if before is None else moved[before] + gap)
    limit = high
    for i in reversed(order):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved


# Drawing


def _draw_xy(chart: XYChart, width: int) -> Markup:
    marks = [mark for series in chart.series for mark in series.marks]
    ends = [end for mark in marks for end in mark.interval or () if end is not None]
    ys = [mark.y for mark in marks] + ends + [r.value for r in chart.rules if not r.upright]
    xs = [mark.x for mark in marks] + [r.value for r in chart.rules if r.upright]
    names = [series.name for series in chart.series] if chart.end_labels else []
    right = max([_RIGHT, *(14 + 6.5 * min(len(name), _NAME) for name in names)])
    at_x = Scale(*padded(xs, log=chart.log_x), _LEFT, width - right, chart.log_x)
    at_y = Scale(*padded(ys), chart.height - _BOTTOM, _TOP)
    parts = _axes(chart, at_x, at_y, width)
    for rule in chart.rules:
        if rule.upright:
            at = at_x(rule.value)
            parts.append(_segment(at, at_y.start, at, at_y.end, rule.kind, rule.note))
        else:
            at = at_y(rule.value)
            parts.append(_segment(at_x.start, at, at_x.end, at, rule.kind, rule.note))
    taken = [Box(0, 0, at_x.start, chart.height)]
    for series in chart.series:
        path = [(at_x(mark.x), at_y(mark.y)) for mark in series.marks]
        if series.line and len(path) > 1:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
            kind = f"line {series.tone} {series.line}"
            parts.append(_tag("polyline", _title(series.name), points=points, class_=kind))
            taken += _boxes_along(path)
    for series in chart.series:
        for mark in series.marks:
            x, y = at_x(mark.x), at_y(mark.y)
            low, high = mark.interval or (None, None)
            if low is not None and high is not None:
                box = Box(x - 2 + series.dx, at_y(high), x + 2 + series.dx, at_y(low))
                kind = f"whisker {series.tone}{' faint' if len(series.marks) > 2 else ''}"
                parts.append(_segment(x + series.dx, box.bottom, x + series.dx, box.top, kind))
                taken.append(box)
            if mark.shape:
                parts.append(_mark(x, y, series.tone, mark.note, mark.shape, mark.size))
            if mark.shape not in ("", "speck"):
                taken.append(Box(x - 8, y - 8, x + 8, y + 8))
    labelled = [(s.tone, mark) for s in chart.series for mark in s.marks if mark.label]
    for tone, mark in labelled:
        x, y = at_x(mark.x), at_y(mark.y)
        at_label = place(x, y, mark.label, taken, (width, at_y.start))
        taken.append(at_label.box(x, y, mark.label))
        x, y = x + at_label.dx, y + at_label.dy
        parts.append(_text(mark.label, x, y, at_label.anchor, f"label {tone}"))
    if chart.end_labels:
        last = [(s.name, s.marks[-1]) for s in chart.series if s.marks and s.name]
        apart = spread([at_y(mark.y) for _, mark in last], at_y.end, at_y.start - 6)
        for (name, mark), y in zip(last, apart, strict=True):
            parts.append(_text(name, at_x(mark.x) + 9, y + 4, "start", "label"))
    return _picture(chart, width, chart.height, parts)


def _axes(chart: XYChart, at_x: Scale, at_y: Scale, width: int) -> list[Markup]:
    bottom, parts = at_y.start, []
    for tick in at_y.ticks():
        at = at_y(tick)
        parts.append(_segment(at_x.start, at, at_x.end, at, "grid"))
        parts.append(_text(_said(tick), at_x.start - 6, at + 4, "end", "tick"))
    parts += _x_axis(at_x, bottom, chart.height, chart.x_label, width)
    turned = f"translate(11 {(at_y.start + at_y.end) / 2:.1f}) rotate(-90)"
    label = _tag("text", chart.y_label, text_anchor="middle", class_="axis-label", transform=turned)
    return [*parts, label]


def _x_axis(at_x: Scale, bottom: float, height: float, label: str, width: int) -> list[Markup]:
    parts = []
    for tick in at_x.ticks(max(3, round(width / 75))):
        at = at_x(tick)
        parts.append(_segment(at, bottom, at, bottom + 4, "axis"))
        parts.append(_text(_said(tick), at, bottom + 17, "middle", "tick"))
    parts.append(_segment(at_x.start, bottom, at_x.end, bottom, "axis"))
    middle = (at_x.start + at_x.end) / 2
    return [*parts, _text(label, middle, height - 6, "middle", "axis-label")]


def _boxes_along(path: Sequence[tuple[float, float]]) -> list[Box]:
    """What a line takes up, as small boxes along it."""
    boxes = []
    for (x0, y0), (x1, y1) in itertools.pairwise(path):
        steps = max(1, math.ceil(math.hypot(x1 - x0, y1 - y0) / 8))
        for i in range(steps + 1):
            x, y = x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps
            boxes.append(Box(x - 2, y - 2, x + 2, y + 2))
    return boxes


def _draw_intervals(chart: IntervalChart, width: int) -> Markup:
    row_height = 40
    height = row_height * len(chart.rows) + _BOTTOM + 8
    values = [v for row in chart.rows for v in (row.value, *(row.interval or ()))]
    at_x = Scale(*padded(values), _LEFT / 4, width - _RIGHT)
    parts = _x_axis(at_x, height - _BOTTOM, height, chart.x_label, width)
    for i, row in enumerate(chart.rows):
        top = _TOP + i * row_height
        parts.append(_text(row.name, at_x.start, top + 4, "start", "label"))
        parts.append(_text(row.aside, at_x.end, top + 4, "end", "label dim"))
        y = top + 17
        low, high = row.interval or (None, None)
        if low is not None and high is not None:
            parts.append(_segment(at_x(low), y, at_x(high), y, f"whisker {chart.tone}"))
        size = 6.0 if row.shape == "star" else 4.5
        parts.append(_mark(at_x(row.value), y, chart.tone, row.note, row.shape, size))
    return _picture(chart, width, height, parts)


def _draw_bars(chart: BarChart, width: int) -> Markup:
    row_height, bar_height = 24, 15
    start = min(18 + 7.2 * max((len(_cut(b.name, _NAME)) for b in chart.bars), default=0), 250)
    said = 14 + 6.6 * max((len(bar.said) for bar in chart.bars), default=0)
    most = max((v for b in chart.bars for v in (b.value, b.planned or 0.0)), default=0.0) or 1.0
    scale = max(20.0, width - start - said) / most
    parts = []
    for i, bar in enumerate(chart.bars):
        y, length = i * row_height + 5, max(1.0, bar.value * scale)
        parts.append(_text(bar.name, start - 8, y + 12, "end", "label"))
        note = _title(f"{bar.name}: {bar.said}")
        kind = f"bar {bar.tone}"
        parts.append(_tag("rect", note, x=start, y=y, width=length, height=bar_height, class_=kind))
        x = start + (bar.planned or 0.0) * scale
        if bar.planned is not None:
            parts.append(_segment(x, y - 3, x, y + bar_height + 3, "plan"))
        text_at = max(start + length, x) + 6
        parts.append(_text(bar.said, text_at, y + 12, "start", "label dim"))
    return _picture(chart, width, len(chart.bars) * row_height + 8, parts)


def _picture(chart: Chart, width: float, height: float, parts: Iterable[Markup]) -> Markup:
    """An ``<svg>`` that says what it is to those who do not see it."""
    about = _cut(f"{chart.name}. {chart.about}", 4 * _TITLE)
    return _tag(
        "svg",
        _title(chart.name),
        *parts,
        role="img",
        aria_label=about,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
    )


def _mark(x: float, y: float, tone: str, note: str, shape: str, size: float) -> Markup:
    title, s = _title(note), size
    if shape in ("circle", "ring", "speck"):
        return _tag("circle", title, cx=x, cy=y, r=s, class_=f"{shape} {tone}")
    if shape == "cross":
        path = f"M{x - s:.1f} {y - s:.1f}l{2 * s:g} {2 * s:g}m0 {-2 * s:g}l{-2 * s:g} {2 * s:g}"
        return _tag("path", title, d=path, class_=f"cross {tone}")
    if shape == "diamond":
        corners = [(x, y - s), (x + s, y), (x, y + s), (x - s, y)]
    else:  # a star of five points
        turns = [math.pi * i / 5 - math.pi / 2 for i in range(10)]
        radii = [s * (0.55 if i % 2 else 1.25) for i in range(10)]
        corners = [
            (x + r * math.cos(t), y + r * math.sin(t)) for r, t in zip(radii, turns, strict=True)
        ]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    return _tag("polygon", title, points=points, class_=f"circle {tone}")


def _segment(x0: float, y0: float, x1: float, y1: float, kind: str, note: str = "") -> Markup:
    return _tag("line", _title(note), x1=x0, y1=y0, x2=x1, y2=y1, class_=kind)


def _text(text: str, x: float, y: float, anchor: str, kind: str) -> Markup:
    return _tag("text", _cut(text, _NAME * 2), x=x, y=y, text_anchor=anchor, class_=kind)


def _title(note: str) -> Markup:
    return _tag("title", _cut(note, _TITLE)) if note else Markup()


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """An element; children that are not markup are escaped. ``class_`` is ``class``."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{said}>{''.join(escape(child) for child in children)}</{name}>")


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def _said(value: float) -> str:
    if value == round(value) and abs(value) < 10_000:
        return str(int(value))
    return f"{value:.3g}" if 0.001 <= abs(value) < 10_000 else significant(value, 1)
