"""Recipes in words, for people who have not read the file format."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.recipe import Recipe, StrategySpec
from tierwise.strategies import build, one_answer_ends


def recipe_in_words(recipe: Recipe) -> str:
    """``a vote of up to 9 draws of steps/think/0.8, until the leader is 90% sure``."""
    arms = _listed([arm.label for arm in recipe.arms])
    params = dict(recipe.strategy.params)
    match recipe.strategy.kind:
        case "single":
            return f"one draw of {arms}"
        case "self_consistency":
            return f"a vote of {params['draws']} draws of {arms}"
        case "adaptive_consistency" if one_answer_ends(build(recipe.strategy)):
            return f"one draw of {arms} (up to {params['max_draws']} until one has an answer)"
        case "adaptive_consistency":
            sure = f"until the leader is {float(str(params['threshold'])):.0%} sure"
            return f"a vote of up to {params['max_draws']} draws of {arms}, {sure}"
        case "early_stopping":
            agree = f"until {params['window']} in a row agree"
            return f"a vote of up to {params['max_draws']} draws of {arms}, {agree}"
        case "best_of_n":
            return f"the best of {params['draws']} draws of {arms} by {_verifier(recipe.strategy)}"
        case "weighted_consistency":
            by = f"weighted by {_verifier(recipe.strategy)}"
            return f"a vote of {params['draws']} draws of {arms}, {by}"
    return f"{arms}, {recipe.strategy}"  # a strategy that was added: its kind and parameters


def bucket_names(n: int) -> list[str]:
    """easy, (medium,) hard."""
    known = {1: ["all"], 2: ["easy", "hard"], 3: ["easy", "medium", "hard"]}
    return known.get(n, [f"b{i + 1}" for i in range(n)])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verifier(strategy: StrategySpec) -> str:
    name = str(dict(strategy.params).get("verifier", "mean_logprob"))
    return "mean log-probability" if name == "mean_logprob" else name
