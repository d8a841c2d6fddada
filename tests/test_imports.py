"""What a module loads, whatever it says at its top; and the floors of the house."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"numpy", "optuna", "dspy", "litellm", "pandas", "pydantic", "yaml", "rich", "re2"}
HEAVY |= {"httpx", "jinja2", "markupsafe"}


def loaded(code: str) -> set[str]:
    """Heavy packages in ``sys.modules`` after ``code`` in a new process."""
    script = f"""
import json, sys
try:
    {code}
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
print()
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    got = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(json.loads(got.stdout.splitlines()[-1])) & HEAVY


@pytest.mark.parametrize(
    "args", [["--help"], ["-h"], ["--version"], ["tune", "--help"], ["run", "--help"]]
)
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    assert loaded(f"from tierwise.cli import main; main({args!r})") == set()


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("tierwise", HEAVY),
        ("tierwise.errors", HEAVY),
        ("tierwise.strategies", HEAVY - {"numpy", "pydantic", "re2", "yaml"}),
        ("tierwise.stats", HEAVY - {"numpy"}),
        ("tierwise.evaluation", {"optuna", "litellm", "dspy", "pandas"}),
        ("tierwise.serving", {"optuna", "litellm", "dspy", "pandas"}),
        ("tierwise.pool", {"optuna", "litellm", "dspy", "pandas"}),
        ("tierwise.schema", {"numpy", "optuna", "litellm", "dspy", "pandas"}),
        ("tierwise.runs", {"optuna", "litellm", "dspy", "pandas"}),
        ("tierwise.search", {"litellm", "dspy", "pandas"}),
    ],
)
def test_a_room_loads_only_what_is_its_own(module: str, without: set[str]) -> None:
    assert loaded(f"import {module}") & without == set()


def test_answering_by_an_embedded_policy_loads_no_provider() -> None:
    policy = ROOT / "examples" / "serving" / "arithmetic-small.yaml"
    run = f"from tierwise.cli import main; main(['run', {str(policy)!r}, '--input', '6 + 3'])"
    assert loaded(run) & {"optuna", "litellm", "dspy", "pandas"} == set()


def test_the_floors_hold() -> None:
    """The contracts of pyproject.toml, by import-linter."""
    pytest.importorskip("importlinter", reason="the extra [dev] is not installed")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert got.returncode == 0, got.stdout + got.stderr
