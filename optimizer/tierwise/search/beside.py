"""What a plan counts beside plain answers: turns of chains, and what their queries look up."""

from __future__ import annotations

from typing import NamedTuple

from tierwise.recipe import Arm, Tier
from tierwise.recipe.space import SearchSpace
from tierwise.search.depths import nodes_an_item, with_nodes
from tierwise.search.effort import BYTES_A_TOKEN
from tierwise.search.planned import NOTHING, Amount, StagePlan
from tierwise.search.prepared import Prepared

GO_ON = 0.3
"""Part of the turns of chains bought to their end that is expected, since most end before. Runs
on ``lookup``, to six rounds of one to four facts, bought .24 to .31, and .16 to .27 on test."""


class Beside(NamedTuple):
    """Of an arm's chains on an item, bought to their end.

    Attributes:
        nodes: turns beyond plain answers; ``screened``: those of the screening.
        queries: the part of them that asks a query, each of which is a look-up.
        usd_per_lookup: dollars.
        above: how many turns lie above one on average, ``most_above`` at most.
        passages: how many passages lie above one on average, ``most_passages`` at most.
        passage_bytes: of a passage on average, ``most_bytes`` at most.
    """

    nodes: int = 0
    screened: int = 0
    queries: float = 0.0
    usd_per_lookup: float = 0.0
    above: float = 0.0
    most_above: int = 0
    passages: float = 0.0
    most_passages: int = 0
    passage_bytes: float = 0.0
    most_bytes: float = 0.0

    def amounts(
        self, nodes: int, tier: Tier, expected: tuple[float, float], worst: tuple[float, float]
    ) -> tuple[int, Amount, Amount]:
        """Look-ups at most, what ``nodes`` turns are expected to cost, and at worst.

        ``expected`` and ``worst`` are (prompt, completion) tokens of a plain answer. A turn's
        prompt holds besides what the turns above it said and what they brought.
        """
        if not nodes:
            return 0, NOTHING, NOTHING

        def amount(part: float, of: tuple[float, float], said: float, brought: float) -> Amount:
            prompt, completion = of
            prompt += said * completion + brought
            calls = round(nodes * part)
            price = tier.price
            usd = calls * (price.prompt_usd(prompt) + price.completion_usd(completion))
            usd += calls * self.queries * self.usd_per_lookup
            return Amount(calls, calls * (prompt + completion), usd)

        brought = self.passages * self.passage_bytes / BYTES_A_TOKEN
        usual = amount(GO_ON, expected, self.above, brought)
        most = amount(1.0, worst, self.most_above, self.most_passages * self.most_bytes)
        return round(nodes * self.queries), usual, most


def beside_of(prepared: Prepared, space: SearchSpace, depth: int, screened: int) -> Beside:
    """The turns that ``space`` may ask for beside ``depth`` plain answers."""
    nodes = nodes_an_item(space, depth)
    wanted = with_nodes((Arm("", "", 0.0),), depth, space)
    turns = {arm: n for arm, n in wanted.items() if arm.path}
    if not nodes or not turns:
        return Beside()
    total = sum(turns.values())
    had = {arm: sum(turn.passages for turn in arm.path[:-1]) for arm in turns}
    found = prepared.loaded.retriever
    return Beside(
        nodes, nodes_an_item(space, depth, screened),
        sum(n for arm, n in turns.items() if arm.turn.name == "query") / total,
        0.0 if found is None else found.spec.usd_per_call,
        sum(n * (len(arm.path) - 1) for arm, n in turns.items()) / total,
        max(len(arm.path) - 1 for arm in turns),
        sum(n * had[arm] for arm, n in turns.items()) / total, max(had.values()),
        0.0 if found is None else found.usual_bytes(),
        0.0 if found is None else float(found.spec.max_chars),
    )  # fmt: skip


def with_beside(
    stage: StagePlan, beside: Beside, nodes: int, tier: Tier,
    expected: tuple[float, float], worst: tuple[float, float],
) -> StagePlan:  # fmt: skip
    """``stage`` with ``nodes`` turns more."""
    lookups, usual, most = beside.amounts(nodes, tier, expected, worst)
    return stage.beside(nodes, lookups, usual, most)
