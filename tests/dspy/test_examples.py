from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tierwise.recipe import PolicyFile

EXAMPLES = Path(__file__).parents[2] / "examples" / "dspy"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_embedded_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded("embedded").main(tmp_path, n_examples=240, trials=10)
    assert PolicyFile.load(tmp_path / "small.yaml").name == "dspy-reasoning-answer-small"
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "4 + 9 - 2 + 5 = " in shown


def test_the_litellm_example_says_how_it_is_called() -> None:
    assert "questions.jsonl" in str(loaded("litellm_model").__doc__)
