"""Which variants go on, by what strategies make of their samples and may make of more.

At one sample the ranks of prompts are not those under a vote, so a variant is judged by all that
the strategies can make of its samples, and beyond them by the optimistic end of its vote curve
(``SampleCurve``). It is dropped only where, on all items and on the shorter and the longer half of
them, every one of its points is dominated by some other variant, at a level that is split over the
pairs of variants; a variant that is only good for hard items stays. Of those, the most useful go
on.

The curve says what more samples of a variant would be worth, from the few that there are. An item's
chance p of a right answer is taken as Beta-distributed over items, with the mean and the agreement
of the samples that there are (method of moments); a wrong answer is the item's likely one with a
share that follows from how often two wrong samples are equal, else one of its own. From there the
score of a vote, and of best-of-n by a verifier that ranks a right answer above a wrong one with the
frequency seen, follow at any n. With one sample an item nothing is known of the agreement, and the
prior decides. The estimate is for deciding what to buy; what is chosen is judged on samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import ABSTAINED, Evaluator, SampleTable, VariantTable
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.result import Headroom
from tierwise.schema.space import SearchSpace
from tierwise.search.selection import Utility
from tierwise.search.space import SINGLE, Dimensions, most_samples, strategy_grid, verifiers_of
from tierwise.stats.intervals import Floats

Mask = npt.NDArray[np.bool_]

BY_UTILITY = 2 / 3
"""Of the variants that go on, those that are taken by their own utility."""

LIKELY_WAYS = 4
"""Strategies, a variant's best ones, whose mean utility is its own: the best alone mostly looks at
all samples of an item, has thus one outcome of it, and ranks variants by noise."""

PRICES = (1.0, 4.0)
"""Times the job's price of a doubling, at which a variant may be useful: what is cheap serves the
easy requests of a policy that is costlier elsewhere."""

WORTH_KNOWING = 0.01
"""Standard deviation of score between prompts below which there is nothing to choose."""


def kept(evaluator: Evaluator, dimensions: Dimensions, n: int, aim: Utility) -> tuple[Variant, ...]:
    """The ``n`` most useful of the variants whose envelopes over strategies are not dominated, the
    most useful first."""
    ways = [SINGLE, *strategy_grid(dimensions, max(dimensions.depths.values()), steps=3)]
    points = envelope(evaluator, dimensions.variants, list(dict.fromkeys(ways)))
    points = extended(points, evaluator, dimensions.space)
    return most_useful(points, survivors(points), n, aim)


def extended(points: Envelope, evaluator: Evaluator, space: SearchSpace) -> Envelope:
    """``points`` with those that more samples of each variant may come to, optimistically.

    What a vote gains is the same on all items: where it would is not known.
    """
    names = verifiers_of(space)
    owner, score, usd = list(points.variant), list(points.score), list(points.usd)
    for i, variant in enumerate(points.variants):
        one = evaluator.evaluate(uniform(variant, SINGLE))
        for gain, ratio in curve_points(evaluator.table.of(variant), space, names):
            owner.append(i)
            score.append(one.score + gain)
            usd.append(one.usd * ratio)
    return replace(points, variant=np.array(owner), score=np.array(score), usd=np.array(usd))


@dataclass(frozen=True)
class Envelope:
    """What the strategies make of each variant's samples, on the same items.

    Attributes:
        variant: (n_points,) index of the point's variant.
        score, usd: (n_points, n_items).
        strata: masks of items: all, and the shorter and the longer half.
        seen: points that samples show; those after them are foreseen, and dominate no other.
    """

    variants: tuple[Variant, ...]
    variant: npt.NDArray[np.intp]
    score: Floats
    usd: Floats
    strata: tuple[Mask, ...]
    seen: int


def envelope(
    evaluator: Evaluator, variants: Sequence[Variant], strategies: Sequence[StrategySpec]
) -> Envelope:
    """Every variant under every strategy, but for points that the samples do not support."""
    owner, score, usd = [], [], []
    for i, variant in enumerate(variants):
        for strategy in strategies:
            judged = evaluator.evaluate(uniform(variant, strategy))
            if judged.known:
                owner.append(i)
                score.append(judged.score)
                usd.append(judged.usd)
    length = signal("length")
    lengths = np.array([length.value(inputs, ()) for inputs in evaluator.table.inputs])
    everything = np.ones(len(lengths), dtype=np.bool_)
    short = lengths >= np.median(lengths)
    halves = [half for half in (short, ~short) if half.sum() >= 8]
    return Envelope(
        tuple(variants),
        np.array(owner),
        np.array(score),
        np.array(usd),
        (everything, *halves),
        len(owner),
    )


def survivors(points: Envelope, *, alpha: float = 0.05) -> tuple[Variant, ...]:
    """Variants that are not dominated in every stratum; ``alpha`` is split over pairs of variants.

    Not over the strata: a variant must lose in all of them to go.
    """
    pairs = len(points.variants) * max(len(points.variants) - 1, 1)
    z = NormalDist().inv_cdf(1 - alpha / pairs)
    dropped = np.logical_and.reduce([_dominated(points, mask, z) for mask in points.strata])
    return tuple(variant for variant, out in zip(points.variants, dropped, strict=True) if not out)


def _dominated(points: Envelope, mask: Mask, z: float) -> Mask:
    """(n_variants,): each of the variant's points is surely beaten by one of another variant."""
    score, usd = points.score[:, mask], points.usd[:, mask]
    beaten = _surely_above(score, z) & _surely_above(-usd, 0.0)  # [a, b]: a beats b
    own = points.variant[:, None] == points.variant[None, :]
    hit = (beaten & ~own)[: points.seen].any(axis=0)
    return np.array([hit[points.variant == i].all() for i in range(len(points.variants))])


def _surely_above(values: Floats, z: float) -> Mask:
    """[a, b]: the paired mean of a - b less ``z`` standard errors is at least 0 (above, if z)."""
    n = values.shape[1]
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    cov = centred @ centred.T / max(n - 1, 1)
    variance = np.diag(cov)[:, None] + np.diag(cov)[None, :] - 2 * cov
    # One pseudo-item of difference: variants that agreed on few items are not known to be equal.
    error = np.sqrt(np.maximum(variance, 1.0 / n) / n) if z else 0.0
    difference = mean[:, None] - mean[None, :] - z * error
    above: Mask = difference > 0 if z else difference >= 0
    return above


def most_useful(
    points: Envelope, among: Sequence[Variant], keep: int, aim: Utility
) -> tuple[Variant, ...]:
    """At most ``keep`` variants, the most useful first.

    Two thirds are those of the highest utility by ``aim`` under the strategies that suit them, near
    ties among them: which of these is better is what the next iteration is for. The others raise
    together the best utility over the strata and prices most, greedily: a variant that is good for
    hard items alone, or cheap.
    """
    index = {variant: i for i, variant in enumerate(points.variants)}
    utility = _utilities(points, aim)
    value = aim.value(*(of[: points.seen].mean(axis=1) for of in (points.score, points.usd)))
    owner = points.variant[: points.seen]
    own = [float(np.sort(value[owner == i])[-LIKELY_WAYS:].mean()) for i in index.values()]
    rest = sorted((index[variant] for variant in among), key=lambda i: (-own[i], i))
    n_own = math.ceil(BY_UTILITY * keep)
    chosen, rest = rest[:n_own], rest[n_own:]
    best = utility[chosen].max(axis=0)
    while rest and len(chosen) < keep:
        gains = [float(np.maximum(utility[i], best).mean()) for i in rest]
        winner = rest.pop(int(np.argmax(gains)))
        chosen.append(winner)
        best = np.maximum(best, utility[winner])
    return tuple(points.variants[i] for i in chosen)


def _utilities(points: Envelope, aim: Utility) -> Floats:
    """(n_variants, n_strata * n_prices): the best that each variant reaches."""
    rows = []
    for mask in points.strata:
        score, usd = points.score[:, mask].mean(axis=1), points.usd[:, mask].mean(axis=1)
        for times in PRICES:
            value = aim.at_price(times).value(score, usd)
            rows.append([value[points.variant == i].max() for i in range(len(points.variants))])
    return np.array(rows).T


DEPTHS = (1, 2, 3, 4, 5, 7, 9, 12, 17, 24, 33)
"""Samples an item at which a curve is looked at."""

PRIOR_CORRELATION, PRIOR_ITEMS = 0.3, 8
"""Correlation of two samples of an item being right, and how many items it counts for."""

PRIOR_ABOVE = 0.7
"""How often a verifier ranks a right answer above a wrong one, before any are seen; likewise."""

PRIOR_EQUAL = 0.3
"""How often two wrong answers to an item are equal, before any are seen; counts for as many."""

_GRID = (np.arange(200) + 0.5) / 200


@dataclass(frozen=True)
class SampleCurve:
    """A variant's samples, in the numbers that its votes depend on.

    Attributes:
        mean: score of one sample; ``error`` its standard error over items.
        correlation: of two samples of an item being right; ``pairs`` items that showed it.
        likely: part of the wrong answers that are the item's likely one.
        above: how often a right sample's verifier score is above a wrong one's; None: no verifier.
        prompt_usd, sample_usd: dollars of a prompt and of a completion; ``takes_n``: samples asked
            together share a prompt.
    """

    mean: float
    error: float
    correlation: float
    pairs: int
    likely: float
    above: float | None
    prompt_usd: float
    sample_usd: float
    takes_n: bool

    @classmethod
    def fit(cls, rows: VariantTable, verifiers: Iterable[str] = ()) -> SampleCurve:
        """The curve of the samples that there are."""
        there = ~np.isnan(rows.score)
        count = there.sum(axis=1)
        right = np.where(there, rows.score, 0.0).sum(axis=1)
        known = count > 0
        each = right[known] / count[known]
        n_items, mean = max(len(each), 1), float(each.mean()) if len(each) else 0.5
        shrunk = (mean * n_items + 1.0) / (n_items + 2.0)
        several = count > 1
        k, n = right[several], count[several]
        both = float((k * (k - 1) / (n * (n - 1))).mean()) if several.any() else 0.0
        spread = shrunk * (1 - shrunk)
        seen = (both - mean**2) / max(mean * (1 - mean), 1e-9) if several.any() else 0.0
        pairs = int(several.sum())
        correlation = (pairs * np.clip(seen, 0.0, 1.0) + PRIOR_ITEMS * PRIOR_CORRELATION) / (
            pairs + PRIOR_ITEMS
        )
        equal, of = _equal_wrong(rows, there)
        collision = (equal + PRIOR_ITEMS * PRIOR_EQUAL) / (of + PRIOR_ITEMS)
        return cls(
            mean=shrunk,
            error=float(np.sqrt(max(each.var() if len(each) else spread, spread / 4) / n_items)),
            correlation=float(np.clip(correlation, 0.02, 0.98)),
            pairs=pairs,
            likely=float(np.sqrt(collision)),
            above=_ranked_above(rows, there, verifiers),
            prompt_usd=float(np.nanmean(rows.prompt_usd)),
            sample_usd=float(np.nanmean(rows.completion_usd)),
            takes_n=rows.takes_n,
        )

    def vote(self, n: int, optimism: float = 0.0) -> float:
        """Expected score of a vote of ``n``; ``optimism`` in standard errors of the agreement."""
        weight = self._items(optimism)
        table = _wins(n, round(self.likely, 2))
        return float(weight @ (_binomial(n) @ table))

    def best_of(self, n: int, optimism: float = 0.0) -> float:
        """Expected score of the best of ``n`` by the verifier; that of one sample without one."""
        if self.above is None:
            return self.mean
        weight = self._items(optimism)
        above = self.above + optimism * 0.35 / math.sqrt(self.pairs + PRIOR_ITEMS)
        return float(weight @ (_binomial(n) @ _best_is_right(n, round(above, 2))))

    def usd(self, n: int, *, adaptive: bool = False) -> float:
        """Dollars of ``n`` samples; ``adaptive``: the first two, and the others where they
        differ."""
        if not adaptive or n < 3:
            return (1 if self.takes_n else n) * self.prompt_usd + n * self.sample_usd
        more = 1 - self.agreement
        return self.usd(2) + more * self.usd(n - 2)

    @property
    def agreement(self) -> float:
        """How often two samples of an item give the same answer."""
        both = self.mean**2 + self.correlation * self.mean * (1 - self.mean)
        neither = (1 - self.mean) ** 2 + self.correlation * self.mean * (1 - self.mean)
        return both + neither * self.likely**2

    def _items(self, optimism: float) -> Floats:
        """The part of the items that have each of ``_GRID``'s chances of a right answer."""
        error = 0.7 / np.sqrt(self.pairs + PRIOR_ITEMS)
        rho = float(np.clip(self.correlation - optimism * error, 0.02, 0.98))
        total = 1 / rho - 1
        a, b = max(self.mean * total, 1e-3), max((1 - self.mean) * total, 1e-3)
        log = (a - 1) * np.log(_GRID) + (b - 1) * np.log1p(-_GRID)
        weight = np.exp(log - log.max())
        return np.asarray(weight / weight.sum())


def _equal_wrong(rows: VariantTable, there: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(pairs of wrong answers of an item that are equal, all such pairs), a pair an item at
    most."""
    equal = total = 0.0
    for answers, ok, score in zip(rows.answers, there, rows.score, strict=True):
        wrong = answers[ok & (score < 0.5) & (answers != ABSTAINED)]
        if (m := len(wrong)) > 1:
            counts = np.unique(wrong, return_counts=True)[1]
            equal += float((counts * (counts - 1)).sum()) / (m * (m - 1))
            total += 1
    return equal, total


def _ranked_above(
    rows: VariantTable, there: npt.NDArray[np.bool_], verifiers: Iterable[str]
) -> float | None:
    """The best verifier's share of (right, wrong) pairs of an item that it ranks in that order."""
    best: float | None = None
    for name in verifiers:
        values = rows.scores.get(name)
        if values is None:
            continue
        won = total = 0.0
        for value, ok, score in zip(values, there, rows.score, strict=True):
            good, bad = value[ok & (score >= 0.5)], value[ok & (score < 0.5)]
            if len(good) and len(bad):
                won += float(np.mean(good[:, None] > bad[None, :]))
                total += 1
        share = (won + PRIOR_ITEMS * PRIOR_ABOVE) / (total + PRIOR_ITEMS)
        best = share if best is None else max(best, share)
    return best


@functools.lru_cache(maxsize=64)
def _binomial(n: int) -> Floats:
    """(len(_GRID), n + 1): chance of k right answers among n."""
    k = np.arange(n + 1)
    log = np.zeros(n + 1)
    log[1:] = np.cumsum(np.log(np.arange(n, 0, -1)) - np.log(np.arange(1, n + 1)))
    grid = _GRID[:, None]
    return np.asarray(np.exp(log + k * np.log(grid) + (n - k) * np.log1p(-grid)))


@functools.lru_cache(maxsize=512)
def _wins(n: int, likely: float) -> Floats:
    """(n + 1,): chance that k right answers win a vote of ``n``; ties are shared."""
    won = np.zeros(n + 1)
    for k in range(1, n + 1):
        others = n - k
        y = np.arange(others + 1)  # of the likely wrong answer; the rest are single
        log = np.zeros(others + 1)
        log[1:] = np.cumsum(np.log(np.arange(others, 0, -1)) - np.log(np.arange(1, others + 1)))
        chance = np.exp(
            log + y * np.log(max(likely, 1e-9)) + (others - y) * np.log(max(1 - likely, 1e-9))
        )
        single = others - y
        tied = (y == k) + (k == 1) * single
        won[k] = float(chance @ np.where(y > k, 0.0, 1.0 / (1 + tied)))
    return won


@functools.lru_cache(maxsize=512)
def _best_is_right(n: int, above: float) -> Floats:
    """(n + 1,): chance that the highest of ``n`` normal scores is one of the k right samples'.

    Right samples' scores are higher on average by what ranks one above a wrong one so often.
    """
    normal = NormalDist()
    shift = math.sqrt(2) * normal.inv_cdf(min(max(above, 0.5), 0.99))
    z = np.linspace(-6.0, 10.0, 321)
    below = np.array([normal.cdf(x) for x in z])
    below_shifted = np.array([normal.cdf(x - shift) for x in z])
    chance = np.zeros(n + 1)
    for k in range(1, n + 1):
        step = np.diff(below_shifted**k)
        others = below ** (n - k)
        chance[k] = float((step * (others[1:] + others[:-1]) / 2).sum())
    return chance


# What follows for a purchase


def curve_points(
    rows: VariantTable, space: SearchSpace, verifiers: Sequence[str]
) -> list[tuple[float, float]]:
    """(gain of score over one sample, dollars over one sample's) of more samples than there are.

    At the optimistic end of what the samples allow, for the strategies of ``space``.
    """
    curve, most = SampleCurve.fit(rows, verifiers), most_samples(space)
    depths = [n for n in DEPTHS if rows.n_samples < n <= most]
    single = curve.usd(1)
    return [
        (score - curve.mean, usd / single if single else 1.0)  # what costs nothing costs no more
        for n in depths
        for score, usd in _ways(curve, space, n, optimism=1.0)
    ]


VOTING = {"self_consistency", "weighted_consistency", "cascade"}

STOPPING = {"adaptive_consistency", "early_stopping", "cascade"}


def foreseen(space: SearchSpace) -> bool:
    """Whether a curve knows what each strategy of the space makes of more samples."""
    return set(space.strategies) <= {"single", "best_of_n"} | VOTING | STOPPING


def _ways(
    curve: SampleCurve, space: SearchSpace, n: int, optimism: float
) -> list[tuple[float, float]]:
    """(score, dollars) of the space's strategies with up to ``n`` samples."""
    kinds, found = set(space.strategies), [(curve.mean, curve.usd(1))]
    if n > 1 and kinds & VOTING:
        found.append((curve.vote(n, optimism), curve.usd(n)))
    if n > 2 and kinds & STOPPING:
        found.append((curve.vote(n, optimism), curve.usd(n, adaptive=True)))
    if n > 1 and "best_of_n" in kinds and curve.above is not None:
        found.append((curve.best_of(n, optimism), curve.usd(n)))
    return found


@dataclass(frozen=True)
class Prospect:
    """What a variant's samples may come to, in utility.

    Attributes:
        now: of the best strategy over as many samples as there are.
        expected, upper: of the best over any number: expected, and at the optimistic end of what
            the samples allow.
        depth: samples an item at which ``upper`` is reached.
    """

    now: float
    expected: float
    upper: float
    depth: int


def prospect(
    rows: VariantTable, space: SearchSpace, aim: Utility, most: int, verifiers: Sequence[str]
) -> Prospect:
    """What up to ``most`` samples an item of a variant may come to, from those that there are."""
    curve = SampleCurve.fit(rows, verifiers)

    def best(n: int, optimism: float) -> float:
        return max(float(aim.value(*way)) for way in _ways(curve, space, n, optimism))

    depths = [n for n in DEPTHS if n <= most] or [1]
    expected = {n: best(n, 0.0) for n in depths}
    upper = {n: max(best(n, 1.0), expected[n]) for n in depths}
    depth = max(depths, key=lambda n: (round(upper[n], 6), -n))
    now = max(value for n, value in expected.items() if n <= max(rows.n_samples, 1))
    return Prospect(now, max(expected.values()), upper[depth] + curve.error / 2, depth)


# Headroom: whether there is anything to choose


def headroom(table: SampleTable) -> Headroom:
    """How far the prompts of a screening differ, by the variance of their scores.

    Two-way layout of prompts by items: the variance between prompts' means is that of the prompts
    and, over the items, that of what is particular to a prompt and an item and of the samples. A
    prompt is its text in a mode; temperatures are averaged, and modes compared each with its own.
    """
    by_prompt: dict[tuple[str, str], list[Floats]] = {}
    within = []
    for variant, rows in table.variants.items():
        if variant.tier is None and not variant.path:
            by_prompt.setdefault((variant.prompt, variant.mode), []).append(rows.score.mean(axis=1))
            if rows.n_samples > 1:
                within.append(float(rows.score.var(axis=1, ddof=1).mean()))
    modes: dict[str, list[Floats]] = {}
    for (_, mode), scores in by_prompt.items():
        modes.setdefault(mode, []).append(np.mean(scores, axis=0))
    layouts = [np.array(scores) for scores in modes.values() if len(scores) > 1]
    n = table.n_items
    if not layouts or n < 3:
        return Headroom(n, len(by_prompt), None, None, None, None, None, _said(None, None, 0.0))
    between, noise = _components(layouts)
    spread = float(np.sqrt(max(between, 0.0)))
    freedom = sum(len(layout) - 1 for layout in layouts)
    of_variance = float(np.sqrt(2 / freedom)) * (max(between, 0.0) + noise / n)
    error = of_variance / (2 * spread) if spread**2 > of_variance else float(np.sqrt(of_variance))
    items = float(np.mean([layout.mean(axis=0).var(ddof=1) for layout in layouts]))
    known = float(np.sqrt(noise / n))
    helps = spread + 1.645 * error >= WORTH_KNOWING and known > WORTH_KNOWING / 2
    return Headroom(
        n,
        len(by_prompt),
        spread,
        error,
        float(np.sqrt(items)),
        float(np.sqrt(np.mean(within))) if within else None,
        helps,
        _said(spread, error, known),
    )


def _components(layouts: Sequence[Floats]) -> tuple[float, float]:
    """(variance between prompts, variance of a prompt's score on one item beside it and the
    item)."""
    between = noise = freedom = 0.0
    for layout in layouts:
        k, n = layout.shape
        residual = layout - layout.mean(axis=1, keepdims=True) - layout.mean(axis=0) + layout.mean()
        interaction = float((residual**2).sum()) / ((k - 1) * (n - 1))
        between += (k - 1) * (float(layout.mean(axis=1).var(ddof=1)) - interaction / n)
        noise += (k - 1) * interaction
        freedom += k - 1
    return between / freedom, noise / freedom


def _said(spread: float | None, error: float | None, noise: float) -> str:
    if spread is None or error is None:
        return "There are too few prompts or items to say how far prompts differ."
    differ = f"Prompts here differ by about {100 * spread:.1f} ± {100 * error:.1f} points"
    if spread + 1.645 * error < WORTH_KNOWING:
        return f"{differ}; further samples would not help to choose between them."
    if spread < error:
        return f"{differ}: not beyond noise so far; further samples would tell."
    return f"{differ}, and each is known to {100 * noise:.1f}; further samples would " + (
        "help." if noise > WORTH_KNOWING / 2 else "help little."
    )
