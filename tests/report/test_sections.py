"""Each section of a run that was made by hand, against its committed text.

After a wanted change, ``UPDATE_GOLDEN=1 pytest tests/report/test_sections.py`` writes the
texts anew: read their diff before it is committed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report import hand_made
from tierwise.report.html.page import SECTION_GROUPS, render

GOLDEN = Path(__file__).parent / "golden"
SPECS = {spec.id: spec for specs in SECTION_GROUPS.values() for spec in specs}
SHARES = {"sums/g1": {"score": {"b1.variant0": 0.7, "share0": 0.3}, "usd": {"share0": 1.0}}}


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr("tierwise.search.study.importances", lambda *of: SHARES)
    (tmp_path / "study.journal").touch()
    return hand_made.run(tmp_path)


@pytest.mark.parametrize("name", SPECS)
def test_a_section_is_what_was_committed(made, name):
    section = render(SPECS[name], made)
    if section is None:
        assert name == "retrieval"  # the run does not search
        return
    text = section.body + "".join(f"\n<!-- note: {note} -->" for note in section.notes) + "\n"
    path = GOLDEN / f"{name}.html"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("policy", {"samples", "signals", "examples"}),
        ("prompts", {"prompts"}),
        ("study", {"samples", "signals"}),
        ("test", {"examples"}),
        ("tested", {"cheapest"}),
    ],
)
def test_a_missing_part_is_said_at_its_section_and_the_other_tier_is_shown(made, part, names):
    whole = {name: render(spec, made) for name, spec in SPECS.items()}
    small = replace(made.tiers["small"], **{part: None})
    broken = replace(made, tiers={**made.tiers, "small": small})
    for name, spec in SPECS.items():
        section = render(spec, broken)
        notes = set(section.notes) - set(whole[name].notes) if section else set()
        if name in names:
            assert any("small" in note for note in notes), (name, notes)
            assert "large" in section.body
        elif part != "policy":
            assert not notes


def test_a_run_without_results_shows_what_it_bought_and_how_it_goes_on(made):
    started = replace(made, summary=None, tiers={}, failed={})
    shown = [name for name, spec in SPECS.items() if not spec.needs_tiers and render(spec, started)]
    assert shown == ["spending", "reproduce"]
