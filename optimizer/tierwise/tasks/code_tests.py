"""A metric that runs a model's Python code against tests: off unless asked, and bounded.

The code of a model is anybody's code. It runs in a process of its own, with limits on time, memory,
processes and files, in an empty folder that is deleted, without the environment, and without a
network where the system gives an unprivileged process a network namespace of its own (Linux). It is
still a process of this user on this machine: run it where that is acceptable, in a container at
best. So nothing runs unless ``TIERWISE_RUN_CODE=1`` is set, which ``--run-code`` does.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from tierwise.errors import InputError

ALLOWED = "TIERWISE_RUN_CODE"
"""The variable without which no code is run."""

_FENCE = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)
_LONGEST_CODE = 100_000
_LIMITS = """\
import resource, sys
seconds, megabytes = int(sys.argv[1]), int(sys.argv[2])
for limit, most in (
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_AS, megabytes * 2**20),
    (resource.RLIMIT_FSIZE, 2**20),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_NPROC, 256),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(limit, (most, most))
exec(compile(sys.stdin.read(), "answer.py", "exec"), {"__name__": "__main__"})
"""
"""What the process begins with: its limits, which hold for all that it starts."""


def code_in(text: str) -> str:
    """The Python code of an answer: the last fenced block, else the text."""
    blocks = _FENCE.findall(text)
    return str(blocks[-1]) if blocks else text


def passes(code: str, test: str, *, seconds: float, memory_mb: float) -> bool:
    """Whether ``test``, run after ``code``, comes to its end without an exception.

    Raises:
        InputError: running code was not asked for.
    """
    check_allowed()
    passed = 64 + secrets.randbelow(64)  # not to be guessed by code that ends the process itself
    program = f"{code}\n\n{test}\n\nimport os\nos._exit({passed})\n"
    if len(program) > _LONGEST_CODE or "\0" in program:
        return False
    limits = str(max(1, round(seconds))), str(round(memory_mb))
    with tempfile.TemporaryDirectory(prefix="tierwise-code-") as folder:
        process = subprocess.Popen(
            [*_alone(), sys.executable, "-I", "-S", "-c", _LIMITS, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(program.encode("utf-8", "replace"), timeout=seconds + 1)
        finally:
            _end(process)
    return process.returncode == passed


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started, which are a group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_allowed() -> None:
    """Raise InputError unless running a model's code was asked for."""
    if os.environ.get(ALLOWED) != "1":
        raise InputError(
            "the metric code_tests runs code that a model wrote, as a process of yours: allow it "
            "by "
            f"--run-code, or by {ALLOWED}=1 in the environment"
        )


@functools.cache
def _alone() -> Sequence[str]:
    """A command in front that takes the network away and ends whatever was started; or nothing."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    namespaces = "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"
    command = (unshare, *namespaces, "--")
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()


def has_no_network() -> bool:
    """Whether code runs without a network here."""
    return bool(_alone())
