"""``tierwise run``, ``serve`` and ``export``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.serving.worlds import PROMPTS, SMALL, VARIANTS, Recorded, policy_file
from tierwise.cli import export, run, serve
from tierwise.errors import InputError, UnsupportedError
from tierwise.evaluation import replay_item
from tierwise.llm import base_seed, build_request
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, uniform
from tierwise.schema.policy_file import PolicyFile

EXAMPLE = Path(__file__).parents[2] / "examples" / "serving" / "arithmetic-small.yaml"
VOTE = StrategySpec.of("self_consistency", samples=3)


def invoke(command, *args: str, **more):
    return CliRunner().invoke(command, [str(a) for a in args], catch_exceptions=False, **more)


def test_run_shows_the_answer_the_trace_and_the_bill() -> None:
    got = invoke(run.command, EXAMPLE, "--input", "6 + 3")
    assert got.exit_code == 0
    assert got.stdout.startswith("answer : 9\n")
    assert "plain/direct/0.8" in got.stdout
    assert re.search(r"bucket easy · 2 samples in 1 round · \$\S+ \(simulated\)", got.stdout)


def test_run_as_json_reads_stdin() -> None:
    got = invoke(run.command, EXAMPLE, "--json", input="6 + 3\n")
    answer = json.loads(got.stdout)
    assert answer["answer"] == "9"
    assert len(answer["trace"]) == answer["samples"]
    named = invoke(run.command, EXAMPLE, "--json", "--input", "question=6 + 3")
    assert json.loads(named.stdout)["usd"] == answer["usd"]


def test_run_without_an_answer_exits_with_4_and_says_why() -> None:
    got = invoke(run.command, EXAMPLE, "--quiet", "--input", "zebra")
    assert got.exit_code == 4
    assert "zebra" in got.stderr


def test_run_takes_each_input_once() -> None:
    with pytest.raises(InputError, match="given twice"):
        invoke(run.command, EXAMPLE, "--input", "1", "--input", "2")


def test_the_schema_accepts_the_example_and_names_its_keys() -> None:
    schema = json.loads(invoke(export.command, "--to", "json-schema").stdout)
    text = EXAMPLE.read_text()
    written = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert set(written) <= set(schema["properties"])
    assert set(schema["required"]) <= set(written)


def batch(file: PolicyFile, tmp_path: Path, *items: dict) -> list[dict]:
    path, inputs = file.save(tmp_path / "p.yaml"), tmp_path / "items.jsonl"
    inputs.write_text("".join(json.dumps(item) + "\n" for item in items))
    got = invoke(export.command, path, "--to", "openai-batch", "--inputs", inputs, "--seed", 4)
    return [json.loads(line) for line in got.stdout.splitlines()]


def test_a_batch_holds_the_requests_that_the_runtime_would_make(tmp_path: Path) -> None:
    policy = Policy((Recipe((VARIANTS[0], VARIANTS[1]), VOTE),))
    lines = batch(policy_file(policy), tmp_path, {"id": "a", "inputs": {"question": "why?"}})
    assert [line["custom_id"] for line in lines] == ["a|0|0", "a|1|0"]
    first, second = (line["body"] for line in lines)
    asked = build_request(SMALL, PROMPTS["steps"], VARIANTS[1], {"question": "why?"})
    assert second == {
        "model": "small",
        "temperature": 0.8,
        "max_tokens": 256,
        "seed": base_seed(4, asked),
        "logprobs": True,
        "messages": [
            {"role": "system", "content": "steps"},
            {"role": "user", "content": "why?\nThink."},
        ],
    }
    assert first["n"] == 2


def test_a_batch_of_a_tier_without_n_asks_sample_by_sample(tmp_path: Path) -> None:
    policy = Policy((Recipe((VARIANTS[3], VARIANTS[0]), VOTE),))
    lines = batch(policy_file(policy), tmp_path, {"inputs": {"question": "q"}})
    assert [line["custom_id"] for line in lines] == ["1|0|0", "1|0|1", "1|1|0"]
    assert lines[1]["body"]["seed"] == lines[0]["body"]["seed"] + 1


def test_the_batch_asks_for_as_many_samples_as_the_evaluation_pays_for(tmp_path: Path) -> None:
    recorded = Recorded.random(0)
    policy = Policy(
        (Recipe(VARIANTS[:1], StrategySpec.of("single")), Recipe(VARIANTS[1:3], VOTE)),
        Difficulty("length", (-4.0,)),
    )
    items = [{"inputs": {"question": q}} for q in recorded.questions]
    lines = batch(policy_file(policy), tmp_path, *items)
    for i in range(len(items)):
        mine = [line for line in lines if line["custom_id"].startswith(f"{i + 1}|")]
        samples = sum(line["body"].get("n", 1) for line in mine)
        assert samples == len(replay_item(policy, recorded.table(), i).samples)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (
            uniform(VARIANTS[0], StrategySpec.of("early_stopping", window=2, max_samples=6)),
            "looks at",
        ),
        (
            Policy(
                (Recipe(VARIANTS[:1], VOTE),),
                Difficulty("probe_agreement", (), Probe(VARIANTS[:1], 2)),
            ),
            "probes",
        ),
    ],
)
def test_samples_that_depend_on_samples_make_no_batch(policy: Policy, says: str, tmp_path) -> None:
    with pytest.raises(UnsupportedError, match=says):
        batch(policy_file(policy), tmp_path, {"inputs": {"question": "q"}})


def test_a_bad_line_of_inputs_is_named(tmp_path: Path) -> None:
    single = policy_file(uniform(VARIANTS[0], StrategySpec.of("single")))
    with pytest.raises(InputError, match=r"items\.jsonl:2: needs the text input 'question'"):
        batch(single, tmp_path, {"inputs": {"question": "q"}}, {"inputs": {"quest": "q"}})


def test_the_proxys_files_are_written_once(tmp_path: Path) -> None:
    out = tmp_path / "proxy"
    args = (export.command, EXAMPLE, "--to", "litellm-proxy", "--out", out)
    assert invoke(*args).exit_code == 0
    names = {p.name for p in out.iterdir()}
    assert names == {"config.yaml", "tierwise_policies.py", "arithmetic-small.yaml"}
    assert PolicyFile.load(out / "arithmetic-small.yaml") == PolicyFile.load(EXAMPLE)
    with pytest.raises(InputError, match="--force"):
        invoke(*args)
    assert invoke(*args, "--force").exit_code == 0


def test_serve_refuses_another_address_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn", reason="the extra [serve] is not installed")
    monkeypatch.delenv("TIERWISE_TOKENS", raising=False)
    with pytest.raises(InputError, match="TIERWISE_TOKENS"):
        invoke(serve.command, EXAMPLE, "--host", "0.0.0.0")


@pytest.mark.timeout(60)
def test_serve_answers_and_ends_on_sigterm() -> None:
    pytest.importorskip("prometheus_client", reason="the extra [serve] is not installed")
    code = "from tierwise.cli.serve import command; command()"
    env = {k: v for k, v in os.environ.items() if k != "TIERWISE_TOKENS"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(EXAMPLE), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        body = {"model": "tier/small", "messages": [{"role": "user", "content": "6 + 3"}]}
        got = httpx.post(f"{found[0]}/v1/chat/completions", json=body)
        assert got.json()["tierwise"]["answer"] == "9"
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert "Finished server process" in rest
        assert process.wait() in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
