"""A dataset row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


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
