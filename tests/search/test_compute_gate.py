"""The compute gate: closed where nothing is gained, open where something is, and what it buys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.search import scripted_job
from tests.search.known_tiers import DIRECT, SPACE, tier, variant_table
from tierwise.analysis.tier_rows import compute_gate
from tierwise.evaluation import Permutations, SampleTable
from tierwise.runs.tune import replay, tune
from tierwise.schema import UsageLimits, load_job
from tierwise.search import Bought, Event
from tierwise.search import compute_gate as gate_module
from tierwise.search.budget import HalvingPlan, Iteration
from tierwise.search.compute_gate import closed_space, decide
from tierwise.search.problem import SearchSize
from tierwise.search.samples import SampleCost, SampleCounts
from tierwise.search.selection import Utility, price_aim

PERMUTATIONS = Permutations(4, 0)
BALANCED = Utility(0.01)
EXPENSIVE = Utility(0.1)
"""A doubling of dollars must gain ten points."""


def verdict(table: SampleTable, space=SPACE, aim=BALANCED, **more):
    return decide(table, space, aim, logprobs=False, permutations=PERMUTATIONS, **more)


def test_a_tier_that_surely_gains_nothing_is_closed() -> None:
    """Votes lose as often as they gain, and cost more: on 480 items that is sure."""
    assert not any(verdict(tier(seed, n_items=480), aim=EXPENSIVE).open for seed in range(10))


def test_a_gate_closes_on_a_gain_at_most_rarely() -> None:
    """A twentieth for each doubling, on the items of a screening: three closed would be bad
    luck."""
    assert sum(verdict(tier(seed, share=0.35)).open for seed in range(60)) >= 58


def test_best_of_n_that_rises_and_falls_is_seen() -> None:
    """A curve from .22 up at five samples and down at seventeen has no slope, and a gain."""
    rng = np.random.default_rng(2)
    rows = variant_table(np.full(300, 0.22), 17, rng)
    score = np.where(rows.score == 1, 0.3, 0.0) + rng.normal(0, 0.3, rows.score.shape)
    scored = replace(rows, scores={"judge": score})
    space = replace(SPACE, strategies={"single": {}, "best_of_n": {"verifier": ("judge",)}})
    found = verdict(replace(tier(0, n_items=300), variants={DIRECT: scored}), space)
    assert found.open
    assert "best_of_n" in found.best
    assert found.net_gain.low > 0


def test_free_samples_never_close_the_gate() -> None:
    rows = tier(0, n_items=480)
    assert not verdict(rows, aim=EXPENSIVE).open
    assert verdict(rows, aim=EXPENSIVE, free=True).open


def test_the_verdict_does_not_depend_on_the_order_of_samples_in_time() -> None:
    rows = tier(3, n_items=200)
    assert verdict(rows) == verdict(rows)


def test_greedy_samples_and_few_items_decide_nothing() -> None:
    few = verdict(tier(0, n_items=20))
    assert few.open
    assert not few.decided
    rng = np.random.default_rng(0)
    greedy = replace(tier(0), variants={DIRECT: variant_table(np.full(48, 0.5), 1, rng)})
    found = verdict(greedy)
    assert found.open
    assert compute_gate(found).net_gain_ci95 == (None, None)


def test_one_sample_of_each_variant_decides_nothing_of_votes() -> None:
    """What can be compared are pairs, which lose here; a vote of seventeen gains twenty points."""
    rng = np.random.default_rng(3)
    chances = rng.uniform(0.35, 0.9, 400)
    other = DIRECT._replace(prompt="other")
    rows = {v: variant_table(chances, 17, rng) for v in (DIRECT, other)}
    first = {v: table.columns(np.arange(1)) for v, table in rows.items()}
    found = verdict(replace(tier(0, n_items=400), variants=first), aim=EXPENSIVE)
    assert found.open
    assert not found.decided


@pytest.mark.parametrize(("share", "looks"), [(0.0, [120]), (0.35, [])])
def test_only_a_gate_that_would_close_looks_at_the_items_of_the_race(
    share: float, looks: list[int]
) -> None:
    world = tier(5, share=share, n_items=120)
    seen = []

    def table(items: range, wanted: object, stage: str) -> SampleTable:
        seen.append(len(items))
        return world

    problem = SimpleNamespace(
        search_size=SimpleNamespace(race_items=120),
        space=SPACE,
        tier=SimpleNamespace(logprobs=False, price=SimpleNamespace(free=False)),
        permutations=PERMUTATIONS,
        aim=price_aim({"usd_per_point": 1e-8}),
        items={"validation": range(120)},
        variants=SimpleNamespace(baseline=next(iter(world.variants))),
        ready_signals={},
    )
    size = SearchSize(race_items=120, study_items=120)
    explored = SimpleNamespace(
        problem=problem,
        plan=HalvingPlan(size, SampleCounts(2, 5), SampleCost(1.0, 1.0), UsageLimits()),
        left=UsageLimits(),
        samples=SimpleNamespace(table=table, free=False),
        table=world.rows(np.arange(60)),
        have=Iteration(len(world.variants), 60, 5),
        n_samples=5,
        variants=tuple(world.variants),
    )
    if share:
        problem.aim = price_aim("balanced")
    found = gate_module._gate_decision(explored)
    assert seen == looks
    assert found.open == (share > 0)


def test_a_closed_space_holds_one_sample_of_any_mode() -> None:
    cheap = closed_space(SPACE)
    assert (cheap.modes, cheap.variants, cheap.buckets) == (SPACE.modes, (1,), (1,))
    assert dict(cheap.strategies) == {"single": {}}


@pytest.fixture
def constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that say the same whatever the prompt: right on every other question."""

    def says(request):
        terms = [int(t) for t in request.messages[-1].content.split(" + ")]
        return {f"A: {sum(terms) if terms[0] % 2 else -1}": 1.0}

    scripted_job.install(monkeypatch, says=says)


def test_a_closed_tier_buys_nothing_more_and_says_why(constant: None, tmp_path: Path) -> None:
    job = load_job(scripted_job.make_job(tmp_path / "job"))
    search_size = replace(scripted_job.TINY, screen_items=48, race_items=50, study_items=50)
    heard: list[Event] = []
    result = tune(job, tmp_path / "run", search_size=search_size, listener=heard.append)
    assert {e.stage for e in heard if isinstance(e, Bought)} >= {"screen", "test"}
    for name, file in result.policies.items():
        assert file.evidence.compute_gate == "closed"
        assert file.evidence.compute_gate_evidence.net_gain <= 0
        assert file.policy.buckets[0].strategy.kind == "single"
        assert any("compute gate is closed" in note for note in file.notes)
        assert result.summary.tiers[name].compute_gate.verdict == "closed"
        assert result.found[name].compute_gate.items >= 48
    before = {p.name: p.read_bytes() for p in (tmp_path / "run" / "policies").iterdir()}
    replay(tmp_path / "run", search_size=search_size)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run" / "policies").iterdir()}
