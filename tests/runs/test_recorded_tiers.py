"""Recorded tiers in a job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tierwise.errors import InputError
from tierwise.runs.artifacts import read_run
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import replay, tune
from tierwise.schema import Budget, Job, Price, TierSpec


def recording(path: Path, model: str, target: str) -> str:
    items = [{"id": str(i), "inputs": {"q": f"{i}?"}, "target": target} for i in range(40)]
    samples = [
        {
            "item_id": str(i),
            "model": model,
            "prompt_id": "p",
            "mode": "direct",
            "temperature": 0.0,
            "sample": 0,
            "text": "1",
            "prompt_tokens": 3,
            "completion_tokens": 1,
        }
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, [*items, *samples])))
    return str(path)


def test_recordings_that_disagree_on_an_item_are_refused(tmp_path: Path) -> None:
    files = [recording(tmp_path / f"{m}.jsonl", m, t) for m, t in (("a", "1"), ("b", "2"))]
    (tmp_path / "items.jsonl").write_text(
        "\n".join(
            json.dumps({"id": str(i), "inputs": {"q": f"{i}?"}, "target": "1"}) for i in range(40)
        )
    )
    (tmp_path / "task.yaml").write_text("name: t\ninputs: [q]\nitems: items.jsonl\n")
    tiers = {
        name: TierSpec(f"recorded/{name}", Price(1.0, 1.0), recordings=file)
        for name, file in zip("ab", files, strict=True)
    }
    job = Job(task=str(tmp_path / "task.yaml"), tiers=tiers)
    with pytest.raises(InputError, match="disagree on item '0'"):
        prepare(job)
    recording(tmp_path / "b.jsonl", "b", "1")  # mended: the file is read anew
    assert set(prepare(job).tiers) == {"a", "b"}


def metered_job(folder: Path, calls: int, *, takes_n: bool = False) -> Job:
    """A tier of three prompts, the third the best, with six samples an item of each."""
    rng = np.random.default_rng(5)
    items = [{"id": f"q{i}", "inputs": {"q": f"{i}?"}, "target": "1"} for i in range(200)]
    samples = [
        {
            "item_id": item["id"],
            "model": "m",
            "prompt_id": prompt,
            "mode": "direct",
            "temperature": 0.8,
            "sample": d,
            "text": "1" if rng.random() < p else f"{rng.integers(2, 40)}",
            "prompt_tokens": 30,
            "completion_tokens": 10,
        }
        for item in items
        for prompt, p in (("plain", 0.4), ("worse", 0.3), ("better", 0.7))
        for d in range(6)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "rec.jsonl").write_text("\n".join(map(json.dumps, [*items, *samples])))
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    (folder / "task.yaml").write_text("name: t\ninputs: [q]\nitems: items.jsonl\n")
    spec = TierSpec(
        "recorded/m",
        Price(1.0, 1.0),
        recordings=str(folder / "rec.jsonl"),
        metered=True,
        takes_n=takes_n,
    )
    return Job(
        task=str(folder / "task.yaml"),
        space="quick",
        tiers={"t": spec},
        budget=Budget(calls=calls),
        trials=30,
    )


@pytest.mark.parametrize("takes_n", [False, True])
def test_metered_samples_count_against_the_budget_as_if_they_were_bought(
    tmp_path: Path, takes_n: bool
) -> None:
    result = tune(metered_job(tmp_path / "job", 3000, takes_n=takes_n), tmp_path / "run")
    tier = result.summary.tiers["t"]
    assert 0 < tier.spending.calls <= 3000
    planned = read_run(tmp_path / "run").plan["t"]
    assert next(iter(planned.stages)) == "screen"
    assert list(planned.stages)[-1] == "test"
    assert planned.fault == ""
    assert tier.spending.calls <= planned.worst.calls <= 3000
    assert tier.spending.usd == pytest.approx(tier.spending.tokens * 1e-6)
    found = result.found["t"]
    assert {v.prompt for v in found.points["balanced"].policy.variants} == {"better"}
    bought = sum(
        int(np.count_nonzero(~np.isnan(rows.score)))
        for table in (found.study_table, found.held_out.table)
        for rows in table.variants.values()
    )
    assert bought <= tier.spending.tokens / 15, "10 of its own, and a sixth of a prompt of 30"
    before = (tmp_path / "run" / "summary.json").read_bytes()
    replay(tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").read_bytes() == before


def test_a_tier_without_recordings_is_not_metered() -> None:
    with pytest.raises(InputError, match="has no recordings"):
        TierSpec("embedded/small", metered=True)
