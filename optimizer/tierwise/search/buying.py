"""One tier's draws: what a stage of the search needs is bought if missing, then read as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from tierwise.errors import BudgetError, ProviderError
from tierwise.evaluation import SampleTable
from tierwise.llm import LanguageModel, Parent, Request, build_request
from tierwise.pool import (
    Buys,
    Cap,
    Library,
    Need,
    Progress,
    SamplePool,
    Spent,
    Trees,
    even,
    fill,
    load,
    parents_first,
)
from tierwise.recipe import Arm, PromptTemplate, Tier
from tierwise.search.events import Bought, Listener
from tierwise.task import Item, Task

MOST_DRAWS = 4096

FEWEST_ITEMS = 8
"""A stage with fewer complete items decides nothing."""


class Draws(Protocol):
    """Where a search gets its tables from; ``free``: looking at more of them costs nothing."""

    free: bool

    def most(self, arm: Arm) -> int:
        """The most draws that every item of the arm can have."""
        ...

    def table(self, items: Sequence[Item], depth: Mapping[Arm, int], stage: str) -> SampleTable:
        """The items that have ``depth[arm]`` draws of every arm."""
        ...


class Buyer:
    """Draws of a tier, bought into a pool; with ``model=None`` (replay) nothing is bought."""

    free = False

    def __init__(
        self,
        pool: SamplePool,
        model: LanguageModel | None,
        task: Task,
        tier: Tier,
        prompts: Mapping[str, PromptTemplate],
        *,
        seed: int,
        run: str,
        cap: Cap,
        address: str = "",
        listener: Listener = lambda event: None,
        library: Library | None = None,
    ) -> None:
        self.pool, self.model, self.task, self.tier = pool, model, task, tier
        self.prompts, self.seed, self.run, self.cap = dict(prompts), seed, run, cap
        self.address, self.listener, self.library = address, listener, library
        self.used: dict[str, set[int]] = {}
        """Request key -> draws that the search has looked at."""
        self._requests: dict[tuple[Arm, str], Request] = {}

    def most(self, arm: Arm) -> int:
        """As many as a seed can tell apart."""
        return MOST_DRAWS

    def table(self, items: Sequence[Item], depth: Mapping[Arm, int], stage: str) -> SampleTable:
        """See ``Draws``; an item whose draws failed for good, or that the cap left out, is not in.

        Raises:
            BudgetError: the cap left fewer than ``FEWEST_ITEMS`` items.
            ProviderError: failures left fewer.
        """
        depth, before, short = even(depth), self.spent, ""
        trees = Trees(
            self.pool, items, self.task.answer, self.request, lambda arm: range(depth[arm]),
            self.library, Buys(self.tier.name, self.run, self.cap.limit),
        )  # fmt: skip

        def progress(done: Progress) -> None:
            calls, usd = before.calls + done.calls, before.usd + done.usd
            self.listener(Bought(self.tier.name, stage, done, calls, usd))

        for arms in parents_first(depth):
            if short:
                break
            needs = in_turn(trees, arms, items)
            if self.model is not None:
                filled = fill(
                    self.pool, self.model, self.tier, needs,
                    seed=self.seed, cap=self.cap, run=self.run, stage=stage, progress=progress,
                )  # fmt: skip
                short = filled.short
                before = self.spent
            for need in needs:
                used = self.used.setdefault(need.request.key, set())
                used.update(range(need.first, need.first + need.draws))
        requests = {a: [self.request(a, item) for item in items] for a in depth if not a.path}
        turns = {arm: self.prompts[arm.prompt].turn for arm in requests}
        table = load(
            self.pool, self.task, self.tier, items, requests, depth, trees=trees, turns=turns
        )  # fmt: skip
        complete = table.complete
        if complete.all():
            return table
        if complete.sum() < min(FEWEST_ITEMS, len(items)):
            if short:
                raise BudgetError(
                    f"the budget of tier {self.tier.name!r} ended ({short}) in stage "
                    f"{stage!r}, with all draws for {complete.sum()} of {len(items)} items; raise "
                    "the budget and run the same command: nothing is bought twice"
                )
            raise ProviderError(
                f"tier {self.tier.name!r}: only {complete.sum()} of {len(items)} items have all "
                f"their draws in stage {stage!r}; the others failed for good"
            )
        return table.rows(np.flatnonzero(complete))

    def texts(self, arm: Arm, items: Sequence[Item], draws: int) -> list[list[str]]:
        """What the first ``draws`` of an arm said on each item, as far as they are there."""
        keys = [self.request(arm, item).key for item in items]
        said: list[list[str]] = [[] for _ in items]
        for place, _, text, *_ in self.pool.draws(keys, 0, draws):
            said[place].append(text)
        return said

    @property
    def spent(self) -> Spent:
        """What the run has cost on this tier so far, over all of its starts."""
        return self.pool.spent(self.run, self.tier.name)

    def request(self, arm: Arm, item: Item, parent: Parent | None = None) -> Request:
        """The request of an arm for an item; one that follows nothing is built once."""
        key = (arm, item.id)
        if parent is None and key in self._requests:
            return self._requests[key]
        built = build_request(
            self.tier, self.prompts[arm.prompt], arm, item.inputs, self.address, parent=parent
        )
        if parent is None:
            self._requests[key] = built
        return built


def in_turn(trees: Trees, arms: Sequence[Arm], items: Sequence[Item]) -> list[Need]:
    """What ``arms`` need, item by item: an item that was begun is finished first."""
    by_item: list[list[Need]] = [[] for _ in items]
    for arm in arms:
        for at, need in trees.needs(arm):
            by_item[at].append(need)
    return [need for needs in by_item for need in needs]


class Halves:
    """A table that is there, and nothing more: half of its items to choose on, half to test on."""

    free = True

    def __init__(self, table: SampleTable) -> None:
        self._table = table

    def most(self, arm: Arm) -> int:
        """Draws that the table has of the arm."""
        return self._table.arms[arm].depth

    def table(self, items: Sequence[Item], depth: Mapping[Arm, int], stage: str) -> SampleTable:
        """Whatever ``items`` are: the table's second half for the test, else its first."""
        half = self._table.rows(np.arange(int(stage == "test"), self._table.n_items, 2))
        wanted = even(depth)
        return replace(
            half,
            arms={arm: half.arms[arm] for arm in wanted if not arm.path},
            nodes={arm: half.nodes[arm] for arm in wanted if arm.path},
        )
