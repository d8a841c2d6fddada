"""Samples, dollars and score by what a policy may hang on: chosen on one half of the items, judged
on the other, both ways round. The ablation of ``benchmarks/difficulty.py``.

The table's items are cut in two halves; everything (prompts, fixed n, early stop, thresholds and
recipe_grid of buckets by each signal, out of ``search.allocation``) is chosen on one and judged on
the other. "Equal" is a mean within .005 of the best fixed n's on the half that is chosen on;
whether it is so on the other half says the interval, over items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.schema import Policy, Recipe, StrategySpec
from tierwise.search.allocation import allocate
from tierwise.search.space import Dimensions, merge_buckets, policy_of, recipe_grid
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.stats.intervals import Interval, bootstrap_ratio
from tierwise.strategies import asks_at_once, build

PERMUTATIONS, NEAR, RESAMPLES = 8, 0.005, 4000
BUCKETS = (1, 2, 3)
LEAN, CHEAP, MOST = "fewest samples", "least dollars", "highest score"
"""What is wanted of a family at an equal score; without that bound."""
TODAY, PROMPT, FIXED, EARLY = (
    "baseline prompt, one sample",
    "best prompt, one sample",
    "fixed n",
    "early stop, no signal",
)
EvaluatedTrial = Mapping[Policy, Evaluation]


@dataclass(frozen=True)
class World:
    """One tier's samples of the variants of its study, at their full depth, and how it may be
    run."""

    name: str
    table: SampleTable
    dimensions: Dimensions
    today: Policy

    def halves(self) -> Iterator[tuple[Evaluator, Evaluator]]:
        """(to choose on, to judge on), twice."""
        half = np.arange(self.table.n_items) % 2
        first, second = (
            Evaluator(
                self.table.rows(np.flatnonzero(half == f)), Permutations(PERMUTATIONS), exact=False
            )
            for f in (0, 1)
        )
        yield from ((first, second), (second, first))


@dataclass(frozen=True)
class Row:
    """What a family came to over both halves, (n_items,) each; ``policies`` one a half."""

    score: np.ndarray
    samples: np.ndarray
    usd: np.ndarray
    policies: tuple[Policy, ...]

    @classmethod
    def of(cls, chosen: Sequence[tuple[Policy, Evaluation]]) -> Row:
        """Of what was chosen on each half, judged on the other."""
        whole = {
            name: np.concatenate([getattr(e, name) for _, e in chosen])
            for name in ("score", "samples", "usd")
        }
        return cls(**whole, policies=tuple(p for p, _ in chosen))

    def less(self, other: Row) -> Interval:
        """Difference of the scores."""
        paired = PairedBootstrap(len(self.score), resamples=RESAMPLES)
        return paired.difference(self.score, other.score)

    def fewer(self, other: Row, measure: str) -> Interval:
        """How many times less of ``measure`` than ``other``."""
        return bootstrap_ratio(getattr(other, measure), getattr(self, measure), resamples=RESAMPLES)


def compared(world: World) -> dict[tuple[str, str], Row]:
    """(family, what is wanted) -> the row."""
    chosen: dict[tuple[str, str], list[tuple[Policy, Evaluation]]] = {}
    wanted: dict[str, Callable[[Evaluation], float]] = {
        LEAN: lambda e: float(e.samples.mean()),
        CHEAP: lambda e: e.mean_usd,
    }
    for on, other in world.halves():
        found = families(on, world)
        for family in (TODAY, PROMPT, FIXED):
            most = max(found[family], key=lambda p: found[family][p].mean_score)
            chosen.setdefault((family, MOST), []).append((most, other.evaluate(most)))
        bar = found[FIXED][most].mean_score - NEAR
        for family in list(found)[2:]:
            judged = found[family]
            level = [p for p in judged if judged[p].mean_score > bar]
            for what, measure in wanted.items():
                least = min(level, key=lambda p: measure(judged[p]), default=most)
                chosen.setdefault((family, what), []).append((least, other.evaluate(least)))
    return {key: Row.of(each) for key, each in chosen.items()}


def families(on: Evaluator, world: World) -> dict[str, EvaluatedTrial]:
    """What each freedom allows, judged on the half that is chosen on."""
    dims = world.dimensions
    single = [Policy((Recipe((variant,), StrategySpec.of("single")),)) for variant in dims.variants]
    plain = _judged(on, [Policy((recipe,)) for recipe in recipe_grid(dims, steps=4)])
    found: dict[str, EvaluatedTrial] = {
        TODAY: _judged(on, [world.today]),
        PROMPT: _judged(on, single),
        FIXED: {p: e for p, e in plain.items() if is_fixed(p)},
        EARLY: plain,
    }
    for kind in dims.signals:
        space = dims.space.with_difficulty(signals=("none", kind))
        proposals = allocate(on, replace(dims, space=space), max_points=150).proposals
        found[f"buckets by {kind}"] = _judged(on, [policy_of(p, on) for p in proposals])
    return found


def is_fixed(policy: Policy) -> bool:
    """Whether the number of samples does not hang on the samples."""
    recipe = policy.buckets[0]
    return asks_at_once(build(recipe.strategy), len(recipe.variants))


def _judged(on: Evaluator, policies: Sequence[Policy | None]) -> EvaluatedTrial:
    judged = {p: on.evaluate(p) for p in (merge_buckets(p) for p in policies if p is not None)}
    return {p: e for p, e in judged.items() if np.isfinite(e.mean_score)}


def show(rows: Mapping[tuple[str, str], Row]) -> None:
    """A line a row, beside the best fixed n and the leanest (cheapest) fixed n that is level."""
    best = rows[FIXED, MOST]
    print(
        "| | score | beside best fixed n | samples | fewer samples | than the leanest "
        "| fewer dollars | than the cheapest |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (family, what), row in rows.items():
        ratios = [f"×{iv(row.fewer(best, 'samples'), 1)}", f"×{iv(row.fewer(best, 'usd'), 1)}"]
        if what != MOST:
            for at, (measure, of) in ((1, ("samples", LEAN)), (3, ("usd", CHEAP))):
                ratios.insert(at, f"×{iv(row.fewer(rows[FIXED, of], measure), 1)}")
        else:
            ratios = [ratios[0], "", ratios[1], ""]
        print(
            f"| {family}: {what} | {row.score.mean():.3f} | {iv(row.less(best), 3, sign=True)} "
            f"| {row.samples.mean():.2f} | " + " | ".join(ratios) + " |"
        )


def iv(interval: Interval, digits: int, *, sign: bool = False) -> str:
    """``mean [low, high]``."""
    mean, low, high = (f"{v:{'+' if sign else ''}.{digits}f}" for v in interval)
    return f"{mean} [{low}, {high}]"
