"""What each difficulty signal is worth on a tier: from the study's samples, without a new call.

- Does it order items by how often they are answered right? AUROC against a sample that it did not
  see, Spearman against the success rate over those samples.
- What do buckets by it gain, beside buckets by the truth (Snell et al., arXiv 2408.03314)? The
  truth is known from samples only: the oracle's five classes come from one half of the samples and
  are scored on the other. Which recipe a bucket gets is chosen on one half of the items and scored
  on the other, and a probe is paid for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import ProbeAgreement, signal_of
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Difficulty, Policy, Probe, Recipe, Variant
from tierwise.schema.measured import ProbeSummary, SignalQuality, SignalTable, interval_ends, number
from tierwise.search.space import Dimensions, recipe_grid, thresholds
from tierwise.stats.intervals import Floats, Interval, bootstrap_mean
from tierwise.stats.rank import auroc, spearman

Labels = npt.NDArray[np.intp]

CLASSES = 5
UTILITY_PRICES = (0.01, 0.03, 0.1, 0.3)
"""Score that the median recipe's dollars are worth: gains are means over these prices."""
MUST_GAIN = 1.0
"""Standard errors by which a bucket's own recipe must lead: buckets overfit easily."""
_RESAMPLES = 200
FEWEST_SAMPLES = 6
"""Of each variant: an oracle needs two halves, and a probe samples that it did not see."""


def qualities(
    evaluator: Evaluator,
    among: Sequence[Recipe],
    difficulties: Sequence[Difficulty],
    variant: Variant,
) -> list[SignalQuality]:
    """Each of `difficulties` (no thresholds) evaluated by the success of one sample of `variant`.

    Of `among` only what half of the samples support takes part, with and without the oracle.
    """
    halves = [_half(evaluator, parity) for parity in (0, 1)]
    usable = [
        recipe
        for recipe in among
        if all(of.evaluate(Policy((recipe,))).known for of in (*halves, evaluator))
    ]
    usable = _contenders(evaluator, usable)
    oracle = bootstrap_mean(_oracle_gain(halves, usable))
    return [_quality(evaluator, usable, difficulty, variant, oracle) for difficulty in difficulties]


def _quality(
    evaluator: Evaluator,
    usable: Sequence[Recipe],
    difficulty: Difficulty,
    variant: Variant,
    oracle: Interval,
) -> SignalQuality:
    area, rho = _ordering(evaluator, difficulty, variant)
    gain, unbilled = _by_signal(evaluator, usable, difficulty)
    probe = difficulty.probe
    return SignalQuality(
        signal=difficulty.signal,
        params=dict(difficulty.params),
        probe=probe and ProbeSummary(tuple(a.label for a in probe.variants), probe.samples),
        auroc=number(area.mean),
        auroc_ci95=interval_ends(area),
        spearman=number(rho),
        usd_per_item=_probe_usd(evaluator.table, probe),
        gain=number(gain.mean),
        gain_ci95=interval_ends(gain),
        gain_if_free=number(unbilled.mean),
        gain_if_free_ci95=interval_ends(unbilled),
        oracle_gain=number(oracle.mean),
        oracle_gain_ci95=interval_ends(oracle),
        share_of_oracle_gain=number(gain.mean / oracle.mean) if oracle.low > 0 else None,
    )


def _ordering(
    evaluator: Evaluator, difficulty: Difficulty, variant: Variant
) -> tuple[Interval, float]:
    """AUROC, resampled by item, and Spearman, over (item, order) rows.

    What is predicted are the samples of `variant` that come after the probe's in the same order.
    """
    table, permutations = evaluator.table, evaluator.permutations
    rows = table.variants[variant]
    probe = difficulty.probe
    seen = probe.interleaved.count(variant) if probe else 0
    columns = permutations.columns(table.n_items, rows.n_samples)[:, :, seen:]
    later = rows.score[np.arange(table.n_items)[:, None, None], columns]  # (items, orders, samples)
    values = np.nan_to_num(evaluator.signal(difficulty), neginf=-1e9).reshape(later.shape[:2])
    right = later[:, :, -1] >= 0.5
    of_all = auroc(values.ravel(), right.ravel())
    rng = np.random.default_rng(0)
    picks = rng.integers(table.n_items, size=(_RESAMPLES, table.n_items))
    resampled = np.array([auroc(values[p].ravel(), right[p].ravel()) for p in picks])
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return (
        Interval(of_all, float(low), float(high)),
        spearman(values.ravel(), later.mean(axis=2).ravel()),
    )


def _by_signal(
    evaluator: Evaluator, recipes: Sequence[Recipe], difficulty: Difficulty
) -> tuple[Interval, Interval]:
    """What buckets gain with the probe on the bill and its samples reused, and with it for free."""
    labels, n = _labels(evaluator.signal(difficulty)), evaluator.permutations.n
    plain = _measures(evaluator, recipes, Difficulty())
    probed = _measures(evaluator, recipes, replace(difficulty, thresholds=()))
    billed, free = (_gain(*measures, labels, *plain, n) for measures in (probed, plain))
    return bootstrap_mean(billed), bootstrap_mean(free)


def _measures(
    evaluator: Evaluator, recipes: Sequence[Recipe], difficulty: Difficulty
) -> tuple[Floats, Floats]:
    """(n_recipes, n_rows) scores and dollars."""
    rows = [evaluator.rows(Policy((recipe,), difficulty)) for recipe in recipes]
    return np.array([r.score for r in rows]), np.array([r.usd for r in rows])


def _oracle_gain(halves: Sequence[Evaluator], recipes: Sequence[Recipe]) -> Floats:
    """(n_items,): what buckets by the success rate on one half of the samples gain on the other."""
    gains = []
    for known, scored in (halves, halves[::-1]):
        success = np.mean([a.score.mean(axis=1) for a in known.table.variants.values()], axis=0)
        labels = np.repeat(_labels(success), scored.permutations.n)
        score, usd = _measures(scored, recipes, Difficulty())
        gains.append(_gain(score, usd, labels, score, usd, scored.permutations.n))
    return np.asarray(np.mean(gains, axis=0), dtype=np.float64)


def _gain(
    score: Floats,
    usd: Floats,
    labels: Labels,
    plain_score: Floats,
    plain_usd: Floats,
    permutations: int,
) -> Floats:
    """(n_items,): utility that buckets gain over the best recipe for all items.

    Measures, after the signal and without it, are (n_recipes, n_rows); folds are of items.
    """
    n_items = score.shape[1] // permutations
    folds = np.repeat(np.arange(n_items) % 2, permutations)
    gain = np.zeros(score.shape[1])
    middle = float(np.median(plain_usd.mean(axis=1)))  # 0 where the model costs nothing
    for price in UTILITY_PRICES:
        per_usd = price / middle if middle else 0.0
        mine, flat = score - per_usd * usd, plain_score - per_usd * plain_usd
        for fold in (0, 1):
            learn, test = folds != fold, folds == fold
            best = int(np.argmax(flat[:, learn].mean(axis=1)))
            gain[test] -= flat[best, test] / len(UTILITY_PRICES)
            for label in np.unique(labels):
                inside = learn & (labels == label)
                pick = _pick(mine[:, inside], best, permutations)
                here = test & (labels == label)
                gain[here] += mine[pick, here] / len(UTILITY_PRICES)
    return np.asarray(gain.reshape(n_items, permutations).mean(axis=1), dtype=np.float64)


def _pick(utility: Floats, best: int, permutations: int) -> int:
    """The recipe of a bucket: `best`, unless another leads it by `MUST_GAIN` errors."""
    if utility.shape[1] < 2 * permutations:
        return best
    lead = int(np.argmax(utility.mean(axis=1)))
    ahead = utility[lead] - utility[best]
    error = float(ahead.std()) / math.sqrt(utility.shape[1] / permutations)
    return lead if ahead.mean() > MUST_GAIN * error else best


def _contenders(evaluator: Evaluator, recipes: Sequence[Recipe]) -> list[Recipe]:
    """For each price and each variant its best recipe: of few, a choice is less biased."""
    evaluations = [evaluator.evaluate(Policy((recipe,))) for recipe in recipes]
    score = np.array([e.mean_score for e in evaluations])
    usd = np.array([e.mean_usd for e in evaluations])
    middle = float(np.median(usd))  # 0 where the model costs nothing
    found: dict[Recipe, None] = {}
    for price in UTILITY_PRICES:
        utility = score - (price / middle * usd if middle else 0.0)
        for variants in dict.fromkeys(recipe.variants for recipe in recipes):
            own = [i for i, recipe in enumerate(recipes) if recipe.variants == variants]
            found[recipes[max(own, key=lambda i: utility[i])]] = None
    return list(found)


def _labels(values: Floats) -> Labels:
    """Classes by quantile, as many as the values can tell apart, at most `CLASSES`."""
    for n in range(CLASSES, 1, -1):
        cuts = thresholds(values, [b / n for b in range(1, n)])
        if cuts is not None:
            return np.asarray(np.sum([values < cut for cut in cuts], axis=0), dtype=np.intp)
    return np.zeros(len(values), dtype=np.intp)


def _half(evaluator: Evaluator, parity: int) -> Evaluator:
    table = evaluator.table
    variants = {
        variant: r.columns(np.arange(parity, r.n_samples, 2))
        for variant, r in table.variants.items()
    }
    return Evaluator(replace(table, variants=variants), evaluator.permutations, exact=False)


def _probe_usd(table: SampleTable, probe: Probe | None) -> float:
    if probe is None:
        return 0.0
    usd = 0.0
    for variant in probe.variants:
        rows, n = table.of(variant), probe.interleaved.count(variant)
        calls = min(n, 1) if rows.takes_n else n
        usd += float(calls * rows.prompt_usd.mean() + n * rows.completion_usd.mean())
    return usd


def signal_table(
    table: SampleTable, dimensions: Dimensions, permutations: Permutations
) -> SignalTable | None:
    """All signals of the space on a study's table; None where it has too few samples to tell.

    Probes are sampled from the cheapest variant, and from the best at one sample.
    """
    if min(rows.n_samples for rows in table.variants.values()) < FEWEST_SAMPLES:
        return None

    def usd(variant: Variant) -> float:
        return _probe_usd(table, Probe((variant,), 1))

    best = max(table.variants, key=lambda variant: float(table.variants[variant].score.mean()))
    variants = dict.fromkeys((min(table.variants, key=usd), best))
    counts = dimensions.space.probe_samples
    asked = [
        way
        for n in dict.fromkeys((int(counts.low), int(counts.high)))
        for way in difficulties_of(dimensions, tuple(variants), n)
    ]
    asked = list(dict.fromkeys(asked))  # what is told by no probe, or by its own, is there twice
    found = qualities(
        Evaluator(table, permutations, exact=False), recipe_grid(dimensions, steps=3), asked, best
    )
    return SignalTable(
        success_variant=best.label,
        items=table.n_items,
        score_for_the_median_dollars=UTILITY_PRICES,
        by_signal=tuple(found),
    )


def difficulties_of(
    dimensions: Dimensions, variants: Sequence[Variant], samples: int
) -> list[Difficulty]:
    """Every way to tell; where the probe is searched, `samples` samples of each of `variants`.

    One sample agrees with itself, and tells nothing.
    """
    found: list[Difficulty] = []
    for kind in dimensions.signals:
        if kind == ProbeAgreement.kind and samples == 1:
            continue
        for way in dimensions.ways(kind):
            searched = signal_of(way).probes and way.probe is None
            found += (
                [replace(way, probe=Probe((variant,), samples)) for variant in variants]
                if searched
                else [way]
            )
    return found
