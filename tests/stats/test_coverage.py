"""Coverage with known truth: a small version of ``benchmarks/coverage.py`` here, all of it slow."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import coverage

from tierwise.evaluation import Evaluation
from tierwise.search.held_out import compare, passed

KNOWN_SHORT = {
    ("cost", "log-normal, spread 1", 20),
    ("cost", "3 samples, 17 on one item in ten", 20),
}
"""Twenty requests do not show how long a long tail is: docs/statistics.md says so."""


@pytest.mark.parametrize("kind", ["score", "difference", "mcnemar"])
def test_no_interval_is_too_short(kind):
    found = list(coverage.KINDS[kind](np.random.default_rng(1), 60))
    assert found
    assert [r for r in found if r.share < 0.84 and not r.is_error] == []
    assert [r for r in found if r.is_error and r.short] == []


def compared(rng, n, world, jobs):
    """As the search does, of each job."""
    worlds = coverage.sampled(rng, n, world, jobs)
    for score, usd, base_score, base_usd in zip(*worlds, strict=True):
        ours, theirs = (
            Evaluation(s, u, u, u, (1.0,)) for s, u in ((score, usd), (base_score, base_usd))
        )
        yield compare(ours, theirs, margin=coverage.MARGIN)


@pytest.mark.parametrize("world", [(0.0, 1.0), (0.0, 0.5), (0.1, 2.0), (-0.02, 0.5)])
def test_the_simulated_gate_is_that_of_the_search(world):
    world = coverage.World(*world)
    said = [c.p for c in compared(np.random.default_rng(4), 60, world, 5)]
    many = coverage.p_values(*coverage.sampled(np.random.default_rng(4), 60, world, 5))
    np.testing.assert_allclose(many, said, atol=0.01)  # resamples that lie at a bar


def test_a_job_of_equal_policies_is_rarely_given_one():
    worlds = coverage.GATES["all equal, at twice the cost"]
    assert coverage.wrongly(np.random.default_rng(2), 40, worlds, 60) <= 8  # of 60: P < .01 at 5%


def test_better_policies_are_given():
    better = compared(np.random.default_rng(3), 400, coverage.World(0.15, 1.0), 3)
    assert all(passed(list(better)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["score", "cost", "difference", "verify", "mcnemar"])
def test_promises_are_kept_over_2000_runs(kind):
    found = list(coverage.KINDS[kind](np.random.default_rng(7), 2000))
    assert {(r.kind, r.world, r.n) for r in found if r.short} <= KNOWN_SHORT


@pytest.mark.slow
def test_the_gate_exports_what_is_not_better_in_one_job_of_twenty_at_most(monkeypatch):
    monkeypatch.setattr(coverage, "JOB_SIZES", (60,))  # minutes; a job of 600 items takes ten times
    assert [r for r in coverage.gate(np.random.default_rng(7), 2000) if r.short] == []
