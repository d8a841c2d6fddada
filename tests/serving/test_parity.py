"""The runtime over recorded samples gives exactly what the offline evaluation said."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from tests.serving.worlds import SEED, Recorded, policy_file, random_policy
from tierwise.difficulty import SIGNALS
from tierwise.evaluation import SampleTable, replay_item
from tierwise.serving import Answer, PolicyRuntime
from tierwise.serving.answer import bucket_names
from tierwise.strategies import STRATEGIES

N_POLICIES = 280
"""8 signals x 5 numbers of buckets x 7 strategies."""
N_WORLDS = 4
WITH_TURNS = {"self_refine", "retrieval"}
"""Strategies that ask for more than answers: their parity is tested in tests/turns."""


@functools.cache
def _world(number: int) -> tuple[Recorded, SampleTable]:
    recorded = Recorded.random(number)
    return recorded, recorded.table()


def world(number: int) -> tuple[Recorded, SampleTable]:
    """Samples and their table; a few worlds serve all policies."""
    return _world(number % N_WORLDS)


@pytest.mark.parametrize("number", range(N_POLICIES))
async def test_same_answer_same_samples_same_rounds_same_cost(number: int) -> None:
    policy, (recorded, table) = random_policy(number), world(number)
    models = recorded.models()
    runtime = PolicyRuntime(policy_file(policy), models, seed=SEED)
    for item, question in enumerate(recorded.questions):
        said = replay_item(policy, table, item)
        got = await runtime.answer(question=question)
        assert seen_of(got) == said_of(said, bucket_names(runtime.file))


def said_of(said, buckets: tuple[str, ...]) -> dict:
    chosen = None if said.index is None else said.samples[said.index].sample
    return {
        "answer": chosen and chosen.answer,
        "chosen": said.index,
        "ended": said.ended,
        "bucket": buckets[said.bucket],
        "signal": said.signal,
        "usd": said.usd,
        "samples": [
            (a.label, d.sample.answer, d.latency_s)
            for a, d in zip(said.variants, said.samples, strict=True)
        ],
        "rounds": list(said.rounds),
    }


def seen_of(got: Answer) -> dict:
    return {
        "answer": got.answer,
        "chosen": got.chosen,
        "ended": got.ended,
        "bucket": got.bucket,
        "signal": got.signal,
        "usd": got.usd,
        "samples": [(d.variant, d.answer, d.latency_s) for d in got.trace],
        "rounds": list(Counter(d.round for d in got.trace).values()),
    }


def test_the_policies_cover_every_strategy_signal_bucket_count_and_limit() -> None:
    policies = [random_policy(i) for i in range(N_POLICIES)]
    cells = {
        (bucket.strategy.kind, p.difficulty.signal, len(p.buckets))
        for p in policies
        for bucket in p.buckets
    }
    assert len(cells) == len(set(STRATEGIES.classes) - WITH_TURNS) * len(SIGNALS) * 5
    ended = Counter(replay_item(p, world(i)[1], 0).ended for i, p in enumerate(policies))
    assert set(ended) == {"answered", "max_usd_per_request", "max_samples", "timeout", "failed"}
    assert any(len(b.variants) == 2 for p in policies for b in p.buckets)
