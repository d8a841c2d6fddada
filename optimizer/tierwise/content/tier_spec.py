"""A tier as a job describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.schema import Price


@dataclass(frozen=True)
class TierSpec:
    """A tier as a job describes it; what is None, ``llm.resolve_tier`` fills in."""

    model: str
    price: Price | None = None
    modes: Mapping[str, Mapping[str, object]] | None = None
    takes_n: bool | None = None
    logprobs: bool | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    recordings: str | None = None
