"""A search that money, time or its provider ends early: it chooses from what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.runs.test_tune import calls, exploding, files, policies, samples
from tests.search.scripted_job import OPENING, TINY, install, make_job, run, says
from tierwise.errors import ProviderError
from tierwise.llm import Call, Result
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.runs.tune import replay, tune
from tierwise.schema import load_job, override

JOB = """task: task
space: space.yaml
seed: 3
trials: 24
tiers:
  strong: {model: scripted/strong}
"""


class Ending(ScriptedModel):
    """Answers so many chunks, and then fails for good."""

    def __init__(self, chunks: int) -> None:
        super().__init__(answering(says), chunk=8)
        self.left = chunks

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        for answers in super().complete(chunks):
            if not self.left:
                raise ProviderError("the account is closed")
            self.left -= 1
            yield answers


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_job(tmp_path_factory.mktemp("job"), job=JOB)


@pytest.fixture(scope="module")
def whole(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing ended; not to be changed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        install(patch, chunk=8)
        run(job, out)
    return out


def goes_on(job: Path, out: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command ends as if nothing had been cut short, and buys nothing twice."""
    before = samples(out)
    opened = install(monkeypatch, chunk=8)
    run(job, out)
    assert policies(out) == policies(whole)
    assert samples(out) - before == sum(model.samples for model in opened)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
def test_a_provider_that_ends_leaves_a_policy_of_what_is_there_or_says_why_not(
    share: float, job: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    answered = int(share * calls(whole))  # a chunk is a call here
    monkeypatch.setattr(OPENING, "open_model", lambda tier, **more: Ending(answered))
    out = tmp_path / "run"
    if share < 0.15:  # two variants have not eight items in common
        with pytest.raises(ProviderError, match="the account is closed"):
            run(job, out)
        assert not (out / "policies").exists()
    else:
        result = run(job, out)
        tier = result.summary.tiers["strong"]
        assert (out / "policies" / "strong.yaml").exists()
        assert (tier.end.reason == "provider_ended") == (tier.items.test == 0)
        assert tier.gate == "not tested" or tier.items.test > 1
        before = files(out)
        monkeypatch.setattr(OPENING, "open_model", exploding)
        replay(out, search_size=TINY)
        assert files(out) == before
    goes_on(job, out, whole, monkeypatch)
    assert json.loads((out / "cut_short.json").read_text()) == {"tiers": {}}


class Clock:
    """A clock that a model moves on: each chunk takes a tenth of a second."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(ScriptedModel):
    """Takes its time, of ``clock``."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(answering(says), chunk=8)
        self.clock = clock

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        for answers in super().complete(chunks):
            self.clock.now += 0.1
            yield answers


def test_time_that_ends_while_it_searches_leaves_some_for_the_test(
    job: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    clock, out = Clock(), tmp_path / "run"
    monkeypatch.setattr(OPENING, "open_model", lambda tier, **more: Slow(clock))
    with monkeypatch.context() as patch:
        for module in ("tierwise.pool.buy", "tierwise.runs.tune"):
            patch.setattr(f"{module}.monotonic", clock)
        result = tune(override(load_job(job), seconds=10.0), out, search_size=TINY)
    assert clock.now <= 10.1
    tier = result.summary.tiers["strong"]
    assert tier.end.reason == "deadline"
    assert "the same command with more --seconds" in tier.end.said
    assert tier.items.test > 1
    goes_on(job, out, whole, monkeypatch)
