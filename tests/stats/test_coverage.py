"""Coverage with known truth: a small version of ``benchmarks/coverage.py`` here, all of it slow."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import coverage


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """One resampling for each number of items."""
    for module in (coverage.intervals, coverage.paired, coverage.unpaired):
        monkeypatch.setattr(module, "resample_counts", module.resample_counts)
    coverage.with_kept_resamples()


KNOWN_SHORT = {
    ("cost", "log-normal, spread 1", 20),
    ("cost", "3 draws, 17 on one item in ten", 20),
}
"""Twenty requests do not show how long a long tail is: docs/statistics.md says so."""


@pytest.mark.parametrize("kind", ["score", "difference", "mcnemar"])
def test_no_interval_is_too_short(kind):
    found = list(coverage.KINDS[kind](np.random.default_rng(1), 60))
    assert found
    assert [r for r in found if r.share < 0.84 and not r.is_error] == []
    assert [r for r in found if r.is_error and r.short] == []


def test_a_job_of_equal_policies_is_rarely_given_one():
    worlds = coverage.GATES["all equal, at twice the cost"]
    rng = np.random.default_rng(2)
    wrong = sum(
        any(coverage.passed([coverage._compared(rng, 40, w) for w in worlds])) for _ in range(10)
    )
    assert wrong <= 3  # P(more than 3 of 10 at 5%) is .001


def test_better_policies_are_given():
    rng = np.random.default_rng(3)
    better = [coverage.World(0.15, 1.0)] * 3
    assert all(coverage.passed([coverage._compared(rng, 400, w) for w in better]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["score", "cost", "difference", "verify", "mcnemar"])
def test_promises_are_kept_over_2000_runs(kind):
    found = list(coverage.KINDS[kind](np.random.default_rng(7), 2000))
    assert {(r.kind, r.world, r.n) for r in found if r.short} <= KNOWN_SHORT


@pytest.mark.slow
def test_the_gate_exports_what_is_not_better_in_one_job_of_twenty_at_most():
    assert [r for r in coverage.gate(np.random.default_rng(7), 400) if r.short] == []
