"""What the intervals, the gate and ``verify`` promise, against a known truth.

    python benchmarks/coverage.py [--runs 2000] [--only score,cost,difference,gate,verify,mcnemar]

Prints for each world how often a 95% interval held the truth, how often the gate exported a policy
that is not better, and how often ``verify`` was wrong. `<` and `>` mark what lies outside 93–97%
(for errors: above 5%), by more than the simulation's own noise.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.estimators import mcnemar_exact
from tierwise.search.selection import PairedItems
from tierwise.stats import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    paired_differences,
    unpaired_difference,
    wilson,
)
from tierwise.stats.comparisons import holm
from tierwise.stats.sequential import sequential_test

Floats = npt.NDArray[np.float64]
MARGIN = 0.02
SIZES, JOB_SIZES = (20, 40, 60, 150, 600), (40, 60, 150, 600)
LEAST, MOST, MOST_ERRORS = 0.93, 0.97, 0.05


class Result(NamedTuple):
    """A world: the share of ``runs`` in which the interval held (or, of errors, was wrong)."""

    kind: str
    world: str
    n: int
    share: float
    runs: int
    is_error: bool = False

    @property
    def noise(self) -> float:
        """Two standard errors of the simulation, at the level that is promised."""
        return 2 * math.sqrt(0.05 * 0.95 / self.runs)

    @property
    def short(self) -> bool:
        """Wrong more often than promised."""
        if self.is_error:
            return self.share > MOST_ERRORS + self.noise
        return self.share < LEAST - self.noise

    @property
    def wide(self) -> bool:
        """An interval that holds the truth more often than it needs to."""
        return not self.is_error and self.share > MOST + self.noise


# -- worlds: (runs, n_items) arrays with a known mean --------------------------------------------


def right_or_wrong(rng: np.random.Generator, runs: int, n: int, p: float) -> Floats:
    """One sample an item."""
    return (rng.random((runs, n)) < p).astype(float)


def means_of_samples(rng: np.random.Generator, runs: int, n: int, p: float | Floats) -> Floats:
    """The mean of five samples of items that differ much in how hard they are; ``p`` or (runs,
    1)."""
    hard = rng.beta(p, 1 - p, (runs, n))
    return rng.binomial(5, hard) / 5


def costs(rng: np.random.Generator, runs: int, n: int, spread: float) -> Floats:
    """Log-normal dollars of mean 1."""
    return rng.lognormal(-(spread**2) / 2, spread, (runs, n))


def votes(rng: np.random.Generator, runs: int, n: int, stop: float) -> Floats:
    """Samples of a vote that stops early: few on most items, 17 on some."""
    return np.minimum(2 + rng.geometric(stop, (runs, n)), 17).astype(float)


def mean_votes(stop: float) -> float:
    """The truth of ``votes``."""
    k = np.arange(1, 15)
    return float(np.sum((2 + k) * stop * (1 - stop) ** (k - 1)) + 17 * (1 - stop) ** 14)


def held(found: list[Interval], truth: float | Floats) -> float:
    """Share of the intervals that hold the truth, which may be one a run."""
    truths = np.broadcast_to(truth, len(found))
    return float(np.mean([one.low <= t <= one.high for one, t in zip(found, truths, strict=True)]))


# -- what is promised ----------------------------------------------------------------------------


def scores(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """``bootstrap_mean`` with bounds, as every score has it, and Wilson's interval."""
    for n in SIZES:
        for p in (0.5, 0.8, 0.95, 0.99):
            values = right_or_wrong(rng, runs, n, p)
            yield Result(
                "score", f"right or wrong, mean {p:g}", n, held(bootstrap_means(values), p), runs
            )
            yield Result(
                "score, Wilson",
                f"right or wrong, mean {p:g}",
                n,
                held([wilson(v.sum(), n) for v in values], p),
                runs,
            )
            values = means_of_samples(rng, runs, n, p)
            yield Result(
                "score", f"mean of 5 samples, mean {p:g}", n, held(bootstrap_means(values), p), runs
            )
        means = rng.uniform(0.4, 0.98, (runs, 1))
        for name, values in (
            ("right or wrong", (rng.random((runs, n)) < means).astype(float)),
            ("mean of 5 samples", means_of_samples(rng, runs, n, means)),
        ):
            yield Result(
                "score",
                f"{name}, mean anew each run, .4 to .98",
                n,
                held(bootstrap_means(values), means[:, 0]),
                runs,
            )


def dollars(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """Mean costs, and the ratio of two policies' costs on the same items."""
    for n in SIZES:
        for spread in (0.3, 0.6, 1.0):
            values = costs(rng, runs, n, spread)
            yield Result(
                "cost",
                f"log-normal, spread {spread:g}",
                n,
                held([bootstrap_mean(v) for v in values], 1.0),
                runs,
            )
        values = np.where(rng.random((runs, n)) < 0.1, 17.0, 3.0)
        yield Result(
            "cost",
            "3 samples, 17 on one item in ten",
            n,
            held([bootstrap_mean(v) for v in values], 4.4),
            runs,
        )
        values = votes(rng, runs, n, 0.4)
        truth = mean_votes(0.4)
        yield Result(
            "cost",
            "samples of a vote that stops",
            n,
            held([bootstrap_mean(v) for v in values], truth),
            runs,
        )
        item = costs(rng, runs, n, 0.5)
        found = [
            bootstrap_ratio(v * c, c, resamples=2000) for v, c in zip(values, item, strict=True)
        ]
        yield Result("cost ratio", "a vote over one sample", n, held(found, truth), runs)


def differences(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """Paired differences: right or wrong, with few and many items that differ, and graded."""
    worlds = ((0.02, 0.02), (0.05, 0.1), (0.3, 0.1), (0.02, 0.0), (0.45, 0.05))
    for n in SIZES:
        for up, down in worlds:
            u = rng.random((runs, n))
            d = np.where(u < up, 1.0, np.where(u < up + down, -1.0, 0.0))
            yield Result(
                "difference",
                f"better on {up:.0%}, worse on {down:.0%}",
                n,
                held(paired_differences(np.zeros(n), -d), up - down),
                runs,
            )
        a, b = right_or_wrong(rng, runs, n, 0.8), right_or_wrong(rng, runs, n, 0.7)
        found = [unpaired_difference(x, y) for x, y in zip(a, b, strict=True)]
        yield Result("difference", "unpaired, .8 and .7", n, held(found, 0.1), runs)
        hard = rng.beta(0.8, 0.2, (runs, n))
        d = (rng.binomial(5, hard**0.5) - rng.binomial(5, hard)) / 5
        truth = math.gamma(1) * math.gamma(1.3) / (math.gamma(0.8) * math.gamma(1.5)) - 0.8
        yield Result(
            "difference",
            "means of 5 samples, hard and easy items",
            n,
            held(paired_differences(np.zeros(n), -d), truth),
            runs,
        )


class World(NamedTuple):
    """A policy against the baseline in truth: score's difference, ratio of costs."""

    difference: float
    ratio: float

    @property
    def null(self) -> bool:
        """Neither better, nor as good and cheaper."""
        return not (self.difference > 0 or (self.difference > -MARGIN and self.ratio < 1))


GATES = {
    "all equal, at equal cost": [World(0.0, 1.0)] * 9,
    "all worse by the margin, at half the cost": [World(-MARGIN, 0.5)] * 9,
    "all equal, at twice the cost": [World(0.0, 2.0)] * 9,
    "six better, three equal at equal cost": [World(0.1, 2.0)] * 6 + [World(0.0, 1.0)] * 3,
    "six cheaper, three worse by the margin": [World(0.0, 0.5)] * 6 + [World(-MARGIN, 0.5)] * 3,
    "one policy, equal at equal cost": [World(0.0, 1.0)],
}
"""3 tiers x 3 operating points each, but for the last."""


AT_ONCE = 20
"""Jobs of which the samples are held at once."""


def gate(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """The whole gate: p-values, Holm over tiers x points; an error is any wrong export of a job."""
    for n in JOB_SIZES:
        for name, worlds in GATES.items():
            wrong = sum(
                wrongly(rng, n, worlds, min(AT_ONCE, runs - at)) for at in range(0, runs, AT_ONCE)
            )
            yield Result("gate", name, n, wrong / runs, runs, is_error=True)


def wrongly(rng: np.random.Generator, n: int, worlds: list[World], jobs: int) -> int:
    """In how many of ``jobs`` the gate exports a policy that is not better."""
    ps = np.stack([p_values(*sampled(rng, n, world, jobs)) for world in worlds], axis=1)
    verdicts = np.array([holm(list(job)).rejected for job in ps], dtype=bool)
    return int(verdicts[:, [world.null for world in worlds]].any(axis=1).sum())


def sampled(
    rng: np.random.Generator, n: int, world: World, jobs: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Scores and dollars of a policy, and of the baseline; each (jobs, n)."""
    hard = rng.beta(1.4, 0.6, (jobs, n))  # mean .7
    if world.difference <= 0:
        better = hard * (1 + world.difference / 0.7)
    else:
        better = 1 - (1 - hard) * (1 - world.difference / 0.3)
    usd = rng.lognormal(0, 0.5, (jobs, n))
    ours = usd * world.ratio * rng.gamma(4, 1 / 4, (jobs, n))
    theirs = usd * rng.gamma(4, 1 / 4, (jobs, n))
    return rng.binomial(3, better) / 3, ours, rng.binomial(3, hard) / 3, theirs


def p_values(score: Floats, usd: Floats, base_score: Floats, base_usd: Floats) -> Floats:
    """The p of ``search.gates.compare`` for each job, without its intervals; a test holds the two
    together."""
    found = []
    for ours, spent, theirs, paid in zip(score, usd, base_score, base_usd, strict=True):
        scores = PairedItems(ours - theirs, 0)
        dollars = PairedItems((paid - spent) / paid.mean(), 0)
        level = max(scores.p_value(MARGIN), dollars.p_value())
        found.append(min(1.0, 2 * min(scores.p_value(), level)))
    return np.array(found)


def verdicts(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """``verify``'s test at the bar itself, where it is hardest, looked at after every request."""
    for mean in (0.5, 0.8, 0.95):
        sides = [
            sequential_test((rng.random(3000) < mean).astype(float), mean) for _ in range(runs)
        ]
        for wrong, said in (("above", "holds"), ("below", "has dropped")):
            share = sum(s is not None and s.side == wrong for s in sides) / runs
            yield Result("verify", f"says '{said}' at a mean of {mean:g}", 3000, share, runs, True)


def mcnemar(rng: np.random.Generator, runs: int) -> Iterator[Result]:
    """The exact test under its null, by enumeration."""
    for n in (5, 20, 100):
        size = sum(math.comb(n, k) / 2**n for k in range(n + 1) if mcnemar_exact(k, n - k) <= 0.05)
        yield Result("McNemar", "exact, both equal", n, size, runs, is_error=True)


KINDS: dict[str, Callable[[np.random.Generator, int], Iterator[Result]]] = {
    "score": scores,
    "cost": dollars,
    "difference": differences,
    "gate": gate,
    "verify": verdicts,
    "mcnemar": mcnemar,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--only", default=",".join(KINDS))
    asked = parser.parse_args()
    started = time.process_time()
    for kind in asked.only.split(","):
        for r in KINDS[kind](np.random.default_rng(7), asked.runs):
            mark = ("> 5%" if r.is_error else "< 93%") if r.short else "> 97%" if r.wide else ""
            print(
                f"{r.kind:14} {r.world:44} n={r.n:<5} {r.share:7.2%} of {r.runs}  {mark}",
                flush=True,
            )
    print(f"{time.process_time() - started:.0f} s CPU")


if __name__ == "__main__":
    main()
