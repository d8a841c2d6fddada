"""Where no answer form makes answers equal, votes are refused, and what can choose is offered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.schema.folders import make_task
from tierwise.errors import InputError
from tierwise.runs.prepare import prepare
from tierwise.schema import Job, TierSpec
from tierwise.strategies import STRATEGIES, counts_equal_answers

SUMMARY = "The council met on Monday and agreed to repair the old bridge before winter comes {}."
TASK = """name: summaries
inputs: [text]
items: items.jsonl
prompts: prompts.yaml
answer: {normalise: none}
metric: METRIC
"""


def job(folder: Path, target: str = SUMMARY, metric: str = "rouge", **more: object) -> Job:
    rows = [{"inputs": {"text": f"text {i}"}, "target": target.format(i)} for i in range(60)]
    prompts = '- {id: plain, user: "Summarise: {{ text }}"}\n'
    task = TASK.replace("METRIC", metric)
    if "normalise" in more:
        task = task.replace("normalise: none", f"normalise: {more.pop('normalise')}")
    path = make_task(folder, task=task, prompts=prompts, items="\n".join(map(json.dumps, rows)))
    tiers = {"small": TierSpec("embedded/small")}
    return Job(task=str(path / "task.yaml"), tiers=tiers, **more)


def test_votes_over_free_text_are_left_out_with_the_reason_and_what_can_choose(tmp_path) -> None:
    prepared = prepare(job(tmp_path))
    left = [STRATEGIES.classes[kind] for kind in prepared.space.strategies]
    assert not any(map(counts_equal_answers, left))
    assert {"single", "best_of_n"} <= set(prepared.space.strategies)
    assert "probe_agreement" not in prepared.space.signals
    [said] = prepared.remarks
    for part in ("self_consistency", "no two are the same", "judged_best_of_n", "best_of_n with"):
        assert part in said


def test_a_space_of_votes_alone_is_refused(tmp_path) -> None:
    space = tmp_path / "votes.yaml"
    space.write_text(
        "temperature: [0.8]\nstrategies: {self_consistency: {samples: [3, 5]}}\nmodes: [direct]\n"
    )
    with pytest.raises(InputError, match="votes only, and answers are free text"):
        prepare(job(tmp_path / "task", space=str(space)))


@pytest.mark.parametrize(
    ("target", "metric", "normalise"),
    [
        ("word {}", "f1", "text"),  # short answers are often the same
        (SUMMARY, "exact_match", "text"),  # one right text: who says it says the same
        (SUMMARY, "set_f1", "labels"),  # sets are
    ],
)
def test_votes_stay_where_answers_can_be_the_same(
    tmp_path, target: str, metric: str, normalise: str
) -> None:
    prepared = prepare(job(tmp_path, target, metric, normalise=normalise))
    assert "self_consistency" in prepared.space.strategies
    assert prepared.remarks == ()
