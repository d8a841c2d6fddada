"""What a plan counts beside plain answers: turns of chains, and what their queries look up."""

from __future__ import annotations

from typing import NamedTuple

from tierwise.retrieval import usual_bytes
from tierwise.schema import Tier, Usage, Variant
from tierwise.schema.space import SearchSpace
from tierwise.search.budget import BYTES_A_TOKEN
from tierwise.search.planned import StagePlan
from tierwise.search.prepared import Prepared
from tierwise.search.samples import nodes_an_item, with_nodes

GO_ON = 0.3
"""Part of the turns of chains bought to their end that is expected, since most end before. Runs
on ``lookup``, to six rounds of one to four facts, bought .24 to .31, and .16 to .27 on test."""


class Beside(NamedTuple):
    """Of a variant's chains on an item, bought to their end.

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
    ) -> tuple[int, Usage, Usage]:
        """Look-ups at most, what ``nodes`` turns are expected to cost, and at worst.

        ``expected`` and ``worst`` are (prompt, completion) tokens of a plain answer. A turn's
        prompt holds besides what the turns above it said and what they brought.
        """
        if not nodes:
            return 0, Usage(), Usage()

        def amount(part: float, of: tuple[float, float], said: float, brought: float) -> Usage:
            prompt, completion = of
            prompt += said * completion + brought
            calls = round(nodes * part)
            price = tier.price
            usd = calls * (price.prompt_usd(prompt) + price.completion_usd(completion))
            usd += calls * self.queries * self.usd_per_lookup
            return Usage(calls, calls, calls * prompt, calls * completion, usd=usd)

        brought = self.passages * self.passage_bytes / BYTES_A_TOKEN
        usual = amount(GO_ON, expected, self.above, brought)
        most = amount(1.0, worst, self.most_above, self.most_passages * self.most_bytes)
        return round(nodes * self.queries), usual, most


def beside_of(prepared: Prepared, space: SearchSpace, n_samples: int, screened: int) -> Beside:
    """The turns that ``space`` may ask for beside ``n_samples`` plain answers."""
    nodes = nodes_an_item(space, n_samples)
    wanted = with_nodes((Variant("", "", 0.0),), n_samples, space)
    turns = {variant: n for variant, n in wanted.items() if variant.path}
    if not nodes or not turns:
        return Beside()
    total = sum(turns.values())
    had = {variant: sum(turn.passages for turn in variant.path[:-1]) for variant in turns}
    found = prepared.loaded.retriever
    return Beside(
        nodes,
        nodes_an_item(space, n_samples, screened),
        sum(n for variant, n in turns.items() if variant.turn.name == "query") / total,
        0.0 if found is None else found.spec.usd_per_call,
        sum(n * (len(variant.path) - 1) for variant, n in turns.items()) / total,
        max(len(variant.path) - 1 for variant in turns),
        sum(n * had[variant] for variant, n in turns.items()) / total,
        max(had.values()),
        0.0 if found is None else usual_bytes(found),
        0.0 if found is None else float(found.spec.max_chars),
    )


def with_beside(
    stage: StagePlan,
    beside: Beside,
    nodes: int,
    tier: Tier,
    expected: tuple[float, float],
    worst: tuple[float, float],
) -> StagePlan:
    """``stage`` with ``nodes`` turns more."""
    lookups, usual, most = beside.amounts(nodes, tier, expected, worst)
    return stage.beside(nodes, lookups, usual, most)
