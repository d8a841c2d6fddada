"""Where labels go: beside their marks, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LETTER, LINE = 7.0, 13.0
"""About what a letter of a label takes across, and a line down, in a picture's units."""


class Box(NamedTuple):
    """What a mark or a label takes up."""

    left: float
    top: float
    right: float
    bottom: float

    def on(self, other: Box) -> float:
        """The area that two boxes share."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, width: float, height: float) -> float:
        """How far it reaches out of a picture."""
        past = (-self.left, -self.top, self.right - width, self.bottom - height)
        return sum(max(0.0, p) for p in past)


class Place(NamedTuple):
    """Of a label beside its mark."""

    dx: float
    dy: float
    anchor: str

    def box(self, x: float, y: float, said: str) -> Box:
        """What the label takes up."""
        wide = LETTER * len(said)
        left = x + self.dx - {"start": 0.0, "middle": wide / 2, "end": wide}[self.anchor]
        return Box(left, y + self.dy - LINE + 3, left + wide, y + self.dy + 3)


PLACES = [
    Place(dx, dy, anchor)
    for dy in (-7.0, 14.0, 4.0, -22.0, 28.0, -36.0, 42.0)
    for dx, anchor in ((10.0, "start"), (-10.0, "end"), (0.0, "middle"))
]
"""Best first: beside the mark and a little above or below it, then further off."""


def place(x: float, y: float, said: str, taken: Sequence[Box], size: tuple[float, float]) -> Place:
    """The first place of those that cover least of what is ``taken`` and of what is outside."""

    def covers(one: Place) -> float:
        box = one.box(x, y, said)
        return sum(box.on(other) for other in taken) + 100 * box.outside(*size)

    return min(PLACES, key=covers)


def spread(at: Sequence[float], low: float, high: float, gap: float = LINE) -> list[float]:
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
