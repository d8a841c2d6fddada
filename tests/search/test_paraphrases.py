"""In a robust space a prompt is judged by all its paraphrases, and only its first can be chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.content.folders import faults
from tests.search.scripted_job import SPACE, TINY, install, make_job, run
from tests.search.test_tune import files
from tests.search_difficulty.worlds import variant_table
from tierwise.content import load_space
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.llm import Request
from tierwise.report import read
from tierwise.report.spending import spending_rows
from tierwise.schema import Policy, Recipe, StrategySpec, Variant, uniform
from tierwise.search import SearchSize, replay
from tierwise.search.paraphrases import RobustEvaluator, reworded
from tierwise.search.search_size import PLANNED_SHARE, SampleCost, enough_usd

LUCKY, STEADY = Variant("lucky", "direct", 0.8), Variant("steady", "direct", 0.8)
WORDINGS = {"lucky": ("lucky~1", "lucky~2"), "steady": ("steady~1",)}
PROMPTS = """- id: plain
  system: Add.
  user: "{{ question }}"
- id: lucky
  system: Luck one.
  user: "{{ question }}"
  paraphrases: [Luck two., Luck three.]
- id: steady
  system: Steady one.
  user: "{{ question }}"
  paraphrases: [Steady two., Steady three.]
"""


def says(request: Request) -> dict[str, float]:
    """One paraphrase of ``lucky`` is very good and the others are not; ``steady`` is good in all."""
    right = sum(int(t) for t in request.messages[-1].content.split(" + "))
    system = request.messages[0].content
    p = 0.97 if "Luck one" in system else 0.3 if "Luck" in system else 0.8
    p = 0.5 if system.startswith("Add") else p
    return {f"A: {right}": p, f"A: {right + 1}": 1 - p}


def world() -> SampleTable:
    rng = np.random.default_rng(0)
    chances = {"lucky": 0.9, "lucky~1": 0.3, "lucky~2": 0.3, "steady": 0.8, "steady~1": 0.7}
    variants = {
        Variant(name, "direct", 0.8): variant_table(np.full(200, p), 5, rng)
        for name, p in chances.items()
    }
    return SampleTable(tuple(map(str, range(200))), ({"q": ""},) * 200, variants)


def test_a_policy_is_judged_by_the_mean_over_its_paraphrases() -> None:
    table, permutations = world(), Permutations(4)
    plain = Evaluator(table, permutations)
    robust = RobustEvaluator(table, permutations, WORDINGS, exact=True, cache_bytes=10**7)
    single = StrategySpec.of("single")
    policy = Policy((Recipe((LUCKY, STEADY), StrategySpec.of("self_consistency", samples=4)),))
    for one in (uniform(LUCKY, single), uniform(STEADY, single), policy):
        said = [one, *(reworded(one, WORDINGS, k) for k in range(2))]
        distinct = said if one != uniform(STEADY, single) else said[:2]
        told = np.mean([plain.evaluate(p).score for p in distinct], axis=0)
        if one != uniform(STEADY, single):
            np.testing.assert_allclose(robust.evaluate(one).score, told)
    assert reworded(policy, WORDINGS, 1).variants == (Variant("lucky~2", "direct", 0.8), STEADY)
    assert robust.evaluate(uniform(STEADY, single)).mean_score == pytest.approx(0.75, abs=0.03)
    assert robust.evaluate(uniform(LUCKY, single)).mean_score == pytest.approx(0.5, abs=0.03)


def robust_job(folder: Path, *, robust: bool) -> Path:
    job = make_job(folder)
    (folder / "task" / "prompts.yaml").write_text(PROMPTS)
    more = f"prompts: {{paraphrases: 2, robust: {str(robust).lower()}}}\n"
    (folder / "space.yaml").write_text(more + SPACE)
    return job


def test_the_steady_prompt_is_chosen_over_one_lucky_paraphrase(tmp_path, monkeypatch) -> None:
    chosen = {}
    for robust in (False, True):
        install(monkeypatch, says=says)
        job = robust_job(tmp_path / str(robust), robust=robust)
        result = run(job, tmp_path / str(robust) / "run")
        found = result.found["weak"]
        chosen[robust] = {variant.prompt for variant in found.points["quality"].policy.variants}
        assert len(found.problem.pss) > 0
        if robust:
            rows = {
                r["stage"]: r for r in spending_rows(read(result.run.path)) if r["tier"] == "weak"
            }
            # One prompt has no other paraphrase: the plan has the most that any prompt has.
            for stage in ("screen", "race", "study", "select"):
                planned = rows[stage]["planned_calls"]
                assert planned / 3 < rows[stage]["calls"] <= planned, stage
            variants = found.study_rounds[-1].dimensions.variants
            assert all("~" not in variant.prompt for variant in variants)
            assert all("~" not in variant.prompt for variant in found.test_table.variants)
            assert any("~" in variant.prompt for variant in found.study_table.variants)
            before = files(result.run.path)
            replay(result.run.path, search_size=TINY)
            assert files(result.run.path) == before
    assert chosen[False] == {"lucky"}
    assert chosen[True] == {"steady"}


def test_paraphrases_sampled_beside_are_in_the_budget() -> None:
    search_size, cost = SearchSize(), SampleCost(1.0, 1.0)
    plain, robust = (enough_usd(search_size, 4, 9, replace(cost, paraphrases=n)) for n in (1, 3))
    counts = {stage.stage: stage.samples for stage in search_size.stages(4, 9)}
    as_itself = (counts["fit"] + counts["test"]) / PLANNED_SHARE
    assert robust - as_itself == pytest.approx(3 * (plain - as_itself))


def test_robust_without_paraphrases_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("prompts: {robust: true}\n" + SPACE)
    (fault,) = faults(load_space, path)
    assert fault.startswith("s.yaml:1: robust judges a prompt by its paraphrases")
    path.write_text("prompts: {robust: true, paraphrases: 3}\n" + SPACE)
    assert load_space(path) == replace(load_space(path), robust=True, paraphrases=3)
