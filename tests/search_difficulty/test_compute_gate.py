"""The compute gate: closed where nothing is gained, open where something is, and what it buys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.search import scripted_job
from tests.search_difficulty.worlds import DIRECT, SPACE, THINK, tier, variant_table
from tierwise.evaluation import Permutations, SampleTable
from tierwise.runs.tune import replay, tune
from tierwise.schema import load_job
from tierwise.search import Bought, Event, stages
from tierwise.search.compute_gate import cheapest_mode, closed_space, decide
from tierwise.search.samples import Halves

PERMUTATIONS = Permutations(4, 0)


def verdict(table: SampleTable, space=SPACE):
    return decide(table, space, "direct", logprobs=False, permutations=PERMUTATIONS)


def test_at_most_one_tier_in_twenty_that_gains_nothing_is_let_through() -> None:
    assert sum(verdict(tier(seed)).open for seed in range(100)) <= 5


def test_a_gain_of_a_twentieth_for_each_doubling_opens_after_the_second_purchase() -> None:
    verdicts = [verdict(tier(seed, share=0.35, n_items=120)) for seed in range(60)]
    assert np.mean([v.slope.mean for v in verdicts]) == pytest.approx(0.05, abs=0.005)
    assert sum(v.open for v in verdicts) >= 57


def test_thinking_alone_opens() -> None:
    rows = tier(1, think=0.4)
    found = verdict(rows)
    assert found.open
    assert found.gain.low > 0
    assert "think" in found.spent_on["by_thinking"]


def test_the_slope_is_that_of_the_score_on_the_log_of_the_samples() -> None:
    """A vote of 1, 3 and 5 samples of .6 against one wrong answer: closed forms of the binomial."""
    rng = np.random.default_rng(0)
    table = SampleTable(
        tuple(map(str, range(4000))),
        ({"q": ""},) * 4000,
        {DIRECT: variant_table(np.full(4000, 0.6), 5, rng)},
    )
    scores = [0.6, 0.648, 0.68256]
    x = np.log2([1, 3, 5])
    expected = np.polyfit(x, scores, 1)[0]
    assert verdict(table).slope.mean == pytest.approx(expected, abs=0.004)


def test_greedy_samples_of_one_mode_close() -> None:
    rng = np.random.default_rng(0)
    table = tier(0)
    greedy = {DIRECT: variant_table((rng.random(48) < 0.5).astype(float), 1, rng)}
    found = verdict(replace(table, variants=greedy))
    assert not found.open
    assert np.isnan(found.slope.mean)
    assert found.evidence()["think_gain_ci95"] == [None, None]


@pytest.mark.parametrize(("think", "looks"), [(0.0, [48, 120]), (0.12, [48, 120, 240])])
def test_only_a_gate_in_doubt_looks_at_the_items_of_the_study(
    monkeypatch: pytest.MonkeyPatch, think: float, looks: list[int]
) -> None:
    world = tier(5, think=think, n_items=240)

    def rows(n: int) -> SampleTable:
        return world.rows(np.arange(n))

    seen = [48]

    def table(items: range, wanted: object, stage: str) -> SampleTable:
        seen.append(len(items))
        return rows(len(items))

    problem = SimpleNamespace(
        search_size=SimpleNamespace(race_items=120, study_items=240, study_variants=5),
        space=SPACE,
        tier=SimpleNamespace(logprobs=False),
        permutations=PERMUTATIONS,
        items=lambda split: range(240),
    )
    monkeypatch.setattr(stages, "kept", lambda problem, table, variants, n: variants)
    explored = SimpleNamespace(
        problem=problem,
        samples=SimpleNamespace(table=table),
        screened_table=rows(48),
        variants=tuple(world.variants),
    )
    found, judged = stages._gate_decision(explored, "direct")
    assert seen == looks
    assert judged.n_items == found.items == looks[-1]
    assert found.open == (think > 0)


def test_too_few_items_or_a_portfolio_of_greedy_samples_decide_nothing() -> None:
    few = verdict(tier(0, n_items=20))
    assert few.open
    assert not few.decided
    rng = np.random.default_rng(0)
    greedy = replace(tier(0), variants={DIRECT: variant_table(np.full(48, 0.5), 1, rng)})
    assert verdict(greedy, replace(SPACE, variants=(1, 3))).open


def test_a_closed_space_holds_one_cheap_sample() -> None:
    cheap = closed_space(SPACE, "direct")
    assert (cheap.modes, cheap.variants, cheap.buckets) == (("direct",), (1,), (1,))
    assert dict(cheap.strategies) == {"single": {}}
    assert cheapest_mode([(DIRECT, 0.2, 1.0), (THINK, 0.9, 3.0)]) == "direct"


def test_halves_have_no_item_in_common() -> None:
    halves = Halves(tier(0, n_items=41))
    study, test = (halves.table([], {DIRECT: 1}, stage) for stage in ("study", "test"))
    assert not set(study.item_ids) & set(test.item_ids)
    assert study.n_items + test.n_items == 41
    assert list(study.variants) == [DIRECT]


@pytest.fixture
def constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that say the same whatever the prompt: right on every other question."""

    def says(request):
        terms = [int(t) for t in request.messages[-1].content.split(" + ")]
        return {f"A: {sum(terms) if terms[0] % 2 else -1}": 1.0}

    scripted_job.install(monkeypatch, says=says)


def test_a_closed_tier_buys_nothing_more_and_says_why(constant: None, tmp_path: Path) -> None:
    job = load_job(scripted_job.make_job(tmp_path / "job"))
    search_size = replace(scripted_job.TINY, screen_items=48, race_items=50)
    heard: list[Event] = []
    result = tune(job, tmp_path / "run", search_size=search_size, listener=heard.append)
    assert {e.stage for e in heard if isinstance(e, Bought)} == {"screen", "compute gate"}
    for name, file in result.policies.items():
        assert file.evidence["compute_gate"] == "closed"
        assert file.evidence["compute_gate_evidence"]["score_per_doubling_of_samples"] == 0
        assert file.evidence["split"] == "tune"
        assert file.evidence["looks_at_test"] == 0
        assert file.policy.buckets[0].strategy.kind == "single"
        assert any("compute gate is closed" in note for note in file.notes)
        assert result.summary.tiers[name].compute_gate.verdict == "closed"
        assert result.found[name].compute_gate.items == 50
    before = {p.name: p.read_bytes() for p in (tmp_path / "run" / "policies").iterdir()}
    replay(tmp_path / "run", search_size=search_size)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "run" / "policies").iterdir()}
