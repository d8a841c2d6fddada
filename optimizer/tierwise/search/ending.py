"""What more samples would be worth: how far prompts differ at all, and what a choice may still
gain.

Both are typed and stored: before the money is spent they say whether it would help, and at the end
why no more was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.evaluation import Evaluation, SampleTable
from tierwise.pool import PROVIDER_ENDED
from tierwise.schema import UsageLimits
from tierwise.schema.result import Headroom, SearchEnd
from tierwise.search.selection import Utility
from tierwise.stats.intervals import Floats

EXPECTED_GAIN = 0.001
"""Score below which what more samples may add is not worth them."""

MOST_POLICIES = 60
"""Policies, the best first, between which a choice may change."""

RESAMPLES_OF_GAIN = 2000

WORTH_KNOWING = 0.01
"""Standard deviation of score between prompts below which there is nothing to choose."""


def expected_gain(judged: Sequence[Evaluation], aim: Utility) -> float:
    """Score that knowing the utilities of policies exactly would add to choosing the best by now.

    The expected value of perfect information: E[max u] - max E[u] over the posterior of the
    policies' utilities, given each item's measures. The posterior is normal around the means shrunk
    to their common mean by the variance between policies (empirical Bayes), with the items' own
    covariance, so that policies that do nearly the same are not told apart for nothing.
    """
    if len(judged) < 2:
        return 0.0
    score = np.array([e.score for e in judged])
    usd = np.array([e.usd for e in judged])
    value = _by_item(score, usd, aim)
    means = value.mean(axis=1)
    best = np.argsort(-means, kind="stable")[:MOST_POLICIES]
    value, means = value[best], means[best]
    n_items = value.shape[1]
    centred = value - means[:, None]
    covariance = centred @ centred.T / max(n_items - 1, 1) / n_items
    # Only differences between policies matter: what is common to all cancels in the maximum.
    k = len(means)
    project = np.eye(k) - 1.0 / k
    covariance = project @ covariance @ project
    noise = float(np.trace(covariance)) / max(k - 1, 1)
    between = max(float(means.var(ddof=1)) - noise, 0.0)
    # The best of many are close together by having been picked: no more than half of it is noise.
    shrink = max(between / (between + noise), 0.5) if between + noise > 0 else 0.0
    centre = means.mean() + shrink * (means - means.mean())
    rng = np.random.default_rng([n_items, k])
    noise_of = rng.multivariate_normal(
        np.zeros(k),
        shrink * covariance,
        size=RESAMPLES_OF_GAIN,
        method="eigh",
        check_valid="ignore",
    )
    return float((centre + noise_of).max(axis=1).mean() - centre.max())


def _by_item(score: Floats, usd: Floats, aim: Utility) -> Floats:
    """(n_policies, n_items): each item's part of the utility, dollars to first order."""
    mean = np.maximum(usd.mean(axis=1, keepdims=True), 1e-30)
    doublings = np.log2(mean) + (usd / mean - 1) / np.log(2)
    return np.asarray(score - aim.a_doubling * doublings - aim.usd_weight * usd)


def search_end(
    gain: float, *, complete: bool, recorded: bool, short: str, left: UsageLimits
) -> SearchEnd:
    """Why a search bought no more; ``gain`` is the expected one.

    Args:
        complete: all items and samples that its size allows are there.
        recorded: of some variant there is no further sample.
        short: what cut a purchase short, if one was.
        left: of the budget, what the test does not need.
    """
    points = f"{100 * gain:.1f}".removeprefix("0")
    if short == "seconds":
        return SearchEnd(
            "deadline",
            gain,
            "The job's time ended while it searched, and it was chosen by the samples that were "
            f"there: more may add {points} points; the same command with more --seconds buys them, "
            "and nothing twice.",
        )
    if short == PROVIDER_ENDED:
        return SearchEnd(
            "provider_ended",
            gain,
            "The provider failed for good while the tier was searched, and it was chosen by the "
            f"samples that were there: more may add {points} points; the same command buys them "
            "once it answers, and nothing twice.",
        )
    if gain < EXPECTED_GAIN:
        said = "No more was bought: further samples may add less than .1 points."
        return SearchEnd("no_expected_gain", gain, said)
    if complete and recorded:
        said = f"All that is recorded was looked at; more samples might add {points} points."
        return SearchEnd("recording_exhausted", gain, said)
    if complete:
        said = (
            "All validation items and all samples that would be used are there; more items might "
            f"add {points} points."
        )
        return SearchEnd("search_complete", gain, said)
    named = [name for name in ("usd", "calls", "tokens") if getattr(left, name) is not None]
    said = (
        f"The budget ended ({', '.join(named) or 'its limit'}): what is left buys nothing that "
        f"would be used beside the held-out test; more samples may add {points} points."
    )
    return SearchEnd("no_affordable_call", gain, said)


# Headroom


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
        return f"{differ}; more budget would not help to choose between them."
    if spread < error:
        return f"{differ}: not beyond noise so far; more budget would tell."
    return f"{differ}, and each is known to {100 * noise:.1f}; more budget would " + (
        "help." if noise > WORTH_KNOWING / 2 else "help little."
    )
