"""Recipes in words, for people who have not read the file format."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.schema import Recipe, StrategySpec
from tierwise.strategies import Retrieval, Strategy, build, one_answer_ends


def recipe_in_words(recipe: Recipe) -> str:
    """``a vote of up to 9 samples of steps/think/0.8, until the leader is 90% sure``."""
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
            return f"the best of {params['samples']} samples of {variants} by {_verifier(recipe.strategy)}"
        case "weighted_consistency":
            by = f"weighted by {_verifier(recipe.strategy)}"
            return f"a vote of {params['samples']} samples of {variants}, {by}"
        case "retrieval":
            return _searches(build(recipe.strategy), variants)
    return f"{variants}, {recipe.strategy}"  # a strategy that was added: its kind and parameters


def _searches(strategy: Strategy, variants: str) -> str:
    """``up to 3 rounds of search by steps/think/0.3, 2 passages each; a vote of 3 chains``."""
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


def bucket_names(n: int) -> list[str]:
    """easy, (medium,) hard."""
    known = {1: ["all"], 2: ["easy", "hard"], 3: ["easy", "medium", "hard"]}
    return known.get(n, [f"b{i + 1}" for i in range(n)])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verifier(strategy: StrategySpec) -> str:
    name = str(dict(strategy.params).get("verifier", "mean_logprob"))
    return "mean log-probability" if name == "mean_logprob" else name
