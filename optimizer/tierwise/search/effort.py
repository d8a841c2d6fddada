"""How much a search looks at: counts of items, draws and arms, scaled to a budget.

A search is bounded by counts, never by the clock, so that the same job gives the same policies on
any machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tierwise.difficulty import Router, signal, turn_of
from tierwise.errors import BudgetError
from tierwise.pool import Cap, Spent, even
from tierwise.recipe import ANSWER, Arm, Policy, Tier
from tierwise.recipe.space import Range, SearchSpace
from tierwise.recipe.turns import ROOT
from tierwise.strategies import build, deal, paths_in, paths_of, width_of
from tierwise.task import SPLITS, Task

SCALES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.22, 0.16, 0.12, 0.08)
FEWEST = {"fit_items": 48, "screen_items": 16, "race_items": 24, "study_items": 32,
          "select_items": 32, "test_items": 60}  # fmt: skip
AS_ITSELF = ("fit", "test")
"""Stages at which a prompt is drawn from as it is served, and not its other wordings beside it."""
ACCEPT_PART = 3
"""At most this part of the tune split is kept for the acceptance of rounds."""
PLANNED_SHARE = 0.9
"""Part of a budget that is planned for; the rest is for draws that turn out dearer."""

BYTES_A_TOKEN = 3.0
PART_OF_CAP = 1 / 6
"""How long answers are expected to be before the first: a part of the mode's token cap, which few
should fill."""


class StageDraws(NamedTuple):
    """What a stage buys: of each item of ``split`` so many draws of each of ``arms``, ``new`` ones,
    since the items of screen, race and study are nested; and ``nodes`` below or beside them."""

    stage: str
    split: str
    arms: int
    new: tuple[int, ...]
    nodes: tuple[int, ...]

    @property
    def draws(self) -> int:
        """Over all arms and items."""
        return self.arms * (sum(self.new) + sum(self.nodes))

    @property
    def requests(self) -> int:
        """Calls where the draws of an arm on an item are one; no node shares its call."""
        return self.arms * (sum(n > 0 for n in self.new) + sum(self.nodes))


def _new(there: list[int], items: int, draws: int) -> tuple[int, ...]:
    """Draws that ``items`` lack of ``draws`` each; ``there`` is what they have, and gets them."""
    there += [0] * (items - len(there))
    new = tuple(max(0, draws - have) for have in there[:items])
    there[:items] = [max(draws, have) for have in there[:items]]
    return new


@dataclass(frozen=True, slots=True)
class Effort:
    """Counts of a search on one tier.

    ``fit`` is the router's purchase on the train split. ``rounds`` are those after the first,
    ``proposed`` what each of them proposes; they look at ``reflect_items`` of the train split, and
    judge whether they were worth it on ``accept_items`` of the tune split, which no study sees.
    """

    screen_items: int = 48
    screen_draws: int = 5
    fit_items: int = 240
    fit_draws: int = 8
    race_items: int = 120
    race_draws: int = 9
    race_arms: int = 8
    study_items: int = 240
    study_arms: int = 5
    select_items: int = 320
    test_items: int = 600
    finalists: int = 24
    orders: int = 16
    rounds: int = 0
    proposed: int = 0
    reflect_items: int = 48
    accept_items: int = 120

    def scaled(self, factor: float) -> Effort:
        """Fewer items at every stage; not fewer draws, since ranks flip under voting."""
        have = {name: getattr(self, name) for name in FEWEST}
        items = {
            name: min(n, max(FEWEST[name], round(n * factor))) for name, n in have.items()
        }  # fmt: skip
        return replace(self, **items)

    def within(self, task: Task, signals: Sequence[str] = ()) -> Effort:
        """No more items than the splits of ``task`` have: a small task needs a small budget.

        None are fitted to where none of ``signals`` is the router.
        """
        train, tune, select, test = (len(task.splits[name]) for name in SPLITS)
        accept = min(self.accept_items, tune // ACCEPT_PART) if self.rounds else 0
        tune -= accept
        return replace(
            self,
            fit_items=min(self.fit_items, train) if Router.kind in signals else 0,
            reflect_items=min(self.reflect_items, train),
            accept_items=accept,
            screen_items=min(self.screen_items, tune),
            race_items=min(self.race_items, tune),
            study_items=min(self.study_items, tune),
            select_items=min(self.select_items, select),
            test_items=min(self.test_items, test),
        )

    def stages(
        self, n_arms: int, depth: int, nodes: int = 0, screened: int = 0
    ) -> tuple[StageDraws, ...]:
        """What each stage buys at most, ``rounds`` of proposals apart.

        ``depth`` are the draws of an arm on an item that finalists may ask for; ``nodes`` those
        below or beside its plain answers to an item, of which the screening makes ``screened``.
        """
        raced, studied = min(n_arms, self.race_arms), min(n_arms, self.study_arms)
        looked = (
            ("screen", "tune", n_arms, self.screen_items, min(self.screen_draws, depth), screened),
            ("fit", "train", min(2, n_arms), self.fit_items, self.fit_draws, 0),
            ("race", "tune", raced, self.race_items, min(self.race_draws, depth), nodes),
            ("study", "tune", studied, self.study_items, depth, nodes),
            ("select", "select", studied, self.select_items, depth, nodes),
            ("test", "test", studied, self.test_items, depth, nodes),
        )
        there: dict[str, list[int]] = {}  # (draws, nodes) that a surviving arm has of each item
        beside: dict[str, list[int]] = {}
        return tuple(
            StageDraws(stage, split, arms,
                       _new(there.setdefault(split, []), items, draws),
                       _new(beside.setdefault(split, []), items, below))
            for stage, split, arms, items, draws, below in looked
        )  # fmt: skip

    def round(self, depth: int, nodes: int = 0) -> tuple[int, int]:
        """(draws, calls where ``n`` is taken) of one round after the first, at most."""
        deep, raced = depth + nodes, min(self.race_draws, depth) + nodes
        return self._round(depth, deep, raced), self._round(1, 1 + nodes, 1 + nodes)

    def _round(self, tried: int, studied: int, raced: int) -> int:
        """Draws of one round, where each item takes as many of an arm at its stage."""
        new = min(self.proposed, self.study_arms)
        return (
            self.proposed * self.screen_items * tried
            + min(self.proposed, self.race_arms) * self.race_items * raced
            + (new * self.study_items + self.reflect_items + 2 * self.accept_items) * studied
        )


@dataclass(frozen=True, slots=True)
class DrawCost:
    """What one draw of an arm uses on average (known, or assumed before the first draw).

    ``takes_n``: the draws of an arm on an item are one call at each stage. ``nodes`` are the draws
    below or beside an arm's plain answers to an item, each a call of its own; ``screened`` are the
    screening's. ``wordings`` are those of a prompt that are drawn beside each other in a robust
    search, but for ``AS_ITSELF``.
    """

    usd: float
    tokens: float
    takes_n: bool = False
    nodes: int = 0
    screened: int = 0
    wordings: int = 1

    def worded(self, stage: str) -> int:
        """Prompts that are drawn from for each arm at a stage."""
        return 1 if stage in AS_ITSELF else self.wordings


def affordable(
    effort: Effort, n_arms: int, depth: int, cost: DrawCost, cap: Cap, *, tier: str,
    done: Sequence[str] = (),
) -> Effort:  # fmt: skip
    """``effort``, scaled down until what is left to do fits ``cap``: what is left of the tier's.

    Where rounds of proposals do not fit at any scale, it is without them.

    Raises:
        BudgetError: the smallest search does not fit; says what it needs.
    """
    for factor in SCALES:
        scaled = effort.scaled(factor)
        if "screen" in done:  # what it bought is there
            scaled = replace(scaled, screen_items=effort.screen_items)
        draws, calls = _left(scaled, n_arms, depth, cost, done)
        if _fits(draws, calls, cost, cap):
            return scaled
    if effort.rounds:  # they are what can be done without
        effort = replace(effort, rounds=0)
        return affordable(effort, n_arms, depth, cost, cap, tier=tier, done=done)
    needs = []
    if cap.usd is not None:
        needs.append(f"${draws * cost.usd / PLANNED_SHARE:.2g} of its ${cap.usd:.2g}")
    if cap.tokens is not None:
        needs.append(f"{draws * cost.tokens / PLANNED_SHARE:,.0f} of its {cap.tokens:,} tokens")
    if cap.calls is not None:
        needs.append(f"{calls / PLANNED_SHARE:,.0f} of its {cap.calls:,} calls")
    raise BudgetError(
        f"the budget is too small for tier {tier!r}: the smallest search over {n_arms} arms needs "
        f"about {' and '.join(needs)}; raise the budget, or give a smaller space (--space quick)"
    )


def enough_usd(effort: Effort, n_arms: int, depth: int, cost: DrawCost) -> float:
    """Dollars of a cap that leave ``effort`` as it is."""
    draws, _ = _left(effort, n_arms, depth, cost, ())
    return draws * cost.usd / PLANNED_SHARE


def room_for_a_round(
    effort: Effort, n_arms: int, depth: int, cost: DrawCost, cap: Cap, spent: Spent
) -> bool:
    """Whether one more round leaves enough of the cap for what comes after it."""
    left = Cap(
        None if cap.usd is None else cap.usd - spent.usd,
        None if cap.calls is None else cap.calls - spent.calls,
        None if cap.tokens is None else cap.tokens - spent.tokens,
    )
    one = replace(effort, rounds=1)
    return _fits(*_left(one, n_arms, depth, cost, ("screen", "race", "study")), cost, left)


def _left(
    effort: Effort, n_arms: int, depth: int, cost: DrawCost, done: Sequence[str]
) -> tuple[int, int]:
    """Draws and calls of the stages that are not done."""
    stages = effort.stages(n_arms, depth, cost.nodes, cost.screened)
    left = [stage for stage in stages if stage.stage not in done]
    draws = sum(stage.draws * cost.worded(stage.stage) for stage in left)
    calls = sum(stage.requests * cost.worded(stage.stage) for stage in left)
    if "rounds" not in done:
        rounds = effort.rounds * cost.worded("rounds")
        more_draws, more_calls = effort.round(depth, cost.nodes)
        draws, calls = draws + rounds * more_draws, calls + rounds * more_calls
    return draws, calls if cost.takes_n else draws


def _fits(draws: int, calls: int, cost: DrawCost, cap: Cap) -> bool:
    return (
        (cap.usd is None or draws * cost.usd <= cap.usd * PLANNED_SHARE)
        and (cap.tokens is None or draws * cost.tokens <= cap.tokens * PLANNED_SHARE)
        and (cap.calls is None or calls <= cap.calls * PLANNED_SHARE)
    )


def assumed_cost(tier: Tier, arms: Sequence[Arm], prompt_bytes: float) -> DrawCost:
    """Before the first draw: three bytes a prompt token, a sixth of each mode's token cap."""
    prompt = prompt_bytes / BYTES_A_TOKEN
    caps = [token_cap(tier.mode(arm.mode)) for arm in arms]
    completion = sum(caps) / len(caps) * PART_OF_CAP
    usd = tier.price.prompt_usd(prompt) + tier.price.completion_usd(completion)
    return DrawCost(usd, prompt + completion, tier.takes_n)


def token_cap(sends: Mapping[str, object]) -> float:
    """The most tokens of a completion that a mode allows; 1,024 where it does not say."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = sends.get(name)
        if isinstance(value, int):
            return float(value)
    return 1024.0


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
