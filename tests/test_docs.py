"""The pages of docs/ that teach by code: their blocks run, in order, in one module."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tierwise.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def run_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that the page's ```python blocks make; a fault names the line of the page."""
    text = page.read_text(encoding="utf-8")
    module = ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block.group(1), str(page), "exec"), module.__dict__)
    return module


def run_test_class(cls: type) -> list[str]:
    """Run a test class as pytest would: a fresh object for each test. Gives the tests' names."""
    names = [name for name in dir(cls) if name.startswith("test_")]
    for name in names:
        getattr(cls(), name)()
    return names


def test_add_a_strategy(monkeypatch):
    monkeypatch.setattr(STRATEGIES, "classes", dict(STRATEGIES.classes))
    module = run_blocks(DOCS / "add_a_strategy.md", monkeypatch)
    ran = run_test_class(module.TestRace)
    assert "test_stops_at_the_third_vote" in ran
    assert len(ran) > 10


def test_answer_forms(monkeypatch):
    module = run_blocks(DOCS / "answers.md", monkeypatch)
    assert "test_a_canonical_form_is_its_own" in run_test_class(module.TestFold)
    assert "test_what_is_right_scores_one" in run_test_class(module.TestScore)


def test_the_glossary_has_a_row_for_every_strategy():
    page = (DOCS / "concepts.md").read_text()
    assert [kind for kind in STRATEGIES.classes if f"| `{kind}` |" not in page] == []


def test_the_page_of_answer_forms_names_every_form_and_metric():
    from tierwise.tasks import METRICS, NORMALISERS

    page = (DOCS / "answers.md").read_text() + (DOCS / "add_a_task.md").read_text()
    assert [n for n in (*METRICS, *NORMALISERS) if f"{n}" not in page] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/design/architecture.md"])
def test_files_that_a_contributor_is_sent_to_are_there_and_have_what_is_said(name):
    page = (ROOT / name).read_text()

    def found(path: str) -> Path | None:
        places = (ROOT / path, ROOT / "optimizer" / "tierwise" / path)
        return next((place for place in places if place.exists()), None)

    named = set(re.findall(r"`([\w/]+/[\w./]*)`", page))
    assert len(named) > 10
    assert [p for p in named if not re.search(r"\b(ID|NAME|KIND)\b", p) and not found(p)] == []
    for what, path in re.findall(r"`(\w+)` in\s`([\w/]+/\w+\.py)`", page):
        text = found(path).read_text()
        assert re.search(rf"^ *(def |class |async def )?{what}\b", text, re.MULTILINE), (what, path)
