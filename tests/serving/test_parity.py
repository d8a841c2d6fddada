"""The runtime over recorded samples gives exactly what the offline evaluation said."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np
import pytest

from tests.serving.worlds import SEED, VARIANTS, Recorded, policy_file, random_policy
from tierwise.difficulty import SIGNALS
from tierwise.evaluation import SampleTable, replay_item
from tierwise.schema import Policy, PolicyFile, Recipe, StrategySpec
from tierwise.serving import Answer, PolicyRuntime
from tierwise.strategies import STRATEGIES, Stage

N_POLICIES = 320
"""8 signals x 5 numbers of buckets x 8 settings of strategies."""
N_WORLDS = 4
MULTI_VARIANT = {"cascade"}
"""Strategies whose stages name variants, which random recipes do not fit: tested below."""
WITH_TURNS = {"self_refine", "retrieval", "judged_best_of_n", "universal_self_consistency"}
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
        assert seen_of(got) == said_of(said, runtime.file)


@pytest.mark.parametrize("number", range(40))
async def test_a_cascade_asks_and_answers_as_it_was_judged(number: int) -> None:
    rng, (recorded, table) = np.random.default_rng([3, number]), world(number)
    chosen = tuple(VARIANTS[i] for i in rng.permutation(len(VARIANTS))[:2])
    stages = (
        Stage(
            (0,), int(rng.integers(1, 4)), float(rng.choice([0.5, 1.0])), [None, -0.5][number % 2]
        ),
        Stage((0, 1), int(rng.integers(1, 4)), 0.7),
        Stage((1,), 2),
    )
    spec = StrategySpec.of("cascade", stages=stages, weights=(0.6, 1.4))
    policy = Policy((Recipe(chosen, spec),))
    runtime = PolicyRuntime(policy_file(policy), recorded.models(), seed=SEED)
    for item, question in enumerate(recorded.questions):
        said = replay_item(policy, table, item)
        got = await runtime.answer(question=question)
        assert seen_of(got) == said_of(said, runtime.file)


def said_of(said, file: PolicyFile) -> dict:
    chosen = None if said.index is None else said.samples[said.index].sample
    return {
        "answer": chosen and chosen.answer,
        "chosen": said.index,
        "ended": said.ended,
        "bucket": file.policy.buckets[said.bucket].name,
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
    assert (
        len(cells) == len(set(STRATEGIES.classes) - WITH_TURNS - MULTI_VARIANT) * len(SIGNALS) * 5
    )
    ended = Counter(replay_item(p, world(i)[1], 0).ended for i, p in enumerate(policies))
    assert set(ended) == {"answered", "max_usd_per_request", "max_samples", "timeout", "failed"}
    assert any(len(b.variants) == 2 for p in policies for b in p.buckets)
