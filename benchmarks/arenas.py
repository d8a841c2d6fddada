"""Where searches are compared: items, variants and samples of known truth, for all searches alike.

An arena has the samples that may be asked for while searching, and items beside them that say what
a policy is worth. Synthetic worlds make both from a model of how prompts answer; recordings of real
models and the embedded tiers are cut into both. tierwise searches the arena's samples, counted as
bought; the peers ask a ``Purse`` for the same samples. Held-out tests are apart, for all alike.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import STORED, Evaluator, Permutations, SampleTable, VariantTable
from tierwise.llm.models import open_model, resolve_tier
from tierwise.llm.recorded import Recording, recorded_tier
from tierwise.pool import Account, Buyer, SamplePool, Supply
from tierwise.runs.inputs import load_space, load_task
from tierwise.runs.recorded_depth import FREE
from tierwise.runs.recorded_samples import recorded_table
from tierwise.schema import Policy, Price, PromptTemplate, Tier, UsageLimits, Variant
from tierwise.search.held_out import compare, passed, select
from tierwise.search.problem import SearchSize, TierProblem, Variants, candidate_variants
from tierwise.search.samples import SampleCost
from tierwise.search.selection import balanced_utility
from tierwise.search.space import offered, within_depth
from tierwise.search.tier import explore
from tierwise.tasks import AnswerSpec, Item, Task

MODEL = "m"
TIER = "t"


@dataclass(frozen=True, eq=False)
class Arena:
    """One task with one tier.

    Attributes:
        search: all that a search may sample.
        truth: other items, which no search sees.
        headroom: whether any policy is worth more than the baseline prompt at one sample.
    """

    name: str
    search: SampleTable
    truth: SampleTable
    baseline: Variant
    headroom: bool = True
    _judge: list[Evaluator] = field(default_factory=list, repr=False)

    def worth(self, policy: Policy) -> tuple[float, float]:
        """(score, utility at the point `balanced`) on the truth's items."""
        if not self._judge:
            self._judge.append(Evaluator(self.truth, Permutations(16), exact=False))
        judged = self._judge[0].evaluate(policy)
        return judged.mean_score, balanced_utility(judged.mean_score, judged.mean_usd)

    @property
    def depth(self) -> int:
        """Samples of every variant on every item."""
        return min(rows.n_samples for rows in self.search.variants.values())

    def renamed(self, seed: int) -> Arena:
        """The same with other names of prompts, in another order, and its items in another order.

        The baseline stays the first prompt.
        """
        rng = np.random.default_rng([seed, 7])
        old = list(self.search.variants)
        others = [v for v in old if v != self.baseline]
        order = [self.baseline, *(others[i] for i in rng.permutation(len(others)))]
        prompts = list(dict.fromkeys(v.prompt for v in order))
        letters = rng.permutation([f"{a}{b}" for a in "bcdfgh" for b in "aeiou"])
        name = dict(zip(prompts, letters, strict=False))

        def table(of: SampleTable) -> SampleTable:
            moved = {v._replace(prompt=str(name[v.prompt])): of.variants[v] for v in order}
            return replace(of, variants=moved).rows(rng.permutation(of.n_items))

        baseline = self.baseline._replace(prompt=str(name[self.baseline.prompt]))
        return Arena(self.name, table(self.search), table(self.truth), baseline, self.headroom)


class Outcome(NamedTuple):
    """What a search came to: a policy, the calls that it took, a held-out test of its own among
    them, and whether it would export the policy in place of the baseline."""

    policy: Policy
    calls: int
    exported: bool = True


class OutOfCallsError(Exception):
    """A peer asked for more calls than it has."""


class Purse:
    """Counts the calls of one search; a call is a sample.

    Samples of a variant on an item are given in the order of the recording, and from its beginning
    again where it is exhausted: within one ``pull`` none comes twice.
    """

    def __init__(self, arena: Arena, calls: int, seed: int) -> None:
        self.arena, self.left, self.used = arena, calls, 0
        self.rng = np.random.default_rng([seed, 5])
        self.variants = tuple(arena.search.variants)
        self._next = {v: np.zeros(arena.search.n_items, dtype=np.intp) for v in self.variants}

    def draw(self, n: int) -> npt.NDArray[np.intp]:
        """``n`` items at random."""
        n_items = self.arena.search.n_items
        return self.rng.choice(n_items, min(n, n_items), replace=False)

    def pull(self, variant: Variant, items: npt.NDArray[np.intp], n: int) -> SampleTable | None:
        """The next ``n`` samples on ``items``; None where the calls do not last."""
        if n * len(items) > self.left:
            return None
        self.left -= n * len(items)
        self.used += n * len(items)
        rows = self.arena.search.variants[variant].rows(items)
        at = (self._next[variant][items][:, None] + np.arange(n)) % rows.n_samples
        self._next[variant][items] += n

        def taken(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.take_along_axis(values, at, axis=1)

        pulled = VariantTable(
            answers=np.take_along_axis(rows.answers, at, axis=1),
            score=taken(rows.score),
            prompt_usd=taken(rows.prompt_usd),
            completion_usd=taken(rows.completion_usd),
            latency_s=taken(rows.latency_s),
            scores={name: taken(values) for name, values in rows.scores.items()},
            takes_n=rows.takes_n,
        )
        table = self.arena.search
        return SampleTable(
            tuple(table.item_ids[i] for i in items),
            tuple(table.inputs[i] for i in items),
            {variant: pulled},
        )

    def ask(self, variant: Variant, item: int) -> tuple[int, float]:
        """(answer, score) of one more sample.

        Raises:
            OutOfCallsError: there is no call left.
        """
        table = self.pull(variant, np.array([item]), 1)
        if table is None:
            raise OutOfCallsError
        rows = table.variants[variant]
        return int(rows.answers[0, 0]), float(rows.score[0, 0])


# Synthetic worlds
#
# An item has a difficulty z and, for each group of variants, a likely wrong answer. A variant is
# right with probability sigmoid(ability - slope * z + quirk * e), where e is its group's own normal
# of the item; where it is wrong it gives the likely wrong answer with probability ``sticky``.

ANSWERS = 6
"""Answers that an item may be given; 0 is right."""
SEARCH_ITEMS, TRUTH_ITEMS = 330, 6000
DEPTH, DEPTH_OF_MANY, MANY = 12, 8, 8
"""Samples of a variant on an item, where there are fewer than ``MANY`` variants and where not."""


@dataclass(frozen=True)
class Behaviour:
    """How a variant answers.

    Attributes:
        ability, slope, quirk: of the logit of being right; see above.
        sticky: how often a wrong answer is the group's likely one.
        group: variants of one group make the same mistakes, and share e.
        usd: of (prompt, completion) of a sample.
    """

    ability: float
    slope: float = 1.0
    quirk: float = 0.3
    sticky: float = 0.4
    group: int = 0
    usd: tuple[float, float] = (1e-5, 2e-5)


@dataclass(frozen=True)
class World:
    """Variants with their behaviour; the first is the baseline.

    Attributes:
        verifier: how far the mean ``mean_logprob`` of right answers is above that of wrong ones, in
            half standard deviations; 0: it tells nothing.
        misled: standard deviation of that of wrong answers, where that of right ones is 1: above 1
            the best of many samples is often a wrong one.
    """

    name: str
    behaviours: Mapping[Variant, Behaviour]
    verifier: float = 0.5
    misled: float = 1.0
    headroom: bool = True

    def arena(self, seed: int, items: int = SEARCH_ITEMS) -> Arena:
        """An instance: fresh items and samples."""
        rng = np.random.default_rng([seed, 11])
        search, truth = (
            self._table(rng, n, part) for n, part in ((items, "s"), (TRUTH_ITEMS, "t"))
        )
        return Arena(self.name, search, truth, next(iter(self.behaviours)), self.headroom)

    def _table(self, rng: np.random.Generator, n: int, part: str) -> SampleTable:
        z = rng.normal(size=n)
        groups = sorted({how.group for how in self.behaviours.values()})
        own = {g: (rng.normal(size=n), rng.integers(1, ANSWERS, size=n)) for g in groups}
        depth = DEPTH if len(self.behaviours) < MANY else DEPTH_OF_MANY
        words = rng.integers(4, 30, size=n)
        inputs = tuple({"question": f"{part}{i} " + "word " * int(words[i])} for i in range(n))
        variants = {
            v: self._rows(rng, how, z, *own[how.group], depth) for v, how in self.behaviours.items()
        }
        return SampleTable(tuple(f"{part}{i}" for i in range(n)), inputs, variants)

    def _rows(
        self,
        rng: np.random.Generator,
        how: Behaviour,
        z: npt.NDArray[np.float64],
        e: npt.NDArray[np.float64],
        likely: npt.NDArray[np.int64],
        depth: int,
    ) -> VariantTable:
        shape = (len(z), depth)
        right = 1 / (1 + np.exp(-(how.ability - how.slope * z + how.quirk * e)))
        wrong = rng.integers(1, ANSWERS, size=shape)
        wrong = np.where(rng.random(shape) < how.sticky, likely[:, None], wrong)
        answers = np.where(rng.random(shape) < right[:, None], 0, wrong)
        score = (answers == 0).astype(np.float64)
        noise = rng.normal(size=shape) * np.where(score == 1, 1.0, self.misled)
        logprob = -np.exp(-1.0 - 0.5 * (self.verifier * (2 * score - 1) + noise))
        return VariantTable(
            answers=answers.astype(np.int16),
            score=score,
            prompt_usd=np.full(shape, how.usd[0]),
            completion_usd=np.full(shape, how.usd[1]),
            latency_s=np.full(shape, 0.5),
            scores={"mean_logprob": logprob},
            takes_n=False,
        )


def worlds(seed: int = 0) -> list[World]:
    """All of them; another ``seed`` gives the prompts of some other abilities."""
    rng = np.random.default_rng([seed, 99])

    def of(*abilities: float, **more: float) -> dict[Variant, Behaviour]:
        return {
            _variant(f"p{i}"): Behaviour(float(a), **more)  # type: ignore[arg-type]  # a table of settings by name
            for i, a in enumerate(abilities)
        }

    few = of(0.0, -0.3, 0.35, 0.1)
    return [
        World("few prompts", few),
        World("many prompts", of(*rng.normal(0.0, 0.4, 24))),
        World("near ties", of(*rng.normal(0.4, 0.03, 12))),
        World("one far ahead", of(-0.8, -0.6, 0.9, -0.7, -1.0, -0.9)),
        World("deceptive", {
            # "extreme" is right on some items always and on others never: the best at one sample.
            _variant("p0"): Behaviour(-0.1),
            _variant("extreme"): Behaviour(1.3, slope=6.0, quirk=2.0, sticky=0.9),
            _variant("steady"): Behaviour(0.1, slope=0.2, quirk=0.1, sticky=0.0),
            _variant("other"): Behaviour(-0.2),
        }),
        World("weak verifier", {v: replace(how, sticky=0.9) for v, how in few.items()}, 0.5, 1.8),
        World("two models", {
            _variant("small_a"): Behaviour(0.5, quirk=1.6, group=1),
            _variant("small_b"): Behaviour(0.45, quirk=1.6, group=2),
            _variant("large", "think"): Behaviour(1.5, quirk=0.8, group=3, usd=(1e-4, 4e-4)),
        }),
        World("think or not", {
            _variant("plain"): Behaviour(0.8, slope=2.5),
            _variant("steps", "think"): Behaviour(1.8, slope=1.2, usd=(1e-5, 1.2e-4)),
            _variant("short"): Behaviour(0.7, slope=2.5),
        }),
        World("flat", of(*[0.3] * 6, slope=8.0, quirk=0.0, sticky=0.95), 0.0,
              headroom=False),
        # A vote gains on the items above one half what it loses on those below.
        World("symmetric", of(*[0.0] * 8, quirk=0.0, sticky=1.0), 0.0,
              headroom=False),
        drawn(seed),
    ]  # fmt: skip


def drawn(seed: int) -> World:
    """A world of other numbers of prompts, spreads and verifiers, and of other names."""
    rng = np.random.default_rng([seed, 101])
    n, spread = int(rng.integers(3, 31)), float(rng.uniform(0.05, 0.8))
    groups, level = int(rng.integers(1, 4)), float(rng.uniform(-0.6, 1.0))
    slope, quirk = float(rng.uniform(0.3, 3.0)), float(rng.uniform(0.0, 1.5))
    behaviours = {
        _variant(f"w{seed}-{i}"): Behaviour(
            level + spread * float(rng.normal()),
            slope * float(rng.uniform(0.7, 1.4)),
            quirk,
            float(rng.uniform(0.0, 0.9)),
            int(rng.integers(groups)),
        )
        for i in range(n)
    }
    return World("drawn", behaviours, float(rng.uniform(0, 1)), float(rng.uniform(1, 2)))


def _variant(prompt: str, mode: str = "direct") -> Variant:
    return Variant(prompt, mode, 0.8)


# Recordings of real models, and embedded tiers

PRICES = {
    "gpt-3.5-turbo": (0.5, 1.5), "gpt4": (30.0, 60.0), "gpt-4": (30.0, 60.0), "gpt-4o": (2.5, 10.0),
}  # fmt: skip
"""Dollars per million prompt and completion tokens; those of other models are as (1, 1)."""


def whole_recording(path: Path, model: str, verifiers: Sequence[str] = ()) -> SampleTable:
    """All items of a recording that have as many samples of every variant as the others.

    What a verifier of a task makes of an answer becomes the sample's ``verifier_score``.
    """
    recording = Recording.load(path, model)
    most = max(coverage.items for coverage in recording.variants.values())
    variants = [v for v, c in recording.variants.items() if c.items >= 0.9 * most]
    tier = recorded_tier(TIER, recording, Price(*PRICES.get(model, (1.0, 1.0))))
    table = recorded_table(
        recording, tier, recording.items, AnswerSpec(), variants=variants, verifiers=verifiers
    )
    depth = {
        v: int(np.median((~np.isnan(rows.score)).sum(axis=1))) for v, rows in table.variants.items()
    }
    least = min(depth.values())
    first = {v: rows.columns(np.arange(least)) for v, rows in table.variants.items()}
    for name, (v, rows) in itertools.product(verifiers, list(first.items())):
        first[v] = replace(rows, scores={**rows.scores, "verifier_score": rows.scores[name]})
    table = replace(table, variants=first)
    return table.rows(np.flatnonzero(table.complete))


def recorded(path: Path, model: str, seed: int, items: int = SEARCH_ITEMS) -> Arena:
    """A recording's items, at random at most ``items`` and at most half of them to search on."""
    table = whole_recording(path, model)
    order = np.random.default_rng([seed, 13]).permutation(table.n_items)
    n = min(items, len(order) // 2)
    name = f"{path.name.partition('.jsonl')[0]} {model}"
    baseline = next(iter(table.variants))
    return Arena(name, table.rows(order[:n]), table.rows(order[n:]), baseline)


SPACE, LOGPROB = "default", "mean_logprob"
TRIALS, MARGIN, TEST_ITEMS = 300, 0.01, 140
EMBEDDED_ITEMS, EMBEDDED_DEPTH = 200, 8
"""Of an embedded tier's arena to search on (twice as many say the truth), and samples of each."""


def embedded(name: str, seed: int) -> Arena:
    """The shipped arithmetic task on the tier ``embedded/NAME``, every variant of the default
    space."""
    space = load_space(SPACE)
    loaded = load_task("arithmetic", space)
    tier = resolve_tier(TIER, f"embedded/{name}", takes_n=False)
    variants = candidate_variants(loaded.task, tier, space, loaded.prompts, loaded.own[0])
    order = np.random.default_rng([seed, 19]).permutation(len(loaded.task.items))
    model = open_model(tier)
    with tempfile.TemporaryDirectory() as folder, SamplePool.open(Path(folder) / "pool") as pool:
        supply = Supply(tier, model, variants.prompts)
        buyer = Buyer(pool, loaded.task, supply, Account("arena", seed, UsageLimits()))
        wanted = dict.fromkeys(variants.candidates, EMBEDDED_DEPTH)
        n = EMBEDDED_ITEMS
        search, truth = (
            buyer.table([loaded.task.items[i] for i in part], wanted, "arena")
            for part in (order[:n], order[n : 3 * n])
        )
    model.close()
    return Arena(f"embedded {name}", search, truth, variants.baseline)


# tierwise takes part with the stages of its search, on the arena's samples in memory


@dataclass(frozen=True)
class ArenaTask(Task):
    """All items are validation items: the test is held apart, for all searches alike."""

    @functools.cached_property
    def splits(self) -> dict[str, tuple[Item, ...]]:
        """Items by split."""
        return {"train": (), "validation": self.items, "test": ()}


class ArenaSamples:
    """An arena's samples as those of a tier; see ``search.samples.Samples``."""

    def __init__(self, table: SampleTable, *, free: bool = False) -> None:
        self._table, self.free = table, free
        self._rows = {name: i for i, name in enumerate(table.item_ids)}

    def most(self, variant: Variant) -> int:
        """Samples of every item."""
        return self._table.variants[variant].n_samples

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """The first samples of the items."""
        table = self._table.rows(np.array([self._rows[item.id] for item in items]))
        variants = {
            v: table.variants[v].columns(np.arange(min(n, self.most(v))))
            for v, n in n_samples.items()
        }
        return replace(table, variants=variants)

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """Nothing: there is no test here."""
        raise NotImplementedError


def problem_of(arena: Arena, calls: int | None, seed: int) -> TierProblem:
    """What `tierwise tune` makes of a recorded tier whose samples count against ``calls``."""
    table = arena.search
    items = tuple(
        Item(name, dict(inputs), "recorded")
        for name, inputs in zip(table.item_ids, table.inputs, strict=True)
    )
    task = ArenaTask("arena", 1, tuple(table.inputs[0]), items, metric="recorded")
    rows = table.variants.values()
    scores = frozenset.intersection(*(frozenset(r.scores) for r in rows))
    modes: dict[str, dict[str, object]] = {v.mode: {} for v in table.variants}
    tier = Tier(TIER, MODEL, Price(1.0, 1.0), modes, takes_n=False, logprobs=LOGPROB in scores)
    space = within_depth(load_space(SPACE), arena.depth * 2)
    return TierProblem(
        task,
        tier,
        offered(space, scores),
        Variants(
            {v.prompt: PromptTemplate(v.prompt, user="{{ question }}") for v in table.variants},
            tuple(table.variants),
            arena.baseline,
        ),
        seed,
        TRIALS,
        MARGIN,
        "balanced",
        FREE if calls is None else replace(SearchSize(), test_items=0),
        UsageLimits(calls=calls),
        SampleCost(1e-5, 100.0),
        scores=scores,
    )


def tierwise(arena: Arena, calls: int | None, seed: int) -> Outcome:
    """What the search chooses with so many calls at the point `balanced`, and whether the gate
    exports it by ``TEST_ITEMS`` further items. Without ``calls`` all samples are free."""
    problem = problem_of(arena, calls, seed)
    ledger = problem.ledger(ArenaSamples(arena.search, free=calls is None))
    selected = select(explore(problem, ledger, lambda event: None))
    choice = selected.points["balanced"]
    test = Evaluator(arena.truth.rows(np.arange(min(TEST_ITEMS, arena.truth.n_items))), STORED)
    tested = [test.evaluate(policy) for policy in (choice.policy, selected.baseline.policy)]
    evidence = (choice.evidence, selected.baseline.evaluation)
    compared = compare(*tested, margin=problem.margin, seed=seed, validation=evidence)
    exported = choice.policy != selected.baseline.policy and passed([compared])[0]
    return Outcome(choice.policy, ledger.spent.calls, exported)
