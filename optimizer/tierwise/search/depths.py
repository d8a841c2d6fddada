"""How many draws a space, or policies, may ask for on one item: of answers, and of what follows."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise.difficulty import signal, turn_of
from tierwise.pool import even
from tierwise.recipe import ANSWER, Arm, Policy
from tierwise.recipe.space import Range, SearchSpace
from tierwise.recipe.turns import ROOT
from tierwise.strategies import build, deal, paths_in, paths_of, width_of


def most_draws(space: SearchSpace) -> int:
    """The most draws of an answer that a strategy of the space may ask for, or a probe."""
    probed = any(signal(kind).probes and turn_of(kind) == ANSWER for kind in space.signals)
    most = int(space.probe_draws.high) if probed and max(space.buckets) > 1 else 1
    for dims in space.strategies.values():
        for name in ("draws", "max_draws"):
            dimension = dims.get(name)
            if isinstance(dimension, Range):
                most = max(most, int(dimension.high))
            elif dimension is not None:
                most = max(most, *(int(v) for v in dimension if isinstance(v, int)))
    return most


def with_nodes(
    arms: Sequence[Arm], depth: int, space: SearchSpace, chains: int | None = None
) -> dict[Arm, int]:
    """``depth`` draws of each arm, and of their nodes what the space may ask for.

    With ``chains`` only so many, and only of chains that have roots of their own (searches): those
    below plain answers are as many as these.
    """
    wanted = dict.fromkeys(arms, depth)
    for path, width in paths_in(space).items():
        if chains is None or path[0] != ROOT:
            most = min(width, depth if chains is None else chains)
            wanted |= {arm._replace(path=path): most for arm in arms}
    return wanted


def nodes_an_item(space: SearchSpace, depth: int, chains: int | None = None) -> int:
    """Draws beside an arm's ``depth`` plain answers to an item."""
    arm = Arm("", "", 0.0)
    return sum(even(with_nodes((arm,), depth, space, chains)).values()) - depth


def depth_needed(policies: Sequence[Policy], least: int = 1) -> dict[Arm, int]:
    """Draws of each arm that ``policies`` may ask for on one item; at least ``least``."""
    depth: dict[Arm, int] = {}
    for policy in policies:
        probe = policy.difficulty.probe
        if probe:
            # What is asked beside the answers needs no more draws than the policy makes.
            at_least = least if turn_of(policy.difficulty.signal) == ANSWER else 1
            for arm in probe.arms:
                depth[arm] = max(depth.get(arm, at_least), probe.dealt.count(arm))
        for recipe in policy.buckets:
            counts = [probe.dealt.count(arm) if probe else 0 for arm in recipe.arms]
            strategy = build(recipe.strategy)
            rest = width_of(strategy) - sum(counts)
            for a in deal(counts, max(rest, 0)):
                counts[a] += 1
            for path in paths_of(strategy):
                for arm, n in zip(recipe.arms, counts, strict=True):
                    node = arm._replace(path=path)
                    depth[node] = max(depth.get(node, least), n)
    return even(depth)
