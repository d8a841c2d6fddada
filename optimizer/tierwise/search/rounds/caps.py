"""What proposals may cost: fixed parts of the job's budget, a part a round, and then a tier.

They are fixed before the first call, as the tiers' own are: were they what others leave, a result
would depend on which tier was faster.
"""

from __future__ import annotations

from tierwise.schema import Budget, Job, UsageLimits

PROPOSER = "proposer"
"""The book of a run's pool for the first round; ``proposer/TIER`` is that of a tier's others."""
STAGE = "rounds"
"""What rounds look at beside the search's own stages: train items, tries and acceptance."""


def book_of(tier: str) -> str:
    """The book of a tier's rounds."""
    return f"{PROPOSER}/{tier}"


def first_cap(job: Job) -> UsageLimits:
    """Of the first round, which is the same for all tiers."""
    return _cap(job.proposers_budget.times(1 / _rounds(job)))


def tier_cap(job: Job) -> UsageLimits:
    """Of one tier's later rounds."""
    rounds = _rounds(job)
    return _cap(job.proposers_budget.times((rounds - 1) / rounds / len(job.tiers)))


def _rounds(job: Job) -> int:
    return job.proposals.rounds if job.proposals else 1


def _cap(budget: Budget) -> UsageLimits:
    return UsageLimits(budget.usd, budget.calls, budget.tokens, budget.seconds)
