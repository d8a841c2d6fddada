"""A directory that is cut off, of another version, or has a tier that failed: the rest is shown."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest

from tests.report.runs import compared
from tests.report.test_hostile import Elements
from tierwise.cli import main
from tierwise.errors import InputError
from tierwise.report.compare import SECTIONS
from tierwise.report.html import report
from tierwise.runs.artifacts import read_run


class Missed(NamedTuple):
    """What cannot do without a file: tables of the comparison, a section of the page."""

    tables: frozenset[str] = frozenset()
    section: str = ""


FILES = {
    "policies/dear.yaml": Missed(frozenset({"recipes", "transfer"}), "recommendation"),
    "tables.dear.prompts.npz": Missed(frozenset({"prompts", "gains", "transfer"}), "prompts"),
    "tables.dear.npz": Missed(frozenset({"search"}), "samples"),
    "tables.dear.test.npz": Missed(frozenset({"difficulty"}), "examples"),
    "tested.dear.npz": Missed(frozenset({"frontier"}), "cheapest"),
    "validated.dear.npz": Missed(frozenset({"gains", "equal_dollars"})),
    "trials.csv": Missed(section="trials"),
    "study.journal": Missed(section="parameters"),
    "pool.sqlite": Missed(section="spending"),
    "job.yaml": Missed(section="reproduce"),
    "test_items.jsonl": Missed(section="examples"),
}
OF_THE_PAGE_ALONE = ("study.journal", "pool.sqlite", "test_items.jsonl")


@pytest.fixture(scope="module")
def whole(finished):
    return compared(read_run(finished))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("broken", [True, False])
def test_what_needs_a_missing_file_says_so_and_the_rest_is_whole(copy, whole, name, broken):
    path, (tables, section) = copy / name, FILES[name]
    if broken:
        path.write_bytes(path.read_bytes()[: 40 if name != "job.yaml" else 3])
    else:
        path.unlink()
    if name not in OF_THE_PAGE_ALONE:
        found = read_run(copy)
        assert any(name in sentence for sentence in found.missing)
        rows = compared(found)
        noted = {s for s in SECTIONS if len(_notes(rows[s])) > len(_notes(whole[s]))}
        assert noted == tables
        for table in ("recipes", "prompts", "gains"):
            assert any(r.get("tier") == "cheap" and "note" not in r for r in rows[table])
    text = report(copy)
    assert not Elements(text).open
    assert "Score against cost" in text
    if section:
        part = text.split(f'<section id="{section}"')[1].split("</section>")[0]
        # A job that cannot be read is shown as it is.
        assert '<p class="missing">' in part or (broken and name == "job.yaml")


def _notes(rows):
    return [row for row in rows if "note" in row]


def said(run, capsys):
    """What the comparison and the page say of a run."""
    main(["compare", str(run)])
    return " ".join(capsys.readouterr().out.split()), report(run)


def without_dear(summary):
    del summary["tiers"]["dear"]
    summary["failed"] = {"dear": "the provider refused the key"}


@pytest.mark.parametrize(
    ("change", "in_tables", "on_page"),
    [
        (
            lambda summary: summary.update(schema="tierwise/summary/v9"),
            "summary.json: is of schema 'tierwise/summary/v9', this version reads",
            ("tierwise/summary/v9", "Reproduce this run"),
        ),
        (
            lambda summary: summary["tiers"]["dear"]["baseline"].update(score="high"),
            "summary.json: cannot be read: tiers.dear.baseline.score: input should be",
            ("tiers.dear.baseline.score", "Reproduce this run"),
        ),
        (
            without_dear,
            "dear failed: the provider refused the key",
            ("the provider refused the key", "steps/think/"),
        ),
        (None, "did not finish", ("did not finish", "Reproduce this run", "Cost of tuning")),
    ],
    ids=["another version", "damaged", "a tier failed", "not finished"],
)
def test_a_summary_that_does_not_say_all_is_told(copy, capsys, change, in_tables, on_page):
    path = copy / "summary.json"
    if change is None:
        path.unlink()
    else:
        summary = json.loads(path.read_text())
        change(summary)
        path.write_text(json.dumps(summary))
    tables, page = said(copy, capsys)
    assert in_tables in tables
    assert all(text in page for text in on_page)
    assert ("steps/think/" in tables) == (change is without_dear)


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    for reading in (read_run, report):
        with pytest.raises(InputError, match="is not a run directory"):
            reading(tmp_path)


def test_an_expectation_that_is_no_number_leaves_the_other_tier(copy):
    path = copy / "policies" / "dear.yaml"
    path.write_text(re.sub(r"(?m)^  score: .*$", "  score: high", path.read_text(), count=1))
    found = read_run(copy)
    assert any("dear.yaml" in said and "score" in said for said in found.missing)
    rows = compared(found, ("recipes",))["recipes"]
    assert any(row["tier"] == "cheap" and row["score"] for row in rows)
    assert all("note" in row for row in rows if row["tier"] == "dear")
