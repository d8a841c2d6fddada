"""Who writes prompts for a job's task, how many, and in how many rounds."""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.content.tier_spec import TierSpec
from tierwise.errors import InputError

SHARE = 0.1
"""Part of each cap of a budget that proposals may use, where ``usd`` does not say."""


@dataclass(frozen=True)
class ProposalSpec:
    """The job's key ``proposals``.

    The first round is made from the task's train items alone. Each further one reflects, tier by
    tier, on what the policy found so far gets wrong, as long as the round before it was a gain.

    Attributes:
        model: the proposer; None: no instructions are written.
        rounds: at most, the first among them.
        instructions: to ask for in each round.
        demonstrations: sets of demonstrations from a tier's own right answers.
        usd: the most that the proposer may cost, of the job's budget; None: a tenth of it.

    Raises:
        InputError: a value out of range.
    """

    model: TierSpec | None = None
    rounds: int = 2
    instructions: int = 6
    demonstrations: int = 0
    usd: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("instructions", 0), ("demonstrations", 0)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise InputError(f"proposals.{name} must be at least {least}, got {value}")
        if self.usd is not None and not self.usd > 0:
            raise InputError(f"proposals.usd must be above 0, got {self.usd:g}")
