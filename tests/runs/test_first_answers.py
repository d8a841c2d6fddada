"""What a tier's answers show beside their scores, while it can still be changed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.search.scripted_job import (
    JOB,
    OPENING,
    PROMPTS,
    TASK,
    TINY,
    install,
    make_job,
    run,
    says,
)
from tierwise.analysis.tier_files import NotShown
from tierwise.api.results import Run, compare_runs
from tierwise.cli._plan import planned, remarks
from tierwise.cli._results import show_results
from tierwise.errors import InputError, ProviderError
from tierwise.llm import Completion, Failure, LanguageModel, Request, Result
from tierwise.llm.scripted import Script, ScriptedModel, answering, failing, hash_uniform
from tierwise.report.between import comparison_tables
from tierwise.report.compare import Table
from tierwise.runs.artifacts import read_run
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import TuneResult, replay
from tierwise.schema import Tier, load_job
from tierwise.schema.measured import FailedItems
from tierwise.search import Bought, Event, Remarked

ONE = JOB.replace("  strong: {model: scripted/strong}\n", "")
PLAIN = answering(says)


def tuned(
    folder: Path,
    patch: pytest.MonkeyPatch,
    script: Script,
    job: str = ONE,
    answer: str = "",
    prompts: int = 3,
    target: str = "",
) -> tuple[TuneResult, list[Event], list[ScriptedModel]]:
    install(patch)
    opened: list[ScriptedModel] = []
    events: list[Event] = []

    def open_scripted(tier: Tier, **more: object) -> LanguageModel:
        opened.append(ScriptedModel(script))
        return opened[-1]

    patch.setattr(OPENING, "open_model", open_scripted)
    path = make_job(folder / "job", job=job)
    task = path.parent / "task"
    if answer:
        rows = TASK.splitlines()
        rows[[row.split(":")[0] for row in rows].index("answer")] = f"answer: {answer}"
        (task / "task.yaml").write_text("\n".join(rows))
    if target:  # of every item: what the rule can read
        lines = (task / "items.jsonl").read_text().splitlines()
        new = [json.dumps(json.loads(line) | {"target": target}) + "\n" for line in lines]
        (task / "items.jsonl").write_text("".join(new))
    (task / "prompts.yaml").write_text("- id:".join(PROMPTS.split("- id:")[: prompts + 1]))
    try:
        return run(path, folder / "run", listener=events.append), events, opened
    finally:
        folder.joinpath("bought").write_text(str(sum(model.samples for model in opened)))


def assert_replays(run: Path) -> None:
    before = (run / "summary.json").read_bytes()
    replay(run, search_size=TINY)
    assert (run / "summary.json").read_bytes() == before


def never_read(request: Request, seed: int) -> Result:
    return Completion(f"The sum comes to number {seed % 7}, I think", 9, 9)


def in_words(text: str) -> Script:
    """Answers ``text`` with {} for the sum."""

    def said(request: Request, seed: int) -> Result:
        right = sum(map(int, request.messages[-1].content.split(" + ")))
        return Completion(text.format(right + seed % 2), 9, 9)

    return said


@pytest.mark.parametrize(
    ("answer", "says", "prompts"),
    [
        pytest.param(
            "{extract: {regex: '(A): (-?\\d+)'}, normalise: integer}", "A: {}", 3, id="wrong group"
        ),
        pytest.param("", "Antwort: {}", 3, id="labels in another language"),
        pytest.param(
            "{normalise: json, fields: [anwser]}", '{{"answer": {}}}', 3, id="a field misspelt"
        ),
        pytest.param(
            "{extract: {regex: '\\A(\\d+)\\z'}}", "It comes to {}.", 3, id="the whole text alone"
        ),
        pytest.param(
            "{extract: {regex: '(?m)^A: (.*)$', take: first}, normalise: integer}",
            "A: let me see\nA: {}",
            3,
            id="first and not last",
        ),
        pytest.param("{normalise: choice}", "The sum is {}", 3, id="another normalise"),
        pytest.param("", "I think that it is {}", 2, id="two prompts"),
        pytest.param("", "I think that it is {}", 1, id="a space of one prompt"),
    ],
)
def test_a_pattern_that_reads_nothing_costs_what_twenty_samples_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, says: str, prompts: int
) -> None:
    target = "A" if "choice" in answer else '{"anwser": 3}' if "json" in answer else ""
    with pytest.raises(InputError, match="cannot be read as answers of task 'sums'") as caught:
        tuned(tmp_path, monkeypatch, in_words(says), ONE, answer, prompts, target)
    said = str(caught.value)
    assert "answer.extract" in said or "the whole text" in said
    shown = [line for line in said.splitlines() if line.startswith("  ")]
    assert len(shown) == 3
    bought = int((tmp_path / "bought").read_text())
    print(f"alarm after {bought} samples")  # noqa: T201 - with -s
    assert 20 <= bought <= 25


def test_where_the_first_answers_were_cut_those_that_were_not_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="that were not cut cannot be read"):
        tuned(tmp_path, monkeypatch, cut(0.7, never_read))


def cut(share: float, script: Script = PLAIN) -> Script:
    def said(request: Request, seed: int) -> Result:
        if hash_uniform(request, seed, "cut") < share:
            return Completion("so the tens are carried and A: 1", 9, 16, finish_reason="length")
        return script(request, seed)

    return said


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(cut(0.97, never_read), id="what was cut"),
        pytest.param(
            lambda request, seed: (
                never_read if request.messages[0].content.startswith("Think") else PLAIN
            )(request, seed),
            id="one prompt of two",
        ),
        pytest.param(
            lambda request, seed: (PLAIN if seed % 4 == 0 else never_read)(request, seed),
            id="three of four",
        ),
    ],
)
def test_what_says_nothing_of_the_pattern_raises_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Callable[..., Result]
) -> None:
    tuned(tmp_path, monkeypatch, script)
    assert int((tmp_path / "bought").read_text()) > 100


def test_answers_that_were_cut_are_said_while_the_cap_can_be_raised_and_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, events, _ = tuned(tmp_path, monkeypatch, cut(0.7))
    [remark] = [e for e in events if isinstance(e, Remarked)]
    at = events.index(remark)
    stages = [getattr(e, "stage", "") for e in events]
    assert at < stages.index("race")
    bought = [e.calls for e in events[:at] if isinstance(e, Bought)]
    assert max(bought) <= 25, "said after the first answers"
    assert "% of the samples of mode direct were cut at 16 tokens" in remark.text
    assert remark.text.endswith("raise max_tokens")
    [said] = [text for text in result.summary.tiers["weak"].remarks if "were cut at" in text]
    share = int(said.split("%")[0])
    assert 60 <= share <= 80
    assert f"{said}." in result.policies["weak"].notes
    assert said in plan_of_the_rest(tmp_path)
    # A cut answer is paid for and scores nothing, although its text has the pattern in it.
    assert result.summary.tiers["weak"].baseline.score < 0.35
    assert_replays(tmp_path / "run")


def test_the_items_that_a_filter_refuses_leave_small_splits_and_the_others_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filtered(request: Request, seed: int) -> Result:
        if request.messages[-1].content in refused_items:
            return Failure("content_policy", "filtered")
        return PLAIN(request, seed)

    refused_items = {question(3), question(40), question(41), question(100)}
    result, _, _ = tuned(tmp_path, monkeypatch, filtered)
    tier = result.summary.tiers["weak"]
    said = "; ".join(tier.remarks)
    assert "failed under every prompt and left the items for all" in said
    problem = result.found["weak"].problem
    looked_at = {
        "test": problem.items["test"][: problem.search_size.test_items],
        "validation": problem.items["validation"][: problem.search_size.study_items],
    }
    gone = {
        split: sum(item.inputs["question"] in refused_items for item in items)
        for split, items in looked_at.items()
    }
    assert gone["test"]
    assert gone["validation"]
    for got in (tier.baseline, *tier.operating_points.values(), *tier.ablation.values()):
        assert got.failed == FailedItems(gone[got.split], 0)
        assert got.items + gone[got.split] == len(looked_at[got.split])
    assert tier.chosen.validation.failed.left_out == gone["validation"]
    assert tier.oracle_bound.failed.left_out == gone["validation"]
    assert {point.failed.left_out for point in tier.front} == {gone["validation"]}
    assert {row.failed.left_out for row in tier.ranks} == {gone["validation"]}
    assert all(row.failed.unanswered == 0 for row in tier.screened)
    assert_everywhere(tmp_path / "run", result, f"{gone['test']} left out")
    assert_replays(tmp_path / "run")


def plan_of_the_rest(folder: Path) -> str:
    """What `tierwise plan` says of a folder with a run in it."""
    job = load_job(folder / "job" / "job.yaml")
    return "\n".join(remarks(planned(prepare(job), folder / "run", resume=True)))


def assert_everywhere(folder: Path, result: TuneResult, said: str) -> None:
    """The counts stand beside the scores of the table, report, comparison, policy and frames."""
    out = io.StringIO()
    show_results(result, console=Console(file=out, width=200))
    assert said in out.getvalue()
    loaded = Run(folder)
    assert said in repr(loaded)
    assert said in loaded._repr_html_()
    count = int(said.split()[0])
    name = said.split(maxsplit=1)[1].replace(" ", "_")
    assert count in loaded.frame("ablation")[f"failed.{name}"].tolist()
    assert loaded.frame("trials")[name].max() > 0
    policy = loaded.policies["weak"]
    for of in (policy.expected, policy.evidence.baseline):
        assert of.failed is not None
    tables = compare_runs(folder)
    assert tables["prompts"][name].max() > 0
    assert said in "".join(
        text for table in comparison_tables([read_run(folder)]) for text in words_of(table)
    )
    assert said in loaded.report().read_text()


def words_of(table: Table) -> Iterator[str]:
    for row in table.rows:
        yield from () if isinstance(row, NotShown) else table.section.cells(row)


def test_a_prompt_that_overflows_the_context_keeps_its_own_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(request: Request, seed: int) -> Result:
        steps = request.messages[0].content.startswith("Think")
        if steps and request.messages[-1].content.count("+") >= 2:
            return Failure("context_window", "too long")
        return PLAIN(request, seed)

    result, _, _ = tuned(tmp_path, monkeypatch, short)
    tier = result.summary.tiers["weak"]
    assert any(
        "failed under some prompts, and count as unanswered (score 0)" in r for r in tier.remarks
    )
    by_prompt = {row.variant.split("/")[0]: row for row in tier.screened}
    # The best prompt where it is answered, and unanswered on half of the items.
    assert by_prompt["steps"].score < by_prompt["plain"].score
    found = result.found["weak"]
    screened = found.problem.items["validation"][: found.problem.search_size.screen_items]
    long = sum(item.inputs["question"].count("+") >= 2 for item in screened)
    assert by_prompt["steps"].failed == FailedItems(0, long)
    assert by_prompt["plain"].failed == FailedItems(0, 0)
    assert tier.baseline.failed == FailedItems(0, 0)
    assert any(row.failed.unanswered for row in tier.ranks)
    steps = next(t for t in tier.techniques if t.prompt == "steps")
    assert steps.failed == FailedItems(0, long)
    assert_replays(tmp_path / "run")


def test_a_tier_of_which_nothing_is_left_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProviderError, match="failed for good"):
        tuned(tmp_path, monkeypatch, failing(PLAIN, 1.0))


def question(k: int) -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = make_job(Path(folder) / "job")
        lines = (path.parent / "task" / "items.jsonl").read_text().splitlines()
    return str(json.loads(lines[k])["inputs"]["question"])
