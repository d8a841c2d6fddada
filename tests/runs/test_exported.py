"""What is exported where nothing is proven, and where a bound is out of reach."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.recorded_jobs import tuned, whole
from tierwise.errors import InputError
from tierwise.runs.artifacts import read_run
from tierwise.schema import Job, TierSpec, load_job, override
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.selection import complexity

UNPROVEN = whole("a", "b", samples=1, items=30)


@pytest.mark.parametrize("gate", ["require", "advise"])
def test_an_unproven_policy_is_exported_as_the_job_says_with_the_verdict(tmp_path, gate) -> None:
    result = tuned(tmp_path, UNPROVEN, items=30, operating_point="quality", gate=gate)
    found, summary = result.found["m"], result.summary.tiers["m"]
    assert found.points["quality"].policy != found.baseline
    assert summary.gate == "not passed"
    file = PolicyFile.load(tmp_path / "out" / "policies" / "m.yaml")
    assert file.evidence.gate == "not passed"
    assert file.evidence.gate_mode == summary.gate_mode == gate
    chosen = gate == "advise"
    prompts = {variant.prompt for variant in file.policy.variants}
    assert prompts == ({"b"} if chosen else {"a"})
    assert summary.exported.policy == (summary.chosen if chosen else summary.baseline).policy
    assert ("exported as the job asks (gate: advise)" in file.notes[0]) == chosen
    assert ("This is the baseline." in file.notes[0]) != chosen
    read = read_run(tmp_path / "out").tiers["m"].summary
    assert read.exports_chosen == chosen


def test_a_gate_of_another_word_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("tiers:\n  m: {model: embedded/small}\ngate: maybe\n")
    with pytest.raises(InputError, match="gate") as refused:
        load_job(path)
    assert refused.value.line == 3
    job = override(Job(tiers={"m": TierSpec("embedded/small")}), gate="advise")
    assert job.gate == "advise"
    with pytest.raises(InputError, match="gate must be require or advise"):
        override(job, gate="maybe")


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        (
            {"min_score": 0.99},
            "min_score 0.99 is out of reach: the best policy that was found scores",
        ),
        (
            {"max_usd_per_item": 1e-9},
            "max_usd_per_item $1e-09 is out of reach: the cheapest policy",
        ),
    ],
)
def test_a_bound_out_of_reach_still_gives_the_nearest_policy(tmp_path, bound, says) -> None:
    lines = whole("a", "b", samples=4)
    result = tuned(tmp_path, lines, operating_point=bound, gate="advise")
    assert (tmp_path / "out" / "policies" / "m.yaml").is_file()
    found = result.found["m"]
    best = found.points[found.chosen].candidate.evaluation
    if "min_score" in bound:
        kind = complexity(found.points[found.chosen].policy)
        as_simple = [c for c in found.candidates if complexity(c.policy) <= kind]
        assert best.mean_score == max(c.evaluation.mean_score for c in as_simple)
    else:
        assert best.mean_usd == min(c.evaluation.mean_usd for c in found.candidates)
    assert any(says in remark for remark in result.summary.tiers["m"].remarks)
    assert any(says in note for note in result.policies["m"].notes)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())


def test_a_bound_within_reach_is_said_nothing_of(tmp_path) -> None:
    result = tuned(tmp_path, whole("a", "b", samples=2), operating_point={"min_score": 0.4})
    assert not [r for r in result.summary.tiers["m"].remarks if "out of reach" in r]


@pytest.mark.parametrize("items", [20, 60])
def test_a_small_task_is_tuned_and_says_what_it_can_show(tmp_path, items) -> None:
    result = tuned(tmp_path, whole("a", "b", samples=3, items=items), items=items)
    found = result.found["m"]
    assert found.held_out.table.n_items >= min(8, items // 3)
    (said,) = [r for r in result.summary.tiers["m"].remarks if "items show little" in r]
    points = 100 * found.held_out.comparisons["balanced"].provable_gain
    assert f"a gain of {points:.0f} points" in said
    assert (5 if items == 60 else 20) < points < 70
