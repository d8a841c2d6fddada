"""Ctrl-C, as a terminal sends it to parent and workers, while an embedded model fills the pool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tierwise.pool import SamplePool

SCRIPT = """
import sys
import time
from tierwise.llm import build_request
from tierwise.llm.embedded_model import EmbeddedModel, embedded_tier
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.schema import Variant, Message, PromptTemplate

def progress(done):
    print(done.samples_done, flush=True)
    progress.lines += 1
    if progress.lines == int(sys.argv[2]):
        time.sleep(120)  # the signal comes, however busy the machine is

progress.lines = 0

def main():
    tier = embedded_tier("small")
    prompt = PromptTemplate("plain", (Message("user", "{{ question }}"),))
    requests = [
        build_request(
            tier, prompt, Variant("plain", "think", 0.8), {"question": f"{a} + {b} - {c}"}
        )
        for a in range(3, 14) for b in range(2, 14) for c in (2, 3)
    ]
    model = EmbeddedModel()
    model.chunk = 256  # so that a small purchase is many of them
    try:
        with SamplePool.open(sys.argv[1]) as pool:
            fill(pool, model, tier, [Need(r, 8) for r in requests], Account("r", 0),
                 progress=progress)
            print(pool.sha256({r.key: range(8) for r in requests}))
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        model.close()

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "fills.py"
    path.write_text(SCRIPT)
    return path


def test_a_fill_that_is_interrupted_and_resumed_has_the_samples_of_one_that_was_not(
    script, tmp_path
):
    def run(name, stop_after=10**9):
        with subprocess.Popen(
            [sys.executable, script, tmp_path / name, str(stop_after)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if len(lines) == stop_after:
                    os.killpg(process.pid, signal.SIGINT)
            errors = process.stderr.read()
        return process.returncode, lines, errors

    code, whole, _ = run("whole.sqlite")
    assert (code, len(whole)) == (0, 10)
    code, part, errors = run("parts.sqlite", stop_after=3)
    assert (code, errors) == (130, ""), "no worker complains"
    with SamplePool.open(tmp_path / "parts.sqlite") as pool:
        there = pool.counts("samples")
    assert there == 256 * len(part)
    code, rest, _ = run("parts.sqlite")
    assert len(part) + len(rest) == len(whole)
    assert rest[-1] == whole[-1], "the hash over all samples, to the last bit"
