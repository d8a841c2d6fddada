"""A budget is never passed, whatever is in flight, lost or killed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.llm.budget_runs import CONCURRENCY, simulate

LOG = logging.getLogger(__name__)
"""Figures: ``--log-cli-level=INFO``."""
ROUNDING_USD = 1e-9


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-simulated-0123456789")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("runs", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_no_run_passes_its_budget(runs: int, tmp_path: Path) -> None:
    ended = []
    for seed in range(runs):
        folder = tmp_path / str(seed)
        folder.mkdir()
        ended.append(simulate(seed, folder))
    over = [e for e in ended if e.billed_usd > e.cap_usd + ROUNDING_USD]
    over += [e for e in ended if e.cap_calls is not None and e.billed_calls > e.cap_calls]
    met = [e for e in ended if e.most_usd > 0.8 * e.cap_usd]
    LOG.info(
        "%d runs, %d killed, %d with lost answers, %d that met their cap; concurrency up to %d; "
        "bills from $%.2g to $%.2g; calls %d; passed: %d; largest bill over cap: %.3f",
        runs,
        sum(e.killed for e in ended),
        sum(e.lost > 0 for e in ended),
        len(met),
        max(e.peak for e in ended),
        min(e.billed_usd for e in ended),
        max(e.billed_usd for e in ended),
        sum(e.billed_calls for e in ended),
        len(over),
        max(e.billed_usd / e.cap_usd for e in ended),
    )
    assert not over
    for e in ended:
        assert e.confirmed_usd <= e.billed_usd + ROUNDING_USD
        assert e.billed_usd <= e.most_usd + ROUNDING_USD
        assert e.most_usd <= e.cap_usd + ROUNDING_USD
    assert met, "caps that nobody meets show nothing"
    assert any(e.killed for e in ended)
    assert any(e.lost for e in ended)
    if runs >= 200:
        assert max(e.peak for e in ended) == CONCURRENCY
