"""A whole tune run over real litellm and real HTTP gives the policy of the run in process."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY
from tests.loopback import Fault, Loopback, Said
from tierwise.content import Job, TierSpec
from tierwise.llm import Call, Completion, Result
from tierwise.pool import SamplePool
from tierwise.recipe import Price
from tierwise.search import Effort, TuneResult, tune

pytestmark = pytest.mark.timeout(240)

SMALL = Effort(
    screen_items=16, race_items=24, study_items=32, select_items=32, test_items=60,
    race_arms=3, study_arms=3, finalists=6, orders=4,
)  # fmt: skip


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Adds two numbers; how often it is right depends on the prompt and on the larger number."""
    a, b = map(int, re.findall(r"\d+", messages[-1]["content"]))
    careful = "step" in messages[0]["content"]
    rng = random.Random(f"{seed}:{messages}")
    right = rng.random() < (0.95 if careful else 0.8) - max(a, b) / (150 if careful else 90)
    said = a + b if right else rng.randrange(100, 200)
    # Answers of one length: the bill of a call for n is then dealt as the choices used it.
    return Said(f"well, {'step ' * 6 if careful else ''}A: {said:03d}")


class InProcess:
    """The same speaker without a wire."""

    chunk = 64

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        for chunk in chunks:
            yield [self._draws(call) for call in chunk]

    async def answer(self, call: Call) -> list[Result]:
        return await asyncio.to_thread(self._draws, call)

    def close(self) -> None:
        pass

    def _draws(self, call: Call) -> list[Result]:
        messages = [{"role": m.role, "content": m.content} for m in call.request.messages]
        prompt = sum(len(m["content"].split()) for m in messages)
        said = [speak(messages, call.seed + j, {}) for j in range(call.n)]
        return [Completion(s.text, prompt, len(s.text.split())) for s in said]


def write_task(folder: Path) -> Path:
    folder.mkdir()
    rows = [
        {"id": f"q{a}-{b}", "inputs": {"question": f"{a} plus {b}"}, "target": str(a + b)}
        for a in range(1, 61, 2) for b in range(2, 60, 9)
    ]  # fmt: skip
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "prompts.yaml").write_text(
        '- {id: plain, system: "Add.", user: "{{ question }}"}\n'
        '- {id: careful, system: "Add step by step.", user: "{{ question }}"}\n'
    )
    (folder / "task.yaml").write_text(
        "name: sums\ninputs: [question]\nitems: items.jsonl\nprompts: prompts.yaml\n"
        "splits: {train: 0.05, tune: 0.35, select: 0.25, test: 0.35}\n"
        "answer: {extract: {regex: 'A: (\\d+)'}, normalise: integer}\n"
    )
    (folder / "space.yaml").write_text(
        "temperature: [0.8]\narms: [1]\nmodes: [direct]\n"
        "strategies: {single: {}, self_consistency: {draws: [3, 5]}}\n"
        "difficulty: {signals: [none, length, probe_agreement], buckets: [1, 2], probe_draws: 2}\n"
    )
    return folder


def job(folder: Path, *, takes_n: bool = True, **settings: Any) -> Job:
    spec = TierSpec(
        "openai/adder", Price(1.0, 2.0), {"direct": {"max_tokens": 30}}, takes_n=takes_n,
        limits={"concurrency": 32, "timeout_s": 5},
    )  # fmt: skip
    return Job(
        task=str(folder / "task.yaml"), space=str(folder / "space.yaml"), tiers={"small": spec},
        trials=30, **settings,
    )  # fmt: skip


def decisions(result: TuneResult) -> tuple[Any, ...]:
    """Everything that a policy decides, and what it was measured to do; not how long it took."""
    file = result.policies["small"]
    expected = {k: v for k, v in file.expected.items() if "latency" not in k}
    return file.policy.buckets, file.policy.difficulty, expected, file.prompts


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: Loopback) -> TuneResult:
    write_task(tmp_path / "sums")
    with monkeypatch.context() as patch:
        opening = sys.modules["tierwise.search.opening"]
        patch.setattr(opening, "open_model", lambda tier, recordings: InProcess())
        return tune(job(tmp_path / "sums"), tmp_path / "in_process", effort=SMALL)


def test_the_policy_over_http_is_that_of_the_run_in_process(
    in_process: TuneResult, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.speak = speak
    run = tune(job(tmp_path / "sums"), tmp_path / "http", effort=SMALL)
    assert decisions(run) == decisions(in_process)
    tier = run.summary["tiers"]["small"]
    assert (tier["calls"], tier["tokens"]) == (
        loopback.calls, loopback.prompt_tokens + loopback.completion_tokens,
    )  # fmt: skip
    for file in (tmp_path / "http").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_a_server_that_refuses_n_gives_the_same_draws(
    in_process: TuneResult, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.speak, loopback.takes_n = speak, False
    run = tune(job(tmp_path / "sums", takes_n=False), tmp_path / "http", effort=SMALL)
    texts = []
    for result in (run, in_process):
        with SamplePool.open(result.run.pool, read_only=True) as pool:
            rows = pool._db.execute(
                "SELECT r.key, d.draw, d.text FROM draws d JOIN requests r ON r.id = d.request"
            ).fetchall()
        texts.append({(key, draw): text for key, draw, text in rows})
    both = texts[0].keys() & texts[1].keys()
    assert len(both) > 500
    assert all(texts[0][at] == texts[1][at] for at in both)
    assert run.summary["tiers"]["small"]["calls"] == loopback.calls


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_faults_cost_time_and_never_a_draw(
    in_process: TuneResult, loopback: Loopback, tmp_path: Path, seed: int
) -> None:
    """One call in five fails: 429 with Retry-After, 500, cut, truncated, empty."""
    kinds = [
        Fault("status", 429, {"Retry-After": "0.01"}), Fault("status", 500), Fault("cut"),
        Fault("truncated"), Fault("empty"),
    ]  # fmt: skip
    rng = random.Random(seed)
    # A client gives up on a server that fails before it ever answered, so the first ones do.
    faults = {n: rng.choice(kinds) for n in range(8, 10_000) if rng.random() < 0.2}
    loopback.speak, loopback.fault = speak, faults.get
    run = tune(job(tmp_path / "sums"), tmp_path / "http", effort=SMALL)
    assert loopback.calls > loopback.answered > 0
    assert decisions(run) == decisions(in_process)
    tier = run.summary["tiers"]["small"]
    assert tier["tokens"] <= loopback.prompt_tokens + loopback.completion_tokens
