"""The section on signals: every one in a row, a router's weights, a switch that has stuck."""

from __future__ import annotations

import json

from tierwise.report.html.signals import signals
from tierwise.report.reading import read

ROUTER = {
    "probe": None,
    "direct": "plain/direct/0.8",
    "think": "steps/think/0.8",
    "items": 90,
    "thinking_pays_from": 0.1,
    "share_where_thinking_pays": 0.4,
    "share_predicted_above_that": 0.5,
    "log_loss": 0.6,
    "log_loss_of_the_share": 0.7,
    "auroc": 0.81,
    "auroc_of_length": 0.7,
    "ece": 0.05,
    "collapsed": False,
    "weights": {"intercept": -0.4, "words": 1.2345},
    "reliability": [{"predicted": 0.2, "observed": 0.1, "items": 45}],
}


def with_summary(run, tmp_path, change):
    """A copy of a run's directory whose summary is another."""
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    summary = json.loads((copy / "summary.json").read_text())
    for tier in summary["tiers"].values():
        change(tier)
    (copy / "summary.json").write_text(json.dumps(summary))
    return str(signals(read(copy)))


def test_every_signal_of_the_summary_is_a_row(finished):
    text = str(signals(read(finished)))
    summary = json.loads((finished / "summary.json").read_text())
    for tier in summary["tiers"].values():
        for row in (tier["signals"] or {"by_signal": []})["by_signal"]:
            assert row["signal"] in text


def test_a_router_s_weights_are_readable(finished, tmp_path):
    text = with_summary(finished, tmp_path, lambda tier: tier.update(fitted_signals=[ROUTER]))
    assert "plain/direct/0.8 or steps/think/0.8" in text
    assert "words" in text
    assert "+1.23" in text
    assert "it has learned nothing" not in text


def test_a_stuck_switch_and_a_router_without_knowledge_are_said(finished, tmp_path):
    def change(tier):
        tier["fitted_signals"] = [{**ROUTER, "collapsed": True}]
        thinking = {"share": 0.5, "variants": [], "strategy": "single()", "modes": {"think": 1.0}}
        tier["operating_points"][tier["operating_point"]] |= {
            "buckets": [thinking, thinking],
            "stuck_in_mode": "think",
            "signal": "router",
        }

    text = with_summary(finished, tmp_path, change)
    assert "The switch is stuck." in text
    assert "it has learned nothing" in text
