"""docs/python.md and the notebook run as they stand, in order."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
NOTEBOOK = ROOT / "examples" / "notebook" / "tune_a_dataframe.ipynb"


@pytest.mark.timeout(180)
def test_the_blocks_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-used")
    scope: dict[str, Any] = {"__name__": "docs_python"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), scope)
    assert scope["run"].path.parent == Path("runs")
    assert scope["page"].exists()
    assert scope["again"].policies == scope["run"].policies
    assert scope["answer"].answer == "7"
    out = capsys.readouterr()
    assert len(str(scope["run"]).splitlines()) == 3
    assert "mini: " in out.out
    assert "tierwise  small: test" in out.err


@pytest.mark.timeout(180)
def test_the_notebook_runs_and_shows_what_its_cells_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    shown = []
    for cell in (cell for cell in cells if cell["cell_type"] == "code"):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop()
        assert isinstance(last, ast.Expr)
        exec(compile(tree, NOTEBOOK.name, "exec"), scope)
        value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), scope)
        data = cell["outputs"][0]["data"]
        assert ("text/html" in data) == hasattr(value, "_repr_html_")
        shown.append(("".join(data["text/plain"]), repr(value)))
    (before, _), (run, run_now), *_, (answer, answer_now) = shown
    assert before == repr(scope["df"].head(3))
    assert len(run.splitlines()) == len(run_now.splitlines()) == 3
    assert answer.split(",")[0] == answer_now.split(",")[0]
