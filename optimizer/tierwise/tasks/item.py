"""A dataset row, and the four splits it may fall into."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS = ("train", "tune", "select", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """One row: what a prompt may use (``inputs``) and the gold answer that only a metric sees."""

    id: str
    inputs: Mapping[str, str]
    target: str

    @property
    def content_sha256(self) -> str:
        """Hash of inputs and target; an item keeps its split when its id or place changes."""
        text = json.dumps([dict(self.inputs), self.target], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def assign_splits(
    items: Sequence[Item], shares: Mapping[str, float]
) -> dict[str, tuple[Item, ...]]:
    """Interleave ``items`` to the splits by a stable hash of content.

    Adding or removing items moves no other item, so a share is met in expectation only.
    """
    total = sum(shares.values())
    interleaved: dict[str, list[Item]] = {name: [] for name in SPLITS}
    for item in items:
        u = int(item.content_sha256[:13], 16) / 16**13 * total
        for name in SPLITS:
            u -= shares.get(name, 0.0)
            if u < 0:
                break
        interleaved[name].append(item)
    return {name: tuple(rows) for name, rows in interleaved.items()}
