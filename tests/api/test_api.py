"""Tierwise from Python."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tierwise as tw
from tests.http.test_tune_over_http import SMALL, InProcess
from tierwise.llm.models import open_model  # noqa: F401  the module that is patched is loaded
from tierwise.schema import Price


def sums(path: Path) -> Path:
    rows = [{"q": f"{a} plus {b}", "a": a + b} for a in range(1, 50, 2) for b in range(2, 60, 7)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def right(answer: str, item: object) -> float:
    return float(answer == item.target)  # type: ignore[attr-defined]  # an Item


def test_a_task_of_ones_own_is_tuned_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, tune = map(import_module, ("tierwise.search.opening", "tierwise.runs.tune"))
    monkeypatch.setattr(opening, "open_model", lambda tier, recordings: InProcess())
    monkeypatch.setattr(tune, "SearchSize", lambda: SMALL)
    monkeypatch.setattr(opening, "address_of", lambda tier: "")
    task = tw.task_from_jsonl(
        sums(tmp_path / "sums.jsonl"),
        inputs=["q"],
        target="a",
        metric=right,
        answer=tw.AnswerSpec(regex=r"A: (\d+)", normalise="integer"),
    )
    spec = tw.TierSpec("openai/adder", Price(1.0, 2.0), {"direct": {"max_tokens": 30}})
    run = tw.tune(
        task,
        tiers={"mini": spec},
        space="quick",
        out=tmp_path / "run",
        trials=20,
        prompts=["Add: {{ q }}", "Add step by step: {{ q }}"],
    )
    saved = run.policies["mini"].save(tmp_path / "mini.yaml")
    assert run.frame("trials")["score"].between(0, 1).all()
    assert "oracle_bound" in set(run.frame("ablation")["step"])
    with pytest.raises(tw.TierwiseError, match="did you mean 'trials'"):
        run.frame("trails")
    runtime = tw.PolicyRuntime(tw.PolicyFile.load(saved), InProcess())
    answer = runtime.answer_sync(q="1 plus 2")
    assert answer.answer is not None
    assert answer.samples >= 1


def test_names_are_public_and_lazy() -> None:
    for name in tw.__all__:
        assert getattr(tw, name) is not None
    code = "import sys, tierwise; print(sorted({'numpy', 'optuna', 'pydantic'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = tw.nothing_here
