"""docs/python.md: its blocks run as they stand, in order, as one script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


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
