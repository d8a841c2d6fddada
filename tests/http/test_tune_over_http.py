"""A whole tune run over real litellm and real HTTP gives the policy of the run in process."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY
from tests.loopback import Fault, Loopback, Said
from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Result
from tierwise.pool import SamplePool
from tierwise.runs.tune import TuneResult, replay, tune
from tierwise.schema import Job, Price, TierSpec
from tierwise.search import SearchSize

pytestmark = pytest.mark.timeout(240)
LOG = logging.getLogger(__name__)
"""Figures: ``--log-cli-level=INFO``."""

SMALL = SearchSize(
    screen_items=16, race_items=24, study_items=32, test_items=60, study_variants=3, permutations=4
)


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Adds two numbers; how often it is right depends on the prompt and on the larger number."""
    a, b = map(int, re.findall(r"\d+", messages[-1]["content"]))
    careful = "step" in messages[0]["content"]
    rng = random.Random(f"{seed}:{messages}")
    right = rng.random() < (0.95 if careful else 0.8) - max(a, b) / (150 if careful else 90)
    said = a + b if right else rng.randrange(100, 200)
    # Answers of one length: the bill of a call for n is then interleaved as the choices used it.
    return Said(f"well, {'step ' * 6 if careful else ''}A: {said:03d}")


class InProcess:
    """The same speaker without a wire."""

    chunk = 64

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        for chunk in chunks:
            yield [self._samples(call) for call in chunk]

    async def answer(self, call: Call) -> list[Result]:
        return await asyncio.to_thread(self._samples, call)

    def close(self) -> None:
        pass

    def _samples(self, call: Call) -> list[Result]:
        messages = [{"role": m.role, "content": m.content} for m in call.request.messages]
        prompt = sum(len(m["content"].split()) for m in messages)
        said = [speak(messages, call.seed + j, {}) for j in range(call.n)]
        return [Completion(s.text, prompt, len(s.text.split())) for s in said]


def write_task(folder: Path) -> Path:
    folder.mkdir()
    rows = [
        {"id": f"q{a}-{b}", "inputs": {"question": f"{a} plus {b}"}, "target": str(a + b)}
        for a in range(1, 61, 2)
        for b in range(2, 60, 9)
    ]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "prompts.yaml").write_text(
        '- {id: plain, system: "Add.", user: "{{ question }}"}\n'
        '- {id: careful, system: "Add step by step.", user: "{{ question }}"}\n'
    )
    (folder / "task.yaml").write_text(
        "name: sums\ninputs: [question]\nitems: items.jsonl\nprompts: prompts.yaml\n"
        "splits: {train: 0.05, validation: 0.6, test: 0.35}\n"
        "answer: {extract: {regex: 'A: (\\d+)'}, normalise: integer}\n"
    )
    (folder / "space.yaml").write_text(
        "temperature: [0.8]\nvariants: [1]\nmodes: [direct]\n"
        "strategies: {single: {}, self_consistency: {samples: [3, 5]}}\n"
        "difficulty: {signals: [none, length, probe_agreement], buckets: [1, 2], probe_samples: "
        "2}\n"
    )
    return folder


PRICE = Price(1.0, 2.0)


PATIENT = {"concurrency": 32, "timeout_s": 20}
QUICK = {"concurrency": 8, "timeout_s": 3}
"""Gives up a call that hangs; few at a time, so that no other takes as long on a busy machine."""


def job(
    folder: Path, *, takes_n: bool = True, limits: Mapping[str, float] = PATIENT, **settings: Any
) -> Job:
    spec = TierSpec(
        "openai/adder", PRICE, {"direct": {"max_tokens": 30}}, takes_n=takes_n, limits=limits
    )
    return Job(
        task=str(folder / "task.yaml"),
        space=str(folder / "space.yaml"),
        tiers={"small": spec},
        trials=30,
        **settings,
    )


def decisions(result: TuneResult) -> tuple[Any, ...]:
    """Everything that a policy decides, and what it was measured to do; not how long it took."""
    file = result.policies["small"]
    expected = {k: v for k, v in vars(file.expected).items() if "latency" not in k}
    return file.policy.buckets, file.policy.difficulty, expected, file.prompts


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task's folder."""
    return write_task(tmp_path_factory.mktemp("task") / "sums")


@pytest.fixture
def in_process(
    sums: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loopback: Loopback
) -> TuneResult:
    """The run without a wire, with the server's address, which samples depend on."""
    with monkeypatch.context() as patch:
        opening = sys.modules["tierwise.runs.tiers"]
        patch.setattr(opening, "open_model", lambda tier, recordings: InProcess())
        return tune(job(sums), tmp_path / "in_process", search_size=SMALL)


def test_the_policy_over_http_is_that_in_process_and_a_replay_needs_no_address_and_no_key(
    in_process: TuneResult,
    sums: Path,
    loopback: Loopback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loopback.speak = speak
    asked, folder = job(sums), tmp_path / "http"
    run = tune(asked, folder, search_size=SMALL)
    assert decisions(run) == decisions(in_process)
    tier = run.summary.tiers["small"].spending
    assert (tier.calls, tier.tokens) == (
        loopback.calls,
        loopback.prompt_tokens + loopback.completion_tokens,
    )
    for file in folder.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file

    names = ("policies/small.yaml", "summary.json", "trials.csv")
    before = [(folder / name).read_bytes() for name in names]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/elsewhere")
    with pytest.raises(
        InputError, match=r"holds samples of tier 'small' from .*elsewhere.*--fresh"
    ):
        tune(asked, folder, search_size=SMALL)
    monkeypatch.delenv("OPENAI_API_KEY")
    calls = loopback.calls
    replay(folder, search_size=SMALL)
    assert [(folder / name).read_bytes() for name in names] == before
    assert loopback.calls == calls


@pytest.mark.slow
def test_a_server_that_refuses_n_gives_the_same_samples(
    in_process: TuneResult, sums: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.speak, loopback.takes_n = speak, False
    run = tune(job(sums, takes_n=False), tmp_path / "http", search_size=SMALL)
    texts = [stored(result)[0] for result in (run, in_process)]
    both = texts[0].keys() & texts[1].keys()
    assert len(both) > 500
    assert all(texts[0][at] == texts[1][at] for at in both)
    assert run.summary.tiers["small"].spending.calls == loopback.calls


KINDS = (
    Fault("status", 429, {"Retry-After": "0.01"}),
    Fault("status", 500),
    Fault("hang", seconds=5),
    Fault("cut"),
    Fault("truncated"),
    Fault("empty"),
)


def one_in_five(server: Loopback, seed: int) -> Counter[str]:
    """Let one attempt in five fail, whatever the order of arrival; what failed is counted."""
    attempts: Counter[str] = Counter()
    made: Counter[str] = Counter()

    def fault(number: int) -> Fault | None:
        asked = json.dumps(server.bodies[-1], sort_keys=True)
        attempts[asked] += 1
        rng = random.Random(f"{seed}:{asked}:{attempts[asked]}")
        if rng.random() >= 0.2:
            return None
        kind = rng.choice(KINDS)
        made[f"{kind.kind} {kind.status if kind.kind == 'status' else ''}".strip()] += 1
        return kind

    server.fault = fault
    return made


@pytest.mark.parametrize("seed", [pytest.param(s, marks=pytest.mark.slow) for s in range(5)])
def test_faults_cost_time_and_never_a_sample(
    in_process: TuneResult, sums: Path, loopback: Loopback, tmp_path: Path, seed: int
) -> None:
    """429 with Retry-After, 500, hang, cut, truncated JSON, no choices: one attempt in five."""
    loopback.speak = speak
    made = one_in_five(loopback, seed)
    run = tune(job(sums, limits=QUICK), tmp_path / "http", search_size=SMALL)
    LOG.info("seed %d: %d calls, faults %s", seed, loopback.calls, dict(made))
    assert len(made) == len(KINDS)
    assert loopback.calls <= 500
    samples, failed = stored(run)
    assert samples.items() <= stored(in_process)[0].items(), "what arrived is the same"
    assert not samples.keys() & failed
    if not failed:
        assert decisions(run) == decisions(in_process)
    tier = run.summary.tiers["small"].spending
    served = loopback.prompt_tokens + loopback.completion_tokens
    possibly = run.summary.tiers["small"].possibly_billed
    LOG.info(
        "tokens: confirmed %d, served %d, possibly %d beside; failed for good: %d samples",
        tier.tokens,
        served,
        possibly.tokens,
        len(failed),
    )
    assert tier.tokens <= served <= tier.tokens + possibly.tokens
    usd = PRICE.prompt_usd(loopback.prompt_tokens) + PRICE.completion_usd(
        loopback.completion_tokens, prompt_tokens=0
    )
    assert tier.usd <= usd <= tier.usd + possibly.usd
    assert tier.calls <= loopback.calls
    with SamplePool.open(run.run.pool, read_only=True) as pool:
        assert pool.overview().possibly_billed == possibly


def test_a_sample_that_never_arrives_is_a_row_and_no_score(
    in_process: TuneResult, sums: Path, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.speak = speak
    lost = json.loads(next(iter(stored(in_process)[0]))[0])["messages"][-1][1]

    def fault(number: int) -> Fault | None:
        return Fault("status", 500) if str(loopback.bodies[-1]).count(f"'{lost}'") else None

    loopback.fault = fault
    run = tune(job(sums), tmp_path / "http", search_size=SMALL)
    samples, failed = stored(run)
    assert failed
    assert all(f'"{lost}"' in content for content, _ in failed)
    assert samples.items() < stored(in_process)[0].items()
    assert not any(f'"{lost}"' in content for content, _ in samples)


def stored(result: TuneResult) -> tuple[dict[tuple[str, int], str], set[tuple[str, int]]]:
    """Texts of all stored samples, and the samples that failed for good; by what was sent."""
    with SamplePool.open(result.run.pool, read_only=True) as pool:
        samples, failures = (
            pool._db.execute(
                f"SELECT r.content, d.sample, {column} FROM {table} d"
                " JOIN requests r ON r.id = d.request"
            ).fetchall()
            for table, column in (("samples", "d.text"), ("failures", "0"))
        )
    return {(c, d): text for c, d, text in samples}, {(c, d) for c, d, _ in failures}
