"""The rules of the code base that a program can check."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "optimizer" / "tierwise"

PER_FILE = {"command", "R", "T", "log", "SECTION", "plan", "tune"}
"""What every file of a kind has by the same name: a command's entry point, type variables, a
logger, the heading of a section; and what the Python door calls what it opens."""


def public_names() -> dict[str, list[str]]:
    """Names of functions, classes and values at the top of every module -> the modules."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                if not name.startswith("_"):
                    found[name].append(str(path.relative_to(PACKAGE)))
    return found


def test_no_public_name_means_two_things() -> None:
    twice = {
        name: files
        for name, files in public_names().items()
        if len(files) > 1 and name not in PER_FILE
    }
    assert not twice, twice
