"""Requests that are handed to a stronger tier: found, billed, written, replayed and served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.test_tune import files
from tests.search.scripted_job import JOB, OPENING, PREPARE, SPACE, TINY, install, make_job
from tierwise.errors import InputError
from tierwise.evaluation import replay_item as replayed
from tierwise.llm import Request
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.pool import SamplePool
from tierwise.report.between import comparison_tables
from tierwise.report.compare import plain_rows
from tierwise.runs.artifacts import read_run, stage_usage
from tierwise.runs.tune import TuneResult, tune
from tierwise.runs.tune import replay as replay_run
from tierwise.schema import Price, Tier, load_job
from tierwise.schema.policy import NO_POLICY_LIMITS
from tierwise.schema.policy_file import PolicyFile
from tierwise.search import SearchSize
from tierwise.search.problem import escalated_share, keeps_to_itself
from tierwise.serving import PolicyRuntime

PRICES = {"weak": Price(1.0, 5.0), "strong": Price(20.0, 100.0)}
HANDING_ON = JOB + "escalate_to: [strong]\noperating_point: level\n"


def tier(name: str, model: str, **more: object) -> Tier:
    return Tier(name, model, PRICES[name], {"direct": {"max_tokens": 16}})


def says(request: Request) -> dict[str, float]:
    """The weak model knows sums of two and guesses at others; the strong one knows nearly all."""
    terms = [int(t) for t in request.messages[-1].content.split(" + ")]
    strong, right = request.model.endswith("strong"), sum(terms)
    p = 0.97 if strong or len(terms) == 2 else 0.1
    if request.messages[0].content.startswith("Be"):
        p *= 0.9
    wrong = {f"A: {right + d}": (1 - p) / 8 for d in (1, -1, 2, -2, 3, -3, 10, -10)}
    return {f"A: {right}": p, **wrong}


def constant(request: Request) -> dict[str, float]:
    """The weak model says one thing whatever the prompt, right for every other sum."""
    if request.model.endswith("strong"):
        return says(request)
    terms = [int(t) for t in request.messages[-1].content.split(" + ")]
    return {f"A: {sum(terms) if len(terms) == 2 else -1}": 1.0}


def tuned(
    folder: Path,
    patch: pytest.MonkeyPatch,
    model: Callable[..., dict[str, float]],
    search_size: SearchSize = TINY,
) -> tuple[TuneResult, list[ScriptedModel]]:
    opened = install(patch, says=model)
    patch.setattr(PREPARE, "tier_of_spec", lambda name, spec: tier(name, spec.model))
    path = make_job(folder, job=HANDING_ON)
    space = SPACE.replace("probe_samples: 2", "probe_samples: 2, probe_variants: [1, 2]")
    (folder / "space.yaml").write_text(space)
    return tune(load_job(path), folder / "run", search_size=search_size), opened


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneResult, list[ScriptedModel]]:
    with pytest.MonkeyPatch.context() as patch:
        return tuned(tmp_path_factory.mktemp("job"), patch, says)


def test_hard_requests_go_up_and_easy_ones_stay(found) -> None:
    result, _ = found
    file = result.policies["weak"]
    got = result.found["weak"].held_out.evaluations[replace(file.policy, limits=NO_POLICY_LIMITS)]
    assert 0.1 < escalated_share(file.policy, got.shares) < 0.8
    assert set(file.other_tiers) == {"strong"}
    assert file.other_tiers["strong"].price == PRICES["strong"]
    assert file.other_tiers["strong"].model == "scripted/strong"
    rows = {row.name: row for row in result.summary.tiers["weak"].escalation}
    level, strong, weak = (rows[name] for name in ("point level", "always strong", "always weak"))
    assert level.compared.cost_ratio < 0.8
    assert level.score > strong.score - 0.05
    assert level.score > weak.score + 0.1
    assert (weak.escalated, strong.escalated) == (0, 1)
    assert strong.compared.score_difference == 0
    assert strong.compared.cost_ratio == 1


def test_the_strong_tier_keeps_to_itself_and_knows_no_level(found) -> None:
    result, _ = found
    strong = result.found["strong"]
    assert strong.chosen == "balanced"
    assert all(keeps_to_itself(p.policy) for p in strong.points.values())
    assert result.summary.tiers["strong"].escalation == ()
    ablation = result.found["weak"].held_out.ablation_steps
    assert all(keeps_to_itself(p) for name, p in ablation.items() if name != "full_policy")


def test_the_file_reads_back_and_compare_shows_the_three(found) -> None:
    result, _ = found
    path = result.run.policies / "weak.yaml"
    assert PolicyFile.load(path) == result.policies["weak"]
    rows = plain_rows(comparison_tables([read_run(result.run.path)], ("escalation",)))["escalation"]
    assert {"always weak", "always strong", "point level"} <= {row["policy"] for row in rows}


def test_no_sample_of_the_strong_tier_is_bought_twice(found) -> None:
    result, opened = found
    with SamplePool.open(result.run.pool, read_only=True) as pool:
        spent = pool.spent(result.run.run)
        (there,) = pool._db.execute("SELECT count(*) FROM samples").fetchone()
    assert sum(model.samples for model in opened) == there
    assert sum(model.calls for model in opened) == spent.calls


def test_the_plan_has_what_handing_on_may_cost_at_worst(found) -> None:
    result, _ = found
    rows = {(r.tier, r.stage): r for r in stage_usage(read_run(result.run.path))}
    for stage in ("test",):
        weak, strong = (rows[name, stage] for name in ("weak", "strong"))
        # The weak tier has the strong one's variants beside its own, at twenty times the price.
        assert weak.worst.usd > strong.worst.usd
        assert weak.planned.usd < strong.planned.usd
        assert weak.spent.usd <= weak.worst.usd
    assert rows["weak", "study"].worst.usd < rows["strong", "study"].worst.usd


def test_a_replay_writes_the_same_bytes_without_a_call(found, monkeypatch) -> None:
    result, _ = found
    monkeypatch.setattr(PREPARE, "tier_of_spec", lambda name, spec: tier(name, spec.model))
    monkeypatch.setattr(OPENING, "address_of", lambda tier: "")
    before = files(result.run.path)
    replay_run(result.run.path, search_size=TINY)
    assert files(result.run.path) == before


def test_the_runtime_hands_on_as_the_evaluation_said(found) -> None:
    result, _ = found
    file, table = result.policies["weak"], result.found["weak"].held_out.table
    models = {name: ScriptedModel(answering(says)) for name in PRICES}
    codes = {}
    with PolicyRuntime(file, models, seed=result.found["weak"].problem.seed) as runtime:
        for item in range(0, table.n_items, 5):
            told = replayed(file.policy, table, item)
            live = runtime.answer_sync(table.inputs[item])
            assert (live.samples, live.rounds) == (len(told.samples), len(told.rounds))
            assert live.usd == pytest.approx(told.usd, rel=1e-9)
            assert [t.variant for t in live.trace] == [variant.label for variant in told.variants]
            codes[live.bucket] = told.bucket
    assert len(codes) == len(file.policy.buckets)


def test_a_closed_gate_stays_open_for_handing_on(tmp_path, monkeypatch) -> None:
    enough = replace(TINY, screen_items=48, race_items=50, study_items=50)
    result, _ = tuned(tmp_path / "job", monkeypatch, constant, enough)
    weak = result.found["weak"]
    assert result.summary.tiers["weak"].compute_gate.verdict == "closed"
    policy = weak.points["level"].policy
    assert not keeps_to_itself(policy)
    spends_itself = [
        r for r in policy.buckets if all(variant.tier is None for variant in r.variants)
    ]
    assert all(r.strategy.kind == "single" for r in spends_itself)


def test_a_recorded_tier_and_a_live_one_do_not_hand_on(tmp_path, monkeypatch) -> None:
    install(monkeypatch)
    path = make_job(tmp_path / "job", job=HANDING_ON)
    monkeypatch.setattr(
        PREPARE, "kind_of", lambda model: "recorded" if "weak" in model else "litellm"
    )
    with pytest.raises(InputError, match="'weak' and 'strong' are a recorded one and one that"):
        PREPARE.prepare(load_job(path))
