"""What changed between two runs: paired where items and samples are shared, and said where not."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.report.runs import changed, only
from tierwise.analysis.changes import SAME_ITEMS, SAME_SAMPLES, UNPAIRED
from tierwise.analysis.tier_files import JudgedPolicies
from tierwise.cli import main
from tierwise.evaluation import SampleTable
from tierwise.runs.tune import tune
from tierwise.schema import load_job


def test_a_run_and_its_copy_differ_in_nothing(finished, copy):
    rows = changed(finished, copy)
    assert rows["jobs"] == []
    for row in [*rows["policies"], *rows["prompts"]]:
        assert row["identical"]
        assert row["change"] == 0
    exported = [row for row in rows["policies"] if row["what"] == "exported policy"]
    assert {row["how"] for row in exported} == {SAME_SAMPLES}
    assert all(row["same_policy"] for row in exported)


def test_another_seed_is_named_and_policies_are_compared_on_the_same_samples(finished, tmp_path):
    job = replace(load_job(finished.parent / "job.yaml"), seed=1)
    tune(job, tmp_path / "run")
    rows = changed(finished, tmp_path / "run")
    assert only(rows["jobs"], what="seed") == {
        "run": "run",
        "what": "seed",
        "before": "0",
        "after": "1",
    }
    cheap = only(rows["policies"], tier="cheap", what="exported policy")
    assert cheap["how"] in (SAME_SAMPLES, SAME_ITEMS)
    assert cheap["change_low"] <= cheap["change"] <= cheap["change_high"]
    assert cheap["change"] == pytest.approx(cheap["after_score"] - cheap["before_score"])


def test_other_items_are_not_paired_and_the_interval_is_wider(finished, copy):
    def renamed(ids):
        return tuple(f"other-{i}" for i in ids)

    paired = only(changed(finished, copy)["policies"], tier="cheap", what="baseline prompt")
    table = JudgedPolicies.load(copy / "tested.cheap.npz")
    replace(table, item_ids=renamed(table.item_ids)).save(copy / "tested.cheap.npz")
    row = only(changed(finished, copy)["policies"], tier="cheap", what="baseline prompt")
    assert row["how"] == UNPAIRED
    assert not row["identical"]
    assert row["change"] == 0
    assert row["change_high"] - row["change_low"] > 2 * (
        paired["change_high"] - paired["change_low"]
    )


def test_an_id_that_is_another_question_by_now_is_another_item(finished, copy):
    for name in ("tables.cheap.test.npz", "tables.cheap.prompts.npz"):
        table = SampleTable.load(copy / name)
        asked = tuple({"question": f"another {i}"} for i in range(table.n_items))
        replace(table, inputs=asked).save(copy / name)
    rows = changed(finished, copy)
    assert only(rows["policies"], tier="cheap", what="baseline prompt")["how"] == UNPAIRED
    assert {r["how"] for r in rows["prompts"] if r["tier"] == "cheap"} == {UNPAIRED}


def test_a_model_that_got_worse_behind_its_name_shows(finished, copy):
    path = copy / "tables.dear.prompts.npz"
    table = SampleTable.load(path)
    (variant,) = [a for a in table.variants if a.prompt == "plain"]
    lost = table.variants[variant].score * (
        np.random.default_rng(0).random((table.n_items, 1)) < 0.7
    )
    variants = {**table.variants, variant: replace(table.variants[variant], score=lost)}
    replace(table, variants=variants).save(path)
    rows = changed(finished, copy)["prompts"]
    worst = only(rows, tier="dear", rank=1)
    assert worst["variant"] == variant.label
    assert worst["shown"] == "worse"
    assert [r["variant"] for r in rows if r.get("shown")] == [variant.label]


def test_a_tier_of_one_run_and_a_broken_file_are_said(finished, copy):
    summary = json.loads((copy / "summary.json").read_text())
    del summary["tiers"]["dear"]
    (copy / "summary.json").write_text(json.dumps(summary))
    (copy / "tested.cheap.npz").unlink()
    rows = changed(finished, copy)
    assert only(rows["policies"], tier="dear")["note"].startswith("only in")
    assert "tested.cheap.npz is missing" in only(rows["policies"], tier="cheap")["note"]
    assert only(rows["prompts"], tier="cheap", rank=1)["identical"]


def test_the_command_takes_several_runs(finished, copy, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # a narrow terminal drops columns
    runs = [str(finished), str(copy), str(copy)]
    main(["compare", *runs])
    out = capsys.readouterr().out
    assert "what of the jobs differs" in out
    assert len(re.findall("exported policy", out)) == 4
    main(["compare", *runs, "--json", "--section", "policies"])
    assert set(json.loads(capsys.readouterr().out)) == {"policies"}
    with pytest.raises(SystemExit):
        main(["compare", *runs, "--section", "recipes"])
    assert "unknown section" in capsys.readouterr().err
