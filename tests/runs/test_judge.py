"""A judge as the metric of a job: bought once, within the budget, measured, and kept from deciding
where it should not."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runs import judge_worlds as worlds
from tests.runs.judge_worlds import answers, install, run, write_job
from tests.search.scripted_job import TINY
from tierwise.errors import BudgetError, InputError, ProviderError
from tierwise.llm import Completion, Failure, Request
from tierwise.llm.scripted import ScriptedModel
from tierwise.pool import Account, Bought, Remarked, SamplePool
from tierwise.pool.judging import Judging, faults_of_judge
from tierwise.runs.artifacts import read_run, stage_usage
from tierwise.runs.plan import plan, remaining
from tierwise.runs.prepare import prepare
from tierwise.runs.tune import replay
from tierwise.schema import Judge, JudgeSpec, Message, Price, Tier, UsageLimits, load_job
from tierwise.schema.judge import LabelledAnswer
from tierwise.tasks import Item

TRUE = {"plain": 0.4, "careful": 0.8}
"""Mean score of a prompt's answers: its steps of four."""


@pytest.fixture
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def result(tmp_path: Path, patch, says=worlds.honest, **keys):
    install(patch, says)
    return run(write_job(tmp_path, **keys), tmp_path / "out")


def test_a_policy_is_chosen_by_what_the_judge_says_and_says_so(tmp_path, patch):
    models = install(patch)
    found = run(write_job(tmp_path), tmp_path / "out")
    tier, judge = found.summary.tiers["weak"], found.summary.tiers["weak"].judge
    assert tier.gate == "passed"
    assert tier.chosen.score == pytest.approx(TRUE["careful"], abs=0.1)
    assert tier.baseline.score == pytest.approx(TRUE["plain"], abs=0.1)
    assert (judge.labelled, judge.agreement, judge.unanswered, judge.faults) == (40, 1.0, 0, ())
    assert judge.replies > judge.judged_answers == len(set(_asked(models))) - _checks(judge)
    assert max(Counter(_asked(models)).values()) <= 4, "score, two repeats and drift"
    file = found.policies["weak"]
    assert file.evidence.judge.rubric_sha256 == judge.rubric_sha256
    assert any("kappa of 1.00" in note for note in file.notes)
    said = "the judge scripted/judge agrees with 40 labels at a weighted kappa of 1.00 [1.00, 1.00]"
    assert said in tier.remarks


def _asked(models) -> list[str]:
    return models["scripted/judge"].asked


def _checks(judge) -> int:
    """Requests that are no answer of the job: swapped and padded ones."""
    return 2 * judge.checked


def test_what_judging_costs_is_a_row_of_its_own_in_bill_and_plan(tmp_path, patch):
    found = result(tmp_path, patch)
    rows = {row.stage: row for row in stage_usage(read_run(tmp_path / "out"))}
    judge, row = found.summary.tiers["weak"].judge, rows["judge"]
    assert row.spent == judge.spending
    total = sum(r.spent.usd for r in rows.values())
    assert found.summary.tiers["weak"].spending.usd == pytest.approx(total)
    assert 0 < row.planned.usd <= row.worst.usd
    assert row.spent.usd <= row.worst.usd
    planned = plan(prepare(load_job(tmp_path / "job.yaml")), TINY)
    assert (
        remaining(planned, found.run, load_job(tmp_path / "job.yaml")).tiers["weak"].expected.calls
        == 0
    )


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (worlds.noisy(1.0), "not above chance"),
        (worlds.by_position, "reference after the answer"),
        (worlds.by_length, "made longer by nothing new"),
        (worlds.down_for_good(0.33), "have no judgement that can be read"),
    ],
)
def test_a_judge_that_cannot_be_relied_on_is_said_to_and_does_not_decide(
    tmp_path, patch, says, told
):
    heard: list[str] = []
    install(patch, says)

    def listener(event: object) -> None:
        if isinstance(event, Remarked):
            heard.append(event.text)

    found = run(write_job(tmp_path), tmp_path / "out", listener=listener)
    tier, file = found.summary.tiers["weak"], found.policies["weak"]
    assert any(told in fault for fault in tier.judge.faults)
    assert any(told in text for text in heard), "while it can still be stopped"
    assert tier.gate == "not passed"
    assert file.policy.variants[0].prompt == "plain", "the baseline"
    for said in (file.notes, tier.remarks):
        assert any("may not decide" in text and told in text for text in said)


def test_a_judge_that_is_down_for_a_third_of_its_calls_is_asked_again(tmp_path, patch):
    found = result(tmp_path, patch, worlds.down(0.33))
    tier = found.summary.tiers["weak"]
    assert tier.judge.lost_replies / tier.judge.replies == pytest.approx(0.31, abs=0.1)
    assert tier.judge.unanswered / tier.judge.judged_answers == pytest.approx(0.33**3, abs=0.03)
    assert any("failed or gave no score, and were made again" in text for text in tier.remarks)
    assert tier.chosen.score == pytest.approx(TRUE["careful"], abs=0.1), "none of them is a 0"


def test_a_judge_that_says_nothing_ends_the_run_before_a_sample_is_bought(tmp_path, patch):
    models = install(patch, worlds.down(1.0))
    with pytest.raises(ProviderError, match="gave 0 of the first 40 answers a score"):
        run(write_job(tmp_path), tmp_path / "out")
    assert models["scripted/weak"].calls == 0


def test_without_labels_the_run_says_that_agreement_was_not_measured(tmp_path, patch):
    found = result(tmp_path, patch, labels=0)
    tier = found.summary.tiers["weak"]
    assert tier.judge.agreement is None
    assert any("was not measured" in text for text in tier.remarks)
    assert any("was not measured" in text for text in found.policies["weak"].notes)
    assert tier.gate == "passed"


def test_a_replay_asks_nobody_and_writes_the_same_bytes(tmp_path, patch):
    result(tmp_path, patch, worlds.down(0.2))
    written = {
        p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.suffix in (".json", ".yaml")
    }
    models = install(patch, worlds.down(1.0))
    replay(tmp_path / "out", search_size=TINY)
    assert not models
    assert {path: path.read_bytes() for path in written} == written


def test_a_run_that_was_interrupted_while_judging_pays_for_nothing_twice(tmp_path, patch):
    whole = result(tmp_path / "whole", patch)
    models = install(patch)
    heard = Counter[str]()

    def stop(event: object) -> None:
        if isinstance(event, Bought):
            heard[event.stage] += 1
            if heard["judge"] == 4:
                raise KeyboardInterrupt

    job = write_job(tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path / "again" / "out", listener=stop)
    first = models["scripted/judge"].calls
    models = install(patch)
    again = run(job, tmp_path / "again" / "out")
    assert 0 < first < whole.summary.tiers["weak"].judge.spending.calls
    assert again.summary.tiers["weak"].judge == whole.summary.tiers["weak"].judge
    assert again.summary.tiers["weak"].spending == whole.summary.tiers["weak"].spending
    assert again.policies["weak"].policy == whole.policies["weak"].policy


def test_judgements_are_within_the_budget(tmp_path, patch):
    install(patch)
    job = write_job(tmp_path)
    space = worlds.SPACE.replace("single: {}", "best_of_n: {samples: [2, 4], verifier: [game24]}")
    (tmp_path / "space.yaml").write_text(space)
    job.write_text(worlds.JOB + "budget: {calls: 2000}\n")
    found = run(job, tmp_path / "out")
    assert found.summary.tiers["weak"].spending.calls <= 2000
    assert found.summary.tiers["weak"].judge.spending.calls > 200
    job.write_text(worlds.JOB + "budget: {calls: 60}\n")
    with pytest.raises(BudgetError):
        run(job, tmp_path / "small")


def test_a_model_does_not_judge_itself_unless_it_is_let(tmp_path, patch):
    install(patch)
    job = write_job(tmp_path, more="    allow_tuned_model: false\n")
    task = tmp_path / "task" / "task.yaml"
    task.write_text(task.read_text().replace("scripted/judge", "scripted/weak"))
    with pytest.raises(InputError, match="favours its own answers"):
        run(job, tmp_path / "out")
    task.write_text(task.read_text().replace("_model: false", "_model: true"))
    prepared = prepare(load_job(job))
    assert prepared.judge_tier.model == "scripted/weak"


def test_a_judge_may_be_a_part_of_a_weighted_metric(tmp_path, patch):
    install(patch, worlds.down_for_good(0.03))
    job = write_job(tmp_path, target="grade", more="    weight: 3\n")
    task = tmp_path / "task" / "task.yaml"
    head, _, judge = task.read_text().partition("metric:\n")
    judge = "".join(f"  {line}\n" for line in judge.splitlines())
    task.write_text(f"{head}metric:\n  weighted:\n    contains: 1\n{judge}")
    found = run(job, tmp_path / "out")
    tier = found.summary.tiers["weak"]
    assert tier.judge.agreement == 1
    assert tier.judge.unanswered > 0
    assert tier.chosen.score == pytest.approx((3 * TRUE["careful"] + 1) / 4, abs=0.08)
    parts = tier.metric_parts
    assert (parts["contains"].chosen, parts["judge"].weight) == (1, 3)
    assert parts["judge"].chosen == pytest.approx(TRUE["careful"], abs=0.1)
    assert replay(tmp_path / "out").summary.tiers["weak"] == tier


def test_a_judge_that_is_shown_no_target_needs_none(tmp_path, patch):
    install(patch)
    job = write_job(tmp_path, labels=0, more="    reference: false\n")
    items = tmp_path / "task" / "items.jsonl"
    items.write_text(items.read_text().replace(', "target": "the best"', ""))
    tier = run(job, tmp_path / "out").summary.tiers["weak"]
    assert tier.gate == "passed"
    assert tier.judge.position is None
    task = tmp_path / "task" / "task.yaml"
    task.write_text(task.read_text().replace("reference: false", "reference: true"))
    with pytest.raises(InputError, match="the target is missing"):
        run(job, tmp_path / "again")


def recording(path: Path) -> None:
    """What ``answers`` says, with usage: two prompts, three samples."""
    lines = [{"id": f"q{k}", "inputs": {"text": f"q{k}"}, "target": "x"} for k in range(150)]
    for k in range(150):
        for prompt, seen in (("plain", 1), ("careful", 2)):
            messages = (Message("user", f"q{k}"),) * seen
            for sample in range(3):
                said = answers(Request("m", messages, {}), sample)
                lines.append(
                    {
                        "item_id": f"q{k}",
                        "model": "weak",
                        "prompt_id": prompt,
                        "mode": "direct",
                        "temperature": 0.8,
                        "sample": sample,
                        "text": said.text,
                        "prompt_tokens": 20,
                        "completion_tokens": 12,
                    }
                )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_judge_scores_a_recording_and_is_all_that_is_bought(tmp_path, patch):
    models = install(patch, worlds.down_for_good(0.02))
    job = write_job(tmp_path)
    recording(tmp_path / "weak.jsonl")
    text = worlds.JOB.replace(
        "{model: scripted/weak}", "{model: recorded/weak, recordings: weak.jsonl}"
    )
    job.write_text(text + "baseline: plain\n")
    planned = plan(prepare(load_job(job)), TINY).tiers["weak"]
    found = run(job, tmp_path / "out")
    tier = found.summary.tiers["weak"]
    assert tier.gate == "passed"
    assert tier.chosen.score == pytest.approx(TRUE["careful"], abs=0.1)
    assert set(models) == {"scripted/judge"}
    assert tier.spending.calls == tier.judge.spending.calls <= planned.worst.calls
    assert tier.judge.agreement == 1
    assert replay(tmp_path / "out").summary.tiers["weak"] == tier
    job.write_text(text + "baseline: plain\nbudget: {calls: 200}\n")
    with pytest.raises(BudgetError, match="recorded answers were judged"):
        run(job, tmp_path / "small")


# Judges below samples: best-of-n by a verifier, and the model's own choice


def verified_job(tmp_path: Path, strategies: str, **keys: str) -> Path:
    job = write_job(tmp_path, labels=20, **keys)
    with (tmp_path / "task" / "task.yaml").open("a") as task:
        task.write("judge: {model: scripted/verifier, rubric: The grade., scale: [1, 5]}\n")
    (tmp_path / "space.yaml").write_text(worlds.SPACE.replace("single: {}", strategies))
    return job


@pytest.mark.parametrize("kind", ["judged_best_of_n", "universal_self_consistency"])
def test_the_best_of_three_by_a_verifier_or_the_model_is_worth_its_closed_form(
    tmp_path, patch, kind
):
    """Of three answers the best: E max of 3 binomials of 4 steps, over 4."""
    models = install(patch)
    found = run(verified_job(tmp_path, f"single: {{}}, {kind}: {{samples: [3]}}"), tmp_path / "out")
    file, tier = found.policies["weak"], found.summary.tiers["weak"]
    assert file.policy.buckets[0].strategy.kind == kind
    assert tier.chosen.score == pytest.approx(best_of(3, 0.8), abs=0.05)
    assert tier.chosen.usd_per_item > 3 * tier.baseline.usd_per_item
    verifier = models.get("scripted/verifier")
    judged = kind == "judged_best_of_n"
    assert (verifier is not None and verifier.calls > 100) == judged
    assert (file.judge is not None) == judged
    written = (tmp_path / "out" / "policies" / "weak.yaml").read_bytes()
    install(patch, worlds.down(1.0))
    replay(tmp_path / "out", search_size=TINY)
    assert (tmp_path / "out" / "policies" / "weak.yaml").read_bytes() == written


@pytest.mark.parametrize("named", [True, False])
def test_votes_over_free_text_are_refused_and_a_judge_offered(tmp_path, patch, named):
    """With a judge named, best-of-n by it takes the votes' place."""
    install(patch)
    words = "a long text of which there are as many as there are words to choose"
    job = verified_job(tmp_path, "single: {}, self_consistency: {samples: [3]}", target=words)
    if not named:
        task = tmp_path / "task" / "task.yaml"
        task.write_text(task.read_text().partition("judge: {model: scripted/verifier")[0])
    found = run(job, tmp_path / "out")
    tier, strategy = found.summary.tiers["weak"], found.policies["weak"].policy.buckets[0].strategy
    assert strategy.kind == ("judged_best_of_n" if named else "single")
    assert any("self_consistency were left out" in text for text in tier.remarks)


def best_of(n: int, p: float) -> float:
    """Mean of the largest of ``n`` binomials (4, p), over 4."""
    below = [sum(math.comb(4, j) * p**j * (1 - p) ** (4 - j) for j in range(k)) for k in range(5)]
    return sum(1 - below[k] ** n for k in range(1, 5)) / 4


def test_a_space_that_asks_a_judge_wants_a_task_that_names_one(tmp_path, patch):
    install(patch)
    job = write_job(tmp_path)
    (tmp_path / "space.yaml").write_text(
        worlds.SPACE.replace("single: {}", "judged_best_of_n: {samples: [2]}")
    )
    with pytest.raises(InputError, match="the task names none: give it the key judge"):
        run(job, tmp_path / "out")


# How often a judge is found out, and a sound one suspected


def simulated(tmp_path: Path, says: Callable, n: int = 25) -> Counter[str]:
    """The faults of ``n`` judges that answer by other numbers of chance, by their first words."""
    tier = Tier("judge", "scripted/judge", Price(1.0, 1.0), {"direct": {"max_tokens": 16}})
    found = Counter[str]()
    for k in range(n):

        def script(request, seed, k=k):
            reply = says(request, seed * 1009 + k)
            return Failure("Down", "") if reply is None else Completion(reply, 10, 3)

        grades = [1 + (7 * i + k) % 5 for i in range(40)]
        items = [Item(f"q{i}", {"text": f"t{i}"}, "gold") for i in range(40)]
        labels = tuple(
            LabelledAnswer(item, f"grade {grade}, of run {k}", (grade - 1) / 4)
            for item, grade in zip(items, grades, strict=True)
        )
        with SamplePool.open(tmp_path / f"{k}.sqlite") as pool:
            judge = Judge(JudgeSpec("scripted/judge", "r"), labels)
            model = ScriptedModel(script, chunk=256)
            judging = Judging(pool, judge, tier, model, "", Account(f"r{k}", k, UsageLimits()))
            judging.check_labels()
            judging.check_answers([(label.item, label.answer) for label in labels])
            judging.check_drift()
            faults = faults_of_judge(judging.summary())
        found.update(
            {re.split(r" (?:of|its|from|with|made|the)\b", fault)[0][:22] for fault in faults}
        )
        found["any"] += bool(faults)
    return found


def test_a_sound_judge_with_some_noise_is_rarely_suspected(tmp_path):
    assert simulated(tmp_path, worlds.noisy(0.2))["any"] <= 3


@pytest.mark.parametrize(
    "says", [worlds.noisy(1.0), worlds.by_position, worlds.by_length, worlds.down_for_good(0.3)]
)
def test_a_judge_of_a_bad_kind_is_nearly_always_found_out(tmp_path, says):
    assert simulated(tmp_path, says, n=12)["any"] >= 11
