"""Tiers side by side, from the run directory alone: rows, frames, and the command."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil

import numpy as np
import pytest

from tests.report.runs import compared, only
from tierwise.analysis.tier_files import common_items
from tierwise.cli import main
from tierwise.report.compare import SECTIONS, frames
from tierwise.runs.artifacts import read_run
from tierwise.stats import spearman


@pytest.fixture(scope="module")
def rows(finished):
    return compared(read_run(finished))


def test_prompts_have_the_recordings_accuracies(rows, accuracies):
    for (tier, prompt), score in accuracies.items():
        row = only(rows["prompts"], tier=tier, prompt=prompt)
        assert row["score"] == pytest.approx(score)
        assert row["score_low"] < score < row["score_high"]


def test_the_best_is_first_and_the_clearly_worse_are_separable(rows):
    ranked = [(r["tier"], r["prompt"], r["best"]) for r in rows["prompts"]]
    assert ranked[0] == ("cheap", "steps", True)
    assert ranked[2] == ("dear", "plain", True)
    assert only(rows["prompts"], tier="cheap", prompt="plain")["separable"]
    assert not only(rows["prompts"], tier="dear", prompt="plain")["separable"]


def test_thinking_gains_on_one_tier_and_loses_on_the_other(rows):
    name = "thinking, best prompt of each"
    assert only(rows["gains"], tier="cheap", adds=name)["gain_low"] > 0
    assert only(rows["gains"], tier="dear", adds=name)["gain_high"] < 0


def test_a_step_that_changed_nothing_gains_exactly_nothing(rows):
    same = [r for r in rows["gains"] if r.get("same")]
    assert same
    assert {(r["gain"], r["gain_low"], r["gain_high"]) for r in same} == {(0.0, 0.0, 0.0)}


def test_steps_add_up(rows):
    for tier in ("cheap", "dear"):
        gains = {r["adds"]: r.get("gain") for r in rows["gains"] if r["tier"] == tier}
        steps = (
            "prompt",
            "votes, best prompt",
            "prompt and strategy together",
            "adaptive stopping",
            "buckets",
        )
        assert sum(gains[s] for s in steps) == pytest.approx(gains["all"])


def test_a_policy_travels_where_there_are_samples(rows):
    there = only(rows["transfer"], policy_of="cheap", on="dear")
    assert there["against_own_high"] < 0  # its prompt is the wrong one for the dear tier
    assert there["split"] in ("test", "validation", "prompts")


def test_where_there_are_no_samples_it_says_so(finished, monkeypatch):
    run = read_run(finished)
    dear = run.tiers["dear"]
    for table in (dear.test, dear.study, dear.prompts):
        for variant in [
            a for a in table.variants if a in run.tiers["cheap"].policy.policy.variants
        ]:
            monkeypatch.delitem(table.variants, variant)
    row = only(compared(run)["transfer"], policy_of="cheap", on="dear")
    assert row["note"].startswith("not supported: no samples of steps/think/0.5 on dear")
    assert "score" not in row


def test_easiness_is_correlated_as_the_stored_samples_say(rows, finished):
    run = read_run(finished)
    a, b = run.tiers["cheap"].test, run.tiers["dear"].test
    variants = [variant for variant in a.variants if variant in b.variants]
    at_a, at_b = common_items(a.item_ids, b.item_ids)
    mine, theirs = (
        np.mean([t.variants[variant].score[at].mean(axis=1) for variant in variants], axis=0)
        for t, at in ((a, at_a), (b, at_b))
    )
    row = only(rows["difficulty"], tier="cheap", other="dear")
    assert row["spearman"] == pytest.approx(spearman(mine, theirs))
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"]


def test_equal_dollars_never_costs_more_than_the_single_call(rows):
    (row,) = rows["equal_dollars"]
    assert (row["tier"], row["against"]) == ("cheap", "dear")
    assert row["usd_per_item"] <= row["single_call_usd"]
    assert row["lead"] == pytest.approx(row["score"] - row["single_call_score"])


def test_frames_have_every_section_and_no_silent_gaps(finished):
    tables = frames(compared(read_run(finished)))
    assert tuple(tables) == tuple(SECTIONS)
    for frame in tables.values():
        for row in frame.to_dict(orient="records"):
            score = row.get("score", row.get("gain", row.get("spearman")))
            missing = isinstance(score, float) and math.isnan(score)
            assert not missing or isinstance(row.get("note"), str) or "target" in row


def test_the_frontier_takes_the_cheapest_that_reaches_a_target(rows, finished):
    run = read_run(finished)
    for row in rows["frontier"]:
        everything = [
            (usd, score, tier.name)
            for tier in run.tiers.values()
            for usd, score in zip(
                tier.tested.usd.mean(axis=1), tier.tested.score.mean(axis=1), strict=True
            )
        ]
        reaching = [entry for entry in everything if entry[1] >= row["target"]]
        if not reaching:
            assert row["tier"] is None
            continue
        assert row["usd_per_item"] == pytest.approx(min(reaching)[0])
        out = {name for *_, name in everything} - {name for *_, name in reaching}
        assert set(filter(None, row["not_reached_by"].split(", "))) == out
    assert rows["frontier"][-1]["tier"] is None  # the last target is one that nobody reaches


def test_surely_is_never_cheaper_than_on_average(rows):
    for row in rows["frontier"]:
        if row["surely_tier"]:
            assert row["surely_usd_per_item"] >= row["usd_per_item"]
            assert row["surely_score_low"] >= row["target"]


def test_sensitivity_is_that_of_the_summary(rows, finished):
    tiers = json.loads((finished / "summary.json").read_text())["tiers"]
    wanted = [(name, p["pss"]) for name, tier in tiers.items() for p in tier["prompt_sensitivity"]]
    assert [(row["tier"], row["pss"]) for row in rows["sensitivity"]] == wanted


def test_only_the_run_directory_is_read(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "elsewhere")
    (copy / "job.yaml").write_text("task: gone\n")
    there, here = compared(read_run(copy)), compared(read_run(finished))
    assert json.dumps(there) == json.dumps(here)


def out(capsys, *args):
    main(["compare", *map(str, args)])
    return capsys.readouterr().out


def test_the_command_prints_every_section(finished, capsys):
    text = out(capsys, finished)
    for title in ("prompts", "recipes", "gains", "transfer", "frontier", "equal dollars"):
        assert f"{title}  " in text
    assert "nan" not in text.casefold()


def test_json_has_the_sections_and_csv_is_one_table(finished, accuracies, capsys):
    got = json.loads(out(capsys, finished, "--json", "--section", "gains"))
    assert set(got) == {"gains"}
    assert {row["tier"] for row in got["gains"]} == {"cheap", "dear"}
    rows = list(csv.DictReader(io.StringIO(out(capsys, finished, "--csv"))))
    assert len(rows) == len(accuracies)
    assert {row["prompt"] for row in rows} == {"plain", "steps", "only"}
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(finished), "--csv", "--section", "gains", "--section", "recipes"])
    assert ended.value.code == 2
    assert "one --section" in capsys.readouterr().err
