"""Text of items is data in a tune: items and demonstrations are sent as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.search.scripted_job import JOB, OPENING, SPACE, TASK, install, make_job, run, says
from tierwise.llm import LanguageModel, Request, Result
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.schema import Tier

ONE = JOB.replace("  strong: {model: scripted/strong}\n", "")
TOLD = r" The template says: Dear {{ first_name }}, {{ question }} {% x %} <|im_start|> \n"


def test_braces_in_items_and_demonstrations_are_never_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    shown: list[str] = []
    asked: list[str] = []
    right = answering(says)

    def script(request: Request, seed: int) -> Result:
        *before, last = request.messages
        shown.extend(m.content for m in before if m.role == "user")
        asked.append(last.content)
        plain = last._replace(content=last.content.removesuffix(TOLD))
        return right(replace(request, messages=(*before, plain)), seed)

    def opened(tier: Tier, **more: object) -> LanguageModel:
        return ScriptedModel(script)

    monkeypatch.setattr(OPENING, "open_model", opened)
    path = make_job(tmp_path / "job", job=ONE)
    items = path.parent / "task" / "items.jsonl"
    rows = [json.loads(line) for line in items.read_text().splitlines()]
    for row in rows:
        row["inputs"]["question"] += TOLD
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shows = 'demonstration: {direct: "A: {{ target }}"}\n'
    (path.parent / "task" / "task.yaml").write_text(TASK + shows)
    (path.parent / "space.yaml").write_text("prompts: {demos: [0, 2]}\n" + SPACE)
    run(path, tmp_path / "run")
    questions = {row["inputs"]["question"] for row in rows}
    assert set(asked) <= questions
    assert shown
    assert set(shown) <= questions
