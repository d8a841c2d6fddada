"""A dataset row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One row: what a prompt may use (``inputs``) and the gold answer that only a metric sees.

    ``also`` are further right answers; demonstrations show ``target``.
    """

    id: str
    inputs: Mapping[str, str]
    target: str
    also: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Every right answer."""
        return (self.target, *self.also)

    @property
    def content_sha256(self) -> str:
        """Hash of inputs and targets; an item keeps its split when its id or place changes."""
        content = [dict(self.inputs), *self.targets]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
