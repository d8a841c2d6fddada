"""docs/serving.md takes a newcomer from a policy file to an answer: its blocks run as shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")

# The command of this checkout, whatever is installed.
TIERWISE = (
    "import importlib, sys; importlib.import_module('tierwise.cli.' + sys.argv.pop(1)).command()"
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def shell(script: str, cwd: Path) -> str:
    """The output of a script, in which ``pip`` does nothing; what it left running is ended."""
    prelude = (
        "set -eu\n"
        "pip() { :; }\n"
        f'tierwise() {{ exec \'{sys.executable}\' -c "{TIERWISE}" "$@"; }}\n'
        "trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "TIERWISE_TOKENS"}
    done = subprocess.run(
        ["bash", "-c", prelude + script],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(90)
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_five_lines_from_a_policy_file_to_an_answer() -> None:
    pytest.importorskip("prometheus_client", reason="the extra [serve] is not installed")
    script = blocks("sh")[0]
    assert len([line for line in script.splitlines() if not line.startswith(" ")]) <= 5
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = json.loads(shell(script.replace("8080", str(port)), ROOT))["tierwise"]
    shown = json.loads(blocks("json")[0])
    assert {key: told[key] for key in shown} == shown


def test_the_library_block_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for block in blocks("python"):
        exec(compile(block, "docs/serving.md", "exec"), {})


def test_the_proxys_files_in_the_examples_are_what_the_command_writes(tmp_path: Path) -> None:
    script = next(block for block in blocks("sh") if "litellm-proxy" in block)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shell(f"({script})", tmp_path)
    written, shown = tmp_path / "proxy", ROOT / "examples" / "serving" / "litellm-proxy"
    assert {p.name for p in written.iterdir()} == {p.name for p in shown.glob("*.*")}
    for path in written.iterdir():
        assert path.read_text() == (shown / path.name).read_text()


def test_the_table_names_every_parameter() -> None:
    pytest.importorskip("starlette", reason="the extra [serve] is not installed")
    from tierwise.serving.chat import HONOURED, IGNORED, REFUSED, SAME

    table = PAGE[PAGE.index("### What of a request") : PAGE.index("### Errors")]
    named = set(re.findall(r"`(\w+)(?:\.\w+)?`", table))
    assert {*HONOURED, *IGNORED, *REFUSED, *SAME} <= named
