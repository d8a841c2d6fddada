"""The gate before an export, and the compute gate before a purchase.

The gate: a policy is exported only where it is surely better, or surely as good and cheaper.

Evidence is the test split, which nothing was chosen on, and the validation split as cross-fitted
(``selection.cross_fitted``): there each item is judged under a policy that was chosen without it,
so that 60 test items do not throw away what 200 validation items show. Folds share most of the
items that they choose on, hence their errors are correlated: the validation items' share of the
variance is taken VALIDATION_FOLDS / (VALIDATION_FOLDS - 1) times, as Nadeau and Bengio (Machine
Learning 2003) correct it. By simulation at most 5% of jobs without a better policy pass
(docs/design/selection.md).

The compute gate: before a tier may spend on more than one sample, can spending pay here?
Non-reasoning models do not catch up at any budget, and much compute adds little to some tasks
(arXiv 2504.14047). On the first purchase the best strategy of several samples is cross-fitted
against the best single sample, both chosen on items that they are not scored on, net of their cost
at the job's price. The gate closes only where the upper bound of that net gain is below zero: a
gate that closes wrongly costs a tier all of its gain, one that stays open only samples. It never
closes where samples are free. It depends on the samples alone, not on a seed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Policy, Recipe, StrategySpec, Variant, uniform
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.allocation import cascades
from tierwise.search.samples import most_samples
from tierwise.search.selection import (
    Candidate,
    CandidateTable,
    PairedItems,
    Utility,
    choose_policy,
    complexity,
    cross_fitted,
)
from tierwise.search.space import Dimensions
from tierwise.stats.intervals import UNSUPPORTED, Interval
from tierwise.tasks.verifiers import LOGPROBS

_FEWEST_ITEMS = 40
"""With fewer the interval says nothing: the gate stays open, undecided."""

_FEWEST_SAMPLES = 5
"""Of a variant on an item, where the space may ask for as many: with fewer the strategies that the
gate would close are not among those that it compares."""

VOTES = (3, 5, 9, 17)
"""Samples of a vote that are looked at."""

THRESHOLDS = (0.8, 0.9)
"""Of adaptive votes: one answer is enough for none of them."""

PAIRED_VARIANTS = 6
"""Variants, the best at one sample first, whose pairs are looked at voting together."""


@dataclass(frozen=True)
class GateDecision:
    """What the first purchase says.

    Attributes:
        open: spending may pay, or there was too little to tell, or samples are free.
        decided: there was enough to tell.
        items, samples: what it was measured on (items, most samples of a variant).
        net_gain: utility of the best strategy less that of the best single sample, cross-fitted.
        best, best_single: those policies, in one line.
    """

    open: bool
    decided: bool
    items: int
    samples: int
    net_gain: Interval = UNSUPPORTED
    best: str = ""
    best_single: str = ""

    @property
    def name(self) -> str:
        """``open`` or ``closed``."""
        return "open" if self.open else "closed"


UNDECIDED = GateDecision(True, False, 0, 0)
"""Nothing was measured yet."""


def decide(
    table: SampleTable,
    space: SearchSpace,
    aim: Utility,
    *,
    logprobs: bool,
    permutations: Permutations,
    free: bool = False,
) -> GateDecision:
    """Whether the tier may spend, from ``table``, the first purchase.

    Args:
        table: every candidate variant on the same items.
        space: says by which strategies samples may be spent.
        aim: what a strategy must gain for its dollars.
        logprobs: the samples carry log-probabilities.
        permutations: of the samples; an item's score is its mean over them.
        free: samples cost nothing, so the gate stays open whatever they say.
    """
    evaluator = Evaluator(table, permutations, exact=False)
    singles = [uniform(variant, StrategySpec.of("single")) for variant in table.variants]
    most = max(rows.n_samples for rows in table.variants.values())
    staged = space
    if (
        max(space.buckets) > 1
    ):  # a probe, then another variant: as a cascade, whose cost is the same
        staged = replace(space, strategies={"cascade": {}, **space.strategies})
    depths = {variant: rows.n_samples for variant, rows in table.variants.items()}
    listed = cascades(evaluator, Dimensions(staged, depths, logprobs))
    more = [*_strategies(table, space, logprobs), *_searches(table, space), *listed]
    candidates = [Candidate(policy, -1, evaluator.evaluate(policy)) for policy in singles + more]
    supported = [c for c in candidates if c.evaluation.known]
    one = [c for c in supported if complexity(c.policy) == 0]
    several = [c for c in supported if complexity(c.policy) > 0]
    samples = most
    if not one or not several or table.n_items < 2:
        return GateDecision(True, False, table.n_items, samples)
    tables = [CandidateTable.of(group) for group in (several, one)]
    best, single = (cross_fitted(group, aim) for group in tables)
    net = PairedItems(aim.gain(best, single), table.n_items).interval()
    deep = most >= min(_FEWEST_SAMPLES, most_samples(space))
    decided = table.n_items >= _FEWEST_ITEMS and deep
    leaders = [
        _label(group[choose_policy(of, aim)].policy)
        for group, of in zip((several, one), tables, strict=True)
    ]
    stays_open = free or not decided or net.high >= 0
    return GateDecision(stays_open, decided, table.n_items, samples, net, *leaders)


def closed_space(space: SearchSpace) -> SearchSpace:
    """``space`` with one sample left in it; prompt, mode and temperature are still free."""
    one = replace(space, variants=(1,), strategies={"single": {}})
    return one.with_difficulty(signals=("none",), buckets=(1,))


def single_searches(space: SearchSpace) -> list[StrategySpec]:
    """The space's ways to search with one chain: every number of rounds, and of passages."""
    dims = space.strategies.get("retrieval", {})
    rounds, passages = (_whole(dims.get(name)) for name in ("rounds", "passages"))
    return [
        StrategySpec.of("retrieval", rounds=n, passages=k)
        for n in rounds
        if n
        for k in passages or (2,)
    ]


def _strategies(table: SampleTable, space: SearchSpace, logprobs: bool) -> list[Policy]:
    """Votes, adaptive votes and best-of-n of each variant, and votes of pairs of the best."""
    score = {variant: float(np.nanmean(rows.score)) for variant, rows in table.variants.items()}
    leading = sorted(score, key=lambda variant: (-score[variant], variant.label))
    groups: list[tuple[Variant, ...]] = [(variant,) for variant in table.variants]
    if max(space.variants) > 1:
        groups += itertools.combinations(leading[:PAIRED_VARIANTS], 2)
    found = []
    for group in groups:
        depth = sum(table.variants[variant].n_samples for variant in group)
        depth = min(depth, len(group) * min(table.variants[v].n_samples for v in group))
        for n in (n for n in VOTES if n <= depth):
            found.append((group, StrategySpec.of("self_consistency", samples=n)))
            for threshold in THRESHOLDS:
                found.append(
                    (
                        group,
                        StrategySpec.of("adaptive_consistency", threshold=threshold, max_samples=n),
                    )
                )
        if len(group) == 1:
            names = space.strategies.get("best_of_n", {}).get("verifier", ())
            for name in names if isinstance(names, tuple) else ():
                if isinstance(name, str) and (logprobs or name not in LOGPROBS):
                    found += [
                        (group, StrategySpec.of("best_of_n", samples=n, verifier=name))
                        for n in (2, *VOTES)
                        if n <= depth
                    ]
    return [Policy((Recipe(group, spec),)) for group, spec in found]


def _searches(table: SampleTable, space: SearchSpace) -> list[Policy]:
    return [uniform(variant, spec) for spec in single_searches(space) for variant in table.variants]


def _label(policy: Policy) -> str:
    recipe = policy.buckets[0]
    return f"{' + '.join(v.label for v in recipe.variants)}: {recipe.strategy}"


def _whole(dimension: Dimension | None) -> tuple[int, ...]:
    """The whole numbers of a dimension."""
    if isinstance(dimension, Range):
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return tuple(int(v) for v in dimension or () if isinstance(v, int | float))
