"""A plan's values: amounts by stage and tier, within what a budget allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.llm.models import RECORDED, kind_of
from tierwise.schema import Tier, Usage, UsageLimits
from tierwise.schema.result import PLAN_SCHEMA, PlannedStage, PlannedTier, RunPlan, UsageTotals


@dataclass(frozen=True)
class StagePlan:
    """One stage: ``samples`` are new ones, at most, and ``lookups`` what their queries ask for;
    ``uncut_items`` are without the budget."""

    stage: str
    variants: int
    items: int
    uncut_items: int
    samples: int
    expected: Usage
    worst: Usage
    lookups: int = 0

    def beside(self, samples: int, lookups: int, expected: Usage, worst: Usage) -> StagePlan:
        """With the turns of chains beside the plain answers."""
        return replace(
            self,
            samples=self.samples + samples,
            lookups=self.lookups + lookups,
            expected=self.expected + expected,
            worst=self.worst + worst,
        )

    def at_worst_beside(self, variants: int, samples: int, worst: Usage) -> StagePlan:
        """With more that may be sampled, and is not expected to be."""
        return replace(
            self,
            variants=self.variants + variants,
            samples=self.samples + samples,
            worst=self.worst + worst,
        )


@dataclass(frozen=True)
class TierPlan:
    """One tier; ``fault`` says why its budget is too small for the smallest search.

    ``worst`` is bounded by the tier's share of the budget, ``cap``, which is never passed. Where a
    run has begun (``remaining``), all are what is left beside what it ``bought``.

    Attributes:
        seconds_a_call: with many calls at once; None where no call was made to see it.
        enough_usd: dollars of a cap that lets the search be as large as this.
        lengths_seen: what samples turned out to cost over what is expected before the first; dollars.
    """

    tier: Tier
    cap: UsageLimits
    stages: tuple[StagePlan, ...]
    fault: str = ""
    bought: Usage | None = None
    seconds_a_call: float | None = None
    enough_usd: float = 0.0
    lengths_seen: float | None = None

    @property
    def recorded(self) -> bool:
        """Nothing is bought."""
        return kind_of(self.tier.model) == RECORDED

    @property
    def paid(self) -> bool:
        """Calls to it are on somebody's bill."""
        price = self.tier.price
        free = price.prompt_usd_per_mtok == 0 and price.completion_usd_per_mtok == 0
        return not (price.simulated or free or kind_of(self.tier.model) != "litellm")

    @property
    def expected(self) -> Usage:
        """Over all stages, within the cap."""
        return self._within([s.expected for s in self.stages])

    @property
    def worst(self) -> Usage:
        """Over all stages, within the cap."""
        return self._within([s.worst for s in self.stages])

    @property
    def minutes(self) -> tuple[float, float] | None:
        """Of its calls, expected and at worst: by its pace, and no faster than its limits allow.

        At worst a call takes longer as its answers do. None where nothing is known of either.
        """
        expected = self._minutes(self.expected, 1.0)
        longer = self.worst.tokens / self.expected.tokens if self.expected.tokens else 1.0
        calls = self.worst.calls / self.expected.calls if self.expected.calls else 1.0
        worst = self._minutes(self.worst, max(1.0, longer / calls))
        return None if expected is None or worst is None else (expected, worst)

    def _minutes(self, amount: Usage, slower: float) -> float | None:
        limits = self.tier.limits
        floors = [
            amount.calls / limits["rpm"] if "rpm" in limits else None,
            amount.tokens / limits["tpm"] if "tpm" in limits else None,
            amount.calls * self.seconds_a_call * slower / 60 if self.seconds_a_call else None,
        ]
        return max((floor for floor in floors if floor is not None), default=None)

    def _within(self, amounts: Sequence[Usage]) -> Usage:
        return self.cap.cut(sum(amounts, Usage()))


@dataclass(frozen=True)
class Plan:
    """A job's plan."""

    tiers: Mapping[str, TierPlan]

    @property
    def paid(self) -> tuple[str, ...]:
        """Names of the tiers that cost money."""
        return tuple(name for name, tier in self.tiers.items() if tier.paid)

    @property
    def paid_usd(self) -> tuple[float, float]:
        """Dollars of the paid tiers: expected, and at worst."""
        paid = [self.tiers[name] for name in self.paid]
        return sum(t.expected.usd for t in paid), sum(t.worst.usd for t in paid)


def as_data(found: Plan) -> RunPlan:
    """``plan.json``: what was planned before the first purchase, by tier and stage."""
    return RunPlan(
        PLAN_SCHEMA,
        {
            name: PlannedTier(
                fault=tier.fault,
                stages={
                    s.stage: PlannedStage(
                        variants=s.variants,
                        items=s.items,
                        samples=s.samples,
                        lookups=s.lookups,
                        expected=UsageTotals.of(s.expected),
                        worst=UsageTotals.of(s.worst),
                    )
                    for s in tier.stages
                },
                expected=UsageTotals.of(tier.expected),
                worst=UsageTotals.of(tier.worst),
            )
            for name, tier in found.tiers.items()
        },
    )


def expected_usage(tier: Tier, calls: int, samples: int, prompt: float, completion: float) -> Usage:
    """Of calls with so many prompt tokens each, and samples with so many completion tokens."""
    usd = tier.price.prompt_usd(prompt) * calls + tier.price.completion_usd(completion) * samples
    return Usage(calls, samples, calls * prompt, samples * completion, usd=usd)
