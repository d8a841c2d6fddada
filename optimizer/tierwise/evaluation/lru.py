"""A cache bounded by the bytes of the arrays in it, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """``get(key, compute)``; what is thrown out is computed again."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The value of ``key``, computed at most once while it is kept."""
        found = self._kept.pop(key, None)
        value, before = found or (compute(), 0)
        size = _size(value)  # again: some values grow with use
        self._kept[key] = (value, size)
        self.bytes += size - before
        while self.bytes > self.max_bytes and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.bytes = 0


def _size(value: object) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, tuple):
        return sum(_size(v) for v in value)
    size = getattr(value, "nbytes", 0)
    return int(size)
