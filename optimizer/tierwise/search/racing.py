"""Which arms stay in the race: few items, five draws or more, and envelopes over strategies.

At one draw the ranks of prompts are not those under a vote, so an arm is judged by all that the
strategies can make of its draws. It is dropped only where, on all items and on the shorter and the
longer half of them, every one of its points is dominated by some other arm, at a level that is
split over the pairs of arms; an arm that is only good for hard items stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import signal
from tierwise.evaluation import Evaluator
from tierwise.recipe import Arm, StrategySpec, uniform

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Envelope:
    """What the strategies make of each arm's draws, on the same items.

    Attributes:
        arm: (n_points,) index of the point's arm.
        score, usd: (n_points, n_items).
        strata: masks of items: all, and the shorter and the longer half.
    """

    arms: tuple[Arm, ...]
    arm: npt.NDArray[np.intp]
    score: Floats
    usd: Floats
    strata: tuple[Mask, ...]


def envelope(
    evaluator: Evaluator, arms: Sequence[Arm], strategies: Sequence[StrategySpec]
) -> Envelope:
    """Judge every arm under every strategy; points that the draws do not support are left out."""
    owner, score, usd = [], [], []
    for i, arm in enumerate(arms):
        for strategy in strategies:
            judged = evaluator.evaluate(uniform(arm, strategy))
            if not np.isnan(judged.score).any():
                owner.append(i)
                score.append(judged.score)
                usd.append(judged.usd)
    length = signal("length")
    lengths = np.array([length.value(inputs, ()) for inputs in evaluator.table.inputs])
    everything = np.ones(len(lengths), dtype=np.bool_)
    short = lengths >= np.median(lengths)
    halves = [half for half in (short, ~short) if half.sum() >= 8]
    return Envelope(
        tuple(arms), np.array(owner), np.array(score), np.array(usd), (everything, *halves)
    )


def survivors(points: Envelope, *, alpha: float = 0.05) -> tuple[Arm, ...]:
    """Arms that are not dominated in every stratum; ``alpha`` is split over the pairs of arms.

    Not over the strata: an arm must lose in all of them to go.
    """
    pairs = len(points.arms) * max(len(points.arms) - 1, 1)
    z = NormalDist().inv_cdf(1 - alpha / pairs)
    dropped = np.logical_and.reduce([_dominated(points, mask, z) for mask in points.strata])
    return tuple(arm for arm, out in zip(points.arms, dropped, strict=True) if not out)


def _dominated(points: Envelope, mask: Mask, z: float) -> Mask:
    """(n_arms,): each of the arm's points is beaten by a point of one other arm, surely."""
    score, usd = points.score[:, mask], points.usd[:, mask]
    beaten = _surely_above(score, z) & _surely_above(-usd, 0.0)  # [a, b]: a beats b
    own = points.arm[:, None] == points.arm[None, :]
    hit = (beaten & ~own).any(axis=0)
    return np.array([hit[points.arm == i].all() for i in range(len(points.arms))])


def _surely_above(values: Floats, z: float) -> Mask:
    """[a, b]: the paired mean of a - b less ``z`` standard errors is at least 0 (above, if z)."""
    n = values.shape[1]
    mean = values.mean(axis=1)
    centred = values - mean[:, None]
    cov = centred @ centred.T / max(n - 1, 1)
    variance = np.diag(cov)[:, None] + np.diag(cov)[None, :] - 2 * cov
    # One pseudo-item of difference: two arms that agreed on few items are not known to be equal.
    error = np.sqrt(np.maximum(variance, 1.0 / n) / n) if z else 0.0
    difference = mean[:, None] - mean[None, :] - z * error
    above: Mask = difference > 0 if z else difference >= 0
    return above


def most_useful(
    points: Envelope, among: Sequence[Arm], keep: int, *, always: Sequence[Arm] = ()
) -> tuple[Arm, ...]:
    """At most ``keep`` arms that together give the best utility over prices and strata.

    Greedy: each step adds the arm that raises the envelope most, averaged over dollars-per-point
    prices from "dollars do not matter" to "dollars decide". ``always`` come first.
    """
    index = {arm: i for i, arm in enumerate(points.arms)}
    utility = _utilities(points)
    chosen = [index[arm] for arm in always]
    best = utility[chosen].max(axis=0) if chosen else np.full(utility.shape[1], -np.inf)
    rest = [index[arm] for arm in among if arm not in always]
    while rest and len(chosen) < keep:
        gains = [float(np.maximum(utility[i], best).mean()) for i in rest]
        winner = rest.pop(int(np.argmax(gains)))
        chosen.append(winner)
        best = np.maximum(best, utility[winner])
    return tuple(points.arms[i] for i in sorted(chosen))


def _utilities(points: Envelope) -> Floats:
    """(n_arms, n_strata * n_prices): the best that each arm reaches."""
    rows = []
    for mask in points.strata:
        score, usd = points.score[:, mask].mean(axis=1), points.usd[:, mask].mean(axis=1)
        for price in np.geomspace(0.002, 1.0, 8) / float(np.median(usd)):
            value = score - price * usd
            rows.append([value[points.arm == i].max() for i in range(len(points.arms))])
    return np.array(rows).T
