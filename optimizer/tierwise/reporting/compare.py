"""Tiers side by side, as data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tierwise.reporting.across import difficulty_rows, equal_dollars_rows, transfer_rows
from tierwise.reporting.gains import gain_rows
from tierwise.reporting.prompts import prompt_rows
from tierwise.reporting.recipes import recipe_rows
from tierwise.reporting.run import FinishedRun

if TYPE_CHECKING:
    import pandas as pd

SECTIONS = {
    "prompts": "every prompt on every tier at one draw",
    "recipes": "the policy of each tier",
    "gains": "what thinking, votes and buckets add",
    "transfer": "each tier's policy on the others",
    "difficulty": "rank correlation of item difficulty between tiers",
    "equal_dollars": "a cheaper tier's policy against a dearer tier's single call",
}


def compare(run: FinishedRun) -> dict[str, pd.DataFrame]:
    """The sections' frames by name; a row that the draws do not support says so in ``note``."""
    import pandas as pd

    return {name: pd.DataFrame(rows) for name, rows in compared(run).items()}


def compared(run: FinishedRun) -> dict[str, list[dict[str, Any]]]:
    """The sections' rows, as plain data."""
    tiers = run.tiers.values()
    return {
        "prompts": [row for tier in tiers for row in prompt_rows(tier)],
        "recipes": [row for tier in tiers for row in recipe_rows(tier)],
        "gains": [row for tier in tiers for row in gain_rows(tier)],
        "transfer": transfer_rows(run),
        "difficulty": difficulty_rows(run),
        "equal_dollars": equal_dollars_rows(run),
    }
