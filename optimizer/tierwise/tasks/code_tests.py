"""A model's Python code, run against tests or for what it does: off unless asked, and bounded.

The code of a model is anybody's code. It runs in a process of its own, with limits on time, memory,
processes and files, in an empty folder that is deleted, without the environment, and without a
network where the system gives an unprivileged process a network namespace of its own (Linux). It is
still a process of this user on this machine: run it where that is acceptable, in a container at
best. So nothing runs unless ``TIERWISE_RUN_CODE=1`` is set, which ``--run-code`` does.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
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
_SECONDS, _MEMORY_MB = 5.0, 512.0
"""Bounds of the calls by which code is told apart."""
_LONGEST_SAID = 500
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
    return _run(f"{code}\n\n{test}\n", seconds, memory_mb) is not None


@functools.lru_cache(maxsize=2**16)
def behaviour(code: str, calls: tuple[str, ...]) -> str | None:
    """What ``calls`` of a code's functions give, in one written form; None where one of them fails.

    Sets and dictionaries are written in order, 3 for 3.0, other numbers to 12 digits. What has no
    written form (a generator, an object without a repr of its own) is a failure too.

    Raises:
        InputError: running code was not asked for.
    """
    given = f"_code, _calls = {code!r}, {calls!r}\n"
    said = _run(given + _BEHAVIOUR, _SECONDS, _MEMORY_MB)
    if said is None or len(said) <= _LONGEST_SAID:
        return said
    return hashlib.sha256(said.encode()).hexdigest()


_BEHAVIOUR = """
import os, sys
_out = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

def _shown(value):
    match value:
        case bool() | None | str() | bytes():
            return repr(value)
        case float():
            return repr(int(value)) if value.is_integer() else format(value, ".12g")
        case list():
            return "[" + ", ".join(map(_shown, value)) + "]"
        case tuple():
            return "(" + "".join(_shown(each) + ", " for each in value) + ")"
        case set() | frozenset():
            return "{" + ", ".join(sorted(map(_shown, value))) + "}"
        case dict():
            pairs = (_shown(key) + ": " + _shown(each) for key, each in value.items())
            return "{" + ", ".join(sorted(pairs)) + "}"
    said = repr(value)
    if " at 0x" in said:
        raise TypeError(said)
    return said

_space = {"__name__": "answer"}
exec(compile(_code, "answer.py", "exec"), _space)
_own = {name: value for name, value in _space.items() if name != "__builtins__"}
_said = "\\n".join(_shown(eval(call, {**_own, "__builtins__": {}})) for call in _calls)
os.write(_out, _said.encode("utf-8", "replace"))
"""
"""Runs code and calls of its own functions; what the code prints itself is not looked at."""


def check_call(text: str) -> None:
    """Raise InputError unless ``text`` is one call with literals: a policy brings no other code."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError
        for value in (*call.args, *(keyword.value for keyword in call.keywords)):
            ast.literal_eval(value)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(
            f"answer.calls: {text[:80]!r} is no call with plain values, such as f([1, 2], 'a')",
            loc=("calls",),
        ) from None


def _run(code: str, seconds: float, memory_mb: float) -> str | None:
    """What a program writes to its standard output; None where it does not come to its end."""
    check_allowed()
    passed = 64 + secrets.randbelow(64)  # not to be guessed by code that ends the process itself
    program = f"{code}\nimport os, sys\nsys.stdout.flush()\nos._exit({passed})\n"
    if len(program) > _LONGEST_CODE or "\0" in program:
        return None
    limits = str(max(1, round(seconds))), str(round(memory_mb))
    with (
        tempfile.TemporaryDirectory(prefix="tierwise-code-") as folder,
        tempfile.TemporaryFile() as out,
    ):
        process = subprocess.Popen(
            [*_alone(), sys.executable, "-I", "-S", "-c", _LIMITS, *limits],
            stdin=subprocess.PIPE,
            stdout=out,
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
        out.seek(0)
        return out.read().decode("utf-8", "replace") if process.returncode == passed else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started, which are a group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_allowed() -> None:
    """Raise InputError unless running a model's code was asked for."""
    if os.environ.get(ALLOWED) != "1":
        raise InputError(
            "this runs code that a model wrote (the metric code_tests, or answers that are code), "
            f"as a process of yours: allow it by --run-code, or by {ALLOWED}=1 in the environment"
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
