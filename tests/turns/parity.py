"""What the plain evaluation says of an item, the runtime does, to the last cent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tierwise.evaluation import Evaluator, Permutations, SampleTable, replay_columns, replay_item
from tierwise.schema import Policy
from tierwise.serving import PolicyRuntime
from tierwise.tasks import Item


async def assert_served_as_replayed(
    runtime: PolicyRuntime, policy: Policy, table: SampleTable, items: Sequence[Item]
) -> None:
    """Of each of the table's ``items``: answer, samples, parents, seconds and dollars."""
    codes: dict[tuple[int, str], str] = {}
    for i, item in enumerate(items):
        said, got = replay_item(policy, table, i), await runtime.answer(dict(item.inputs))
        assert (said.usd, said.index, said.ended) == (got.usd, got.chosen, got.ended)
        assert list(said.parents) == [d.parent for d in got.trace]
        assert [a.label for a in said.variants] == [d.variant for d in got.trace]
        assert [d.latency_s for d in said.samples] == [d.latency_s for d in got.trace]
        for sampled, traced in zip(said.samples, got.trace, strict=True):
            code = sampled.sample.answer
            assert (code is None) == (traced.answer is None)
            if code is not None:
                assert codes.setdefault((i, code), traced.answer) == traced.answer


def assert_evaluated_as_replayed(policy: Policy, table: SampleTable) -> None:
    """Score, dollars, samples and rounds of each item, over four permutations."""
    permutations = Permutations(4, 1)
    judge = Evaluator(table, permutations)
    rows = judge.rows(policy)
    score, usd, samples, rounds = (values.reshape(-1, 4) for values in rows)
    scores = np.empty_like(score)
    for i in range(table.n_items):
        for o in range(4):
            went = replay_columns(policy, table, i, permutations, o)
            said, scores[i, o] = went.outcome, went.score(table, i)
            assert usd[i, o] == pytest.approx(said.usd, rel=1e-6)
            assert (samples[i, o], rounds[i, o]) == (len(said.samples), len(said.rounds))
    assert np.isfinite(score).all()
    np.testing.assert_allclose(score, scores)
    np.testing.assert_allclose(judge.evaluate(policy).score, scores.mean(axis=1))
