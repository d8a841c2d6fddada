"""A real LiteLLM proxy with the exported config, asked by the real OpenAI client.

It needs ``litellm[proxy]``, which does not fit beside tierwise's own packages (it pins others), so
it runs where ``TIERWISE_PROXY_PYTHON`` names the Python of an environment that has it and
tierwise's own needs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from click.testing import CliRunner
from openai import BadRequestError, OpenAI

import tierwise
from tests.loopback import Loopback, Said
from tests.serving.gateways import local_gateway, served
from tests.serving.worlds import voting
from tierwise.cli import export
from tierwise.serving import PolicyRuntime

PYTHON = os.environ.get("TIERWISE_PROXY_PYTHON", "")
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not PYTHON, reason="TIERWISE_PROXY_PYTHON names no environment with litellm[proxy]"
    ),
]
EXAMPLE = Path(__file__).parents[2] / "examples" / "serving" / "arithmetic-small.yaml"
MASTER_KEY = "sk-master-of-the-tests"


@contextlib.contextmanager
def proxy(policy: Path, out: Path, gateway: str = "", **env: str) -> Iterator[OpenAI]:
    """A client of the proxy that serves ``policy``, and as ``chained`` what ``gateway`` serves."""
    args = [str(policy), "--to", "litellm-proxy", "--out", str(out)]
    assert CliRunner().invoke(export.command, args, catch_exceptions=False).exit_code == 0
    if gateway:
        config = yaml.safe_load((out / "config.yaml").read_text())
        behind = {"model": f"openai/{policy.stem}", "api_base": gateway, "api_key": "none"}
        config["model_list"].append({"model_name": "chained", "litellm_params": behind})
        (out / "config.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(PYTHON).with_name("litellm")),
        "--config",
        "config.yaml",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    source = str(Path(tierwise.__file__ or "").parents[1])
    with (out / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=out,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "PYTHONPATH": source,
                "LITELLM_MASTER_KEY": MASTER_KEY,
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                **env,
            },
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process, out / "log")
            client = OpenAI(
                base_url=f"http://127.0.0.1:{port}/v1", api_key=MASTER_KEY, max_retries=0
            )
            with client:
                yield client
        finally:
            process.terminate()
            process.wait(20)


def _wait(url: str, process: subprocess.Popen, log: Path) -> None:
    while process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):  # it is not up yet
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.5)
    pytest.fail(log.read_text()[-3000:])


def asked(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_proxy_answers_as_the_library_does_itself_and_from_a_gateway_behind_it(
    tmp_path: Path,
) -> None:
    with (
        served(local_gateway([EXAMPLE]).app) as base,
        proxy(EXAMPLE, tmp_path / "out", gateway=f"{base}/v1") as client,
        PolicyRuntime.load(EXAMPLE) as runtime,
    ):
        create = client.chat.completions.with_raw_response.create
        for seed, question in enumerate(["6 + 3", "13 + 2 - 5 + 18 - 7", "8 - 5 + 4"]):
            own = runtime.answer_sync(question=question, seed=seed)
            raw = create(model="arithmetic-small", messages=asked(question), seed=seed)
            got = raw.parse()
            assert got.choices[0].message.content == own.text
            assert got.usage.total_tokens == own.prompt_tokens + own.completion_tokens
            assert got.model_extra["tierwise"]["usd"] == own.usd
            assert float(raw.headers["x-litellm-response-cost"]) == pytest.approx(own.usd)
            chunks = list(
                client.chat.completions.create(
                    model="arithmetic-small",
                    messages=asked(question),
                    seed=seed,
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )
            text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            assert text == own.text
            assert chunks[-1].usage.completion_tokens == own.completion_tokens
            assert chunks[-1].usage.model_extra["cost"] == pytest.approx(own.usd)
            behind = create(model="chained", messages=asked(question), seed=seed).parse()
            assert behind.choices[0].message.content == own.text
            assert behind.usage.completion_tokens == own.completion_tokens
            chunks = list(
                client.chat.completions.create(
                    model="chained", messages=asked(question), seed=seed, stream=True
                )
            )
            text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
            assert text == own.text
        with pytest.raises(BadRequestError, match="'n' is not taken"):
            create(model="arithmetic-small", messages=asked("6 + 3"), n=2)
        with pytest.raises(BadRequestError, match="unknown parameter 'policy_file'"):
            create(
                model="arithmetic-small",
                messages=asked("6 + 3"),
                extra_body={"policy_file": "/etc/hostname"},
            )


def test_a_policys_calls_go_through_the_proxys_deployments(tmp_path: Path) -> None:
    path = voting(name="voted").save(tmp_path / "voted.yaml")
    with Loopback(key="sk-behind-the-proxy") as server:
        server.speak = lambda messages, seed, body: Said("A: 5")
        env = {
            "OPENAI_API_KEY": str(server.key),
            "OPENAI_BASE_URL": server.url,
            "OPENAI_API_BASE": server.url,
        }
        with proxy(path, tmp_path / "out", **env) as client:
            got = client.chat.completions.create(model="voted", messages=asked("q"))
    [body] = server.bodies
    assert (body["model"], body["n"]) == ("tiny", 3)
    assert got.model_extra["tierwise"]["answer"] == "5"
    assert got.usage.prompt_tokens == server.prompt_tokens
    assert got.usage.completion_tokens == server.completion_tokens == 6
