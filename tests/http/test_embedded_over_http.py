"""``tierwise tune`` with the embedded small tier behind real litellm and real HTTP, and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Cli
from tests.conftest import KEY
from tests.loopback import Loopback
from tests.loopback.embedded import EmbeddedTwin
from tierwise.llm.embedded_model import MODES, embedded_tier
from tierwise.pool import SamplePool
from tierwise.schema.policy_file import PolicyFile

ROOT = Path(__file__).parents[2]
TASK = ROOT / "tasks" / "arithmetic"

pytestmark = pytest.mark.timeout(900)


def small_job(folder: Path, *, takes_n: bool = True) -> Path:
    """Two prompts of the shipped task, and a space for a few hundred calls."""
    folder.mkdir()
    (folder / "items.jsonl").write_text((TASK / "items.jsonl").read_text())
    (folder / "prompts.yaml").write_text(
        '- {id: plain, modes: [direct], system: "Solve this.", user: "{{ question }}"}\n'
        '- {id: steps, modes: [think], system: "Solve one step at a time.",'
        ' user: "{{ question }}"}\n'
    )
    (folder / "task.yaml").write_text((TASK / "task.yaml").read_text())
    (folder / "space.yaml").write_text(
        "temperature: [0.8]\nvariants: [1, 2]\nmodes: [direct, think]\n"
        "strategies: {single: {}, self_consistency: {samples: [3, 5]},"
        " best_of_n: {samples: [3], verifier: [mean_logprob]}}\n"
        "difficulty: {signals: [none, length, probe_agreement], buckets: [1, 2], probe_samples: "
        "2}\n"
    )
    return write_job(folder / "job.yaml", "task.yaml", "space.yaml", takes_n=takes_n, trials=60)


def write_job(path: Path, task: str, space: str, *, takes_n: bool, trials: int) -> Path:
    price = embedded_tier("small").price
    tier = {
        "model": "openai/embedded-small",
        "modes": MODES,
        "takes_n": takes_n,
        "price": {
            "prompt_usd_per_mtok": price.prompt_usd_per_mtok,
            "completion_usd_per_mtok": price.completion_usd_per_mtok,
        },
        "limits": {"concurrency": 32},
    }
    job = {"task": task, "space": space, "trials": trials, "tiers": {"small": tier}}
    path.write_text(json.dumps(job))
    return path


def in_process(job: Path) -> Path:
    """The same job on the tier itself."""
    told = json.loads(job.read_text())
    takes_n = told["tiers"]["small"]["takes_n"]
    told["tiers"] = {"small": {"model": "embedded/small", "takes_n": takes_n}}
    path = job.with_name("in_process.yaml")
    path.write_text(json.dumps(told))
    return path


def tuned(cli: Cli, job: Path, out: Path, *options: object) -> tuple[PolicyFile, dict[str, Any]]:
    got = cli("tune", job, "--yes", "--quiet", "--out", out, *options)
    assert got.code == 0, got.err
    summary = json.loads((out / "summary.json").read_text())
    return PolicyFile.load(out / "policies" / "small.yaml"), summary["tiers"]["small"]


def texts(out: Path) -> dict[tuple[str, int], str]:
    """(what was sent, sample) -> the text, of all bought samples."""
    with SamplePool.open(out / "pool.sqlite", read_only=True) as pool:
        rows = pool._db.execute(
            "SELECT r.content, d.sample, d.text FROM samples d JOIN requests r ON r.id = d.request"
        ).fetchall()
    return {(content, sample): text for content, sample, text in rows}


def same_policy(cli: Cli, job: Path, server: Loopback, tmp_path: Path, *options: object) -> None:
    """Both ways the same texts and the very policy; and the server has counted what the run says.

    Log-probabilities differ in the fifth digit by what the engine drew together, so that a policy
    by the way may fall on the other side of a threshold, and other samples be looked at for it.
    """
    server.speak_all = EmbeddedTwin(server.url)
    near, near_tier = tuned(cli, in_process(job), tmp_path / "near", *options)
    far, far_tier = tuned(
        cli, job, tmp_path / "far", "--tier", "small=openai/embedded-small", *options
    )

    near_texts, far_texts = texts(tmp_path / "near"), texts(tmp_path / "far")
    common = near_texts.keys() & far_texts.keys()
    assert len(common) > 0.9 * max(len(near_texts), len(far_texts))
    # A sample whose random number lies that near to where a word ends and the next begins is
    # another.
    others = [key for key in common if far_texts[key] != near_texts[key]]
    assert len(others) <= len(common) / 20_000, others
    assert far.policy.buckets == near.policy.buckets
    assert far.policy.difficulty.signal == near.policy.difficulty.signal
    assert far.policy.difficulty.thresholds == pytest.approx(
        near.policy.difficulty.thresholds, rel=1e-3
    )
    assert far.prompts == near.prompts
    for told in (far_tier, near_tier):
        assert told["gate"] == "passed"
    for name, value in vars(near.expected).items():
        if isinstance(value, int | float | tuple) and "latency" not in name and name != "buckets":
            assert getattr(far.expected, name) == pytest.approx(value, rel=1e-3), name
    counted = ("calls", "tokens")
    assert [far_tier["spending"][k] for k in counted] == [
        server.calls,
        server.prompt_tokens + server.completion_tokens,
    ]
    assert server.calls == server.answered
    for name in (*counted, "usd"):
        assert far_tier["spending"][name] == pytest.approx(near_tier["spending"][name], rel=0.05), (
            name
        )
    assert far_tier["possibly_billed"] is None
    for file in (tmp_path / "far").rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def test_over_http_the_tier_gives_the_policy_that_it_gives_in_process(
    cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    job = small_job(tmp_path / "job")
    same_policy(cli, job, loopback, tmp_path, "--max-calls", 420)


@pytest.mark.slow
def test_so_it_does_where_the_server_refuses_n(
    cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    loopback.takes_n = False
    job = small_job(tmp_path / "job", takes_n=False)
    same_policy(cli, job, loopback, tmp_path, "--max-calls", 2400)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_so_it_does_on_the_default_task_and_space(
    cli: Cli, loopback: Loopback, tmp_path: Path
) -> None:
    """The whole: `tierwise tune` on arithmetic, as it is shipped (7,000 calls, 53,000 samples)."""
    job = write_job(tmp_path / "job.yaml", "arithmetic", "default", takes_n=True, trials=300)
    same_policy(cli, job, loopback, tmp_path)
