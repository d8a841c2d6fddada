"""Votes field by field: vectorised as replayed, and as the closed form says."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.worlds import CUTS, VARIANTS, random_policy, random_table
from tierwise.evaluation import (
    ABSTAINED,
    STORED,
    ElectedScores,
    Evaluator,
    Permutations,
    SampleTable,
    VariantTable,
    replay_columns,
)
from tierwise.evaluation.table import elected_scores
from tierwise.schema import Policy, Recipe, StrategySpec, uniform
from tierwise.tasks import AnswerSpec, Item, named_metric

SINGLE = uniform(VARIANTS[0], StrategySpec.of("single"))


def judge(values: Sequence[str]) -> float:
    """A metric that no sum or product of the fields' own scores gives."""
    return zlib.crc32(repr(values).encode()) % 101 / 100


def random_objects(seed: int, n_fields: int = 3, missing: bool = False) -> SampleTable:
    """A random table whose answers are objects of fields with up to three values each."""
    table, rng = random_table(seed, n_items=6, missing=missing), np.random.default_rng([seed, 1])
    objects = tuple(ElectedScores(lambda values: [judge(values)]) for _ in range(table.n_items))
    variants = {}
    for variant, rows in table.variants.items():
        shape = rows.answers.shape
        values = rng.integers(0, 3, (*shape, n_fields)) * (rng.random((*shape, 1)) < 0.7)
        fields = np.full(values.shape, ABSTAINED, dtype=np.int16)
        answers, score = np.full(shape, ABSTAINED, dtype=np.int16), np.zeros(shape)
        for i, d in np.ndindex(shape):
            if rows.answers[i, d] != ABSTAINED:
                said = [str(v) for v in values[i, d]]
                fields[i, d] = objects[i].encode(said)
                answers[i, d] = int("".join(said), 3)
                score[i, d] = judge(said)
        score[np.isnan(rows.score)] = np.nan
        variants[variant] = replace(rows, answers=answers, score=score, fields=fields)
    return replace(table, variants=variants, objects=objects)


def replayed(policy: Policy, table: SampleTable, permutations: Permutations) -> np.ndarray:
    rows = []
    for item in range(table.n_items):
        for order in range(permutations.n):
            went = replay_columns(policy, table, item, permutations, order)
            out = went.outcome
            score = went.score(table, item)
            rows.append((score, out.usd, len(out.samples), len(out.rounds)))
    return np.array(rows).T


@pytest.mark.parametrize("seed", range(120))
def test_rows_equal_the_replay(seed: int) -> None:
    table = random_objects(seed, n_fields=1 + seed % 4)
    permutations = Permutations(n=3, seed=seed)
    policy = random_policy(np.random.default_rng(seed), sorted(CUTS)[seed % len(CUTS)])
    rows = Evaluator(table, permutations).rows(policy)
    np.testing.assert_allclose(np.array(rows), replayed(policy, table, permutations), rtol=1e-6)


@pytest.mark.parametrize("spec", ["self_consistency", "cascade"])
def test_items_without_all_samples_are_unsupported_and_change_no_other(spec: str) -> None:
    table = random_objects(3, missing=True)
    stages = (((0,), 2, 1.0), ((1,), 3, 1.0))
    strategy = {
        "self_consistency": StrategySpec.of("self_consistency", samples=5),
        "cascade": StrategySpec.of("cascade", stages=stages),
    }[spec]
    policy = Policy((Recipe(VARIANTS[:2], strategy),))
    score = Evaluator(table, STORED).evaluate(policy).score
    assert np.isnan(score[0])
    kept = np.arange(1, table.n_items)
    others = Evaluator(table.rows(kept), STORED).evaluate(policy)
    np.testing.assert_array_equal(score[1:], others.score)


def test_a_stored_table_knows_the_objects_that_were_elected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, path = random_objects(7), tmp_path / "tables.npz"
    policy = uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=5))
    before = Evaluator(table).evaluate(policy)
    monkeypatch.setattr("tierwise.evaluation.table.MOST_JUDGED", 0)
    table.save(path)
    stored = SampleTable.load(path)
    np.testing.assert_array_equal(Evaluator(stored).evaluate(policy).score, before.score)
    other = uniform(VARIANTS[1], StrategySpec.of("self_consistency", samples=7))
    assert np.isnan(Evaluator(stored).evaluate(other).score).any()  # never guessed
    score = Evaluator(table).evaluate(other).score
    monkeypatch.undo()
    table.save(path)  # few values: all that could be elected are judged
    known = Evaluator(SampleTable.load(path)).evaluate(other).score
    np.testing.assert_array_equal(known, score)


# --- a noisy extractor with known probabilities ---

FIELDS = ("city", "amount", "urgent")
RIGHT = (0.85, 0.7, 0.6)
WEIGHTS = {"city": 1.0, "amount": 3.0, "urgent": 0.5}
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "amount": {"type": "integer"},
        "urgent": {"type": "boolean"},
    },
    "required": list(FIELDS),
}
SPEC = AnswerSpec(None, "last", "json", schema=SCHEMA)
TARGET = {"city": "Oslo", "amount": 12, "urgent": True}
WRONG = {"city": "Rome", "amount": 21, "urgent": False}


def extractor(metric: object, n_items: int = 400, n_samples: int = 9) -> SampleTable:
    """Each field is right with its probability, independently, and else the same wrong value."""
    rng, score = np.random.default_rng(5), named_metric(metric, SPEC)[1]
    items = [Item(f"i{i}", {"text": str(i)}, json.dumps(TARGET)) for i in range(n_items)]
    objects = tuple(elected_scores(SPEC, score, items))
    shape = n_items, n_samples
    answers, scores = np.zeros(shape, dtype=np.int16), np.zeros(shape)
    fields = np.zeros((*shape, len(FIELDS)), dtype=np.int16)
    for i, d in np.ndindex(shape):
        right = rng.random(len(FIELDS)) < RIGHT
        said = {f: (TARGET if r else WRONG)[f] for f, r in zip(FIELDS, right, strict=True)}
        answer = SPEC.extract(f"Here it is:\n```json\n{json.dumps(said)}\n```")
        assert answer is not None
        fields[i, d] = objects[i].encode(SPEC.values(answer))
        answers[i, d] = sum(1 << k for k, r in enumerate(right) if r)
        scores[i, d] = score(answer, items[i])
    zero = np.zeros(shape)
    rows = VariantTable(answers, scores, zero, zero, zero, fields=fields)
    inputs = tuple(item.inputs for item in items)
    return SampleTable(tuple(i.id for i in items), inputs, {VARIANTS[0]: rows}, objects=objects)


def elected_right(p: float, n: int) -> float:
    """P(a plurality of ``n``, odd, over two values is right)."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))


@pytest.mark.parametrize("n", [3, 9])
@pytest.mark.parametrize("metric", ["exact_match", {"json_fields": WEIGHTS}])
def test_a_vote_by_field_scores_what_the_closed_form_says(metric: object, n: int) -> None:
    table = extractor(metric)
    of_field = [elected_right(p, n) for p in RIGHT]
    if metric == "exact_match":
        expected, alone = math.prod(of_field), math.prod(RIGHT)
    else:
        total = sum(WEIGHTS.values())
        weights = WEIGHTS.values()
        expected, alone = (
            sum(w * p for w, p in zip(weights, chances, strict=True)) / total
            for chances in (of_field, RIGHT)
        )
    evaluator = Evaluator(table, Permutations(n=32))
    vote = evaluator.evaluate(uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=n)))
    assert vote.mean_score == pytest.approx(expected, abs=0.035)
    assert evaluator.evaluate(SINGLE).mean_score == pytest.approx(alone, abs=0.02)
    best = float(table.variants[VARIANTS[0]].score.mean(axis=0).max())
    assert vote.mean_score > best + 0.03, "no better than the best single sample"


def test_stopping_when_every_field_is_decided_spares_samples_and_keeps_the_score() -> None:
    evaluator = Evaluator(extractor("exact_match"), Permutations(n=16))
    full = evaluator.evaluate(uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=9)))
    early = evaluator.evaluate(
        uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=9, window=1))
    )
    np.testing.assert_allclose(early.score, full.score)  # a field that is decided stays as it is
    assert early.samples.mean() < 8.9
    sure = StrategySpec.of("adaptive_consistency", threshold=0.9, max_samples=9)
    adaptive = evaluator.evaluate(uniform(VARIANTS[0], sure))
    assert adaptive.samples.mean() < early.samples.mean()
    assert adaptive.mean_score == pytest.approx(full.mean_score, abs=0.04)
