"""What a run writes is read back as it was, or one sentence says what is wrong and where."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from tests.report.hand_made import TASK, tier_summary
from tierwise.errors import InputError
from tierwise.schema import Difficulty, Probe, Recipe, StrategySpec, Variant
from tierwise.schema.json_schemas import json_schema
from tierwise.schema.measured import interval_ends, number
from tierwise.schema.result import (
    SUMMARY_SCHEMA,
    Proposal,
    ProposerUsage,
    RunPlan,
    Studied,
    StudiedTier,
    StudyState,
    Summary,
    from_json,
    to_data,
    to_json,
)
from tierwise.stats import Interval

A = Variant("plain", "direct", 0.3)
VOTE = StrategySpec.of("self_consistency", samples=3)


@pytest.fixture
def summary() -> Summary:
    tiers = {"small": tier_summary("openai/x", passed=True)}
    spent = ProposerUsage(0.1, 3, 900, model="openai/y")
    return Summary(SUMMARY_SCHEMA, TASK, "quick", "2026-01-01", 7, spent, tiers, {"big": "no key"})


def written(folder: Path, text: str) -> Path:
    path = folder / "summary.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_summary_is_read_back_as_it_was(tmp_path: Path, summary: Summary) -> None:
    path = written(tmp_path, to_json(summary))
    assert from_json(path, Summary) == summary
    assert json.loads(path.read_text()) == to_data(summary)
    assert to_data(summary)["task"]["name"] == "sums"
    assert list(to_data(summary)["tiers"]["small"]["ablation"])[-1] == "full_policy"


def test_what_the_samples_do_not_support_is_null() -> None:
    assert number(math.nan) is None
    assert interval_ends(Interval(0.5, math.nan, math.inf)) == (None, None)


def test_a_front_is_read_back_with_its_types(tmp_path: Path) -> None:
    spec = StrategySpec.of("best_of_n", samples=3, verifier="mean_logprob", stop_at=None)
    told = Difficulty("probe_agreement", (), Probe((A,), 2), (("of", "min"), ("share", 0.5)))
    front = (
        Proposal(told, (0.5,), (Recipe((A,), spec), Recipe((A,), VOTE))),
        Proposal(Difficulty(), (), (Recipe((A._replace(tier="big"),), VOTE),)),
    )
    kept = Studied({"small": StudiedTier(2, front, {"plain": "ab12"}, StudyState(0, ()))})
    found = from_json(written(tmp_path, to_json(kept)), Studied)
    assert found == kept
    assert isinstance(found.tiers["small"].front[0].buckets[0], Recipe)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema="tierwise/summary/v9"), "is of schema 'tierwise/summary/v9'"),
        (lambda d: d["tiers"]["small"].pop("ranks"), "tiers.small.ranks: is missing"),
        (lambda d: d["tiers"]["small"]["items"].update(test="many"), "tiers.small.items.test: "),
        (lambda d: d.update(extra=1), "extra: is no known key"),
    ],
)
def test_another_version_or_a_fault_is_said_with_its_place(
    tmp_path: Path, summary: Summary, change, said: str
) -> None:
    data = to_data(summary)
    change(data)
    with pytest.raises(InputError, match=r"summary\.json") as error:
        from_json(written(tmp_path, json.dumps(data)), Summary)
    assert said in str(error.value)


def test_a_file_that_was_cut_off_is_no_whole_json(tmp_path: Path, summary: Summary) -> None:
    with pytest.raises(InputError, match="no whole JSON"):
        from_json(written(tmp_path, to_json(summary)[:200]), Summary)
    with pytest.raises(InputError, match="this version reads 'tierwise/plan/v1'"):
        from_json(written(tmp_path, to_json(summary)), RunPlan)


def test_the_exported_schema_takes_a_summary(summary: Summary) -> None:
    jsonschema.validate(to_data(summary), json_schema("summary"))
