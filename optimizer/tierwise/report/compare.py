"""Tiers side by side: a section is one file, and one line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tierwise.errors import UnsupportedError
from tierwise.report import (
    difficulty,
    equal_dollars,
    escalation,
    frontier,
    gains,
    prompts,
    recipes,
    search_rounds,
    sensitivity,
    sensitivity_by_tier,
    spending,
    techniques,
    transfer,
)
from tierwise.report._base import NOTE, Row, Section
from tierwise.report.between import CHANGES, Two
from tierwise.report.reading import RunFiles

if TYPE_CHECKING:
    import pandas as pd

SECTIONS: dict[str, Section[RunFiles]] = {
    "recipes": recipes.SECTION,
    "prompts": prompts.SECTION,
    "gains": gains.SECTION,
    "frontier": frontier.SECTION,
    "equal_dollars": equal_dollars.SECTION,
    "transfer": transfer.SECTION,
    "difficulty": difficulty.SECTION,
    "sensitivity": sensitivity.SECTION,
    "sensitivity_by_tier": sensitivity_by_tier.SECTION,
    "techniques": techniques.SECTION,
    "escalation": escalation.SECTION,
    "search": search_rounds.SECTION,
    "spending": spending.SECTION,
}


def frames(rows: Mapping[str, Sequence[Row]]) -> dict[str, pd.DataFrame]:
    """The same as data frames; a row that cannot be shown says why in ``note``."""
    import pandas as pd

    return {name: pd.DataFrame(list(found)) for name, found in rows.items()}


def compared(run: RunFiles, names: tuple[str, ...] = ()) -> dict[str, list[Row]]:
    """The rows of the named sections (left out: all), as plain data."""
    return {name: _rows(SECTIONS[name], run) for name in names or SECTIONS}


def changed(runs: Sequence[RunFiles], names: tuple[str, ...] = ()) -> dict[str, list[Row]]:
    """What changed from the first run to each of the others; as ``compared``."""
    pairs = [Two(runs[0], run) for run in runs[1:]]
    return {
        name: [row for two in pairs for row in CHANGES[name].rows(two)] for name in names or CHANGES
    }


def _rows(section: Section[RunFiles], run: RunFiles) -> list[Row]:
    try:
        return section.rows(run)
    except UnsupportedError as error:
        return [{NOTE: f"not shown: {error}"}]
