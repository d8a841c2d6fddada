"""How the search asks for samples: so many of each variant on each of these items, as a table.

The search buys nothing and reads no files: it is handed a ``Samples``, and counts what a space or a
set of policies may ask for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from tierwise.difficulty import turn_of
from tierwise.episode import strategies_of
from tierwise.evaluation import ABSTAINED, SampleTable, VariantTable, samples_asked
from tierwise.pool import CutShortError, even
from tierwise.schema import ANSWER, Policy, Tier, Usage, Variant
from tierwise.schema.space import SearchSpace
from tierwise.schema.turns import ROOT
from tierwise.strategies import Cascade, Strategy, build, interleave, paths_in, paths_of, width_of
from tierwise.tasks import Item

SCREENED_CHAINS = 1
"""Chains of search an item at the screening, where a space searches: what search is worth shows in
one."""


class Samples(Protocol):
    """Where a search gets its tables from; ``free``: looking at more of them costs nothing."""

    free: bool

    def most(self, variant: Variant) -> int:
        """The most samples that the items of the variant can have."""
        ...

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """The items that have ``n_samples[variant]`` samples of every variant.

        Raises:
            CutShortError: a limit left some without them.
        """
        ...

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """All ``items``, with the first ``n_samples[i][variant]`` samples of item i as far as they
        could be had, and which limit of the budget ended it, if one did."""
        ...


@runtime_checkable
class SetsAside(Protocol):
    """Samples that are paid for from a budget, of which a part can be kept for the test."""

    def set_aside(self, usage: Usage) -> None:
        """Keep so much for the stage ``test``, whatever other stages turn out to cost."""
        ...


# What samples cost


@dataclass(frozen=True, slots=True)
class SampleCost:
    """What samples use on average: known, or assumed before the first.

    Attributes:
        usd, tokens: of a completion.
        takes_n: a call brings all samples of a variant on an item at a stage.
        judging: what scoring an answer uses beside it.
        judged: the part of samples whose answer their item did not have yet: each is scored once.
        turn: what a turn below one uses beyond a sample.
        prompt_usd, prompt_tokens: of a call.
    """

    usd: float
    tokens: float
    takes_n: bool = False
    judging: Usage = Usage()
    turn: Usage = Usage()
    prompt_usd: float = 0.0
    prompt_tokens: float = 0.0
    judged: float = 1.0

    def of(self, samples: int, calls: int) -> Usage:
        """What so many samples use, in so many calls."""
        own = Usage(
            calls,
            samples,
            calls * self.prompt_tokens,
            samples * self.tokens,
            usd=samples * self.usd + calls * self.prompt_usd,
        )
        return own + self.judging * (samples * self.judged)


def measured_cost(table: SampleTable, tier: Tier, assumed: SampleCost) -> SampleCost:
    """Means over the variants; tokens from dollars, as assumed where a tier is free."""
    rows = list(table.variants.values())
    prompt = float(np.mean([r.prompt_usd.mean() for r in rows]))
    completion = float(np.mean([r.completion_usd.mean() for r in rows]))
    each = tier.price.prompt_usd(1.0), tier.price.completion_usd(1.0, prompt_tokens=1.0)
    judged = 1.0
    if assumed.judging.calls:
        judged = new_answers(table, {}) / sum(
            int(r.present.sum()) for r in table.everything.values()
        )
    return SampleCost(
        completion,
        completion / each[1] if each[1] else assumed.tokens,
        tier.takes_n,
        assumed.judging,
        assumed.turn,
        prompt,
        prompt / each[0] if each[0] else assumed.prompt_tokens,
        judged=judged,
    )


def new_answers(table: SampleTable, there: Mapping[Variant, Mapping[str, int]]) -> int:
    """Answers of ``table`` that none of their item's first ``there`` samples gave."""
    found = 0
    for i, item in enumerate(table.item_ids):
        old, new = set[int](), {ABSTAINED}
        for variant, rows in table.everything.items():
            old.update(rows.answers[i, : there.get(variant, {}).get(item, 0)].tolist())
            new.update(rows.answers[i].tolist())
        found += len(new - old - {ABSTAINED})
    return found


class SampleLedger:
    """Samples with what those cost that were asked for, whether or not a pool had them before.

    Decisions go by it: so a run that is resumed or replayed decides as it did. ``there`` are the
    samples of escalation targets that their own searches paid for; ``judging`` is what scoring an
    answer uses beside it, once for all samples that gave it.
    """

    def __init__(
        self,
        samples: Samples,
        tiers: Mapping[str, Tier],
        there: Mapping[Variant, Mapping[str, int]] | None = None,
        judging: Usage | None = None,
    ) -> None:
        self._judging = judging or Usage()
        self._samples, self.free = samples, samples.free
        self._tiers: dict[str | None, Tier] = {None: next(iter(tiers.values()))}
        self._tiers.update(tiers.items())
        self._there = {variant: dict(of) for variant, of in (there or {}).items()}
        self.spent = Usage()
        self.short = ""
        """What cut the last purchase short that was cut short."""

    def most(self, variant: Variant) -> int:
        """See ``Samples``."""
        return self._samples.most(variant)

    def there(self, variant: Variant, item_id: str) -> int:
        """Samples of an item that were asked for so far."""
        return self._there.get(variant, {}).get(item_id, 0)

    def set_aside(self, usage: Usage) -> None:
        """See ``SetsAside``, where the samples are."""
        if isinstance(self._samples, SetsAside):
            self._samples.set_aside(usage)

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``; items in the order of their ids, for no choice to depend on the seed."""
        try:
            table = self._samples.table(items, n_samples, stage)
        except CutShortError as cut:
            self.short = cut.short
            self._count(cut.table)
            cut.table = in_order_of_ids(cut.table)
            raise
        self._count(table)
        return in_order_of_ids(table)

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """See ``Samples``."""
        table, short = self._samples.asked(items, n_samples, stage)
        self.short = short or self.short
        self._count(table)
        return table, short

    def _count(self, table: SampleTable) -> None:
        if self._judging.calls:
            self.spent += self._judging * new_answers(table, self._there)
        for variant, rows in table.everything.items():
            tier = self._tiers[variant.tier]
            known = self._there.setdefault(variant, {})
            counts = np.count_nonzero(~np.isnan(rows.score), axis=1).tolist()
            for i, (item, n) in enumerate(zip(table.item_ids, counts, strict=True)):
                first = known.get(item, 0)
                if n <= first:
                    continue
                known[item] = n
                prompts = rows.prompt_usd[i, first : first + 1 if tier.takes_n else n]
                paid = float(prompts.sum()), float(rows.completion_usd[i, first:n].sum())
                each = tier.price.prompt_usd(1.0), tier.price.completion_usd(1.0, prompt_tokens=1.0)
                tokens = [
                    usd / price if price else 0.0 for usd, price in zip(paid, each, strict=True)
                ]
                self.spent += Usage(
                    len(prompts), n - first, tokens[0], tokens[1], usd=paid[0] + paid[1]
                )


# Purchases that were cut short, and those that follow the answers


def in_order_of_ids(table: SampleTable) -> SampleTable:
    """``table`` with its items in the order of their ids."""
    return table.rows(np.argsort(table.item_ids, kind="stable"))


def whole_part(table: SampleTable, before: Sequence[str]) -> SampleTable:
    """Of a table with gaps, the items that have everything, where these are as many as ``before``.

    Else the items ``before``, with the samples of each variant that all of them have.
    """
    place = {item: i for i, item in enumerate(table.item_ids)}
    known = np.array([place[item] for item in before if item in place], dtype=np.intp)
    complete = np.flatnonzero(table.complete)
    if len(complete) >= len(known):
        return table.rows(complete)
    table = table.rows(known)

    def clipped(of: Mapping[Variant, VariantTable]) -> dict[Variant, VariantTable]:
        depths = {variant: int(rows.present.min()) for variant, rows in of.items()}
        return {v: rows.columns(np.arange(depths[v])) for v, rows in of.items() if depths[v]}

    return replace(table, variants=clipped(table.variants), nodes=clipped(table.nodes))


def play(
    samples: Samples, policies: Sequence[Policy], items: Sequence[Item], stage: str
) -> tuple[SampleTable, str]:
    """The samples that ``policies`` ask for on ``items``, and no others, in stored order.

    Each policy answers each item as serving would: what it asks for next depends on the answers so
    far, and is bought for all items together, round by round. An item of which a sample cannot be
    had is left out; where the budget ended, so are all items behind the first that it cut short:
    those that ask for more samples are the harder ones. For policies whose samples follow no other.
    What ended it is returned too.
    """
    strategies = [strategies_of(policy) for policy in policies]
    table = SampleTable(tuple(i.id for i in items), tuple(i.inputs for i in items), {})
    wanted: list[dict[Variant, int]] = [{} for _ in items]
    waiting, short = list(range(len(items))), ""
    while waiting and not short:
        missing, grown = [], False
        for i in waiting:
            ends = True
            for policy, built in zip(policies, strategies, strict=True):
                asked, ended = samples_asked(policy, table, i, built)
                ends &= ended
                for variant, n in asked.items():
                    if n > wanted[i].get(variant, 0):
                        wanted[i][variant], grown = n, True
            if not ends:
                missing.append(i)
        waiting = missing
        if not grown:
            break
        table, short = samples.asked(items, wanted, stage)
    if short:
        waiting = [i for i in waiting if not _answered(policies, strategies, table, i)]
        return table.rows(np.arange(min(waiting, default=len(items)))), short
    return table.rows(np.setdiff1d(np.arange(len(items)), waiting)), ""


def _answered(
    policies: Sequence[Policy],
    strategies: Sequence[tuple[Strategy, ...]],
    table: SampleTable,
    item: int,
) -> bool:
    built = zip(policies, strategies, strict=True)
    return all(samples_asked(policy, table, item, own)[1] for policy, own in built)


# How many samples a space or a set of policies may ask for


class SampleCounts(NamedTuple):
    """What the size of every stage's purchase depends on.

    Attributes:
        variants: candidates, all of which are screened.
        n_samples: of a variant on an item, that a policy may ask for at most.
        nodes: turns below or beside a variant's plain answers to an item.
        screened: those of the screening.
    """

    variants: int
    n_samples: int
    nodes: int = 0
    screened: int = 0

    @classmethod
    def of(cls, space: SearchSpace, variants: int, n_samples: int) -> SampleCounts:
        """With the nodes that ``space`` may ask for."""
        screened = nodes_an_item(space, n_samples, SCREENED_CHAINS)
        return cls(variants, n_samples, nodes_an_item(space, n_samples), screened)


def with_nodes(
    variants: Sequence[Variant], n_samples: int, space: SearchSpace, chains: int | None = None
) -> dict[Variant, int]:
    """``n_samples`` samples of each variant, and of their nodes what the space may ask for.

    With ``chains`` only so many, and only of chains that have roots of their own (searches): those
    below plain answers are as many as these.
    """
    wanted = dict.fromkeys(variants, n_samples)
    for path, width in paths_in(space).items():
        if chains is None or path[0] != ROOT:
            most = min(width, n_samples if chains is None else chains)
            wanted |= {variant._replace(path=path): most for variant in variants}
    return wanted


def nodes_an_item(space: SearchSpace, n_samples: int, chains: int | None = None) -> int:
    """Samples beside a variant's ``n_samples`` plain answers to an item."""
    variant = Variant("", "", 0.0)
    return sum(even(with_nodes((variant,), n_samples, space, chains)).values()) - n_samples


def samples_needed(policies: Sequence[Policy], least: int = 1) -> dict[Variant, int]:
    """Samples of each variant that ``policies`` may ask for on one item; at least ``least``."""
    n_samples: dict[Variant, int] = {}
    for policy in policies:
        probe = policy.difficulty.probe
        if probe:
            # What is asked beside the answers needs no more samples than the policy makes.
            at_least = least if turn_of(policy.difficulty.signal) == ANSWER else 1
            for variant in probe.variants:
                n_samples[variant] = max(
                    n_samples.get(variant, at_least), probe.interleaved.count(variant)
                )
        for recipe in policy.buckets:
            counts = [
                probe.interleaved.count(variant) if probe else 0 for variant in recipe.variants
            ]
            strategy = build(recipe.strategy)
            if isinstance(strategy, Cascade):
                begun = [a for a, n in enumerate(counts) for _ in range(n)]
                asked = [a for stage in strategy.schedule(begun) for a in stage]
            else:
                asked = interleave(counts, max(width_of(strategy) - sum(counts), 0))
            for a in asked:
                counts[a] += 1
            for path in paths_of(strategy):
                for variant, n in zip(recipe.variants, counts, strict=True):
                    node = variant._replace(path=path)
                    n_samples[node] = max(n_samples.get(node, least), n)
    return even(n_samples)
