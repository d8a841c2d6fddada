"""A directory that is cut off, of another version, or has a tier that failed: the rest is shown."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.report.runs import compared
from tierwise.cli import main
from tierwise.errors import InputError
from tierwise.report.compare import SECTIONS
from tierwise.runs.artifacts import read_run

FILES = {
    "policies/dear.yaml": {"recipes", "transfer"},
    "tables.dear.prompts.npz": {"prompts", "gains", "transfer"},
    "tables.dear.npz": {"search"},
    "tables.dear.test.npz": {"difficulty"},
    "tested.dear.npz": {"frontier"},
    "validated.dear.npz": {"gains", "equal_dollars"},
    "trials.csv": set(),
    "job.yaml": set(),
}
"""A file of a tier, and the sections that cannot do without."""


@pytest.fixture(scope="module")
def whole(finished):
    return compared(read_run(finished[0]))


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished[0], tmp_path / "run")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("broken", [True, False])
def test_the_sections_that_need_a_missing_file_say_so_and_the_others_are_whole(
    run, whole, name, broken
):
    if broken:
        (run / name).write_bytes((run / name).read_bytes()[: 40 if name != "job.yaml" else 3])
    else:
        (run / name).unlink()
    found = read_run(run)
    assert any(name in sentence for sentence in found.missing)
    rows = compared(found)
    noted = {s for s in SECTIONS if len(_notes(rows[s])) > len(_notes(whole[s]))}
    assert noted == FILES[name]
    for section in SECTIONS:
        cheap = [row for row in rows[section] if row.get("tier") == "cheap" and "note" not in row]
        assert cheap or section not in ("recipes", "prompts", "gains")


def _notes(rows):
    return [row for row in rows if "note" in row]


def test_a_summary_of_another_version_says_which_is_read(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    summary["schema"] = "tierwise/summary/v9"
    (run / "summary.json").write_text(json.dumps(summary))
    main(["compare", str(run)])
    said = "summary.json: is of schema 'tierwise/summary/v9', this version reads"
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_damaged_summary_says_where(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    summary["tiers"]["dear"]["baseline"]["score"] = "high"
    (run / "summary.json").write_text(json.dumps(summary))
    main(["compare", str(run)])
    out = " ".join(capsys.readouterr().out.split())
    assert "summary.json: cannot be read: tiers.dear.baseline.score: input should be" in out


def test_a_tier_that_failed_is_named_and_the_other_is_compared(run, capsys):
    summary = json.loads((run / "summary.json").read_text())
    del summary["tiers"]["dear"]
    summary["failed"] = {"dear": "the provider refused the key"}
    (run / "summary.json").write_text(json.dumps(summary))
    main(["compare", str(run)])
    out = capsys.readouterr().out
    assert "dear failed: the provider refused the key" in out
    assert "steps/think/" in out


def test_a_run_that_did_not_finish_says_so_and_shows_what_was_spent(run, capsys):
    (run / "summary.json").unlink()
    main(["compare", str(run)])
    assert "did not finish" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="is not a run directory"):
        read_run(tmp_path)


def test_an_expectation_that_is_no_number_leaves_the_other_tier(run):
    path = run / "policies" / "dear.yaml"
    path.write_text(re.sub(r"(?m)^  score: .*$", "  score: high", path.read_text(), count=1))
    rows = compared(read_run(run), ("recipes",))["recipes"]
    assert "expected cannot be read: score: " in next(
        r["note"] for r in rows if r["tier"] == "dear"
    )
    assert any(r["tier"] == "cheap" and r["score"] for r in rows)
