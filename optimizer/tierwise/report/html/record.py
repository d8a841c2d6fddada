"""Sections on the run itself: what it cost, examples of answers, how to reproduce it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tierwise.analysis.tier_files import TierFiles
from tierwise.episode import strategies_of
from tierwise.errors import InputError, UnsupportedError
from tierwise.evaluation import ABSTAINED, Replayed, SampleTable, replay_columns
from tierwise.llm import build_request
from tierwise.pool import SamplePool
from tierwise.pool.reading import BoughtSamples
from tierwise.report import text as n
from tierwise.report.charts import Bar, BarChart
from tierwise.report.html.results import Built, Figure, each_tier
from tierwise.runs.artifacts import RunFiles, stage_usage
from tierwise.schema import Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.result import PlannedTier, UsageTotals
from tierwise.tasks.data_files import load_items

# Cost of tuning


class TierSpending(NamedTuple):
    """What a tier's calls cost, beside what was planned."""

    name: str
    spent: UsageTotals
    plan: PlannedTier | None


def spending_section(run: RunFiles) -> Built:
    """What the run bought beside what was planned; also of a run that did not finish."""
    rows = tuple(
        TierSpending(name, tier.summary.spending, run.plan.get(name))
        for name, tier in run.tiers.items()
    )
    lost = [t.summary.possibly_billed for t in run.tiers.values() if t.summary.possibly_billed]
    pool, fault = _opened_pool(run)
    requests: tuple[BoughtSamples, ...] = ()
    if pool is not None:
        with pool:
            requests = tuple(pool.bought_by_params())
    context = dict[str, Any](
        calls=sum(row.spent.calls for row in rows),
        usd=sum(row.spent.usd for row in rows),
        lost_calls=sum(spent.calls for spent in lost),
        lost_usd=sum(spent.usd for spent in lost),
        simulated=any(tier.simulated for tier in run.tiers.values()),
        figure=Figure("Cost of tuning by tier", _spending_chart(run, rows), rows),
        stages=tuple(stage_usage(run)),
        requests=requests,
    )
    return Built(context, (f"By request and stage it is not shown: {fault}.",) if fault else ())


def _opened_pool(run: RunFiles) -> tuple[SamplePool | None, str]:
    """The pool; else why it cannot be read."""
    path = run.run.pool
    if not path.is_file():
        return None, f"{path.name} is missing"
    try:
        return SamplePool.open(path, read_only=True), ""
    except InputError as error:
        return None, f"{path.name} {error.message}"


def _spending_chart(run: RunFiles, rows: Sequence[TierSpending]) -> BarChart:
    bars = []
    for name, spent, plan in rows:
        said, planned = n.usd(spent.usd), plan.expected.usd if plan else None
        if planned is not None:
            said += f" of {n.usd(planned)} planned"
        bars.append(Bar(name, run.tiers[name].tone, spent.usd, said, planned))
    about = ", ".join(f"{bar.name} {bar.said}" for bar in bars)
    return BarChart("Cost of tuning by tier", about, tuple(bars))


# Examples

_A_BUCKET = 12
_WRONG = 6
"""Examples of a bucket, and how many of them are wrong ones, where there are."""
_RIGHT = 0.5
"""From this score on an answer counts as right here."""


@dataclass(frozen=True)
class ShownSample:
    """A sample of an example, in words; ``text`` is None where the pool does not have it."""

    variant: str
    read_as: str
    returned: bool
    text: str | None


@dataclass(frozen=True)
class Example:
    """What the policy did with a held-out item, samples in the order in which they were bought."""

    right: bool
    rounds: int
    usd: float
    inputs: tuple[tuple[str, str], ...]
    target: str | None
    samples: tuple[ShownSample, ...]


@dataclass(frozen=True)
class ExampleBucket:
    """A bucket's examples, the wrong ones first, and how many of each there were."""

    name: str
    wrong: int
    right: int
    shown: tuple[Example, ...]


class _Went(NamedTuple):
    item: int
    replayed: Replayed
    score: float


def examples_section(run: RunFiles) -> Built:
    """What the exported policies did with held-out items: first some wrong, then some right."""
    targets, target_notes = _targets(run)
    pool, fault = _opened_pool(run)
    pool_notes = (f"The models' texts are not shown: {fault}.",) if fault else ()
    try:
        tiers, notes = each_tier(run, lambda tier: _tier_examples(tier, targets, pool))
    finally:
        if pool is not None:
            pool.close()
    return Built({"tiers": tiers} if tiers else None, notes + target_notes + pool_notes)


def _targets(run: RunFiles) -> tuple[dict[str, str], tuple[str, ...]]:
    """Targets of the test items by id, and what is missing of them."""
    path = run.run.path / "test_items.jsonl"
    if not path.is_file():
        return {}, (f"Targets are not shown: {path.name} is missing.",)
    try:
        return {item.id: item.target for item in load_items(path, ())}, ()
    except InputError as error:
        return {}, (f"Targets are not shown: {error.message}.",)


def _tier_examples(
    tier: TierFiles, targets: Mapping[str, str], pool: SamplePool | None
) -> tuple[str, list[ExampleBucket]]:
    policy, test = tier.policy_file, tier.test_table
    strategies = strategies_of(policy.policy)
    by_bucket: list[list[_Went]] = [[] for _ in strategies]
    for item in range(test.n_items):
        try:
            went = replay_columns(policy.policy, test, item, strategies=strategies)
        except UnsupportedError:
            continue
        by_bucket[went.outcome.bucket].append(_Went(item, went, went.score(test, item)))
    buckets = []
    for bucket, found in zip(policy.policy.buckets, by_bucket, strict=True):
        wrong = [went for went in found if went.score < _RIGHT]
        right = [went for went in found if went.score >= _RIGHT]
        shown = wrong[:_WRONG] + right[: _A_BUCKET - min(_WRONG, len(wrong))]
        texts = _texts(pool, policy, test, [went.item for went in shown])
        made = tuple(_example(went, policy, test, targets, texts) for went in shown)
        buckets.append(ExampleBucket(bucket.name, len(wrong), len(right), made))
    return tier.name, buckets


def _example(
    went: _Went,
    policy: PolicyFile,
    test: SampleTable,
    targets: Mapping[str, str],
    texts: Mapping[tuple[int, Variant, int], str],
) -> Example:
    outcome, columns = went.replayed.outcome, went.replayed.columns
    shown, returned = [], outcome.fields or (outcome.index,)
    for i, (variant, column) in enumerate(zip(outcome.variants, columns, strict=True)):
        rows, text = test.of(variant), texts.get((went.item, variant, column))
        code, score = int(rows.answers[went.item, column]), float(rows.score[went.item, column])
        answer = None if text is None else policy.answer.of(test.inputs[went.item]).extract(text)
        read_as = (
            f"answer {answer}" if answer is not None else f"answer no. {code + 1} of this item"
        )
        read_as = f"{'no answer' if code == ABSTAINED else read_as} · scores {score:g}"
        if variant in test.nodes and not variant.path:
            read_as = "asked before the answer"
        shown.append(ShownSample(variant.label, read_as, i in returned, text))
    return Example(
        went.score >= _RIGHT,
        len(outcome.rounds),
        outcome.usd,
        tuple(test.inputs[went.item].items()),
        targets.get(test.item_ids[went.item]),
        tuple(shown),
    )


def _texts(
    pool: SamplePool | None, policy: PolicyFile, test: SampleTable, items: Sequence[int]
) -> dict[tuple[int, Variant, int], str]:
    """The stored text of each sample that is shown; recorded answers are not in the pool."""
    found: dict[tuple[int, Variant, int], str] = {}
    if pool is None or not items:
        return found
    for variant in policy.policy.variants:
        if variant not in test.everything:
            continue  # no test item asked for it
        tier, prompt = policy.tier_of(variant), policy.prompts[variant.prompt]
        for address in pool.addresses(tier.model):
            keys = [
                build_request(tier, prompt, variant, test.inputs[item], address).key
                for item in items
            ]
            rows = pool.samples(keys, 0, test.of(variant).n_samples)
            for place, sample, text, *_ in rows:
                found[items[place], variant, sample] = text
            if rows:
                break
    return found


# Reproduce this run


def reproduce_section(run: RunFiles) -> Built:
    """Commands, hashes and the job."""
    files = [tier.policy for tier in run.tiers.values() if tier.policy is not None]
    facts = [("task", run.task)]
    if run.summary is not None:
        task = run.summary.task
        facts = [
            ("task", f"{task.name}, version {task.version}"),
            ("items, SHA-256", task.items_sha256),
        ]
    facts += [("seed", str(run.seed)), ("begun", run.run.created)]
    for file in files:
        hashed = file.provenance.pool_sha256 or "?"
        facts.append((f"samples of {file.tier.name}, SHA-256", hashed))
    if files:
        dates = {file.provenance.prices_as_of or "not dated" for file in files}
        facts += [
            ("tierwise", files[0].provenance.tierwise or "?"),
            ("prices as of", ", ".join(sorted(dates))),
        ]
    job = run.run.path / "job.yaml"
    text = job.read_bytes().decode("utf-8", errors="replace") if job.is_file() else None
    notes = () if text is not None else (f"{job.name} is missing.",)
    return Built({"facts": facts, "job": text}, notes)
