"""A prompt is added to the task and the same command run again: only what is new is bought."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.runs.test_tune import files
from tests.search.scripted_job import PROMPTS, TINY, install, make_job, run
from tierwise.errors import InputError
from tierwise.llm import Request
from tierwise.llm.scripted import ScriptedModel
from tierwise.pool import SamplePool
from tierwise.runs.tune import TuneResult, replay

ADDED = PROMPTS + '- id: best\n  system: Think it through twice.\n  user: "{{ question }}"\n'


def says(request: Request) -> dict[str, float]:
    """``best`` is right nearly always, the others more often than not."""
    right = sum(int(t) for t in request.messages[-1].content.split(" + "))
    p = 0.95 if "twice" in request.messages[0].content else 0.6
    return {f"A: {right}": p, f"A: {right + 1}": 1 - p}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TuneResult]:
    """A job, and a run of it that no test changes."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        install(patch, says=says)
        job = make_job(folder)
        return job, run(job, folder / "run")


@pytest.fixture
def again(
    first: tuple[Path, TuneResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Again]:
    """A copy of the run, and its job, whose task gets its prompts back."""
    job, before = first
    out = Path(shutil.copytree(before.run.path, tmp_path / "run"))
    yield Again(job, job.parent / "task" / "prompts.yaml", out, install(monkeypatch, says=says))
    (job.parent / "task" / "prompts.yaml").write_text(PROMPTS)


class Again(NamedTuple):
    job: Path
    prompts: Path
    out: Path
    opened: list[ScriptedModel]


def bought(out: Path) -> int:
    with SamplePool.open(out / "pool.sqlite", read_only=True) as pool:
        return pool.counts("samples")


def test_a_new_prompt_takes_part_and_only_what_is_new_is_bought(
    first: tuple[Path, TuneResult], again: Again
) -> None:
    there, before = bought(again.out), first[1]
    again.prompts.write_text(ADDED)
    result = run(again.job, again.out)
    assert bought(again.out) == there + sum(model.samples for model in again.opened)
    assert result.run.run == before.run.run
    for name, found in result.found.items():
        old, new = before.found[name], found.study_rounds
        assert [g.number for g in new] == [3, 4]
        assert {a.prompt for a in new[-1].dimensions.variants} >= {"best"}
        assert any(variant.prompt == "best" for variant in result.policies[name].policy.variants)
        # The old front is judged again first, as far as its variants are still in the race.
        racing = set(new[0].dimensions.variants)
        front = [j.proposal.buckets for j in old.study_rounds[-1].front()]
        kept = [b for b in front if {a for r in b for a in r.variants} <= racing]
        restated = [j.proposal.buckets for j in new[0].judged.values()]
        assert kept
        assert kept == [buckets for buckets in restated if buckets in kept][: len(kept)]
        assert all(buckets in restated[: len(front)] for buckets in kept)


def test_the_run_with_the_new_prompt_is_resumed_and_replayed_alike(again: Again) -> None:
    again.prompts.write_text(ADDED)
    run(again.job, again.out)
    written = files(again.out)
    again.opened.clear()
    run(again.job, again.out)
    assert files(again.out) == written
    replay(again.out, search_size=TINY)
    assert files(again.out) == written
    assert sum(model.samples for model in again.opened) == 0
    studied = json.loads(written["studied.json"])
    assert all(one["before"]["study_rounds"] == 2 for one in studied["tiers"].values())


def test_an_id_that_got_another_text_is_refused(again: Again) -> None:
    again.prompts.write_text(PROMPTS.replace("Be quick.", "Be slow."))
    with pytest.raises(InputError, match="prompt 'shout' has another text"):
        run(again.job, again.out)
