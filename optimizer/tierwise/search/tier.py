"""The search on one tier, top to bottom: screen, race, study, select, test.

Nothing here depends on time or on the order in which calls come back: the same job, seed and pool
give the same result, resumed or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tierwise.evaluation import Evaluation, Evaluator, Orders, SampleTable
from tierwise.llm.models import RECORDED, kind_of
from tierwise.pool import Cap
from tierwise.recipe import Arm, Difficulty, Policy, Recipe, StrategySpec, Tier, uniform
from tierwise.recipe.space import SearchSpace
from tierwise.search import ladder
from tierwise.search.allocation import allocate
from tierwise.search.arms import Arms
from tierwise.search.buying import Draws, Halves
from tierwise.search.compute_gate import Verdict, cheapest_mode, closed, judge
from tierwise.search.effort import (
    DrawCost,
    Effort,
    affordable,
    depth_needed,
    most_draws,
)
from tierwise.search.events import Best, Listener, Started
from tierwise.search.gate import Comparison, compare
from tierwise.search.grid import recipes, strategies
from tierwise.search.parameters import Dimensions, Proposal
from tierwise.search.racing import envelope, most_useful, survivors
from tierwise.search.selection import Candidate, bounded_point, operating_points
from tierwise.search.sensitivity import pss_of
from tierwise.search.study import Generation, Judged, described
from tierwise.task import Item, Task

WARM_STARTS = 24
CACHE_BYTES = 12_000_000
"""Of each evaluator: tiers are searched side by side, and their tables are small."""
LEAST_DEPTH = 4
"""Draws an item of a one-draw policy on held-out items: more than one, to see past its noise."""


@dataclass(frozen=True)
class Question:
    """What is searched: one tier of a job."""

    task: Task
    tier: Tier
    space: SearchSpace
    arms: Arms
    seed: int
    trials: int
    margin: float
    operating_point: str | Mapping[str, float]
    effort: Effort
    cap: Cap
    assumed: DrawCost
    pss: Mapping[Arm, float] = field(default_factory=dict)

    @property
    def families(self) -> dict[str, str]:
        """Prompt -> its family, which its other wordings share."""
        return {name: prompt.family for name, prompt in self.arms.prompts.items()}


@dataclass(frozen=True)
class Found:
    """What a search found on one tier; evaluations are on the test split.

    Attributes:
        points: operating point -> candidate (the job's own bound is ``chosen``).
        chosen: name of the job's operating point.
        tested: policy -> its evaluation on test.
        comparisons: operating point -> its comparison with the baseline.
        rungs: the ladder's policies by name.
        prompt_table: every arm on the same items, for the comparison of prompts: those of the
            screening, all items of a recording.
        compute_gate: whether the tier was allowed to spend; closed, its one draw was chosen on one
            half of the first purchase and tested on the other.
    """

    question: Question
    baseline: Policy
    points: Mapping[str, Candidate]
    chosen: str
    tested: Mapping[Policy, Evaluation]
    comparisons: Mapping[str, Comparison]
    rungs: Mapping[str, Policy]
    oracle: np.ndarray
    generations: Sequence[Generation]
    candidates: Sequence[Candidate]
    screened: Sequence[tuple[Arm, float, float]]
    prompt_table: SampleTable
    study_table: SampleTable
    test_table: SampleTable
    compute_gate: Verdict

    @property
    def tested_on_test(self) -> bool:
        """Whether the test split was looked at: not where the compute gate bought nothing more."""
        return self.compute_gate.open or kind_of(self.question.tier.model) == RECORDED


def search(question: Question, draws: Draws, listener: Listener) -> Found:
    """Find the policies of one tier.

    Raises:
        BudgetError: the budget does not last to the end.
        ProviderError: the provider failed for good.
    """
    q, name = question, question.tier.name
    space, arms = q.space, q.arms.candidates
    depth = min(most_draws(space), max(draws.most(arm) for arm in arms))
    effort = q.effort.within(q.task)
    effort = affordable(effort, len(arms), depth, q.assumed, q.cap, tier=name)

    def stage(title: str) -> None:
        listener(Started(name, title))

    stage("screen")
    tune = _shuffled(q.task.splits["tune"], q.seed)
    screen_depth = min(effort.screen_draws, max(depth, 1))
    table = draws.table(tune[: effort.screen_items], dict.fromkeys(arms, screen_depth), "screen")
    screen_table = table
    q = replace(q, pss=pss_of(table, q.families))
    screened = _screened(table, arms)
    measured = _measured_cost(table, q.tier)
    effort = affordable(effort, len(arms), depth, measured, q.cap, tier=name, done=("screen",))
    racers = _race(q, table, arms, effort.race_arms, effort)
    gate, bought = _compute_gate(q, draws, table, tune, racers, cheapest_mode(screened), effort)
    if not gate.open:
        cheap = closed(space, cheapest_mode(screened))
        racers = tuple(a for a in bought.arms if a.mode in cheap.modes or a == q.arms.baseline)
        q = replace(q, space=cheap, trials=min(q.trials, 3 * len(racers)))
        draws, depth = draws if draws.free else Halves(bought), 1

    stage("race")
    race_depth = min(effort.race_draws, depth)
    table = draws.table(tune[: effort.race_items], dict.fromkeys(racers, race_depth), "race")
    first = _study(q, table, racers, race_depth, 1, q.trials // 3, effort, listener)
    first.evaluator.forget()
    finals = _race(q, table, racers, effort.study_arms, effort)

    stage("study")
    study_table = draws.table(tune[: effort.study_items], dict.fromkeys(finals, depth), "study")
    second = _study(
        q, study_table, finals, depth, 2, q.trials - q.trials // 3, effort, listener,
        restated=list(first.judged.values()),
    )  # fmt: skip

    stage("select")
    baseline = uniform(q.arms.baseline, StrategySpec.of("single"))
    finalists = _finalists(second, effort.finalists)
    needed = depth_needed([baseline, *(j.policy for j in finalists)], LEAST_DEPTH)
    chosen_from = draws.table(
        _shuffled(q.task.splits["select"], q.seed)[: effort.select_items], needed, "select"
    )
    judge = Evaluator(
        chosen_from, Orders(effort.orders, q.seed), exact=False, cache_bytes=CACHE_BYTES
    )
    candidates = [Candidate(baseline, -1, judge.evaluate(baseline))]
    candidates += [Candidate(j.policy, j.trial, judge.evaluate(j.policy)) for j in finalists]
    points = operating_points(candidates, candidates[0].on_select, margin=q.margin)
    chosen = q.operating_point if isinstance(q.operating_point, str) else "bounded"
    if not isinstance(q.operating_point, str):
        points = {**points, chosen: bounded_point(candidates, q.operating_point)}

    stage("test")
    rungs = ladder.rungs(
        q.arms.baseline, points[chosen].policy, second.evaluator,
        recipes(second.dimensions, steps=3), list(second.judged.values()),
    )  # fmt: skip
    finals_tested = list(dict.fromkeys(
        [baseline, *rungs.values(), *(p.policy for p in points.values())]
    ))  # fmt: skip
    second.evaluator.forget()
    test_table = draws.table(
        _shuffled(q.task.splits["test"], q.seed)[: effort.test_items],
        depth_needed(finals_tested, LEAST_DEPTH), "test",
    )  # fmt: skip
    judge = Evaluator(
        test_table, Orders(effort.orders, q.seed), exact=False, cache_bytes=CACHE_BYTES
    )
    tested = {policy: judge.evaluate(policy) for policy in finals_tested}
    return Found(
        question=replace(q, effort=effort),
        baseline=baseline,
        points=points,
        chosen=chosen,
        tested=tested,
        comparisons={
            point: compare(tested[c.policy], tested[baseline], margin=q.margin, seed=q.seed)
            for point, c in points.items()
        },
        rungs=rungs,
        oracle=ladder.oracle_bound(
            test_table, _tellable(second, test_table), Orders(effort.orders, q.seed)
        ),
        generations=(first, second),
        candidates=candidates,
        screened=screened,
        prompt_table=screen_table,
        study_table=study_table,
        test_table=test_table,
        compute_gate=gate,
    )


def _shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """The split in a random order that does not depend on the order of the file."""
    by_content = sorted(items, key=lambda item: item.content_sha256)
    order = np.random.default_rng([seed, 17]).permutation(len(by_content))
    return [by_content[i] for i in order]


def _race(
    q: Question, table: SampleTable, arms: Sequence[Arm], keep: int, effort: Effort
) -> tuple[Arm, ...]:
    depth = min(rows.depth for rows in table.arms.values())
    dims = Dimensions(q.space, tuple(arms), q.tier.logprobs, depth)
    evaluator = Evaluator(table, Orders(effort.orders, q.seed), cache_bytes=CACHE_BYTES)
    ways = [StrategySpec.of("single"), *strategies(dims, depth, steps=3)]
    points = envelope(evaluator, arms, list(dict.fromkeys(ways)))
    return most_useful(points, survivors(points), keep, always=(q.arms.baseline,))


def _compute_gate(
    q: Question, draws: Draws, screened: SampleTable, tune: Sequence[Item], racers: Sequence[Arm],
    direct: str, effort: Effort,
) -> tuple[Verdict, SampleTable]:  # fmt: skip
    """The gate's verdict and the table that it was reached on; more is bought only in doubt."""

    def verdict(table: SampleTable) -> Verdict:
        orders = Orders(effort.orders, q.seed)
        return judge(table, q.space, direct, logprobs=q.tier.logprobs, orders=orders)

    first = verdict(screened)
    if first.open or screened.n_items >= effort.race_items:
        return first, screened
    depth = dict.fromkeys(racers, min(rows.depth for rows in screened.arms.values()))
    more = draws.table(tune[: effort.race_items], depth, "compute gate")
    return verdict(more), more


def _study(
    q: Question, table: SampleTable, arms: tuple[Arm, ...], depth: int, number: int, trials: int,
    effort: Effort, listener: Listener, restated: Sequence[Judged] = (),
) -> Generation:  # fmt: skip
    evaluator = Evaluator(table, Orders(effort.orders, q.seed), cache_bytes=CACHE_BYTES)
    dims = Dimensions(q.space, arms, q.tier.logprobs, depth, q.pss)
    generation = Generation(
        f"{q.task.name}/{q.tier.name}/g{number}", evaluator, dims, q.seed, number
    )
    told = 0

    def best(judged: Judged) -> None:
        listener(
            Best(q.tier.name, told + judged.trial, judged.score, judged.usd,
                 described(judged.policy))
        )  # fmt: skip

    generation.restate(restated)
    warm = [
        Proposal(Difficulty(), (), uniform(arm, StrategySpec.of("single")).buckets) for arm in arms
    ]
    generation.enqueue([*warm, *allocate(evaluator, dims).spread(WARM_STARTS)])
    generation.run(trials, best)
    return generation


def _finalists(generation: Generation, n: int) -> list[Judged]:
    """Policies along the front, and along that of one bucket, which buckets must beat."""
    plain = generation.front_of(lambda judged: len(judged.policy.buckets) == 1)
    both = [*_along(generation.front(), n - n // 2), *_along(plain, n // 2)]
    return list({j.policy: j for j in both}.values())


def _along(front: Sequence[Judged], n: int) -> list[Judged]:
    """About ``n`` policies of a front at even steps of score, its best among them."""
    if len(front) <= n:
        return list(front)
    scores = np.array([j.score for j in front])
    wanted = np.linspace(scores[0], scores[-1], n)
    at = np.unique([int(np.argmin(np.abs(scores - w))) for w in wanted])
    return [front[i] for i in at]


def _tellable(generation: Generation, table: SampleTable) -> list[Recipe]:
    """Recipes of good policies and single draws, as far as the table has their arms."""
    found = [Recipe((arm,), StrategySpec.of("single")) for arm in table.arms]
    found += [recipe for judged in generation.front() for recipe in judged.policy.buckets]
    return [r for r in dict.fromkeys(found) if all(arm in table.arms for arm in r.arms)]


def _screened(table: SampleTable, arms: Sequence[Arm]) -> list[tuple[Arm, float, float]]:
    """(arm, score, dollars) at one draw on the screening items."""
    single = Evaluator(table, Orders(1))
    judged = [single.evaluate(uniform(arm, StrategySpec.of("single"))) for arm in arms]
    return [(arm, e.mean_score, e.mean_usd) for arm, e in zip(arms, judged, strict=True)]


def _measured_cost(table: SampleTable, tier: Tier) -> DrawCost:
    """Means over the screened arms; prompts as if each draw was a call where ``n`` is not taken."""
    usd, tokens = [], []
    for rows in table.arms.values():
        prompt = float(rows.prompt_usd.mean()) / (rows.depth if rows.takes_n else 1)
        completion = float(rows.completion_usd.mean())
        usd.append(prompt + completion)
        each = tier.price.completion_usd(1.0), tier.price.prompt_usd(1.0)
        tokens.append(
            (completion / each[0] if each[0] else 0) + (prompt / each[1] if each[1] else 0)
        )
    return DrawCost(float(np.mean(usd)), float(np.mean(tokens)), tier.takes_n)
