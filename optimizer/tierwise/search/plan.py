"""What a job would buy and cost, tier by tier and stage by stage, before a single call.

The counts are those of ``effort``, as the search takes them. A stage is counted with what earlier
stages did not buy: the items of screen, race and study are nested. Prompts are rendered and
measured in bytes; how long answers are nobody knows before the first, so the expectation takes half
of each mode's token cap, a token for three bytes of prompt, and half of the draws that finalists
might ask for; the worst case takes all of them, and a token a byte, as a reservation does. A
budget's cap bounds both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tierwise.errors import BudgetError
from tierwise.llm import Call, build_request
from tierwise.llm.models import RECORDED, address_of, kind_of
from tierwise.pool import Cap
from tierwise.pool.bill import worst_case
from tierwise.pool.spending import Bought
from tierwise.recipe import Arm, Tier
from tierwise.search.arms import Arms
from tierwise.search.asking import with_mode_to_ask
from tierwise.search.effort import Effort, affordable, assumed_cost, most_draws
from tierwise.search.offered import offered, scores_of
from tierwise.search.prepared import Prepared
from tierwise.search.shares import share_of

MEASURED_ITEMS = 40
"""Items whose prompts are rendered, of the split that is screened."""

FINALISTS_DEPTH = 0.5
"""Part of the most draws that policies on held-out items are expected to ask for."""


class Amount(NamedTuple):
    """Calls, tokens and dollars."""

    calls: int
    tokens: float
    usd: float

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(
            self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd
        )  # fmt: skip


NOTHING = Amount(0, 0.0, 0.0)


@dataclass(frozen=True)
class StagePlan:
    """One stage: ``draws`` are new ones, at most; ``uncut_items`` are without the budget."""

    stage: str
    arms: int
    items: int
    uncut_items: int
    draws: int
    expected: Amount
    worst: Amount


@dataclass(frozen=True)
class TierPlan:
    """One tier; ``fault`` says why its budget is too small for the smallest search.

    ``worst`` is bounded by the tier's share of the budget, ``cap``, which is never passed. Where a
    run has begun (``remaining``), all are what is left beside what it ``bought``.
    """

    tier: Tier
    cap: Cap
    stages: tuple[StagePlan, ...]
    fault: str = ""
    bought: Bought | None = None

    @property
    def recorded(self) -> bool:
        """Nothing is bought."""
        return kind_of(self.tier.model) == RECORDED

    @property
    def paid(self) -> bool:
        """Calls to it are on somebody's bill."""
        price = self.tier.price
        free = price.prompt_usd_per_mtok == 0 and price.completion_usd_per_mtok == 0
        return not (price.nominal or free or kind_of(self.tier.model) != "litellm")

    @property
    def expected(self) -> Amount:
        """Over all stages, within the cap."""
        return self._within([s.expected for s in self.stages])

    @property
    def worst(self) -> Amount:
        """Over all stages, within the cap."""
        return self._within([s.worst for s in self.stages])

    def _within(self, amounts: Sequence[Amount]) -> Amount:
        total = NOTHING
        for amount in amounts:
            total = total.plus(amount)
        return Amount(
            total.calls if self.cap.calls is None else min(total.calls, self.cap.calls),
            total.tokens if self.cap.tokens is None else min(total.tokens, self.cap.tokens),
            total.usd if self.cap.usd is None else min(total.usd, self.cap.usd),
        )


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


def plan(prepared: Prepared, effort: Effort | None = None) -> Plan:
    """What ``search.tune`` would buy for a job that begins with an empty pool.

    Raises:
        InputError: no prompt fits a mode that a tier and the space share; a cap on dollars or
            tokens, and a mode that sends no token cap.
    """
    return Plan({
        name: _tier_plan(prepared, tier, effort or Effort())
        for name, tier in prepared.tiers.items()
    })  # fmt: skip


def as_data(found: Plan) -> dict[str, Any]:
    """``plan.json``: what was planned before the first purchase, by tier and stage."""
    return {
        "schema": "tierwise/plan/v1",
        "tiers": {
            name: {
                "fault": tier.fault,
                "stages": {
                    s.stage: {
                        "arms": s.arms, "items": s.items, "draws": s.draws,
                        "expected": s.expected._asdict(), "worst": s.worst._asdict(),
                    }
                    for s in tier.stages
                },
                "expected": tier.expected._asdict(), "worst": tier.worst._asdict(),
            }
            for name, tier in found.tiers.items()
        },
    }  # fmt: skip


def _tier_plan(prepared: Prepared, tier: Tier, effort: Effort) -> TierPlan:
    cap = share_of(prepared.job, tier, prepared.tiers)
    if prepared.baseline is None or kind_of(tier.model) == RECORDED:
        return TierPlan(tier, cap, ())
    task = prepared.loaded.task
    tier = with_mode_to_ask(tier, prepared.space)
    arms = prepared.arms(tier, prepared.baseline, prepared.loaded.prompts)
    depth = most_draws(offered(prepared.space, scores_of(task, tier)))
    calls = _calls(prepared, tier, arms, arms.candidates)
    first = [of_arm[0].request for of_arm in calls]
    size = sum(len(m.content.encode()) for r in first for m in r.messages) / len(first)
    fault, cut = "", effort
    try:
        assumed = assumed_cost(tier, arms.candidates, size)
        within = effort.within(task, prepared.space.signals)
        cut = affordable(within, len(first), depth, assumed, cap, tier=tier.name)
    except BudgetError as error:
        fault = str(error)
    lengths = _Lengths.of(tier, calls, bounded=cap.usd is not None or cap.tokens is not None)
    splits = {name: len(items) for name, items in task.splits.items()}
    stages = _stages(cut, effort, len(first), depth, splits, tier, lengths)
    if arms.asking:
        asked = _calls(prepared, tier, arms, [a for of in arms.asking.values() for a in of])
        lengths = _Lengths.of(tier, asked, bounded=False)
        stages = (*stages, _asked(cut, effort, arms, splits, tier, lengths))
    return TierPlan(tier, cap, stages, fault)


def _asked(
    cut: Effort, full: Effort, arms: Arms, splits: Mapping[str, int], tier: Tier, lengths: _Lengths
) -> StagePlan:  # fmt: skip
    """What signals ask beside the answers: each wording in the screening, then one a signal."""
    held_out = min(cut.select_items, splits["select"]) + min(cut.test_items, splits["test"])
    later = min(cut.study_items, splits["tune"]) - min(cut.screen_items, splits["tune"]) + held_out
    wordings = sum(len(of) for of in arms.asking.values())
    draws = wordings * min(cut.screen_items, splits["tune"]) + len(arms.asking) * max(later, 0)
    once = [1] * draws
    return StagePlan(
        "ask", wordings, cut.study_items, full.study_items, draws,
        _amount(1, once, tier, lengths.prompt, lengths.completion),
        _amount(1, once, tier, lengths.worst_prompt, lengths.worst_completion),
    )  # fmt: skip


def _calls(prepared: Prepared, tier: Tier, arms: Arms, among: Sequence[Arm]) -> list[list[Call]]:
    """For each arm the calls for one draw of some items."""
    items = prepared.loaded.task.splits["tune"][:MEASURED_ITEMS]
    address = address_of(tier)
    return [
        [
            Call(build_request(tier, arms.prompts[arm.prompt], arm, i.inputs, address), 0, 1, 0)
            for i in items
        ]
        for arm in among
    ]


class _Lengths(NamedTuple):
    """Tokens of a call's prompt and of a draw: on average, and at worst over all arms."""

    prompt: float
    completion: float
    worst_prompt: float
    worst_completion: float

    @classmethod
    def of(cls, tier: Tier, calls: Sequence[Sequence[Call]], *, bounded: bool) -> _Lengths:
        """Measured on rendered requests."""
        sizes = [
            sum(len(m.content.encode()) for m in call.request.messages)
            for of_arm in calls
            for call in of_arm
        ]
        worst, most = [], []
        for of_arm in calls:
            for call in of_arm:
                one = worst_case([call], tier, bounded=bounded).tokens
                two = worst_case([call._replace(n=2)], tier, bounded=bounded).tokens
                most.append(two - one)
                worst.append(one - most[-1])
        return cls(sum(sizes) / len(sizes) / 3, sum(most) / len(most) / 2, max(worst), max(most))


def _stages(
    cut: Effort, full: Effort, n_arms: int, depth: int, splits: Mapping[str, int], tier: Tier,
    lengths: _Lengths,
) -> tuple[StagePlan, ...]:  # fmt: skip
    raced, studied = min(n_arms, cut.race_arms), min(n_arms, cut.study_arms)
    table = (
        ("screen", "tune", n_arms, min(cut.screen_draws, depth)),
        ("fit", "train", min(2, n_arms), cut.fit_draws),
        ("race", "tune", raced, min(cut.race_draws, depth)),
        ("study", "tune", studied, depth),
        ("select", "select", studied, depth),
        ("test", "test", studied, depth),
    )
    bought = [0] * splits["tune"]  # draws that a surviving arm has of each item
    stages = []
    for stage, split, arms, draws in table:
        items = min(getattr(cut, f"{stage}_items"), splits[split])
        if not items:
            continue
        uncut = min(getattr(full, f"{stage}_items"), splits[split])
        new = [draws] * items
        if split == "tune":
            new = [max(0, draws - have) for have in bought[:items]]
            bought[:items] = [max(draws, have) for have in bought[:items]]
        held_out = split in ("select", "test")
        usual = [max(1, round(n * FINALISTS_DEPTH)) for n in new] if held_out else new
        stages.append(StagePlan(
            stage, arms, items, uncut, arms * sum(new),
            _amount(arms, usual, tier, lengths.prompt, lengths.completion),
            _amount(arms, new, tier, lengths.worst_prompt, lengths.worst_completion),
        ))  # fmt: skip
    return tuple(stages)


def _amount(
    arms: int, draws: Sequence[int], tier: Tier, prompt: float, completion: float
) -> Amount:
    """What ``draws`` new draws of each item cost on ``arms`` arms."""
    wanted = sum(draws)
    calls = arms * (sum(n > 0 for n in draws) if tier.takes_n else wanted)
    usd = tier.price.prompt_usd(prompt) * calls
    usd += tier.price.completion_usd(completion) * arms * wanted
    return Amount(calls, calls * prompt + arms * wanted * completion, usd)
