"""What more samples of a variant would be worth, estimated from the few that there are.

An item's chance p of a right answer is taken as Beta-distributed over items, with the mean and the
agreement of the samples that there are (method of moments); a wrong answer is the item's likely one
with a share that follows from how often two wrong samples are equal, else one of its own. From
there the score of a vote, and of best-of-n by a verifier that ranks a right answer above a wrong
one with the frequency seen, follow at any n. With one sample an item nothing is known of the
agreement, and the prior decides. The estimate is for deciding what to buy; what is chosen is judged
on samples.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import ABSTAINED, VariantTable
from tierwise.schema.space import SearchSpace
from tierwise.search.samples import most_samples
from tierwise.search.selection import Utility
from tierwise.stats.intervals import Floats

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
        """Dollars of ``n`` samples; ``adaptive``: the first two, and the others where they differ."""
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
    """(pairs of wrong answers of an item that are equal, all such pairs), a pair an item at most."""
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


def _ways(
    curve: SampleCurve, space: SearchSpace, n: int, optimism: float
) -> list[tuple[float, float]]:
    """(score, dollars) of the space's strategies with up to ``n`` samples."""
    kinds, found = set(space.strategies), [(curve.mean, curve.usd(1))]
    if n > 1 and kinds & {"self_consistency", "weighted_consistency", "cascade"}:
        found.append((curve.vote(n, optimism), curve.usd(n)))
    if n > 2 and kinds & {"adaptive_consistency", "early_stopping", "cascade"}:
        found.append((curve.vote(n, optimism), curve.usd(n, adaptive=True)))
    if n > 1 and "best_of_n" in kinds and curve.above is not None:
        found.append((curve.best_of(n, optimism), curve.usd(n)))
    return found


@dataclass(frozen=True)
class Prospect:
    """What a variant's samples may come to, in utility.

    Attributes:
        now: of the best strategy over as many samples as there are.
        expected, upper: of the best over any number: expected, and at the optimistic end of what the
            samples allow.
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
    upper = {n: best(n, 1.0) for n in depths}
    depth = max(depths, key=lambda n: (round(upper[n], 6), -n))
    expected = {n: best(n, 0.0) for n in depths}
    now = max(value for n, value in expected.items() if n <= max(rows.n_samples, 1))
    return Prospect(now, max(expected.values()), upper[depth] + curve.error / 2, depth)
