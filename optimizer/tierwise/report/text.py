"""Numbers, intervals and recipes as people read them, in tables, pages and the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tierwise.schema import Recipe, StrategySpec
from tierwise.schema.result import Bounds, FailedItems
from tierwise.stats import Interval
from tierwise.strategies import Cascade, Retrieval, SelfRefine, Strategy, build, one_answer_ends

NOTHING = "–"
PER = 1000
"""Costs are shown for this many requests: dollars of one request have too many zeros."""


def known(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def score(value: float | None) -> str:
    """`0.821`."""
    return f"{value:.3f}" if value is not None and known(value) else NOTHING


def bounds(pair: Sequence[float | None] | None, digits: int = 3) -> str:
    """`[0.790, 0.849]`; nothing where an end is not known."""
    if pair is None or len(pair) != 2 or pair[0] is None or pair[1] is None:
        return ""
    return f"[{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"


def beside(said: str, failed: FailedItems) -> str:
    """`0.812 (2 left out, 3 unanswered)`: a score with what failed beside it, if something did."""
    counts = {"left out": failed.left_out, "unanswered": failed.unanswered}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{said} ({told})" if told else said


def interval(found: Interval, sign: str = "") -> str:
    """`0.812 [0.782, 0.843]`; a question mark for what is not known."""
    mean, low, high = (f"{v:{sign}.3f}" if known(v) else "?" for v in found)
    return f"{mean} [{low}, {high}]"


def estimate(mean: float | None, ends: Bounds) -> Interval:
    """An estimate of a summary as an interval; NaN for what is not known."""
    return Interval(*(math.nan if value is None else value for value in (mean, *ends)))


def points(value: float | None) -> str:
    """A difference of scores in points of a hundred: `+38.4`."""
    return _signed(value) if value is not None and known(value) else NOTHING


def point_bounds(pair: Sequence[float | None] | None) -> str:
    """`[+34.7, +41.8]`."""
    if pair is None or len(pair) != 2 or pair[0] is None or pair[1] is None:
        return ""
    return f"[{_signed(pair[0])}, {_signed(pair[1])}]"


def _signed(value: float) -> str:
    """Nothing has no sign: `0.0`, never `-0.0`."""
    said = f"{100 * value:+.1f}"
    return said[1:] if float(said) == 0 else said


def significant(value: float, digits: int = 3) -> str:
    """Three significant digits without an exponent: `0.0226`, `1,240`."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def usd(value: float | None) -> str:
    """`$0.0226`."""
    return f"${significant(value)}" if value is not None and known(value) else NOTHING


def usd_per(value: float | None) -> str:
    """Dollars for 1,000 requests, of dollars for one."""
    return usd(value * PER) if value is not None and known(value) else NOTHING


def ratio(value: float | None, unknown: str = NOTHING) -> str:
    """`×8.2`; `unknown` where the cost before was 0."""
    return f"×{significant(value, 2)}" if value is not None and known(value) else unknown


def share(value: float | None) -> str:
    """`39%`."""
    return f"{value:.0%}" if value is not None and known(value) else NOTHING


# --- recipes in words --------------------------------------------------------------------------


def recipe_in_words(recipe: Recipe) -> str:
    """`a vote of up to 9 samples of steps/think/0.8, until the leader is 90% sure`."""
    variants = _listed([variant.label for variant in recipe.variants])
    params = dict(recipe.strategy.params)
    match recipe.strategy.kind:
        case "single":
            return f"one sample of {variants}"
        case "self_consistency":
            return f"a vote of {params['samples']} samples of {variants}"
        case "adaptive_consistency" if one_answer_ends(build(recipe.strategy)):
            return (
                f"one sample of {variants} (up to {params['max_samples']} until one has an answer)"
            )
        case "adaptive_consistency":
            sure = f"until the leader is {float(str(params['threshold'])):.0%} sure"
            return f"a vote of up to {params['max_samples']} samples of {variants}, {sure}"
        case "early_stopping":
            agree = f"until {params['window']} in a row agree"
            return f"a vote of up to {params['max_samples']} samples of {variants}, {agree}"
        case "best_of_n":
            until = params.get("stop_at")
            most = f"{params['samples']}" if until is None else f"up to {params['samples']}"
            stop = "" if until is None else f", until one has at least {until}"
            by = _verifier(recipe.strategy)
            return f"the best of {most} samples of {variants} by {by}{stop}"
        case "judged_best_of_n":
            return f"the best of {params['samples']} samples of {variants} by a judge"
        case "universal_self_consistency":
            chosen = "the one of them that the model says agrees best with the others"
            return f"{params['samples']} samples of {variants}, and {chosen}"
        case "cascade":
            return _stages(build(recipe.strategy), [variant.label for variant in recipe.variants])
        case "weighted_consistency":
            by = f"weighted by {_verifier(recipe.strategy)}"
            return f"a vote of {params['samples']} samples of {variants}, {by}"
        case "self_refine":
            return _refined(build(recipe.strategy), variants)
        case "retrieval":
            return _searches(build(recipe.strategy), variants)
    return f"{variants}, {recipe.strategy}"  # a strategy that was added: its kind and parameters


def _stages(strategy: Strategy, variants: Sequence[str]) -> str:
    """`a vote in stages: 2 samples of A; below 75% of the votes, 3 samples of B`."""
    assert isinstance(strategy, Cascade)
    said = []
    for i, stage in enumerate(strategy.stages):
        names = _listed([variants[v] for v in stage.variants])
        what = f"{_counted(stage.samples, 'sample')} of {names}"
        if i:
            last = strategy.stages[i - 1]
            low = f"where the leader has below {last.share:.0%} of the votes"
            if last.confidence is not None:
                low += f" or a mean log-probability below {last.confidence:g}"
            what = f"{low}, {what} more"
        said.append(what)
    votes = "weighted vote" if len(set(strategy.weights)) > 1 else "vote"
    return f"a {votes} in stages: {'; '.join(said)}"


def _refined(strategy: Strategy, variants: str) -> str:
    """`one sample of A, then up to 2 rounds of critique and a new answer; of these answers …`."""
    assert isinstance(strategy, SelfRefine)
    verifier = strategy.verifier and _named(strategy.verifier)
    stop = ", until an answer stays the same" if strategy.until_stable else ""
    return (
        f"one sample of {variants}, then up to {_counted(strategy.rounds, 'round')} of critique "
        f"and a new answer{stop}; of these answers "
        + (f"the best by {verifier}" if verifier else "the most frequent")
    )


def _searches(strategy: Strategy, variants: str) -> str:
    """`up to 3 rounds of search by steps/think/0.3, 2 passages each; a vote of 3 chains`."""
    assert isinstance(strategy, Retrieval)
    samples, rounds = strategy.samples, strategy.rounds
    sure = "" if strategy.threshold == 1 else f", until the leader is {strategy.threshold:.0%} sure"
    if not rounds:
        return (
            f"one sample of {variants}"
            if samples == 1
            else f"a vote of {samples} samples of {variants}{sure}"
        )
    said = f"up to {_counted(rounds, 'round')} of search by {variants}, "
    said += f"{_counted(strategy.passages, 'passage')} each"
    if strategy.stop_when_stale and strategy.least_match:
        said += f", until none is new with {strategy.least_match:.0%} of the query's words"
    elif strategy.stop_when_stale:
        said += ", until none is new"
    return said if samples == 1 else f"{said}; a vote of {samples} such chains{sure}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verifier(strategy: StrategySpec) -> str:
    return _named(str(dict(strategy.params).get("verifier", "mean_logprob")))


def _named(name: str) -> str:
    return "mean log-probability" if name == "mean_logprob" else name
