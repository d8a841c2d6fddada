"""A prompt is added to the task and the same command run again: only what is new is bought."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.test_tune import files
from tests.search.scripted_job import PROMPTS, TINY, install, make_job, run
from tierwise.errors import InputError
from tierwise.llm import Request
from tierwise.pool import SamplePool
from tierwise.runs.tune import replay

ADDED = PROMPTS + '- id: best\n  system: Think it through twice.\n  user: "{{ question }}"\n'


def says(request: Request) -> dict[str, float]:
    """``best`` is right nearly always, the others more often than not."""
    right = sum(int(t) for t in request.messages[-1].content.split(" + "))
    p = 0.95 if "twice" in request.messages[0].content else 0.6
    return {f"A: {right}": p, f"A: {right + 1}": 1 - p}


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened = install(monkeypatch, says=says)
    job = make_job(tmp_path)
    return job, run(job, tmp_path / "run"), opened


def test_a_new_prompt_takes_part_and_only_what_is_new_is_bought(first, tmp_path: Path) -> None:
    job, before, opened = first
    bought = sum(model.samples for model in opened)
    (tmp_path / "task" / "prompts.yaml").write_text(ADDED)
    opened.clear()
    again = run(job, tmp_path / "run")
    with SamplePool.open(again.run.pool, read_only=True) as pool:
        (there,) = pool._db.execute("SELECT count(*) FROM samples").fetchone()
    assert there == bought + sum(model.samples for model in opened)
    assert again.run.run == before.run.run
    for name, found in again.found.items():
        old, new = before.found[name], found.study_rounds
        assert [g.number for g in new] == [3, 4]
        assert {a.prompt for a in new[-1].dimensions.variants} >= {"best"}
        assert any(variant.prompt == "best" for variant in again.policies[name].policy.variants)
        # The old front is judged again first, as far as its variants are still in the race.
        racing = set(new[0].dimensions.variants)
        front = [j.proposal.buckets for j in old.study_rounds[-1].front()]
        kept = [b for b in front if {a for r in b for a in r.variants} <= racing]
        restated = [j.proposal.buckets for j in new[0].judged.values()]
        assert kept
        assert kept == [buckets for buckets in restated if buckets in kept][: len(kept)]
        assert all(buckets in restated[: len(front)] for buckets in kept)


def test_the_run_with_the_new_prompt_is_resumed_and_replayed_alike(first, tmp_path: Path) -> None:
    job, _, opened = first
    (tmp_path / "task" / "prompts.yaml").write_text(ADDED)
    again = run(job, tmp_path / "run")
    written = files(again.run.path)
    opened.clear()
    run(job, tmp_path / "run")
    assert files(again.run.path) == written
    replay(again.run.path, search_size=TINY)
    assert files(again.run.path) == written
    assert sum(model.samples for model in opened) == 0
    studied = json.loads(written["studied.json"])
    assert all(one["before"]["study_rounds"] == 2 for one in studied["tiers"].values())


def test_an_id_that_got_another_text_is_refused(first, tmp_path: Path) -> None:
    job, _, _ = first
    (tmp_path / "task" / "prompts.yaml").write_text(PROMPTS.replace("Be quick.", "Be slow."))
    with pytest.raises(InputError, match="prompt 'shout' has another text"):
        run(job, tmp_path / "run")
