"""Recorded tiers in a job: the same items in every recording, and samples that are metered."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.runs.recorded_jobs import sample, tuned, whole
from tierwise.errors import InputError
from tierwise.runs.artifacts import read_run
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import replay
from tierwise.schema import Budget, Job, Price, TierSpec


def write_lines(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def recording(path: Path, model: str, target: str) -> str:
    ids = [f"i{i}" for i in range(40)]
    items = [{"id": i, "inputs": {"q": f"{i}?"}, "target": target} for i in ids]
    return write_lines(path, [*items, *(sample(i, "a", 0, model=model) for i in ids)])


def test_recordings_that_disagree_on_an_item_are_refused(tmp_path: Path) -> None:
    files = {m: recording(tmp_path / f"{m}.jsonl", m, t) for m, t in (("a", "1"), ("b", "2"))}
    items = [{"id": f"i{i}", "inputs": {"q": f"i{i}?"}, "target": "1"} for i in range(40)]
    write_lines(tmp_path / "items.jsonl", items)
    (tmp_path / "task.yaml").write_text("name: t\ninputs: [q]\nitems: items.jsonl\n")
    tiers = {
        name: TierSpec(f"recorded/{name}", Price(1.0, 1.0), recordings=file)
        for name, file in files.items()
    }
    job = Job(task=str(tmp_path / "task.yaml"), tiers=tiers)
    with pytest.raises(InputError, match="disagree on item 'i0'"):
        prepare(job)
    recording(tmp_path / "b.jsonl", "b", "1")  # mended: the file is read anew
    assert set(prepare(job).tiers) == {"a", "b"}


@pytest.mark.parametrize("takes_n", [False, True])
def test_metered_samples_count_against_the_budget_as_if_they_were_bought(
    tmp_path: Path, takes_n: bool
) -> None:
    lines = whole("a", "c", "b", samples=6, items=120, prompt_tokens=30, completion_tokens=10)
    tier = {"metered": True, "takes_n": takes_n}
    result = tuned(tmp_path, lines, items=120, tier=tier, space="quick", budget=Budget(calls=1800))
    spent, found = result.summary.tiers["m"].spending, result.found["m"]
    assert 0 < spent.calls <= 1800
    planned = read_run(tmp_path / "out").plan["m"]
    assert [*planned.stages][:: len(planned.stages) - 1] == ["screen", "test"]
    assert planned.fault == ""
    assert spent.calls <= planned.worst.calls <= 1800
    assert spent.usd == pytest.approx(spent.tokens * 1e-6)
    assert {v.prompt for v in found.points["balanced"].policy.variants} == {"b"}
    bought = sum(
        int(np.count_nonzero(~np.isnan(rows.score)))
        for table in (found.study_table, found.held_out.table)
        for rows in table.variants.values()
    )
    assert bought <= spent.tokens / 15, "10 of its own, and a sixth of a prompt of 30"
    before = (tmp_path / "out" / "summary.json").read_bytes()
    replay(tmp_path / "out")
    assert (tmp_path / "out" / "summary.json").read_bytes() == before


def test_a_tier_without_recordings_is_not_metered() -> None:
    with pytest.raises(InputError, match="has no recordings"):
        TierSpec("embedded/small", metered=True)


def test_the_same_samples_give_the_same_choice_whatever_the_seed(tmp_path: Path) -> None:
    lines = whole("a", "c", "b", samples=6, items=60)
    found = []
    for seed in (0, 7):
        folder = tmp_path / str(seed)
        folder.mkdir()
        result = tuned(folder, lines, items=60, seed=seed).found["m"]
        points = {point: choice.policy for point, choice in result.points.items()}
        found.append((points, [candidate.policy for candidate in result.candidates]))
    assert found[0] == found[1]
