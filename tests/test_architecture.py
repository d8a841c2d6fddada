"""The rules of the code base that a program can check."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

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


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions and for type checkers count: they tie two files as any other."""
    grimp = pytest.importorskip("grimp", reason="the extra [dev] is not installed")
    graph = grimp.build_graph("tierwise", cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


BANNED = {
    "draw": "sample",
    "draws": "samples",
    "drawn": "sampled",
    "drew": "sampled",
    "drawing": "sampling",
    "arm": "variant",
    "arms": "variants",
    "dealt": "interleaved, split",
    "rung": "step",
    "rungs": "steps",
    "ladder": "ablation",
    "wording": "paraphrase",
    "wordings": "paraphrases",
    "nominal": "simulated",
    "nominally": "simulated",
    "dear": "expensive",
    "dearer": "more expensive",
    "today's prompt": "baseline prompt",
    "nobody's bill": "simulated cost",
    "by lot": "random-assignment control",
    "hand on": "escalate",
    "hands on": "escalates",
    "handed on": "escalated",
    "handing on": "escalating",
    "tune split": "validation split",
    "select split": "validation split",
    "max_draws": "max_samples",
    "on_select": "on validation",
}
"""A word that the project no longer uses -> the word of docs/concepts.md."""

ALLOWED = {
    # Charts and pictures are drawn.
    "CONTRIBUTING.md": {"draw"},
    "README.md": {"drawn"},
    "docs/report.md": {"drawn"},
    "optimizer/tierwise/report/__init__.py": {"drawn"},
    "optimizer/tierwise/report/charts.py": {"draw", "drawn", "drawing"},
    "optimizer/tierwise/report/html/__init__.py": {"drawn"},
    "optimizer/tierwise/report/html/explanations.py": {"drawn"},
    "optimizer/tierwise/report/html/page.py": {"draw"},
    "optimizer/tierwise/report/html/results.py": {"drawn"},
    "optimizer/tierwise/report/templates/macros.html.j2": {"drawn"},
    # Old words in people's files, which are read or answered with the new word.
    "optimizer/tierwise/errors.py": {
        "arm",
        "arms",
        "draw",
        "draws",
        "max_draws",
        "nominal",
        "wording",
        "wordings",
    },
    "optimizer/tierwise/llm/recorded.py": {"draw"},
    # A prompt's text, which its id holds fast: "draw a slow breath".
    "search_spaces/prompts/techniques.yaml": {"draw"},
}
"""A file -> words that are right there."""

TEXTS = (
    "optimizer/**/*.py",
    "optimizer/**/*.j2",
    "docs/**/*.md",
    "README.md",
    "CONTRIBUTING.md",
    "search_spaces/**/*.yaml",
    "tasks/*/task.yaml",
)


def banned_words(text: str) -> list[tuple[int, str]]:
    """Line and word, in lower case; a phrase may run over the end of a line."""
    words = "|".join(re.escape(word).replace(r"\ ", r"[\s#>]+") for word in BANNED)
    return [
        (text.count("\n", 0, found.start()) + 1, " ".join(found[0].lower().split()))
        for found in re.finditer(rf"\b(?:{words})\b", text, re.IGNORECASE)
    ]


def test_old_words_are_not_used() -> None:
    found = []
    for path in sorted({path for pattern in TEXTS for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        for line, word in banned_words(path.read_text(encoding="utf-8")):
            if word not in ALLOWED.get(name, set()):
                found.append(f"{name}:{line}: {word!r}; write {BANNED[word]!r}")
    assert not found, "\n".join(found)


def test_a_banned_phrase_is_found_over_the_end_of_a_line() -> None:
    assert banned_words("It is today's\nprompt; an Arm, no army.") == [
        (1, "today's prompt"),
        (2, "arm"),
    ]
