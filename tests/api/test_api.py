"""Tierwise from Python: from data in memory to a policy, and errors in Python's words."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import tierwise as tw
from tierwise.api import ProgressLine
from tierwise.llm import Completion
from tierwise.llm.scripted import ScriptedModel
from tierwise.search import Bought, Finished, Started
from tierwise.tasks import Item

RNG = random.Random(1)
SUMS = [(RNG.randint(1, 19), RNG.randint(1, 19), RNG.randint(1, 19)) for _ in range(260)]
ROWS = [{"question": f"{a} + {b} - {c}", "result": a + b - c} for a, b, c in SUMS]
ANSWER = tw.AnswerSpec(regex=r"answer\s*:\s*(-?\d+)", normalise="integer")
WORDS = tw.AnswerSpec(normalise="text")
PROMPTS = {
    name: [{"role": "system", "content": text}, {"role": "user", "content": "{{ question }}"}]
    for name, text in (("plain", "Solve this."), ("steps", "Go step by step."))
}
JOB: dict[str, Any] = {
    "target": "result",
    "answer": ANSWER,
    "prompts": PROMPTS,
    "tiers": {"small": "embedded/small"},
    "space": "quick",
    "trials": 12,
    "name": "sums",
}


def right(answer: str, item: Item) -> bool:
    return answer == item.target


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tw.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return tw.tune(pd.DataFrame(ROWS), metric=right, out=out, progress=False, **JOB)


def test_a_data_frame_becomes_a_policy_that_answers(run: tw.Run, tmp_path: Path) -> None:
    saved = run.policies["small"].save(tmp_path / "small.yaml")
    model = ScriptedModel(lambda request, seed: Completion("answer : 9", 3, 3))
    runtime = tw.PolicyRuntime(tw.PolicyFile.load(saved), model)
    assert runtime.answer_sync(question="6 + 5 - 2").answer == "9"
    assert run.summary.task.metric == "right"
    assert run.summary.task.name == "sums"


def test_a_run_is_shown_in_three_lines_and_as_a_table(run: tw.Run) -> None:
    first, second, third = repr(run).splitlines()
    assert "Run of 'sums'" in first
    assert second.startswith("small: 0.")
    assert "policies: small" in third
    assert len(repr(run)) < 600
    html = run._repr_html_()
    assert html.startswith("<table>")
    assert html.count("<tr>") == 2


def test_frames_have_trials_items_samples_and_the_ablation(run: tw.Run) -> None:
    items, samples = run.frame("items"), run.frame("samples")
    assert run.frame("trials")["score"].between(0, 1).all()
    assert "oracle_bound" in set(run.frame("ablation")["step"])
    tier = run.summary.tiers["small"]
    assert len(items) == tier.items.test
    assert items["score_baseline"].mean() == pytest.approx(tier.baseline.score)
    assert items["score_policy"].mean() == pytest.approx(tier.exported.score)
    assert items["usd_policy"].mean() == pytest.approx(tier.exported.usd_per_item)
    assert set(items["question"]) <= {row["question"] for row in ROWS}
    truth = {row["question"]: str(row["result"]) for row in ROWS}
    by_item = items.set_index("item")["question"]
    assert samples["text"].notna().all()
    for row in samples.head(200).itertuples():
        answer = ANSWER.extract(row.text)
        assert row.abstained == (answer is None)
        assert row.score == float(answer == truth[by_item[row.item]])
    with pytest.raises(tw.TierwiseError, match="did you mean 'trials'"):
        run.frame("trails")


def test_a_run_is_opened_from_its_folder_and_compared(run: tw.Run) -> None:
    again = tw.Run(str(run.path))
    assert again.policies == run.policies
    assert repr(again) == repr(run)
    assert again.report().exists()
    tables = tw.compare(run)
    assert set(tables["prompts"]["tier"]) == {"small"}
    assert len(repr(tables)) < 2000
    assert list(tw.compare(run.path, sections=["recipes"])) == ["recipes"]
    with pytest.raises(tw.TierwiseError, match="did you mean 'prompts'"):
        tw.compare(run, sections=["prompt"])


def test_the_same_call_goes_on_and_buys_nothing_twice(run: tw.Run) -> None:
    before = (run.path / "summary.json").read_bytes()
    tw.tune(pd.DataFrame(ROWS), metric=right, out=run.path, progress=False, **JOB)
    assert (run.path / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    "change", [{"prompts": {"plain": "Solve: {{ question }}"}}, {"metric": "exact_match"}]
)
def test_another_call_in_that_folder_is_refused_in_pythons_words(run: tw.Run, change: dict) -> None:
    job = {"metric": right, **JOB, **change}
    with pytest.raises(tw.TierwiseError, match="fresh=True") as caught:
        tw.tune(pd.DataFrame(ROWS), out=run.path, progress=False, **job)
    assert "--" not in str(caught.value)


def test_a_plan_says_what_it_would_buy_without_a_call(run: tw.Run) -> None:
    planned = tw.plan(ROWS, **JOB, budget=0.5)
    assert repr(planned).startswith("small: ")
    frame = planned.frame()
    assert set(frame["tier"]) == {"small"}
    assert frame["usd_worst"].sum() > 0
    assert planned._repr_html_().startswith("<table>")


def test_a_metric_may_have_parameters_and_they_are_part_of_the_run(run: tw.Run) -> None:
    near: dict[str, Any] = {**JOB, "metric": {"numeric": {"absolute": 1}}}
    with pytest.raises(tw.TierwiseError, match="holds another job"):
        tw.tune(ROWS, out=run.path, progress=False, **near)
    far: dict[str, Any] = {**JOB, "metric": {"numeric": {"absolut": 1}}}
    with pytest.raises(tw.TierwiseError, match="did you mean 'absolute'"):
        tw.plan(ROWS, **far)


def test_a_file_of_rows_a_task_and_a_name_are_data_too(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))  # four of them are there twice
    task = tw.Task.from_jsonl(path, inputs=["question"], target="result", answer=ANSWER)
    by_file, by_task = tw.plan(path, **JOB), tw.plan(task, **{**JOB, "target": "unused"})
    assert by_file == by_task == tw.plan(ROWS, **JOB)
    named = tw.plan("arithmetic", tiers="embedded/small", space="quick")
    assert list(named.tiers) == ["small"]
    with pytest.raises(tw.TierwiseError, match="has its own prompts"):
        tw.plan("arithmetic", tiers="embedded/small", prompts=["{{ question }}"])


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"tiers": {}}, 'tiers= is missing: such as tiers={"mini"'),
    ({"prompts": ()}, 'prompts= is missing: .* prompts=\\["{{ question }}"\\]'),
    ({"prompts": ["Solve {question}"], "inputs": ["question"]}, "write {{ question }}, with two"),
    ({"prompts": ["Solve it."], "inputs": ["question"]}, "prompt 'p0' uses no input"),
    ({"prompts": ["{{ questoin }}"]}, "unknown column 'questoin'; did you mean 'question'"),
    ({"prompts": ["{{ result }}"], "inputs": ["question"]}, "input in prompt 'p0' 'result'"),
    ({"prompts": [[{"role": "user"}]]}, "message 0 of prompt 'p0' must be"),
    ({"inputs": ["questoin"]}, "did you mean 'question'"),
    ({"target": "resullt"}, "target=\"resullt\" is no column .* did you mean 'result'"),
    ({"trails": 3}, "unknown argument 'trails'; did you mean 'trials'"),
    ({"metric": "exact"}, "unknown metric 'exact'; did you mean 'exact_match'"),
    ({"metric": lambda answer, item: 3}, "a score is a number from 0 to 1"),
    ({"tiers": {"small": "embedded/smal"}}, "did you mean"),
    ({"space": "quik"}, "did you mean 'quick'"),
    ({"trials": 0}, "trials must be at least 1"),
    ({"budget": -1}, "budget.usd must be above 0"),
    ({"budget": "5"}, "budget= is a number of dollars or a tw.Budget, got '5'"),
    ({"budget": tw.Budget(calls=3)}, "budget"),
    ({"tiers": 3}, "tiers= must map names to models"),
    ({"tiers": ["embedded/small"]}, "tiers= must map names to models"),
    ({"tiers": {"s": 3}}, "tiers.s.model must be text, got 3"),
    ({"tiers": {"s": tw.Tier("openai/x", price=3)}}, "tiers.s.price must be a mapping, got 3"),
    ({"tiers": {"../x": "embedded/small"}}, "'../x' is no name"),
    ({"trials": "3"}, "trials must be a whole number, got '3'"),
    ({"prompts": 3}, "prompts= is a list or a dict of prompts"),
    ({"prompts": [3]}, "prompt 'p0' is a text or chat messages, got 3"),
    ({"target": 3}, "target= is the name of a column, got 3"),
    ({"metric": 3}, "metric= is a name, {name: parameters}, a tw.Judge or a function"),
    ({"answer": "x"}, "answer= is a tw.AnswerSpec"),
    ({"name": "../x"}, "'../x' is no name"),
    ({"escalate_to": "small"}, "escalate_to must be a list"),
]


@pytest.mark.parametrize(("change", "says"), MISTAKES)
def test_a_mistake_is_said_in_pythons_words(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(tw.TierwiseError, match=says) as caught:
        tw.tune(ROWS, **{**JOB, **change}, out=tmp_path / "run", progress=False)
    said = str(caught.value)
    assert "--" not in said
    assert "`tierwise" not in said
    assert "yaml" not in said


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("x" * 5000, "neither a task nor a path"),
        ("arithmetc", "did you mean 'arithmetic'"),
        ("none.csv", "no such file of items"),
        (pd.DataFrame(), "no rows"),
        (3, "rows of a int"),
        ({"question": ["1"]}, "rows of a dict"),
        ([1], "row 0 is a int"),
    ],
)
def test_what_is_no_data_is_said(data: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(tw.TierwiseError, match=says):
        tw.tune(data, **JOB, out=tmp_path / "run", progress=False)


def test_a_folder_that_is_no_run_is_said_in_pythons_words(tmp_path: Path) -> None:
    with pytest.raises(tw.TierwiseError, match=r"not a run directory .* tw\.tune"):
        tw.Run(tmp_path)


def test_names_that_mean_harm_are_text_in_a_notebook(run: tw.Run) -> None:
    hostile = "<script>alert(1)</script>\x1b[2J"
    summary = SimpleNamespace(
        task=SimpleNamespace(name=hostile), tiers={}, failed={hostile: hostile}
    )
    shown = tw.Run(run.path)
    object.__setattr__(shown, "_files", SimpleNamespace(summary=summary, tiers={}))
    assert "<script>" not in shown._repr_html_()
    assert "\x1b" not in repr(shown) + shown._repr_html_()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events() -> list[Any]:
    progress = SimpleNamespace(samples_done=3, samples_planned=1200, waiting="")
    return [
        Started("small", "screen"),
        Bought("small", "screen", progress, 3, 0.25),
        Started("large", "race"),
        Finished("small"),
        Finished("large", ok=False, message="no\nkey"),
    ]


@pytest.mark.parametrize("out", [Terminal(), io.StringIO()])
def test_progress_is_one_line_that_is_rewritten_or_a_line_a_stage(out: io.StringIO) -> None:
    line = ProgressLine(out)
    for event in events():
        line.hear(event)
    line.end()
    shown = out.getvalue()
    if out.isatty():
        assert shown.count("\n") == 1
        assert shown.split("\r")[-1].startswith("tierwise  small: done  large: failed: no\\nkey")
    else:
        assert "\r" not in shown
        assert shown.count("\n") == 4
    assert "$0.2500" in shown


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import tierwise as tw\n"
        "print('once')\n"
        "numbers = [(a, b) for a in range(1, 16) for b in range(1, 11)]\n"
        "rows = [{'q': f'{a} + {b}', 'target': a + b} for a, b in numbers]\n"
        "run = tw.tune(rows, prompts=['{{ q }}'], tiers='embedded/small', space='quick',\n"
        "    trials=3,\n"
        "    answer=tw.AnswerSpec(regex=r'answer : (.*)'), progress=False)\n"
        "print(run)\n"
    )
    got = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert got.returncode == 0, got.stderr
    assert got.stdout.count("once") == 1
    assert "Run of 'task'" in got.stdout
    assert got.stderr == ""


def test_names_are_public_and_lazy() -> None:
    for name in tw.__all__:
        assert getattr(tw, name) is not None
    code = "import sys, tierwise; print(sorted({'numpy', 'optuna', 'pydantic'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = tw.nothing_here
    assert (Path(tw.__file__).parent / "py.typed").exists()


def test_a_run_in_which_nothing_is_right_says_so_at_once(tmp_path: Path) -> None:
    rows = [{**row, "result": ["a", "b"]} for row in ROWS]

    def never(answer: str, item: object) -> float:
        return 0.0

    run = tw.tune(
        rows, **{**JOB, "metric": never, "answer": WORDS}, out=tmp_path / "run", progress=False
    )
    said = " ".join(run.summary.tiers["small"].remarks)
    assert "scored anything under any prompt" in said
    assert "where 'a' is right" in said
    assert "have several right answers" in said


def test_a_model_without_a_price_is_said_in_pythons_words(tmp_path: Path) -> None:
    with pytest.raises(tw.TierwiseError, match=r'tw.Tier\("openai/none", price=tw.Price') as caught:
        tw.plan(ROWS, **{**JOB, "tiers": {"small": "openai/none"}})
    assert "tiers:" not in str(caught.value)
