from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import KEY
from tests.dspy.examples import DIRECT_SPACE, LITTLE
from tests.loopback import Loopback, Said
from tierwise.dspy import Proposing
from tierwise.schema import PolicyFile

EXAMPLES = Path(__file__).parents[2] / "examples" / "dspy"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_embedded_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded("embedded").main(tmp_path, n_examples=160, trials=6)
    assert PolicyFile.load(tmp_path / "small.yaml").name == "dspy-reasoning-answer-small"
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "4 + 9 - 2 + 5 = " in shown


def speak(messages: Sequence[Mapping[str, str]], seed: int, body: Mapping[str, Any]) -> Said:
    """Adds two numbers, better when told to check; the proposer learns that from the failures."""
    told, asked = messages[0]["content"], messages[-1]["content"]
    if body["model"] == "gpt-4o":
        if "I provided an assistant" in asked:
            return Said("```\nAdd the numbers and check the sum before you answer.\n```")
        return Said("[[ ## proposed_instruction ## ]]\nAdd them up.\n\n[[ ## completed ## ]]")
    a, b = map(int, re.findall(r"(\d+) plus (\d+)", asked)[-1])
    digest = hashlib.sha256(f"{asked}{seed}".encode()).digest()[0] / 256
    wrong = digest < (0.05 if "check the sum" in told else 0.5)
    return Said(
        f"[[ ## reasoning ## ]]\nI add.\n\n[[ ## answer ## ]]\n{a + b + wrong}\n\n"
        "[[ ## completed ## ]]"
    )


def test_the_litellm_example_runs_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": f"{a} plus {b}", "answer": str(a + b)}
        for a in range(41, 51)
        for b in range(17, 43)
    ]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    space = tmp_path / "space.yaml"
    space.write_text(DIRECT_SPACE)
    with Loopback(speak=speak, key=KEY) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        loaded("litellm_model").main(
            questions,
            "openai/gpt-4o-mini",
            "openai/gpt-4o",
            tmp_path / "run",
            space=str(space),
            trials=6,
            search_size=LITTLE,
            proposing=Proposing(
                "openai/gpt-4o", grounded=1, reflected=0, demo_sets=(2,), most_prompts=3
            ),
        )
    shown = capsys.readouterr().out
    assert "round 1: " in shown
    assert "round 2: 1 prompts" in shown
    asked = [body for body in server.bodies if body["model"] == "gpt-4o"]
    assert len(asked) == 2
    assert "in mode" in asked[-1]["messages"][-1]["content"]
    file = PolicyFile.load(tmp_path / "run" / "main.yaml")
    assert any("check the sum" in m.content for p in file.prompts.values() for m in p.messages)
    assert file.expected.score > file.evidence.baseline.score


def test_the_litellm_example_says_how_it_is_called() -> None:
    assert "questions.jsonl" in str(loaded("litellm_model").__doc__)
