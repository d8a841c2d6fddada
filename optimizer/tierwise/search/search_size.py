"""How much a search looks at: counts of items, samples and variants, scaled to a budget.

A search is bounded by counts, never by the clock, so that the same job gives the same policies on
any machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tierwise.difficulty import fitted_kinds
from tierwise.errors import BudgetError
from tierwise.schema import Tier, Usage, UsageLimits, Variant
from tierwise.tasks import SPLITS, Task

SCALES = (1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.22, 0.16, 0.12, 0.08)
FEWEST = {
    "fit_items": 48,
    "screen_items": 16,
    "race_items": 24,
    "study_items": 32,
    "select_items": 32,
    "test_items": 60,
}
ACCEPT_PART = 3
"""At most this part of the tune split is kept for the acceptance of rounds."""
PLANNED_SHARE = 0.9
"""Part of a budget that is planned for; the rest is for samples that turn out dearer."""

BYTES_A_TOKEN = 3.0
PART_OF_CAP = 1 / 6
"""How long answers are expected to be before the first: a part of the mode's token cap, which few
should fill."""


class StageSamples(NamedTuple):
    """What a stage buys: of each item of ``split`` so many samples of each of ``variants``, ``new`` ones,
    since the items of screen, race and study are nested; and ``nodes`` below or beside them."""

    stage: str
    split: str
    variants: int
    new: tuple[int, ...]
    nodes: tuple[int, ...]

    @property
    def samples(self) -> int:
        """Over all variants and items."""
        return self.variants * (sum(self.new) + sum(self.nodes))

    @property
    def requests(self) -> int:
        """Calls where the samples of a variant on an item are one; no node shares its call."""
        return self.variants * (sum(n > 0 for n in self.new) + sum(self.nodes))


def _new(there: list[int], items: int, samples: int) -> tuple[int, ...]:
    """Samples that ``items`` lack of ``samples`` each; ``there`` is what they have, and gets them."""
    there += [0] * (items - len(there))
    new = tuple(max(0, samples - have) for have in there[:items])
    there[:items] = [max(samples, have) for have in there[:items]]
    return new


@dataclass(frozen=True, slots=True)
class SearchSize:
    """Counts of a search on one tier.

    ``fit`` is the router's purchase on the train split. ``rounds`` are those after the first,
    ``proposed`` what each of them proposes; they look at ``reflect_items`` of the train split, and
    judge whether they were worth it on ``accept_items`` of the tune split, which no study sees.
    """

    screen_items: int = 48
    screen_samples: int = 5
    fit_items: int = 240
    fit_samples: int = 8
    race_items: int = 120
    race_samples: int = 9
    race_variants: int = 8
    study_items: int = 240
    study_variants: int = 5
    select_items: int = 320
    test_items: int = 600
    finalists: int = 24
    permutations: int = 16
    rounds: int = 0
    proposed: int = 0
    reflect_items: int = 48
    accept_items: int = 120

    def scaled(self, factor: float) -> SearchSize:
        """Fewer items at every stage; not fewer samples, since ranks flip under voting."""
        have = {name: getattr(self, name) for name in FEWEST}
        items = {name: min(n, max(FEWEST[name], round(n * factor))) for name, n in have.items()}
        return replace(self, **items)

    def within(self, task: Task, signals: Sequence[str] = ()) -> SearchSize:
        """No more items than the splits of ``task`` have: a small task needs a small budget.

        None are fitted to where none of ``signals`` is the router.
        """
        train, tune, select, test = (len(task.splits[name]) for name in SPLITS)
        accept = min(self.accept_items, tune // ACCEPT_PART) if self.rounds else 0
        tune -= accept
        return replace(
            self,
            fit_items=min(self.fit_items, train) if fitted_kinds(signals) else 0,
            reflect_items=min(self.reflect_items, train),
            accept_items=accept,
            screen_items=min(self.screen_items, tune),
            race_items=min(self.race_items, tune),
            study_items=min(self.study_items, tune),
            select_items=min(self.select_items, select),
            test_items=min(self.test_items, test),
        )

    def stages(
        self, n_variants: int, n_samples: int, nodes: int = 0, screened: int = 0
    ) -> tuple[StageSamples, ...]:
        """What each stage buys at most, ``rounds`` of proposals apart.

        ``n_samples`` are the samples of a variant on an item that finalists may ask for; ``nodes`` those
        below or beside its plain answers to an item, of which the screening makes ``screened``.
        """
        raced, studied = min(n_variants, self.race_variants), min(n_variants, self.study_variants)
        looked = (
            (
                "screen",
                "tune",
                n_variants,
                self.screen_items,
                min(self.screen_samples, n_samples),
                screened,
            ),
            ("fit", "train", min(2, n_variants), self.fit_items, self.fit_samples, 0),
            ("race", "tune", raced, self.race_items, min(self.race_samples, n_samples), nodes),
            ("study", "tune", studied, self.study_items, n_samples, nodes),
            ("select", "select", studied, self.select_items, n_samples, nodes),
            ("test", "test", studied, self.test_items, n_samples, nodes),
        )
        there: dict[
            str, list[int]
        ] = {}  # (samples, nodes) that a surviving variant has of each item
        beside: dict[str, list[int]] = {}
        return tuple(
            StageSamples(
                stage,
                split,
                variants,
                _new(there.setdefault(split, []), items, samples),
                _new(beside.setdefault(split, []), items, below),
            )
            for stage, split, variants, items, samples, below in looked
        )

    def round(self, n_samples: int, nodes: int = 0) -> tuple[int, int]:
        """(samples, calls where ``n`` is taken) of one round after the first, at most."""
        deep, raced = n_samples + nodes, min(self.race_samples, n_samples) + nodes
        return self._round(n_samples, deep, raced), self._round(1, 1 + nodes, 1 + nodes)

    def _round(self, tried: int, studied: int, raced: int) -> int:
        """Samples of one round, where each item takes as many of a variant at its stage."""
        new = min(self.proposed, self.study_variants)
        return (
            self.proposed * self.screen_items * tried
            + min(self.proposed, self.race_variants) * self.race_items * raced
            + (new * self.study_items + self.reflect_items + 2 * self.accept_items) * studied
        )


@dataclass(frozen=True, slots=True)
class SampleCost:
    """What one sample of a variant uses on average (known, or assumed before the first sample).

    ``takes_n``: the samples of a variant on an item are one call at each stage. ``nodes`` are the samples
    below or beside a variant's plain answers to an item, each a call of its own; ``screened`` are the
    screening's.
    """

    usd: float
    tokens: float
    takes_n: bool = False
    nodes: int = 0
    screened: int = 0

    def of(self, samples: int, calls: int) -> Usage:
        """What so many samples use, in so many calls; tokens are not told apart."""
        return Usage(
            calls, samples, completion_tokens=samples * self.tokens, usd=samples * self.usd
        )


def affordable(
    search_size: SearchSize,
    n_variants: int,
    n_samples: int,
    cost: SampleCost,
    cap: UsageLimits,
    *,
    tier: str,
    done: Sequence[str] = (),
) -> SearchSize:
    """``search_size``, scaled down until what is left to do fits ``cap``: what is left of the tier's.

    Where rounds of proposals do not fit at any scale, it is without them.

    Raises:
        BudgetError: the smallest search does not fit; says what it needs.
    """
    for factor in SCALES:
        scaled = search_size.scaled(factor)
        if "screen" in done:  # what it bought is there
            scaled = replace(scaled, screen_items=search_size.screen_items)
        samples, calls = _left(scaled, n_variants, n_samples, cost, done)
        if _fits(samples, calls, cost, cap):
            return scaled
    if search_size.rounds:  # they are what can be done without
        search_size = replace(search_size, rounds=0)
        return affordable(search_size, n_variants, n_samples, cost, cap, tier=tier, done=done)
    needs = []
    if cap.usd is not None:
        needs.append(f"${samples * cost.usd / PLANNED_SHARE:.2g} of its ${cap.usd:.2g}")
    if cap.tokens is not None:
        needs.append(f"{samples * cost.tokens / PLANNED_SHARE:,.0f} of its {cap.tokens:,} tokens")
    if cap.calls is not None:
        needs.append(f"{calls / PLANNED_SHARE:,.0f} of its {cap.calls:,} calls")
    raise BudgetError(
        f"the budget is too small for tier {tier!r}: the smallest search over {n_variants} variants needs "
        f"about {' and '.join(needs)}; raise the budget, or give a smaller space (--space quick)"
    )


def enough_usd(search_size: SearchSize, n_variants: int, n_samples: int, cost: SampleCost) -> float:
    """Dollars of a cap that leave ``search_size`` as it is."""
    samples, _ = _left(search_size, n_variants, n_samples, cost, ())
    return samples * cost.usd / PLANNED_SHARE


def room_for_a_round(
    search_size: SearchSize,
    n_variants: int,
    n_samples: int,
    cost: SampleCost,
    cap: UsageLimits,
    spent: Usage,
) -> bool:
    """Whether one more round leaves enough of the cap for what comes after it."""
    one = replace(search_size, rounds=1)
    after = _left(one, n_variants, n_samples, cost, ("screen", "race", "study"))
    return _fits(*after, cost, cap - spent)


def _left(
    search_size: SearchSize, n_variants: int, n_samples: int, cost: SampleCost, done: Sequence[str]
) -> tuple[int, int]:
    """Samples and calls of the stages that are not done."""
    stages = search_size.stages(n_variants, n_samples, cost.nodes, cost.screened)
    left = [stage for stage in stages if stage.stage not in done]
    samples = sum(stage.samples for stage in left)
    calls = sum(stage.requests for stage in left)
    if "rounds" not in done:
        rounds = search_size.rounds
        more_samples, more_calls = search_size.round(n_samples, cost.nodes)
        samples, calls = samples + rounds * more_samples, calls + rounds * more_calls
    return samples, calls if cost.takes_n else samples


def _fits(samples: int, calls: int, cost: SampleCost, cap: UsageLimits) -> bool:
    return cap.fits(cost.of(samples, calls), PLANNED_SHARE)


def assumed_cost(tier: Tier, variants: Sequence[Variant], prompt_bytes: float) -> SampleCost:
    """Before the first sample: three bytes a prompt token, a sixth of each mode's token cap."""
    prompt = prompt_bytes / BYTES_A_TOKEN
    caps = [token_cap(tier.mode(variant.mode)) for variant in variants]
    completion = sum(caps) / len(caps) * PART_OF_CAP
    usd = tier.price.prompt_usd(prompt) + tier.price.completion_usd(completion)
    return SampleCost(usd, prompt + completion, tier.takes_n)


def token_cap(sends: Mapping[str, object]) -> float:
    """The most tokens of a completion that a mode allows; 1,024 where it does not say."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = sends.get(name)
        if isinstance(value, int):
            return float(value)
    return 1024.0
