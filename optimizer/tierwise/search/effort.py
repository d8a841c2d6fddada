"""How much a search looks at: counts of items, draws and arms, scaled to a budget.

A search is bounded by counts, never by the clock, so that the same job gives the same policies on
any machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tierwise.difficulty import Router
from tierwise.errors import BudgetError
from tierwise.pool import Cap, Spent
from tierwise.recipe import Arm, Tier
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
