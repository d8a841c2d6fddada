"""Does a policy still hold? Fresh samples, until a sequential test decides or the budget ends.

Each request is a test item picked at random, with replacement, answered with a seed of its own: so
scores are independent samples from one distribution, whose mean is the policy's score on the test
split today. `sequential_test` may look after every one of them: a policy that holds is
said to have dropped with probability `error` at most, and the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from tierwise.errors import InputError, ProviderError, TierwiseError
from tierwise.llm.models import address_of, fingerprint_of, kind_of, open_model, resolve_tier
from tierwise.pool import Account, SamplePool
from tierwise.pool.judging import Judging
from tierwise.runs.prepare import judge_as_tier
from tierwise.schema import Judge, PolicyFile, Price, Tier
from tierwise.schema.measured import Bounds, interval_ends, number
from tierwise.schema.policy_file import ExpectedBucket, ExpectedFigures
from tierwise.serving import Answer, PolicyRuntime
from tierwise.stats.intervals import Interval, bootstrap_mean, wilson
from tierwise.stats.sequential import confidence_sequence, sequential_test
from tierwise.tasks import Item, Task, with_judge

Verdict = Literal["holds", "dropped", "not decided"]

FIRST_BATCH = 32
GROWTH = 8
"""A batch is this part of what was answered before: looks are few, and overshoot is small."""

MOST_AT_ONCE = 64
MOST_FAILED = 0.2
"""With more failed requests than this part, the provider is what is wrong."""

WRONGLY_MOVED = 0.05
"""Probability that any measure is said to have moved where none did, about."""

COST_ROOM = 3.0
"""A request is assumed to cost up to this many times the mean, so that a budget is not passed."""


@dataclass(frozen=True)
class Terms:
    """What is to be decided, and for how much at most.

    `margin`: a score that is lower by more than this has dropped. `error`: probability of each
    wrong verdict, at most. `items`: requests; `usd`: dollars at the policy's prices.
    """

    margin: float = 0.05
    error: float = 0.05
    items: int = 5000
    usd: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise InputError(f"the margin must lie between 0 and 1, got {self.margin:g}")
        if not 0 < self.error < 0.5:
            raise InputError(f"the error rate must lie between 0 and .5, got {self.error:g}")
        if self.items < 1:
            raise InputError(f"at least one item is needed, got {self.items}")
        if self.usd is not None and not self.usd > 0:
            raise InputError(f"the budget must be above 0, got {self.usd:g}")


@dataclass(frozen=True)
class Shift:
    """One measure of one bucket (or of all), then and now; `moved`: the intervals lie apart."""

    bucket: str
    measure: Literal["score", "share", "usd_per_item"]
    expected: float
    now: float | None
    interval: Bounds
    moved: bool


@dataclass(frozen=True)
class Verified:
    """The verdict, and what it was based on: what `tierwise verify --json` prints.

    Attributes:
        score: of the fresh samples; `score_interval` holds at any time of looking.
        bar: the score below which a policy has dropped.
        ended: what ended the verification: `decided`, `items` or `usd`.
        changed: what is not as it was when the policy was tuned, in sentences.
    """

    verdict: Verdict
    score: float | None
    score_interval: Bounds
    expected: float
    bar: float
    items: int
    failed: int
    usd: float
    ended: str
    seed: int
    changed: tuple[str, ...]
    shifts: tuple[Shift, ...]

    @property
    def moved(self) -> tuple[Shift, ...]:
        """What lies apart from what was expected."""
        return tuple(shift for shift in self.shifts if shift.moved)


@dataclass
class _Seen:
    """Requests that were answered so far."""

    scores: list[float] = field(default_factory=list)
    buckets: list[str] = field(default_factory=list)
    usd: list[float] = field(default_factory=list)
    failed: int = 0
    fault: str = ""

    @property
    def asked(self) -> int:
        return len(self.scores) + self.failed


def verify(
    runtime: PolicyRuntime,
    task: Task,
    terms: Terms,
    progress: Callable[[int, float, float], None] = lambda items, score, usd: None,
    judging: Judging | None = None,
) -> Verified:
    """Answer test items of `task` until it is decided whether the policy holds.

    `progress` hears the requests, their mean score and their dollars after each batch. `judging`
    scores the answers where the task's metric is a judge; one without a judgement has failed.

    Raises:
        InputError: the policy says no expected score, or the bar leaves nothing to decide.
        ProviderError: too many requests failed.
    """
    expected = runtime.file.expected
    if expected.score is None:
        raise InputError(f"policy {runtime.file.name!r} does not say what score is expected")
    bar = expected.score - terms.margin
    if not bar > 0:
        raise InputError(
            f"the policy scored {expected.score:g}: it cannot drop by more than {terms.margin:g}"
        )
    scorer = _Scorer(task, judging)
    seen, verdict, ended = asyncio.run(_answered(runtime, scorer, terms, expected, progress))
    score = _any_time(seen.scores, terms.error)
    return Verified(
        verdict=verdict,
        score=number(score.mean),
        score_interval=interval_ends(score),
        expected=expected.score,
        bar=bar,
        items=len(seen.scores),
        failed=seen.failed,
        usd=sum(seen.usd) + scorer.usd,
        ended=ended,
        seed=terms.seed,
        changed=tuple(changes(runtime.file, task)),
        shifts=tuple(_shifts(runtime.file, expected, seen)),
    )


@contextlib.contextmanager
def opened_judging(judge: Judge, seed: int) -> Iterator[Judging]:
    """A task's judge for `verify`: its judgements are kept for as long as the context lasts.

    Raises:
        InputError: there is no such model.
    """
    tier, spec = judge_as_tier(judge.spec.model), judge.spec.model
    with (
        tempfile.TemporaryDirectory() as folder,
        SamplePool.open(Path(folder) / "pool.sqlite") as pool,
        contextlib.closing(open_model(tier, recordings=spec.recordings)) as model,
    ):
        yield Judging(pool, judge, tier, model, address_of(tier), Account("verify", seed))


@dataclass(frozen=True)
class _Scorer:
    """The task's metric, which may have to be bought."""

    task: Task
    judging: Judging | None = None

    @property
    def usd(self) -> float:
        """Dollars for the scores so far."""
        return 0.0 if self.judging is None else self.judging.pool.billed("verify").most.usd

    async def scores(self, pairs: Sequence[tuple[Item, str | None]]) -> list[float]:
        """A score of each answer; NaN where it has no judgement."""
        judging = self.judging
        if judging is None:
            return [self.task.score(answer, item) for item, answer in pairs]
        spoken = [(item, answer) for item, answer in pairs if answer is not None]
        await asyncio.to_thread(judging.buy, spoken)
        score = with_judge(self.task.score, judging.score)
        return [score(answer, item) for item, answer in pairs]


async def _answered(
    runtime: PolicyRuntime,
    scorer: _Scorer,
    terms: Terms,
    expected: ExpectedFigures,
    progress: Callable[[int, float, float], None],
) -> tuple[_Seen, Verdict, str]:
    """Batch after batch, until the test decides or the terms end it."""
    items, seen = scorer.task.splits["test"], _Seen()
    picks = np.random.default_rng([terms.seed, 23])
    bar = (expected.score or 0.0) - terms.margin
    while True:
        size, ended = _next_batch(seen, terms, expected.usd_per_item or 0.0, scorer.usd)
        if not size:
            return seen, "not decided", ended
        visits = [items[i] for i in picks.integers(len(items), size=size)]
        await _ask(runtime, scorer, visits, terms.seed + 1 + seen.asked, seen)
        if seen.failed > max(FIRST_BATCH * MOST_FAILED, MOST_FAILED * seen.asked):
            raise ProviderError(
                f"{seen.failed} of {seen.asked} requests failed, so nothing can be said of the "
                f"policy; the first fault: {seen.fault}"
            )
        if seen.scores:
            progress(seen.asked, float(np.mean(seen.scores)), sum(seen.usd))
            side = sequential_test(seen.scores, bar, error=terms.error)
            if side is not None:
                return seen, "holds" if side.side == "above" else "dropped", "decided"


def _next_batch(seen: _Seen, terms: Terms, guess_usd: float, judged_usd: float) -> tuple[int, str]:
    """How many to ask next, and what ends it where that is none."""
    size = max(FIRST_BATCH, seen.asked // GROWTH)
    left = terms.items - seen.asked
    if left <= 0:
        return 0, "items"
    size = min(size, left)
    if terms.usd is not None:
        each = max(float(np.mean(seen.usd)) if seen.usd else guess_usd, guess_usd) * COST_ROOM
        each += judged_usd / max(seen.asked, 1)
        if each > 0:
            size = min(size, int((terms.usd - sum(seen.usd) - judged_usd) / each))
    return (size, "") if size > 0 else (0, "usd")


async def _ask(
    runtime: PolicyRuntime, scorer: _Scorer, visits: Sequence[Item], first_seed: int, seen: _Seen
) -> None:
    gate = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(place: int, item: Item) -> Answer:
        async with gate:
            inputs = {name: item.inputs[name] for name in runtime.file.inputs}
            return await runtime.answer(inputs, seed=first_seed + place)

    answers = await asyncio.gather(*(one(i, item) for i, item in enumerate(visits)))
    there = [(item, a.answer) for item, a in zip(visits, answers, strict=True) if not a.failed]
    scores = iter(await scorer.scores(there))
    for answer in answers:
        seen.usd.append(answer.usd)
        if answer.failed:
            seen.failed += 1
            seen.fault = seen.fault or answer.error or "no sample arrived"
            continue
        score = next(scores)
        if math.isnan(score):
            seen.failed += 1
            seen.fault = seen.fault or "no judgement of the answer can be read"
            continue
        seen.scores.append(score)
        seen.buckets.append(answer.bucket)


def _shifts(file: PolicyFile, expected: ExpectedFigures, seen: _Seen) -> Iterator[Shift]:
    """Score and share of each bucket, and dollars, then and now.

    A measure moved where its intervals lie apart: then at 95%, and now at a level that leaves 5%
    to all measures together.
    """
    names = [bucket.name for bucket in file.policy.buckets]
    values, at = np.array(seen.scores), np.array(seen.buckets)
    level = 1 - WRONGLY_MOVED / (2 * len(names) + 1)
    for i, name in enumerate(names if len(names) > 1 else ()):
        then = expected.buckets[i] if i < len(expected.buckets) else ExpectedBucket()
        if then.score is not None:
            now = bootstrap_mean(values[at == name], bounds=(0.0, 1.0), level=level)
            yield _shift(name, "score", then.score, then.score_ci95, now)
        if file.shares:
            share, count = file.shares[i], expected.items or 0
            now = wilson(int((at == name).sum()), len(at), level)
            yield _shift(name, "share", share, interval_ends(wilson(share * count, count)), now)
    if expected.usd_per_item is not None:
        now = bootstrap_mean(seen.usd, level=level)
        usd, ends = expected.usd_per_item, expected.usd_per_item_ci95
        yield _shift("all", "usd_per_item", usd, ends, now)


def _shift(
    bucket: str,
    measure: Literal["score", "share", "usd_per_item"],
    expected: float,
    then: Bounds,
    now: Interval,
) -> Shift:
    low, high = then
    moved = low is not None and high is not None and (now.low > high or now.high < low)
    return Shift(bucket, measure, expected, number(now.mean), interval_ends(now), moved)


def _any_time(scores: Sequence[float], error: float) -> Interval:
    if not scores:
        return Interval(np.nan, 0.0, 1.0)
    ends = confidence_sequence(scores, level=1 - 2 * error, bounds=(0.0, 1.0))
    return Interval(float(np.mean(scores)), float(ends.low[-1]), float(ends.high[-1]))


# --- what changed since the policy was tuned ---------------------------------------------------


def changes(file: PolicyFile, task: Task) -> list[str]:
    """A sentence for each thing that is not as it was; empty where all is.

    The weights of an embedded model are known by their hash. A model that its provider changed
    behind the same name cannot be seen here: that is what `verify`'s samples are for.
    """
    said = []
    then = file.task
    if task.name != then.name:
        said.append(f"the task is {task.name!r}, the policy was tuned on {then.name!r}")
    if task.version != then.version:
        said.append(f"the task is version {task.version}, it was {then.version}")
    if task.metric != then.metric:
        said.append(f"the metric is {task.metric!r}, it was {then.metric!r}")
    if then.items_sha256 and task.items_sha256 != then.items_sha256:
        said.append(
            "the task's items are not those that the policy was tuned on, so scores are not like "
            "for like (items_sha256 differs)"
        )
    tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
    for tier in tiers.values():
        said += _tier_changes(tier)
    said += _weights_changes(file)
    tuned_by = file.provenance.tierwise
    if tuned_by and tuned_by != version("tierwise"):
        said.append(f"tierwise is {version('tierwise')}, the policy was tuned by {tuned_by}")
    return said


def _tier_changes(tier: Tier) -> list[str]:
    try:
        now = resolve_tier(tier.name, tier.model, price=_listed(tier), modes=None)
    except TierwiseError as error:
        return [f"model {tier.model!r} is not known any more: {error}"]
    said = []
    if replace(now.price, as_of="") != replace(tier.price, as_of=""):
        dated = f" (of {tier.price.as_of})" if tier.price.as_of else ""
        said.append(
            f"{tier.model} is listed at {now.price} for a million tokens; the policy's bill{dated} "
            f"takes {tier.price}"
        )
    if kind_of(tier.model) == "embedded":
        for mode, sends in tier.modes.items():
            if mode in now.modes and dict(now.modes[mode]) != dict(sends):
                said.append(f"mode {mode!r} of {tier.model} sends other parameters by now")
    return said


def _weights_changes(file: PolicyFile) -> list[str]:
    said = []
    for model, sha256 in file.provenance.weights_sha256.items():
        with contextlib.suppress(TierwiseError):  # a model that is not known is said already
            now = fingerprint_of(model)
            if now and now != sha256:
                said.append(f"the weights of {model} are others than the policy was tuned on")
    return said


def _listed(tier: Tier) -> Price | None:
    """The model's price of today; one without a list keeps the price that the job gave."""
    if kind_of(tier.model) != "litellm":
        return None
    from tierwise.llm.litellm import litellm_price

    return litellm_price(tier.model, tier.modes) or tier.price
