"""The compute gate: before a tier may spend, does spending pay here at all?

Non-reasoning models do not catch up at any budget, and much compute adds little to some tasks
(arXiv 2504.14047). From a small first purchase two numbers are estimated, each with a 95% interval:
the slope of the score on log2(samples), and the paired gain of a thinking mode over a direct one; and
where a space searches, a third: the gain of rounds of search over a direct answer. Where none is
clearly above zero the gate is closed.

Which variant and which way of spending are looked at is chosen on one half of the items and measured on
the other, both ways round: the best of many that gain nothing still shows no gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.stats.intervals import UNSUPPORTED, Interval
from tierwise.tasks.verifiers import LOGPROBS

Floats = npt.NDArray[np.float64]
Measured = tuple[Interval, Interval]
"""An estimate with its interval at 95%, and at the level that decides."""

CLEARLY = 0.99
"""Level of the interval that must lie above zero: of two chances one may be luck, and two halves
that agree on a variant are not independent. Reported intervals are those of 95%."""

FEWEST_ITEMS = 40
"""With fewer, "not clearly above zero" says nothing: the gate stays open, undecided."""

ABLATION = (1, 3, 5, 9, 17)
"""Samples of a vote: odd, since a vote of two is a vote of one."""


@dataclass(frozen=True)
class GateDecision:
    """What the first purchase says.

    Attributes:
        open: spending pays, or there was too little to tell.
        decided: there was enough to tell.
        items, samples: what it was measured on (items, most samples of a variant).
        slope: score gained for each doubling of the samples; NaN where there is one sample.
        gain: score gained by thinking; NaN where no variant thinks, or all do.
        search: score gained by rounds of search; NaN where the space has none.
        spent_on: what was measured, by channel.
    """

    open: bool
    decided: bool
    items: int
    samples: int
    slope: Interval
    gain: Interval
    spent_on: Mapping[str, str]
    search: Interval = UNSUPPORTED

    @property
    def in_doubt(self) -> bool:
        """Closed, though a 95% interval lies above zero: more items may show what these cannot."""
        return not self.open and any(i.low > 0 for i in (self.slope, self.gain, self.search))

    @property
    def name(self) -> str:
        """``open`` or ``closed``."""
        return "open" if self.open else "closed"

    def evidence(self) -> dict[str, Any]:
        """As data for a policy's evidence and the summary; None for what was not measurable."""
        return {
            "decided": self.decided,
            "items": self.items,
            "samples": self.samples,
            "score_per_doubling_of_samples": _known(self.slope.mean),
            "score_per_doubling_of_samples_ci95": [_known(self.slope.low), _known(self.slope.high)],
            "think_gain": _known(self.gain.mean),
            "think_gain_ci95": [_known(self.gain.low), _known(self.gain.high)],
            **(
                {}
                if np.isnan(self.search.mean)
                else {
                    "search_gain": self.search.mean,
                    "search_gain_ci95": [self.search.low, self.search.high],
                }
            ),
            **self.spent_on,
        }


UNDECIDED = GateDecision(True, False, 0, 0, UNSUPPORTED, UNSUPPORTED, {})
"""Nothing was measured yet."""


def decide(
    table: SampleTable,
    space: SearchSpace,
    direct: str,
    *,
    logprobs: bool,
    permutations: Permutations,
) -> GateDecision:
    """Whether the tier may spend, from ``table``, the first purchase; ``direct`` is the cheapest mode.

    Args:
        table: every candidate variant on the same items, which are in random order.
        space: says by which strategies samples may be spent.
        direct: the mode that the others are compared with.
        logprobs: the samples carry log-probabilities.
        orders: of the samples; an item's score at n samples is its mean over them.
    """
    evaluator = Evaluator(table, permutations)
    (slope, sure_slope), of_slope = _slope(evaluator, _ways(space, logprobs))
    (gain, sure_gain), of_gain = _gain(table, direct)
    (found, sure_found), of_search = _search_gain(evaluator, space, direct)
    spent_on = {"by_samples": of_slope, "by_thinking": of_gain, "by_search": of_search}
    samples = max(rows.n_samples for rows in table.variants.values())
    # A vote over three prompts or more may pay where a prompt has one sample only.
    decided = table.n_items >= FEWEST_ITEMS and (samples > 1 or max(space.variants) < ABLATION[1])
    return GateDecision(
        open=not decided or any(i.low > 0 for i in (sure_slope, sure_gain, sure_found)),
        decided=decided,
        items=table.n_items,
        samples=samples,
        slope=slope,
        gain=gain,
        spent_on={channel: name for channel, name in spent_on.items() if name},
        search=found,
    )


def closed_space(space: SearchSpace, direct: str) -> SearchSpace:
    """``space`` with one cheap sample of ``direct`` left in it; the prompt is still free."""
    return replace(
        space,
        modes=(direct,),
        variants=(1,),
        strategies={"single": {}},
        difficulty=replace(space.difficulty, signals=("none",), buckets=(1,)),
    )


def cheapest_mode(screened: Sequence[tuple[Variant, float, float]]) -> str:
    """The mode whose samples cost least, from (variant, score, dollars)."""
    usd: dict[str, list[float]] = {}
    for variant, _, dollars in screened:
        usd.setdefault(variant.mode, []).append(dollars)
    return min(usd, key=lambda mode: float(np.mean(usd[mode])))


def _ways(space: SearchSpace, logprobs: bool) -> dict[str, StrategySpec]:
    """How samples may be spent, by name: a vote, or the best one by each score of the space."""
    ways = {"self_consistency": StrategySpec.of("self_consistency")}
    names = space.strategies.get("best_of_n", {}).get("verifier", ())
    for name in names if isinstance(names, tuple) else ():
        if logprobs or name not in LOGPROBS:
            ways[f"best_of_n by {name}"] = StrategySpec.of("best_of_n", verifier=name)
    return ways


def _slope(evaluator: Evaluator, ways: Mapping[str, StrategySpec]) -> tuple[Measured, str]:
    """Least-squares slope of the score on log2(samples), of the way that leads; its name."""
    found: dict[str, Floats] = {}
    for variant, rows in evaluator.table.variants.items():
        counts = [n for n in ABLATION if n <= rows.n_samples]
        if len(counts) < 2:
            continue
        x = np.log2(counts)
        weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        for way, spec in ways.items():
            curve = [
                evaluator.evaluate(
                    uniform(variant, StrategySpec.of(spec.kind, dict(spec.params), samples=n))
                ).score
                for n in counts
            ]
            slopes = weights @ np.array(curve)
            found[f"{way} of {variant.label}"] = np.round(slopes, 12)  # no slope is 0, not 1e-17
    n_items = evaluator.table.n_items
    return _cross_fitted(found, {"": np.zeros(n_items)}, n_items)


def _gain(table: SampleTable, direct: str) -> tuple[Measured, str]:
    """Score of the leading thinking variant less that of the leading direct variant; their names."""
    scores = {variant: rows.score.mean(axis=1) for variant, rows in table.variants.items()}
    think = {variant.label: s for variant, s in scores.items() if variant.mode != direct}
    quick = {variant.label: s for variant, s in scores.items() if variant.mode == direct}
    return _cross_fitted(think, quick, table.n_items)


def _search_gain(evaluator: Evaluator, space: SearchSpace, direct: str) -> tuple[Measured, str]:
    """Score of the leading way to search, a chain an item, less that of the leading direct variant."""
    table = evaluator.table
    ways = {
        f"{spec} of {variant.label}": evaluator.evaluate(uniform(variant, spec)).score
        for spec in single_searches(space)
        for variant in table.variants
    }
    found = {name: score for name, score in ways.items() if not np.isnan(score).any()}
    quick = {
        variant.label: rows.score.mean(axis=1)
        for variant, rows in table.variants.items()
        if variant.mode == direct
    }
    return _cross_fitted(found, quick, table.n_items)


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


def _whole(dimension: Dimension | None) -> tuple[int, ...]:
    """The whole numbers of a dimension."""
    if isinstance(dimension, Range):
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return tuple(int(v) for v in dimension or () if isinstance(v, int | float))


def _cross_fitted(
    ways: Mapping[str, Floats], others: Mapping[str, Floats], n_items: int
) -> tuple[Measured, str]:
    """Mean of the leading way less the leading other one, leaders taken from the other half."""
    if not ways or not others or n_items < 4:
        return (UNSUPPORTED, UNSUPPORTED), ""
    halves = np.arange(n_items) % 2
    measured, chosen = np.empty(n_items), []
    for half in (0, 1):
        lead, against = (_leader(group, halves != half) for group in (ways, others))
        measured[halves == half] = (ways[lead] - others[against])[halves == half]
        chosen.append(f"{lead} over {against}" if against else lead)
    paired, zero = PairedBootstrap(n_items), np.zeros(n_items)
    at_95, sure = (paired.difference(measured, zero, level) for level in (0.95, CLEARLY))
    return (at_95, sure), " and ".join(dict.fromkeys(chosen))


def _leader(values: Mapping[str, Floats], rows: npt.NDArray[np.bool_]) -> str:
    return max(values, key=lambda name: float(values[name][rows].mean()))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
