"""What the stages of a search buy at most, and the largest search that a budget affords.

One table of stages (``stage_table``) serves the search, which scales itself to its budget by it,
and the plan, which prices it before the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tierwise.errors import BudgetError
from tierwise.schema import Tier, Usage, UsageLimits, Variant
from tierwise.search.problem import SampleCost, SearchSize
from tierwise.search.samples import SampleCounts
from tierwise.search.variants import token_cap

SCALES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.22, 0.16, 0.12, 0.08)
"""Of the items of every stage, tried in turn until a search fits its budget."""

PLANNED_SHARE = 0.9
"""Part of a budget that is planned for; the rest is for samples that cost more than expected."""

BYTES_A_TOKEN = 3.0
PART_OF_CAP = 1 / 6
"""How long answers are expected to be before the first: a part of the mode's token cap, which few
should fill."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """What a stage buys at most.

    Attributes:
        variants: of which it buys samples, on ``items`` items of ``split``.
        samples: plain answers, over all variants and items, beside those of the stages before it:
            the items of screen, race and study are nested.
        requests: (variant, item) pairs that they are of; calls, where a call brings several.
        nodes: turns below or beside plain answers, each a call of its own.
    """

    stage: str
    split: str
    variants: int
    items: int
    samples: int
    requests: int
    nodes: int

    def calls(self, takes_n: bool) -> int:
        """Calls, where one brings all samples of a variant on an item (``takes_n``) or one."""
        return self.nodes + (self.requests if takes_n else self.samples)


def stage_table(size: SearchSize, counts: SampleCounts) -> tuple[StageRow, ...]:
    """What each stage of a search of this size buys at most, in order."""
    n, nodes = counts.n_samples, counts.nodes
    raced, studied = (min(counts.variants, of) for of in (size.race_variants, size.study_variants))
    screen_samples, race_samples = min(size.screen_samples, n), min(size.race_samples, n)
    looked = (
        (
            "screen",
            "validation",
            counts.variants,
            size.screen_items,
            screen_samples,
            counts.screened,
        ),
        ("fit", "train", min(2, counts.variants), size.fit_items, size.fit_samples, 0),
        ("race", "validation", raced, size.race_items, race_samples, nodes),
        ("study", "validation", studied, size.study_items, n, nodes),
    )
    plain: dict[str, list[int]] = {}  # samples that a surviving variant has of each item
    beside: dict[str, list[int]] = {}  # and nodes
    rows = []
    for stage, split, variants, items, samples, below in looked:
        new = _new(plain.setdefault(split, []), items, samples)
        turns = sum(_new(beside.setdefault(split, []), items, below))
        requests = sum(k > 0 for k in new)
        rows.append(
            StageRow(
                stage,
                split,
                variants,
                items,
                variants * sum(new),
                variants * requests,
                variants * turns,
            )
        )
        if stage == "study" and size.rounds:
            rows.append(_rounds(size, counts))
    rows.append(_test(size, counts))
    return tuple(row for row in rows if row.items)


def _test(size: SearchSize, counts: SampleCounts) -> StageRow:
    """What the chosen policy may ask for at most, in up to three rounds, and the baseline's one."""
    items, n = size.test_items, counts.n_samples
    return StageRow("test", "test", 2, items, items * (1 + n), items * 3, items * counts.nodes)


def _new(there: list[int], items: int, samples: int) -> list[int]:
    """Samples that ``items`` lack of ``samples`` each; ``there`` is updated."""
    there += [0] * (items - len(there))
    new = [max(0, samples - have) for have in there[:items]]
    there[:items] = [max(samples, have) for have in there[:items]]
    return new


def _rounds(size: SearchSize, counts: SampleCounts) -> StageRow:
    """The proposal rounds after the first: proposals tried, raced and studied, and their gain."""
    tried = size.proposed * size.screen_items
    raced = min(size.proposed, size.race_variants) * size.race_items
    new = min(size.proposed, size.study_variants)
    studied = new * size.study_items + size.reflect_items + 2 * size.accept_items
    n, race_samples = counts.n_samples, min(size.race_samples, counts.n_samples)
    return StageRow(
        "rounds",
        "validation",
        size.rounds * size.proposed,
        size.rounds * (tried + raced + studied),
        size.rounds * (tried * n + raced * race_samples + studied * n),
        size.rounds * (tried + raced + studied),
        size.rounds * (raced + studied) * counts.nodes,
    )


def affordable(
    size: SearchSize,
    counts: SampleCounts,
    cost: SampleCost,
    cap: UsageLimits,
    *,
    tier: str,
    done: Sequence[str] = (),
) -> SearchSize:
    """``size``, scaled down until the stages that are not ``done`` fit ``cap``, what is left.

    Where rounds of proposals do not fit at any scale, it is without them.

    Raises:
        BudgetError: the smallest search does not fit; says what it needs.
    """
    for factor in SCALES:
        scaled = size.scaled(factor)
        if "screen" in done:  # what it bought is there
            scaled = replace(scaled, screen_items=size.screen_items)
        needed = usage_of(scaled, counts, cost, done)
        if cap.fits(needed, PLANNED_SHARE):
            return scaled
    if size.rounds:  # they are what can be done without
        return affordable(replace(size, rounds=0), counts, cost, cap, tier=tier, done=done)
    needs = []
    if cap.usd is not None:
        needs.append(f"${needed.usd / PLANNED_SHARE:.2g} of its ${cap.usd:.2g}")
    if cap.tokens is not None:
        needs.append(f"{needed.tokens / PLANNED_SHARE:,.0f} of its {cap.tokens:,} tokens")
    if cap.calls is not None:
        needs.append(f"{needed.calls / PLANNED_SHARE:,.0f} of its {cap.calls:,} calls")
    raise BudgetError(
        f"the budget is too small for tier {tier!r}: the smallest search over {counts.variants} "
        f"variants needs about {' and '.join(needs)}; raise the budget, or give a smaller space "
        "(--space quick)"
    )


def room_for_a_round(
    size: SearchSize, counts: SampleCounts, cost: SampleCost, cap: UsageLimits, spent: Usage
) -> bool:
    """Whether one more round leaves enough of the cap for what comes after it."""
    done = ("screen", "race", "study")
    needed = usage_of(replace(size, rounds=1), counts, cost, done)
    return (cap - spent).fits(needed, PLANNED_SHARE)


def enough_usd(size: SearchSize, counts: SampleCounts, cost: SampleCost) -> float:
    """Dollars of a cap that leave ``size`` as it is."""
    return usage_of(size, counts, cost).usd / PLANNED_SHARE


def usage_of(
    size: SearchSize, counts: SampleCounts, cost: SampleCost, done: Sequence[str] = ()
) -> Usage:
    """What the stages that are not ``done`` use at most, at ``cost`` a sample."""
    rows = [row for row in stage_table(size, counts) if row.stage not in done]
    samples = sum(row.samples + row.nodes for row in rows)
    turns = cost.turn * sum(row.nodes for row in rows)
    return cost.of(samples, sum(row.calls(cost.takes_n) for row in rows)) + turns


def assumed_cost(tier: Tier, variants: Sequence[Variant], prompt_bytes: float) -> SampleCost:
    """Before the first sample: three bytes a prompt token, a sixth of each mode's token cap."""
    prompt = prompt_bytes / BYTES_A_TOKEN
    caps = [token_cap(tier.mode(variant.mode)) for variant in variants]
    completion = sum(caps) / len(caps) * PART_OF_CAP
    usd = tier.price.prompt_usd(prompt) + tier.price.completion_usd(
        completion, prompt_tokens=prompt
    )
    return SampleCost(usd, prompt + completion, tier.takes_n)
