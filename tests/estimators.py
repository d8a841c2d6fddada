"""Closed forms that tests compare with: plurality votes of n samples, ESC, pass@k, hypervolume,
McNemar.

The vote's utility is 1[an answer is at the top] / t, with t the answers tied there: over sample
orders, the answer seen first among t tied ones is each with probability 1/t. An abstention takes
part in the n samples and has no vote.

Both versions are one sum. Independent counts (binomial or Poisson), conditioned on their total,
are the multivariate hypergeometric and the multinomial distribution; and 1/t is the integral of
z^(t-1) over [0, 1], so that a tie multiplies by z and Gauss-Legendre nodes give the exact mean.
Time grows with answers x n^2 array operations: n up to about 64 and some dozen answers an item are
fine, beyond that resample.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tierwise.stats import pareto_front

Floats = npt.NDArray[np.float64]


def majority_at_n(counts: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> Floats:
    """Exact expected score of a vote over ``n`` of the stored samples, without replacement.

    Args:
        counts: (n_items, n_answers) how often each answer was sampled. An item with fewer samples
            than ``n`` is NaN.
        scores: (n_items, n_answers) the metric of each answer; NaN marks abstentions, which have
            no vote.
        n: samples of the vote, at least 1.

    Returns:
        (n_items,), 0 counting for a vote in which everyone abstained.
    """
    c = np.asarray(counts, dtype=np.float64)
    total = c.sum(axis=1)
    supported = total >= n if n >= 1 else np.zeros(len(c), bool)
    share = np.where(total > 0, n / np.where(total > 0, total, 1.0), 0.0)
    pmf = _binomial(c, np.minimum(share, 1.0)[:, None], n)
    norm = _binomial(total, np.minimum(share, 1.0), n)[:, n] if n >= 1 else np.ones(len(c))
    out = np.full(len(c), np.nan)
    votes = _expected_vote(pmf, np.asarray(scores, dtype=np.float64), n, supported)
    out[supported] = votes[supported] / norm[supported]
    return out


def multinomial_majority(probabilities: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> Floats:
    """Expected score of a vote over ``n`` fresh samples from known ``probabilities``.

    With probabilities that were estimated from stored samples this is an EXTRAPOLATION: it takes
    the answers seen for all there are. Report it as one.

    Args:
        probabilities: (n_items, n_answers), rows summing to 1.
        scores: (n_items, n_answers) as for ``majority_at_n``.
        n: samples of the vote; fewer than 1 gives NaN.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if not np.allclose(p.sum(axis=1), 1):
        raise ValueError("probabilities must sum to 1 for every item")
    if n < 1:
        return np.full(len(p), np.nan)
    pmf = _poisson(p * n, n)
    norm = math.exp(n * math.log(n) - n - math.lgamma(n + 1))
    everyone = np.ones(len(p), bool)
    return _expected_vote(pmf, np.asarray(scores, dtype=np.float64), n, everyone) / norm


def _expected_vote(pmf: Floats, scores: Floats, n: int, rows: npt.NDArray[np.bool_]) -> Floats:
    """(n_items,): sum over answers of score x E[1[at the top] / t; total = n].

    ``pmf`` (n_items, n_answers, n + 1) holds the independent counts' probabilities.
    """
    value = np.zeros(len(pmf))
    for answer in range(pmf.shape[1]):
        some = np.flatnonzero(rows & (np.nan_to_num(scores[:, answer]) != 0))
        if len(some):
            top = _top_share(pmf[some], np.isnan(scores[some]), answer, n)
            value[some] += scores[some, answer] * top
    return value


def _top_share(pmf: Floats, silent: npt.NDArray[np.bool_], answer: int, n: int) -> Floats:
    """(items,): E[1[answer is at the top] / t; all counts sum to n]."""
    n_answers = pmf.shape[1]
    nodes, node_weights = np.polynomial.legendre.leggauss(min(n_answers, n) // 2 + 1)
    z, z_weights = (nodes + 1) / 2, node_weights / 2
    result = np.zeros(len(pmf))
    for votes in range(1, n + 1):
        # ways[:, m, q]: mass of the answers looked at so far having m samples between them
        ways = np.zeros((len(pmf), n + 1, len(z)))
        ways[:, votes, :] = pmf[:, answer, votes, None]
        for other in range(n_answers):
            if other == answer or pmf[:, other, 1:].max() == 0:
                continue
            ways = _join(ways, pmf[:, other], silent[:, other], votes, z)
        result += ways[:, n] @ z_weights
    return result


def _join(
    ways: Floats, pmf: Floats, silent: npt.NDArray[np.bool_], votes: int, z: Floats
) -> Floats:
    """Add one more answer, which may have at most ``votes`` samples unless it is an abstention."""
    joined = np.zeros_like(ways)
    size = ways.shape[1]
    most = size - 1 if silent.any() else min(votes, size - 1)
    for x in range(most + 1):
        mass = pmf[:, x] if x <= votes else np.where(silent, pmf[:, x], 0.0)
        term = ways[:, : size - x] * mass[:, None, None]
        if x == votes:
            term = term * np.where(silent[:, None, None], 1.0, z)
        joined[:, x:] += term
    return joined


def _binomial(count: Floats, share: Floats, n: int) -> Floats:
    """P(Bin(count, share) = x) for x = 0 … n, on a new last axis."""
    count, share = np.broadcast_arrays(count, share)
    size = int(count.max(initial=0))
    log_factorial = np.array([math.lgamma(i + 1) for i in range(size + 1)])
    x = np.arange(n + 1)
    k = np.minimum(x, count[..., None]).astype(np.intp)
    whole = count[..., None].astype(np.intp)
    log_ways = log_factorial[whole] - log_factorial[k] - log_factorial[whole - k]
    p = share[..., None]
    mass: Floats = np.exp(log_ways) * p**k * (1 - p) ** (whole - k)
    return np.where(x <= whole, mass, 0.0)


def _poisson(rate: Floats, n: int) -> Floats:
    """P(Poisson(rate) = x) for x = 0 … n, on a new last axis."""
    mass = np.empty((*rate.shape, n + 1))
    mass[..., 0] = np.exp(-rate)
    for x in range(1, n + 1):
        mass[..., x] = mass[..., x - 1] * rate / x
    return mass


def expected_samples_esc(probabilities: npt.ArrayLike, window: int, cap: int) -> Floats:
    """E[samples] of ESC (Li et al., arXiv 2401.10480) with windows of ``window`` and at most
    ``cap``.

    A window is unanimous with q = sum p^window; the next one is sampled with probability 1 - q. The
    last window is cut at the cap.

    Args:
        probabilities: (..., n_answers) of independent samples; a sum below 1 leaves the rest to
            abstentions, with which no window is unanimous.
        window: samples of a window, at least 1.
        cap: most samples, at least ``window``.

    Returns:
        (...,).

    Raises:
        ValueError: not 1 <= window <= cap.
    """
    if not 1 <= window <= cap:
        raise ValueError(f"needs 1 <= window <= cap, got window {window} and cap {cap}")
    p = np.asarray(probabilities, dtype=np.float64)
    go_on = 1 - np.sum(p**window, axis=-1)
    samples: Floats = np.zeros(go_on.shape)
    for done in range(0, cap, window):
        samples = samples + min(window, cap - done) * go_on ** (done // window)
    return samples


def pass_at_k(n: npt.ArrayLike, c: npt.ArrayLike, k: npt.ArrayLike) -> Floats:
    """1 - C(n-c, k) / C(n, k): P(one of k samples is right), with ``c`` of ``n`` right.

    An oracle bound, never a strategy. Chen et al., arXiv 2107.03374. The arguments broadcast;
    NaN where k > n or k < 1.
    """
    n, c, k = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, c, k)))
    supported = (k >= 1) & (k <= n)
    all_wrong = np.ones(n.shape)
    for i in range(int(k[supported].max(initial=0))):
        left = np.where(i < n, n - i, 1.0)
        all_wrong = all_wrong * np.where(i < k, np.clip(n - c - i, 0, None) / left, 1.0)
    return np.where(supported, 1 - all_wrong, np.nan)


def hypervolume_2d(
    scores: npt.ArrayLike, costs: npt.ArrayLike, reference: tuple[float, float]
) -> float:
    """Area that the points dominate, down to ``reference`` = (worst score, worst cost)."""
    s, c = np.asarray(scores, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    inside = (s > reference[0]) & (c < reference[1])
    s, c = s[inside], c[inside]
    on = pareto_front(s, c)
    widths = np.append(c[on][1:], reference[1]) - c[on]
    return float(np.sum((s[on] - reference[0]) * widths))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test from the discordant pairs; 1 where there are none."""
    n, k = only_a + only_b, min(only_a, only_b)
    ways, tail = 1, 0
    for i in range(k + 1):
        tail += ways
        ways = ways * (n - i) // (i + 1)
    return min(1.0, 2 * tail / (1 << n))
