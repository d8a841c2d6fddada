"""Does a policy still hold: verdicts and their error rates, what moved or changed, the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tierwise.cli import main
from tierwise.errors import InputError, ProviderError
from tierwise.llm import Request
from tierwise.llm.models import fingerprint_of, resolve_tier
from tierwise.llm.scripted import ScriptedModel, answering, failing
from tierwise.runs import load_task
from tierwise.runs.verify import Terms, changes, verify
from tierwise.schema import (
    Difficulty,
    Message,
    Policy,
    PolicyFile,
    Price,
    PromptTemplate,
    Recipe,
    StrategySpec,
    TaskRef,
    Tier,
    Variant,
    uniform,
)
from tierwise.schema.policy_file import ExpectedBucket, ExpectedFigures, Provenance
from tierwise.serving import PolicyRuntime
from tierwise.stats.sequential import confidence_sequence, sequential_test
from tierwise.tasks import AnswerSpec, Item, Task

VARIANT = Variant("plain", "direct", 0.5)
N_ITEMS = 40
ITEMS = tuple(
    Item(str(i), {"question": " ".join(["word"] * (2 if i % 2 else 9)) + f" {i}"}, "yes")
    for i in range(N_ITEMS)
)
TASK = Task("made", 1, ("question",), ITEMS, AnswerSpec(normalise="none"), shares={"test": 1.0})
USD = 1e-6 * (6.5 + 1)
"""A request: 3 or 10 words in at $1 for a million, one out."""


def policy_file(score: float = 0.8, **more: object) -> PolicyFile:
    """Easy (short) and hard (long) items in equal parts, each answered with one sample."""
    single = Recipe((VARIANT,), StrategySpec.of("single"))
    bucket = ExpectedBucket(200, score, (score - 0.04, score + 0.04))
    expected = ExpectedFigures(
        items=400,
        score=score,
        usd_per_item=USD,
        usd_per_item_ci95=(0.9 * USD, 1.1 * USD),
        buckets=(bucket, bucket),
    )
    fields = {
        "name": "made-small",
        "tier": Tier("small", "test/small", Price(1.0, 1.0), {"direct": {"max_tokens": 8}}),
        "task": TaskRef("made", 1, "exact_match", TASK.items_sha256),
        "inputs": ("question",),
        "prompts": {"plain": PromptTemplate("plain", (Message("user", "{{ question }}"),))},
        "policy": Policy((single, single), Difficulty("length", (-5.0,))).with_shares((0.5, 0.5)),
        "answer": AnswerSpec(normalise="none"),
        "expected": expected,
    }
    return PolicyFile(**{**fields, **more})


def runtime(
    easy: float, hard: float, *, file: PolicyFile | None = None, fail: float = 0.0, seed: int = 0
) -> PolicyRuntime:
    """Right on easy and hard items with these probabilities."""

    def chances(request: Request) -> dict[str, float]:
        right = hard if len(request.messages[0].content.split()) > 5 else easy
        return {"yes": right, "no": 1 - right}

    script = answering(chances)
    if fail:
        script = failing(script, fail)
    return PolicyRuntime(file or policy_file(), ScriptedModel(script), seed=seed)


def test_a_policy_that_is_as_it_was_holds():
    found = verify(runtime(0.8, 0.8), TASK, Terms(margin=0.1, seed=3))
    assert found.verdict == "holds"
    assert found.ended == "decided"
    assert found.score_interval[0] > found.bar == pytest.approx(0.7)
    assert found.usd == pytest.approx(found.items * USD, rel=0.1)


def test_a_policy_that_lost_much_has_dropped():
    found = verify(runtime(0.5, 0.5), TASK, Terms(margin=0.1, seed=3))
    assert found.verdict == "dropped"
    assert found.score_interval[1] < found.bar


def test_items_that_end_first_decide_nothing():
    found = verify(runtime(0.8, 0.8), TASK, Terms(margin=0.01, items=50, seed=3))
    assert (found.verdict, found.ended, found.items) == ("not decided", "items", 50)


def test_the_budget_is_not_passed():
    budget = 100 * USD
    found = verify(runtime(0.8, 0.8), TASK, Terms(margin=0.01, usd=budget, seed=3))
    assert (found.verdict, found.ended) == ("not decided", "usd")
    assert 0 < found.usd <= budget


def test_a_budget_for_no_request_answers_none():
    found = verify(runtime(0.8, 0.8), TASK, Terms(usd=USD / 10))
    assert (found.verdict, found.items) == ("not decided", 0)
    assert found.score is None


def test_the_bucket_that_moved_is_named():
    found = verify(runtime(0.8, 0.45), TASK, Terms(margin=0.1, seed=1))
    moved = {(s.bucket, s.measure) for s in found.moved}
    assert found.verdict == "dropped"
    assert ("hard", "score") in moved
    assert ("easy", "score") not in moved


def test_dollars_that_moved_are_named():
    file = policy_file()
    dear = replace(file.expected, usd_per_item=3 * USD, usd_per_item_ci95=(2.9 * USD, 3.1 * USD))
    found = verify(
        runtime(0.8, 0.8, file=replace(file, expected=dear)), TASK, Terms(margin=0.1, seed=3)
    )
    assert ("all", "usd_per_item") in {(s.bucket, s.measure) for s in found.moved}


def test_few_failures_are_counted_and_not_scored():
    model = runtime(1.0, 1.0, fail=0.08, file=policy_file(0.95))
    found = verify(model, TASK, Terms(margin=0.01, seed=2, items=100))
    assert found.failed > 0
    assert found.score == 1.0


def test_a_provider_that_fails_says_nothing_of_the_policy():
    with pytest.raises(ProviderError, match=r"of \d+ requests failed"):
        verify(runtime(0.8, 0.8, fail=0.7), TASK, Terms(seed=2))


def test_the_same_seed_gives_the_same_verdict_and_another_seed_other_samples():
    terms = Terms(margin=0.01, items=300)
    found = [verify(runtime(0.8, 0.8), TASK, replace(terms, seed=s)) for s in (5, 5, 6)]
    assert found[0] == found[1]
    assert found[0].score != found[2].score


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"error": 0.5}, {"items": 0}, {"usd": 0.0}])
def test_terms_out_of_range_are_bad_input(wrong):
    with pytest.raises(InputError):
        Terms(**wrong)


def test_a_policy_without_an_expected_score_is_bad_input():
    with pytest.raises(InputError, match="expected"):
        verify(
            runtime(1, 1, file=replace(policy_file(), expected=ExpectedFigures())), TASK, Terms()
        )
    with pytest.raises(InputError, match="cannot drop"):
        verify(runtime(1, 1, file=policy_file(0.04)), TASK, Terms(margin=0.05))


def test_nothing_changed_is_nothing_said_but_of_a_model_that_nobody_knows():
    file = policy_file()
    embedded = replace(file, tier=replace(file.tier, model="embedded/small"))
    assert [s for s in changes(embedded, TASK) if "listed" not in s and "sends" not in s] == []
    assert "test/small" in changes(file, TASK)[0]


def test_a_task_that_changed_is_named():
    other = Task(
        "other",
        2,
        ("question",),
        (*TASK.items, Item("x", {"question": "new"}, "yes")),
        AnswerSpec(normalise="none"),
    )
    said = " ".join(changes(policy_file(), other))
    assert "version 2" in said
    assert "'other'" in said
    assert "items_sha256" in said


def test_prices_modes_and_weights_that_changed_are_named(monkeypatch):
    tier = resolve_tier("small", "embedded/small")
    known = Provenance(weights_sha256={"embedded/small": fingerprint_of("embedded/small")})
    same = replace(policy_file(), tier=tier, provenance=known)
    assert changes(same, TASK) == []
    dearer = replace(tier, price=replace(tier.price, completion_usd_per_mtok=99.0))
    assert "the policy's bill" in changes(replace(same, tier=dearer), TASK)[0]
    modes = {**tier.modes, "direct": {**tier.modes["direct"], "max_tokens": 7}}
    moved = replace(tier, modes=modes)
    assert "mode 'direct'" in changes(replace(same, tier=moved), TASK)[0]
    other = Provenance(weights_sha256={"embedded/small": "0" * 64})
    (said,) = changes(replace(same, provenance=other), TASK)
    assert "the weights of embedded/small are others" in said


def test_side_of_agrees_with_the_confidence_sequence():
    """One gambler with all of ``error`` is the hedged pair at twice the error, each with half."""
    values = (np.random.default_rng(0).random(600) < 0.8).astype(float)
    ends = confidence_sequence(values, level=0.9, bounds=(0.0, 1.0), candidates=1001)
    for bar in (0.7, 0.9):
        side = sequential_test(values, bar, error=0.05)
        crossed = ends.low > bar if bar < 0.8 else ends.high < bar
        first = int(np.argmax(crossed)) + 1
        assert side is not None
        assert side.side == ("above" if bar < 0.8 else "below")
        assert side.after <= first <= side.after + 40  # the grid rounds outwards


def test_side_of_never_changes_its_mind():
    values = (np.random.default_rng(1).random(2000) < 0.8).astype(float)
    first = sequential_test(values, 0.7)
    assert first is not None
    assert sequential_test(values[: first.after], 0.7) == first
    assert sequential_test(values[: first.after - 1], 0.7) is None
    with pytest.raises(ValueError, match="bar"):
        sequential_test(values, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.5, 0.8, 0.95])
def test_under_continuous_looking_each_error_stays_below_its_rate(mean):
    """At the bar itself, where it is hardest: 2,000 runs of up to 3,000 looks."""
    rng = np.random.default_rng(7)
    runs = 2000
    sides = [
        sequential_test((rng.random(3000) < mean).astype(float), mean, error=0.05)
        for _ in range(runs)
    ]
    slack = 2 * math.sqrt(0.05 * 0.95 / runs)
    for wrong in ("above", "below"):
        assert sum(s is not None and s.side == wrong for s in sides) / runs <= 0.05 + slack


@pytest.mark.slow
@pytest.mark.parametrize(
    ("easy", "hard", "wrong"),
    [(0.75, 0.65, "dropped"), (0.75, 0.65, "holds"), (0.9, 0.9, "dropped"), (0.4, 0.5, "holds")],
)
def test_verify_keeps_its_error_rates_end_to_end(easy, hard, wrong):
    """Bar .7: the first two have exactly that mean, so either verdict is an error there."""
    runs = 200
    verdicts = [
        verify(runtime(easy, hard), TASK, Terms(margin=0.1, items=600, seed=1000 * r)).verdict
        for r in range(runs)
    ]
    slack = 2 * math.sqrt(0.05 * 0.95 / runs)
    assert verdicts.count(wrong) / runs <= 0.05 + slack


# The command


@pytest.fixture
def policy(tmp_path):
    """The embedded small tier at one direct sample, said to have scored what the test asks."""
    task = load_task("arithmetic").task

    def saved(score: float, **more) -> str:
        file = PolicyFile(
            name="p",
            tier=resolve_tier("small", "embedded/small"),
            task=TaskRef(task.name, task.version, task.metric, task.items_sha256),
            inputs=task.inputs,
            prompts={"plain": PromptTemplate("plain", (Message("user", "{{ question }}"),))},
            policy=uniform(Variant("plain", "direct", 0.3), StrategySpec.of("single")),
            answer=task.answer,
            expected=ExpectedFigures(score=score),
            **more,
        )
        return str(file.save(tmp_path / "p.yaml"))

    return saved


def _run(capsys, *args):
    with pytest.raises(SystemExit) as end:
        main(["verify", *args])
    return end.value.code, capsys.readouterr()


@pytest.mark.parametrize(
    ("score", "options", "verdict", "code"),
    [
        (0.35, ["--margin", "0.3"], "holds", 0),
        (0.99, ["--margin", "0.1"], "dropped", 1),
        (0.75, ["--margin", "0.001", "--items", "40"], "not decided", 3),
    ],
)
def test_the_exit_code_says_whether_it_holds(capsys, policy, score, options, verdict, code):
    found, said = _run(capsys, policy(score), *options, "--seed", "4", "--json")
    assert found == code
    data = json.loads(said.out)
    assert data["verdict"] == verdict
    assert data["seed"] == 4
    assert data["changed"] == []


def test_it_says_what_changed(capsys, policy):
    path = policy(0.35, provenance=Provenance("0.0.0-old"))
    code, said = _run(capsys, path, "--margin", "0.3", "--seed", "4")
    assert code == 0
    assert "tuned by 0.0.0-old" in said.err
    assert "holds" in said.out


def test_what_cannot_be_served_cannot_be_verified(capsys, policy):
    code, said = _run(capsys, policy(0.35, deployable=False))
    assert code == 2
    assert "deployable: false" in said.err
