"""How a search spends its budget: iterations of fewer variants and more samples, then a held-out
test.

Sequential halving over variants (Karnin et al., ICML 2013) on nested items, with all samples kept:
the first iteration has one sample on many items where each sample is a call of its own, each
further one half of the variants at about as much money, and the last, the study, gets what is left.
The same rules serve the search, which goes by what samples turned out to cost, and the plan, which
prices the iterations before the first call (``stage_table``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.errors import BudgetError
from tierwise.schema import Tier, Usage, UsageLimits, Variant
from tierwise.search.problem import SampleCost, SearchSize
from tierwise.search.samples import SampleCounts
from tierwise.search.variants import token_cap

PLANNED_SHARE = 0.9
"""Part of a cap on dollars or tokens that is planned for; the rest is for samples that cost more
than expected. Calls are known."""

BEFORE_STUDY = 0.6
"""Part of the search's money for the iterations before the study, in equal parts."""

TEST_PART = 0.15
"""Part of a budget that is kept for the held-out test, at most."""

TEST_SAMPLES = 3
"""Samples of an item that the chosen policy is expected to ask for, before any is known."""

LEAST_ITEMS, LEAST_TESTED = 16, 8
"""Items of the smallest search, in validation and in test: of the baseline and one other
variant."""

LEAST_SCREENED = 4
"""Items of a variant at the first iteration; a budget that has fewer leaves variants out."""

ENOUGH_TO_PAIR = 24
"""Items from which on a second sample of a variant says more than another item: how its samples
agree is what its votes depend on."""

LEAST_TO_SEE, MOST_TO_SEE = 40, 100
"""Items that a gain of more samples is looked for on, by its size."""

PARTS_OF_DEPTH = (1.0, 0.75, 0.5, 0.35, 0.2)
"""Of the samples of an item that are wanted, where all of them are not affordable."""

LEAST_DEPTH = 2
"""Of an item, where more than one is wanted."""

EXPECTED_DEPTH = 5
"""Samples an item of a study's variants that a plan expects."""

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
    def variants_by_iteration(self) -> list[int]:
        """Variants of each iteration before the study: halves, until few enough to try policies
        on."""
        counts = [self.counts.variants]
        while counts[-1] > self.size.race_variants:
            counts.append(math.ceil(counts[-1] / 2))
        return counts if len(counts) > 1 else counts * 2

    def stage_name(self, at: int) -> str:
        """Of a iteration before the study."""
        last = len(self.variants_by_iteration) - 1
        return "screen" if not at else "race" if at == last else f"halving {at}"

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

    def iteration(self, at: int, alive: int, have: Iteration, left: UsageLimits) -> Iteration:
        """Iteration number ``at`` before the study, of ``alive`` variants that have ``have``.

        ``left`` is what the search may still spend, the study's part in it.
        """
        n_iterations, part = len(self.variants_by_iteration), self.part(at, left)
        if not at:
            fewest = self._shaped(LEAST_SCREENED, have, at)
            alive = largest(
                min(2, alive), alive, lambda k: part.fits(self._new(replace(fewest, variants=k)))
            )
        most = self.size.screen_items * self.size.screen_samples * 2**at
        if at == n_iterations - 1:
            most = self.size.race_items * self.size.race_samples
        each = largest(
            max(have.items * have.samples, 1),
            max(most, have.items * have.samples),
            lambda n: part.fits(
                self._new(replace(self._shaped(n, have, at), variants=alive), have)
            ),
        )
        return replace(self._shaped(each, have, at), variants=alive)

    def part(self, at: int, left: UsageLimits) -> UsageLimits:
        """Of what the search may still spend, that of iteration ``at`` before the study."""
        n_iterations = len(self.variants_by_iteration)
        return left * (BEFORE_STUDY / n_iterations / (1 - at * BEFORE_STUDY / n_iterations))

    def _shaped(self, each: int, have: Iteration, at: int) -> Iteration:
        """Items and samples of about ``each`` samples of a variant."""
        size, deepest = self.size, max(self.counts.n_samples, 1)
        most = size.screen_items * (1 if self.cost.takes_n else size.screen_samples)
        most = most * 2**at
        if at == len(self.variants_by_iteration) - 1:
            most = size.race_items if self.cost.takes_n else size.study_items
        most = min(most, max(size.screen_items, size.race_items, size.study_items))
        samples = self.first_samples
        if at and samples == 1 and each >= 2 * ENOUGH_TO_PAIR:
            samples = min(2, deepest)
        samples = max(samples, have.samples)
        items = max(min(most, each // samples), 1)
        return Iteration(have.variants, items, max(samples, min(deepest, each // items)))

    def _fits(self, iteration: Iteration, have: Iteration, left: UsageLimits) -> bool:
        return left.fits(self._new(iteration, have))

    def _new(self, iteration: Iteration, have: Iteration = Iteration(0, 0, 0)) -> Usage:
        """What a iteration uses beyond what its variants have."""
        screened = self.counts.screened
        nodes = screened if not have.items else self.counts.nodes
        return _row("", iteration, have, nodes, screened).usage(self.cost)

    def schedule(self) -> list[Iteration]:
        """The iterations that the budget affords as far as they can be foreseen, the study the
        last."""
        iterations, left, have = list[Iteration](), self.for_search, Iteration(0, 0, 0)
        for at, wanted in enumerate(self.variants_by_iteration):
            alive = min(wanted, have.variants) if at else wanted
            iteration = self.iteration(at, alive, have, left)
            left, have = left - self._new(iteration, have), iteration
            iterations.append(iteration)
        return [*iterations, self._study(left, have)]

    def _study(self, left: UsageLimits, have: Iteration) -> Iteration:
        """The last iteration, at the depth that is expected; which variants are deepened is not
        known."""
        variants, most = min(self.size.study_variants, have.variants), self.size.study_items
        deepest = max(self.counts.n_samples, have.samples)
        whole = Iteration(variants, most, deepest)
        if left.fits(self._new(whole, have)):
            return whole
        least = min(have.items, LEAST_TO_SEE)
        for depth in sorted({min(EXPECTED_DEPTH, deepest), min(2, deepest), 1}, reverse=True):
            for k in range(variants, 1, -1):
                if depth < have.samples or not self._fits(Iteration(k, least, depth), have, left):
                    continue

                def fits(n: int, k: int = k, depth: int = depth) -> bool:
                    return self._fits(Iteration(k, n, depth), have, left)

                return Iteration(k, largest(least, most, fits), depth)
        return Iteration(min(variants, 2), have.items, have.samples)


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


@dataclass(frozen=True)
class Deepening:
    """More samples of some variants, on as many items as the money for it buys.

    Attributes:
        wanted: samples of an item of each variant, the most useful variant first.
        have: samples of each that the first ``there`` items have.
        least, most: items.
        enough: items on which what more samples may gain can be seen.
        left: the money for it; ``beside`` is what else so many items cost.
        nodes: turns below or beside a variant's plain answers to an item.
    """

    wanted: Mapping[Variant, int]
    have: Mapping[Variant, int]
    there: int
    least: int
    most: int
    enough: int
    left: UsageLimits
    cost: SampleCost
    nodes: int = 0
    beside: Callable[[int], Usage] = lambda n: Usage()

    def affordable(self, *, fewest: int, variants_first: bool) -> tuple[int, dict[Variant, int]]:
        """Items, and samples of each variant that stays.

        Where not all is affordable on ``enough`` items, variants are left out down to ``fewest``,
        or fewer samples are taken: ``variants_first`` says what is kept longer.
        """
        counts = range(len(self.wanted), min(fewest, len(self.wanted)) - 1, -1)
        tries = (
            [(k, part) for k in counts for part in PARTS_OF_DEPTH]
            if variants_first
            else [(k, part) for part in PARTS_OF_DEPTH for k in counts]
        )
        best: tuple[int, dict[Variant, int]] | None = None
        for k, part in tries:
            depth = self._depth(k, part)
            if not self.left.fits(self._usage(self.least, depth)):
                continue
            items = largest(
                self.least,
                self.most,
                lambda n, d=depth: self.left.fits(self._usage(n, d)),  # type: ignore[misc]  # a default binds the value of now
            )
            # Where nothing is enough: all of what is kept longer, and little of the other.
            if best is None or (variants_first and k == len(best[1])):
                best = items, depth
            if items >= min(self.enough, self.most):
                return items, depth
        return best or (self.there, {v: max(self.have.get(v, 0), 1) for v in self.wanted})

    def _depth(self, k: int, part: float) -> dict[Variant, int]:
        return {
            variant: max(self.have.get(variant, 0), math.ceil(n * part), min(n, LEAST_DEPTH))
            for variant, n in list(self.wanted.items())[:k]
        }

    def _usage(self, n: int, depth: Mapping[Variant, int]) -> Usage:
        rows = (
            _row(
                "",
                Iteration(1, n, k),
                Iteration(1, self.there, self.have.get(v, 0)),
                self.nodes,
                self.nodes,
            )
            for v, k in depth.items()
        )
        return sum((row.usage(self.cost) for row in rows), self.beside(n))


def enough_items(gain: float) -> int:
    """Items on which a gain of score is about 1.5 standard errors of a paired difference."""
    return round(min(max((0.7 / max(gain, 1e-9)) ** 2, LEAST_TO_SEE), MOST_TO_SEE))


# The table of stages


def stage_table(plan: HalvingPlan) -> tuple[StageRow, ...]:
    """What each stage of a search buys at most, in order."""
    size, counts, rows = plan.size, plan.counts, list[StageRow]()
    have, nodes = Iteration(0, 0, 0), 0
    iterations = plan.schedule()
    for at, iteration in enumerate(iterations):
        name = "study" if at == len(iterations) - 1 else plan.stage_name(at)
        below = counts.nodes if at else counts.screened
        rows.append(_row(name, iteration, have, below, nodes))
        have, nodes = iteration, below
    if size.fit_items:
        each, items = size.fit_samples, size.fit_items
        k = min(2, counts.variants)
        rows.insert(
            len(iterations) - 2, StageRow("fit", "train", k, items, k * items * each, k * items, 0)
        )
    if size.rounds:
        rows.append(_rounds(size, counts))
    n, n_test = counts.n_samples, plan.test_items
    most = StageRow("test", "test", 2, n_test, n_test * (1 + n), n_test * 3, n_test * counts.nodes)
    return tuple(row for row in (*rows, most) if row.items and row.samples + row.nodes)


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
