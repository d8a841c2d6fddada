"""What a search tells whoever listens; the command line samples it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tierwise.pool import Bought, Remarked


@dataclass(frozen=True, slots=True)
class Started:
    """A tier begins a stage."""

    tier: str
    stage: str


@dataclass(frozen=True, slots=True)
class Best:
    """The best policy so far, by the study's own samples."""

    tier: str
    trials: int
    score: float
    usd: float
    recipe: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A tier is done; ``ok`` False where it failed and the others go on."""

    tier: str
    ok: bool = True
    message: str = ""


Event = Started | Bought | Best | Remarked | Finished
Listener = Callable[[Event], None]
