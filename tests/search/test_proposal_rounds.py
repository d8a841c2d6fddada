"""Rounds of proposals in a tune: what is asked, tried, refused, stored, and when they end."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.search.scripted_job import OPENING, TINY, install, make_job
from tierwise.errors import UnsupportedError
from tierwise.llm import Completion, Failure, LanguageModel, Request, Result
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.pool.run_dir import RunDir
from tierwise.runs.artifacts import read_run, stage_usage
from tierwise.runs.run_proposals import load_proposed
from tierwise.runs.tune import TuneResult, replay, tune
from tierwise.schema import Message, PolicyFile, Price, Tier, load_job
from tierwise.schema.result import ProposalRound
from tierwise.search.proposal_rounds import TextLedger

RUN_PROPOSALS = importlib.import_module("tierwise.runs.run_proposals")
PLAN = importlib.import_module("tierwise.runs.plan")
TUNE = importlib.import_module("tierwise.runs.tune")

PROMPTS = """- id: plain
  user: "{{ question }}"
- id: shout
  system: Be quick.
  user: "{{ question }}"
"""
JOB = """task: task
space: space.yaml
seed: 3
trials: 18
tiers:
  weak: {model: scripted/weak}
proposals: {model: scripted/proposer, rounds: 3, instructions: 2}
"""
BETTER = "Think about the sum before you answer."

Says = Callable[[str, int], Result]
"""(what the proposer is asked, number of the call) -> its answer."""


def says(request: Request) -> dict[str, float]:
    """Right half of the time; nearly always when it thinks, hardly ever in a hurry."""
    right = sum(int(t) for t in request.messages[-1].content.split(" + "))
    first = request.messages[0].content
    p = 0.9 if first.startswith("Think") else 0.1 if first.startswith("Be") else 0.5
    return {f"A: {right}": p, **{f"A: {right + d}": (1 - p) / 3 for d in (1, -1, 10)}}


def grounded(text: str) -> Completion:
    return Completion(f"[[ ## proposed_instruction ## ]]\n{text}\n\n[[ ## completed ## ]]", 50, 20)


def reflecting(asked: str) -> bool:
    return "I provided an assistant" in asked


class Proposer:
    """Scripted; ``asked`` are the prompts that it saw."""

    def __init__(self, says: Says) -> None:
        self.asked: list[str] = []
        self.says = says

    def open(self, tier: Tier, **more: object) -> LanguageModel:
        return ScriptedModel(self._answer)

    def _answer(self, request: Request, seed: int) -> Result:
        asked = request.messages[-1].content
        self.asked.append(asked)
        return self.says(asked, len(self.asked) - 1)


def helpful(asked: str, call: int) -> Result:
    """Bad at first; on reflection it finds what helps."""
    if not reflecting(asked):
        return grounded("Be very very quick about it.")
    return Completion(f"```\n{BETTER}\n```" if call % 2 else "```\nBe quick, be brief.\n```", 90, 9)


Installed = Callable[[Says], Proposer]


def set_up(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A job's file, with scripted models behind its tier."""
    path = make_job(folder, job=JOB, items=300)
    task = path.parent / "task"
    (task / "prompts.yaml").write_text(PROMPTS)
    text = (task / "task.yaml").read_text()
    (task / "task.yaml").write_text(text.replace("0.05, validation: 0.55", "0.1, validation: 0.5"))
    install(patch, says=says)
    return path


def installed(patch: pytest.MonkeyPatch, says: Says) -> Proposer:
    made = Proposer(says)
    tier = Tier(
        "proposer",
        "embedded/proposer",
        Price(2.0, 8.0, as_of="2026-01"),
        {"direct": {"max_tokens": 300}},
    )
    patch.setattr(RUN_PROPOSALS, "open_model", made.open)
    for module in (RUN_PROPOSALS, TUNE, PLAN):
        patch.setattr(module, "proposer_of", lambda spec: tier)
    return made


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return set_up(tmp_path / "job", monkeypatch)


@pytest.fixture
def proposer(monkeypatch: pytest.MonkeyPatch) -> Installed:
    return lambda says: installed(monkeypatch, says)


class Helped(NamedTuple):
    """A run whose proposer was helpful."""

    job: Path
    proposer: Proposer
    result: TuneResult
    ledger: TextLedger

    @property
    def folder(self) -> Path:
        return self.result.run.path


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helped]:
    folder = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        job, made = set_up(folder / "job", patch), installed(patch, helpful)
        ledgers: list[TextLedger] = []

        class Kept(TextLedger):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                ledgers.append(self)

        patch.setattr("tierwise.runs.tiers.TextLedger", Kept)
        yield Helped(job, made, run(job, folder / "run"), ledgers[0])


def run(job: Path, out: Path) -> TuneResult:
    return tune(load_job(job), out, search_size=TINY)


def rounds_of(result: TuneResult) -> tuple[ProposalRound, ...]:
    return result.summary.tiers["weak"].rounds


def results(folder: Path) -> dict[str, bytes]:
    wanted = [
        folder / "summary.json",
        folder / "trials.csv",
        *folder.glob("policies/*"),
        *folder.glob("proposals/*"),
    ]
    return {str(p.relative_to(folder)): p.read_bytes() for p in wanted}


def test_a_round_mends_what_the_policy_gets_wrong(helped: Helped) -> None:
    _, made, result, _ = helped
    first, second, *_ = rounds_of(result)

    assert [p.origin for p in first.prompts] == ["grounded/0"]
    assert "the same as" in first.refused[0].reason
    shown = next(asked for asked in made.asked if not reflecting(asked))
    assert "Question" in shown  # train examples with their answers are in sight

    assert second.before != second.after
    assert second.gain.score_difference_ci95[0] > 0
    assert second.ended == ""
    assert second.briefs[0].failures > 0
    policy = result.policies["weak"]
    assert any(BETTER in m.content for p in policy.prompts.values() for m in p.messages)
    assert PolicyFile.loads(policy.dumps()) == policy


def test_what_the_search_counts_is_what_the_tier_was_billed(helped: Helped) -> None:
    """Tries of candidates, what rounds reflect on and accept by, and probes among it."""
    spending, counted = helped.result.summary.tiers["weak"].spending, helped.ledger.spent
    # Two items here may ask the same, which is bought once.
    assert spending.calls <= counted.calls < 1.03 * spending.calls
    assert spending.usd <= counted.usd < 1.03 * spending.usd


def test_the_reflection_sees_how_the_candidate_will_be_run(helped: Helped) -> None:
    brief = rounds_of(helped.result)[1].briefs[0]
    asked = next(asked for asked in helped.proposer.asked if reflecting(asked))
    assert brief.run_as in asked
    assert "in mode direct" in brief.run_as
    assert " x" in asked.partition("Answers of its samples")[2]


def test_what_was_planned_for_each_round_stands_beside_what_it_bought(helped: Helped) -> None:
    rows = {(r.tier, r.stage): r for r in stage_usage(read_run(helped.folder))}
    books = [("proposer", "round 1"), ("proposer/weak", "round 2")]
    assert all(rows[book].planned.calls == 2 for book in books)
    assert all(rows[book].spent.calls > 0 for book in books)
    assert all(row.planned is not None for row in rows.values() if row.spent.calls)


def test_a_replay_needs_no_proposer_and_gives_the_same_study(helped: Helped) -> None:
    before, calls = results(helped.folder), len(helped.proposer.asked)
    replay(helped.folder, search_size=TINY)
    assert results(helped.folder) == before
    run(helped.job, helped.folder)
    assert results(helped.folder) == before
    assert len(helped.proposer.asked) == calls


def test_without_its_proposals_a_run_cannot_be_replayed(helped: Helped) -> None:
    stored = helped.folder / "proposals" / "first.json"
    text = stored.read_text()
    stored.unlink()
    with pytest.raises(UnsupportedError, match=r"lacks proposals/first\.json"):
        replay(helped.folder, search_size=TINY)
    stored.write_text(text)


def test_rounds_end_where_the_gain_is_not_above_noise(
    job: Path, proposer: Installed, tmp_path: Path
) -> None:
    def useless(asked: str, call: int) -> Result:
        text = f"Say the number {'once more ' * (call + 1)}please."
        return Completion(f"```\n{text}\n```", 9, 9) if reflecting(asked) else grounded(text)

    made = proposer(useless)
    _, second = rounds_of(run(job, tmp_path / "run"))
    assert second.ended == "the gain is not above noise"
    assert sum(map(reflecting, made.asked)) == 2


def test_a_candidate_that_is_surely_worse_in_its_place_is_refused(
    job: Path, proposer: Installed, tmp_path: Path
) -> None:
    proposer(lambda asked, call: Completion(f"```\nBe quick, number {call}, be brief.\n```", 9, 9))
    second = rounds_of(run(job, tmp_path / "run"))[1]
    assert second.ended == "no candidate was worth a study"
    assert all("surely worse than plain in its place" in t.refused for t in second.tried)


@pytest.mark.parametrize("budget", ["{usd: 0.6}", "{calls: 30000, usd: 0.6}"])
def test_the_proposers_bill_is_part_of_the_budget(
    job: Path, proposer: Installed, tmp_path: Path, budget: str
) -> None:
    job.write_text(job.read_text() + f"budget: {budget}\n")
    proposer(helpful)
    result = run(job, tmp_path / "run")
    spent, tier = result.summary.proposals, result.summary.tiers["weak"].spending
    assert 0 < spent.usd <= 0.06
    assert spent.usd + tier.usd <= 0.6


def test_a_proposer_that_fails_at_every_call_costs_the_run_nothing_but_its_proposals(
    job: Path, proposer: Installed, tmp_path: Path
) -> None:
    proposer(lambda asked, call: Failure("bad_request", "it exceeds the context"))
    result = run(job, tmp_path / "run")
    first, second = rounds_of(result)
    assert [r.reason for r in first.refused] == [
        "the proposer failed: [embedded/proposer] bad_request: it exceeds the context"
    ] * 2
    assert second.ended == "nothing new was proposed"
    assert "weak" in result.policies


def test_a_candidate_that_exceeds_the_context_is_refused_and_the_run_goes_on(
    job: Path, proposer: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(request: Request, seed: int) -> Result:
        if "Much too long" in request.messages[0].content:
            return Failure("context_window", "the prompt exceeds the context")
        return answering(says)(request, seed)

    monkeypatch.setattr(OPENING, "open_model", lambda tier, **more: ScriptedModel(answers))

    def long(asked: str, call: int) -> Result:
        text = f"Much too long, number {call}."
        return Completion(f"```\n{text}\n```", 9, 9) if reflecting(asked) else grounded(text)

    proposer(long)
    result = run(job, tmp_path / "run")
    first, second = rounds_of(result)
    assert not first.prompts
    assert ["its calls failed" in r.reason for r in first.refused] == [True, True]
    assert second.tried
    assert all("its calls failed" in t.refused for t in second.tried)
    assert second.ended == "no candidate was worth a study"
    assert "weak" in result.policies


def test_proposals_are_stored_with_their_exact_bytes(helped: Helped) -> None:
    run_dir = RunDir.open(helped.folder)
    names = [p.stem for p in (helped.folder / "proposals").glob("weak.2.*.json")]
    stored = [made for name in names if (made := load_proposed(run_dir, name))]
    (found,) = [s for s in stored if any(c.instructions == BETTER for c in s.candidates)]
    (candidate,) = [c for c in found.candidates if c.instructions == BETTER]
    (prompt,) = [p for p in found.prompts if p.id.endswith(candidate.id)]
    assert prompt.messages[0] == Message("system", BETTER)
    assert prompt.origin == candidate.origin


def test_demonstrations_are_the_tiers_own_right_answers(
    job: Path, proposer: Installed, tmp_path: Path
) -> None:
    job.write_text(
        job.read_text().replace(
            "rounds: 3, instructions: 2", "rounds: 1, instructions: 0, demonstrations: 2"
        )
    )
    made = proposer(helpful)
    result = run(job, tmp_path / "run")
    assert not made.asked
    stored = load_proposed(RunDir.open(tmp_path / "run"), "weak.demonstrations")
    assert stored is not None
    assert [len(c.demos) for c in stored.candidates] == [2, 4]
    for demo in stored.candidates[1].demos:
        total = sum(map(int, demo["question"].split(" + ")))
        assert demo["answer"].endswith(f"A: {total}")
    assert len(rounds_of(result)[0].prompts) == 2
