"""How a search spends its budget: rounds of fewer variants and more samples, then a held-out test.

Sequential halving over variants (Karnin et al., ICML 2013) on nested items, with all samples kept.
Every round costs the same, so a variant that stays to the end has budget / rounds * sum(1 / n)
samples, over the n variants of each round. The policies that are chosen among in the end need these
on the same items and as deep as their votes go: so the items are as many as those samples make at
that depth, and the rounds before buy a first sample of these items, then depth. What is bought to
tell prompts apart is thus what votes are judged on. Two variants end together, more of them where
there is money for all items: policies of two are told apart by items. The same rules serve the
search, which plans what is left anew after each round by what samples turned out to cost, and the
plan before the first call (``stage_table``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tierwise.errors import BudgetError
from tierwise.schema import Tier, Usage, UsageLimits, Variant
from tierwise.search.problem import SearchSize, token_cap
from tierwise.search.samples import SampleCost, SampleCounts

PLANNED_SHARE = 0.9
"""Part of a cap on dollars or tokens that is planned for; the rest is for samples that cost more
than expected. Calls are known."""

FINALISTS = 2
"""Variants that are studied in the end where there is not money for more on all items."""

TEST_PART = 0.15
"""Part of a budget that is kept for the held-out test, at most."""

TEST_SAMPLES = 3
"""Samples of an item that the chosen policy is expected to ask for, before any is known."""

LEAST_ITEMS, LEAST_TESTED = 16, 8
"""Items of the smallest search, in validation and in test: of the baseline and one other
variant."""

LEAST_SCREENED = 4
"""Items of a variant at the first iteration; a budget that has fewer leaves variants out."""

BYTES_A_TOKEN = 3.0
PART_OF_CAP = 1 / 6
"""How long answers are expected to be before the first: a part of the mode's token cap, which few
should fill."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """``samples`` of each of ``variants`` on ``items`` validation items, earlier ones included."""

    variants: int
    items: int
    samples: int


NO_SAMPLES = Iteration(0, 0, 0)
"""Before the first round."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """What a stage buys at most.

    Attributes:
        variants: of which it buys samples, on ``items`` items of ``split``.
        samples: plain answers, over all variants and items, beside those of the stages before it:
            the items of the iterations are nested.
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

    def usage(self, cost: SampleCost) -> Usage:
        """What it uses at ``cost`` a sample."""
        calls = self.requests if cost.takes_n else self.samples
        return cost.of(self.samples + self.nodes, calls + self.nodes) + cost.turn * self.nodes


# Iterations


@dataclass(frozen=True)
class HalvingPlan:
    """What the size of the iterations follows from.

    Attributes:
        size: the most that each stage looks at, within the task's splits.
        cap: the whole of the tier's budget.
        free: looking at more samples costs nothing.
        test_samples: of a test item, that the chosen policy is expected to ask for.
    """

    size: SearchSize
    counts: SampleCounts
    cost: SampleCost
    cap: UsageLimits
    free: bool = False
    test_samples: int = TEST_SAMPLES

    @property
    def planned(self) -> UsageLimits:
        """What of the cap is planned for."""
        usd, tokens = self.cap.usd, self.cap.tokens
        return replace(
            self.cap,
            usd=None if usd is None else usd * PLANNED_SHARE,
            tokens=None if tokens is None else int(tokens * PLANNED_SHARE),
        )

    @property
    def least(self) -> Usage:
        """The smallest search: the baseline and one other variant on the fewest items, and a
        test."""
        items = min(LEAST_ITEMS, self.size.study_items)
        tested = self.test_row(min(LEAST_TESTED, self.size.test_items)).usage(self.cost)
        return (
            _row("screen", Iteration(2, items, 1), Iteration(2, 0, 0), 0, 0).usage(self.cost)
            + tested
        )

    def test_row(self, items: int) -> StageRow:
        """What is kept for the test: the baseline's sample, and the chosen policy's in two
        rounds."""
        wide = min(self.test_samples, self.counts.n_samples)
        rounds = min(2, wide)
        nodes = items * self.counts.nodes
        return StageRow("test", "test", 2, items, items * (1 + wide), items * (1 + rounds), nodes)

    @property
    def test_items(self) -> int:
        """Test items that money is kept for; more are tested where more is left."""
        most, least = self.size.test_items, min(LEAST_TESTED, self.size.test_items)
        part = self.planned * TEST_PART
        return largest(least, most, lambda n: part.fits(self.test_row(n).usage(self.cost)))

    @property
    def for_search(self) -> UsageLimits:
        """What the search itself may spend, where further rounds of proposals have as much each."""
        left = self.planned - self.test_row(self.test_items).usage(self.cost)
        return left * (1 / (1 + self.size.rounds)) if self.size.rounds else left

    @property
    def first_samples(self) -> int:
        """Samples of an item at the first iteration, by the price of a call.

        Where each sample is a call of its own, another item says more than another sample. Where
        samples share a prompt, the variance of a mean at given cost is least at the square root of
        the prompt's price over a sample's (Cochran, Sampling Techniques, 10.6), with as much
        variance within items as between; by count of calls they are free.
        """
        most = min(self.size.screen_samples, max(self.counts.n_samples, 1))
        if self.free:
            return most
        if not self.cost.takes_n:
            return 1
        if not self.cap.bounds_price:
            return most
        ratio = self.cost.prompt_usd / self.cost.usd if self.cost.usd else math.inf
        return most if ratio > most**2 else max(1, round(math.sqrt(ratio)))

    def schedule(
        self,
        alive: int,
        have: Iteration = NO_SAMPLES,
        left: UsageLimits | None = None,
        *,
        depth: int = 0,
        deepest: int = 0,
        raced: bool = False,
        beside: Callable[[int], Usage] = lambda items: Usage(),
    ) -> list[Iteration]:
        """The rounds to come: halvings, the race unless ``raced``, and the study.

        Args:
            alive: variants that the next round may have.
            have: what they have so far.
            left: what the search may still spend; None: all of it.
            depth: samples of an item that the study has a use for; 0: ``deepest``.
            deepest: samples that it may have where no item is left; 0: as many as the space asks.
            beside: what else so many items cost.
        """
        left = self.for_search if left is None else left
        deepest = max(deepest or self.counts.n_samples, have.samples, 1)
        depth = max(depth or deepest, have.samples)

        def fits(counts: Sequence[int], items: int, depth: int) -> bool:
            rounds = self._rounds(counts, have, items, depth)
            return left.fits(self._usage(rounds, have) + beside(items))

        def rounds(alive: int, finalists: int) -> list[Iteration]:
            counts = [finalists] if raced else _halves(alive, finalists, begun=have.items > 0)
            most, n = self.size.study_items, depth
            while n > have.samples + (not have.items) and not fits(
                counts, min(LEAST_ITEMS, most), n
            ):
                n -= 1
            items = largest(1, most, lambda items: fits(counts, items, n))
            if items == most and not left.unlimited:
                n = largest(n, deepest, lambda n: fits(counts, items, n))
            return self._rounds(counts, have, items, n)

        if not have.items:  # a budget that has too few items for all leaves variants out
            alive = largest(
                min(2, alive),
                alive,
                lambda k: rounds(k, min(FINALISTS, k))[0].items >= LEAST_SCREENED,
            )
        fewest = min(FINALISTS, alive)
        for finalists in range(min(self.size.study_variants, alive), fewest, -1):
            found = rounds(alive, finalists)
            if found[-1].items >= self.size.study_items:
                return found
        return rounds(alive, fewest)

    def _rounds(
        self, counts: Sequence[int], have: Iteration, items: int, depth: int
    ) -> list[Iteration]:
        """Rounds of the same cost that end with ``depth`` samples on ``items``."""
        found, share, last = list[Iteration](), 0.0, have
        begun = min(have.items, items) * have.samples
        more = max(items * depth - begun, 0) / sum(1 / n for n in counts)
        for n in counts[:-1]:
            share += 1 / n
            last = self._shaped(n, begun + more * share, last, items, depth)
            found.append(last)
        return [*found, Iteration(counts[-1], items, depth)]

    def _shaped(
        self, variants: int, each: float, have: Iteration, items: int, depth: int
    ) -> Iteration:
        """A round with about ``each`` samples of a variant: of ``items``, then of more depth."""
        size = self.size
        if not have.items:
            most = size.screen_items * (1 if self.cost.takes_n else size.screen_samples)
            bound = size.screen_items * size.screen_samples
        else:
            most = size.race_items * (1 if self.cost.takes_n else 2)
            bound = size.race_items * size.race_samples
        items = max(min(items, most), 1)
        each = items * depth if self.free else bound if self.cap.unlimited else min(each, bound)
        samples = max(self.first_samples, have.samples, min(int(each / items), depth))
        kept = min(have.items, items) if samples == have.samples else 1
        return Iteration(variants, max(min(int(each / samples), items), kept), samples)

    def fits(self, wanted: Iteration, have: Iteration, left: UsageLimits) -> bool:
        """Whether ``left`` pays for what ``wanted`` has beyond ``have``."""
        return left.fits(self._usage([wanted], have))

    def most_items(self, have: Iteration, most: int, left: UsageLimits) -> int:
        """Items, at most ``most``, on which ``left`` pays for as many samples as there are."""
        return largest(have.items, most, lambda n: self.fits(replace(have, items=n), have, left))

    def _usage(self, rounds: Sequence[Iteration], have: Iteration) -> Usage:
        """What the rounds use beyond what their variants have."""
        rows = self.rows(rounds, have)
        return sum((row.usage(self.cost) for row in rows), Usage())

    def rows(self, rounds: Sequence[Iteration], have: Iteration = NO_SAMPLES) -> list[StageRow]:
        """What the rounds buy; the last two are the race and the study."""
        found, had = list[StageRow](), self.counts.screened if have.items else 0
        for at, one in enumerate(rounds):
            left = len(rounds) - at
            nodes = self.counts.nodes if left <= 2 else self.counts.screened
            first = "screen" if not have.items else f"halving {at}"
            name = {1: "study", 2: "race"}.get(left, first)
            found.append(_row(name, one, have, nodes, had))
            have, had = one, nodes
        return found


def _halves(alive: int, finalists: int, *, begun: bool) -> list[int]:
    """Variants of the rounds to come: each time the better half, the race and the study the last.

    The first round has all of them.
    """
    counts = [] if begun else [alive]
    last = alive
    while (half := math.ceil(last / 2)) > finalists:
        counts.append(last := half)
    if len(counts) < (1 if begun else 2):
        counts.append(last)
    return [*counts, min(finalists, last)]


def largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest whole number in [low, high] that fits, by bisection; ``low`` where none does."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _row(stage: str, iteration: Iteration, have: Iteration, nodes: int, had: int) -> StageRow:
    """The row of a iteration whose variants have ``have``, with ``nodes`` turns an item, ``had``
    before."""
    k, items, n = iteration.variants, iteration.items, iteration.samples
    samples = k * (items * n - min(items, have.items) * min(n, have.samples))
    requests = k * (items if n > have.samples else max(0, items - have.items))
    below = k * max(0, items * nodes - have.items * had)
    return StageRow(stage, "validation", k, items, samples, requests, below)


def checked(plan: HalvingPlan, tier: str) -> HalvingPlan:
    """``plan``.

    Raises:
        BudgetError: the smallest search does not fit; says what would.
    """
    least, cap = plan.least, plan.cap
    if plan.planned.fits(least):
        return plan
    needs = []
    if cap.usd is not None:
        needs.append(f"${least.usd / PLANNED_SHARE:.2g} of its ${cap.usd:.2g}")
    if cap.tokens is not None:
        needs.append(f"{least.tokens / PLANNED_SHARE:,.0f} of its {cap.tokens:,} tokens")
    if cap.calls is not None:
        needs.append(f"{least.calls:,} of its {cap.calls:,} calls")
    raise BudgetError(
        f"the budget is too small for tier {tier!r}: to hold the baseline against one other prompt "
        f"on {min(LEAST_ITEMS, plan.size.study_items)} items and to test the better one needs "
        f"about {' and '.join(needs)}"
    )


# The table of stages


def stage_table(plan: HalvingPlan) -> tuple[StageRow, ...]:
    """What each stage of a search buys at most, in order."""
    size, counts = plan.size, plan.counts
    rows = plan.rows(plan.schedule(counts.variants))
    if size.fit_items:
        each, items = size.fit_samples, size.fit_items
        k = min(2, counts.variants)
        fit = StageRow("fit", "train", k, items, k * items * each, k * items, 0)
        rows.insert(len(rows) - 2, fit)
    if size.rounds:
        rows.append(_rounds(size, counts))
    n, n_test = counts.n_samples, plan.test_items
    most = StageRow("test", "test", 2, n_test, n_test * (1 + n), n_test * 3, n_test * counts.nodes)
    return tuple(row for row in (*rows, most) if row.items and row.samples + row.nodes)


def _rounds(size: SearchSize, counts: SampleCounts) -> StageRow:
    """The proposal rounds after the first: proposals tried, raced and studied, and their gain."""
    tried = size.proposed * size.screen_items
    raced = size.proposed * size.race_items
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


def usage_of(plan: HalvingPlan) -> Usage:
    """What all stages use at most."""
    return sum((row.usage(plan.cost) for row in stage_table(plan)), Usage())


def enough_usd(plan: HalvingPlan) -> float:
    """Dollars of a cap that leave the search as large as its size allows."""
    return usage_of(replace(plan, cap=UsageLimits())).usd / PLANNED_SHARE


def assumed_cost(tier: Tier, variants: Sequence[Variant], prompt_bytes: float) -> SampleCost:
    """Before the first sample: three bytes a prompt token, a sixth of each mode's token cap."""
    prompt = prompt_bytes / BYTES_A_TOKEN
    caps = [token_cap(tier.mode(variant.mode)) for variant in variants]
    completion = sum(caps) / len(caps) * PART_OF_CAP
    return SampleCost(
        tier.price.completion_usd(completion, prompt_tokens=prompt),
        completion,
        tier.takes_n,
        prompt_usd=tier.price.prompt_usd(prompt),
        prompt_tokens=prompt,
    )
