"""Prompts on one tier: ProSA's sensitivity, its trend over tiers, and what techniques gain."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest

from tests.search.known_tiers import variant_table
from tierwise.analysis.prompts import (
    by_chance,
    first_paraphrase,
    item_sensitivity,
    sensitivities,
    sensitivity_trends,
    techniques,
)
from tierwise.analysis.tier_files import NotShown
from tierwise.evaluation import SampleTable
from tierwise.schema import Variant
from tierwise.schema.measured import PromptSensitivity


@pytest.mark.parametrize(("k", "m"), [(k, m) for m in (2, 3, 5) for k in range(m + 1)])
def test_right_and_wrong_alone_have_a_closed_form(k: int, m: int) -> None:
    variants = [np.array([[float(i < k)]]) for i in range(m)]
    assert item_sensitivity(variants) == pytest.approx(2 * k * (m - k) / (m * (m - 1)))


def test_many_samples_give_the_expectation_over_one_of_each() -> None:
    a, b = np.array([[1.0, 0.0, 1.0]]), np.array([[0.25, 1.0]])
    every = [abs(x - y) for x, y in product(a[0], b[0])]
    assert item_sensitivity([a, b]) == pytest.approx(np.mean(every))


def test_two_samples_of_one_prompt_differ_by_chance() -> None:
    p = 0.3
    samples = (np.random.default_rng(0).random((500, 20)) < p).astype(float)
    assert by_chance(samples).mean() == pytest.approx(2 * p * (1 - p), abs=0.01)
    assert np.isnan(by_chance(np.ones((2, 1)))).all()


def paraphrases(*chances: float) -> SampleTable:
    rng = np.random.default_rng(0)
    variants = {
        Variant(f"plain~{i}" if i else "plain", "direct", 0.8): variant_table(
            np.full(300, p), 4, rng
        )
        for i, p in enumerate(chances)
    }
    return SampleTable(tuple(map(str, range(300))), ({"q": ""},) * 300, variants)


FAMILIES = {"plain": "baseline", "plain~1": "baseline", "plain~2": "other"}


def test_paraphrases_of_a_family_and_all_prompts_are_reported() -> None:
    found = {s.family: s for s in sensitivities(paraphrases(0.9, 0.1, 0.9), FAMILIES)}
    assert set(found) == {"*", "baseline"}
    assert found["baseline"].prompts == ("plain", "plain~1")
    assert found["baseline"].pss == pytest.approx(0.9 * 0.9 + 0.1 * 0.1, abs=0.02)
    assert found["baseline"].by_chance == pytest.approx(0.18, abs=0.02)
    low, high = found["baseline"].pss_ci95
    assert low < found["baseline"].pss < high


def tiers(pss: dict[str, list[float]]) -> list[list[PromptSensitivity]]:
    """Tiers by place, each with its families' PSS; the stronger the tier, the higher its score."""
    return [
        [
            PromptSensitivity(
                family=family,
                mode="direct",
                temperature=0.8,
                prompts=(family,),
                pss=values[place],
                pss_ci95=(None, None),
                by_chance=None,
                spearman_with_confidence=None,
                mean_score=0.5 + 0.1 * place,
            )
            for family, values in pss.items()
        ]
        for place in range(3)
    ]


def test_stronger_tiers_that_are_less_sensitive_are_seen_within_families() -> None:
    # Families differ much more than tiers do: over all points together nothing would be seen.
    falling = {f"f{i}": [i + 0.3, i + 0.2, i + 0.1] for i in range(4)}
    rows = sensitivity_trends(tiers(falling | {"*": [0.0, 5.0, 9.0]}), seed=0)
    assert [row.with_ for row in rows] == ["place of the tier", "score"]
    for row in rows:
        assert row.spearman.mean < -0.9
        assert row.spearman.high < -0.9
        assert (row.families, row.points) == (4, 12)


def test_two_families_say_nothing() -> None:
    (row,) = sensitivity_trends(tiers({"f": [0.3, 0.2, 0.1], "g": [0.3, 0.2, 0.1]}), seed=0)
    assert isinstance(row, NotShown)
    assert "fewer than three" in row.note


TODAY = Variant("plain", "direct", 0.8)


def world(chances: Mapping[Variant, float], seed: int = 0, n_items: int = 300) -> SampleTable:
    """Each item has its own difficulty, which all variants share."""
    rng = np.random.default_rng(seed)
    easier = rng.normal(0, 0.15, n_items)
    variants = {a: variant_table(np.clip(p + easier, 0, 1), 5, rng) for a, p in chances.items()}
    return SampleTable(tuple(map(str, range(n_items))), ({"q": ""},) * n_items, variants)


def test_a_prompt_is_all_its_paraphrases_against_the_baseline_in_its_mode() -> None:
    found = techniques(
        world(
            {
                TODAY: 0.5,
                Variant("plain", "think", 0.8): 0.6,
                Variant("steps", "think", 0.8): 0.8,
                Variant("steps~1", "think", 0.8): 0.7,
                Variant("echo", "direct", 0.8): 0.3,
                Variant("same", "direct", 0.8): 0.5,
            }
        ),
        TODAY,
        {"steps": "step_by_step", "steps~1": "step_by_step"},
    )
    told = {(t.prompt, t.mode): t for t in found}
    assert set(told) == {
        ("steps", "think"),
        ("plain", "think"),
        ("same", "direct"),
        ("echo", "direct"),
    }
    steps = told["steps", "think"]
    assert steps.paraphrases == ("steps", "steps~1")
    assert (steps.family, steps.against) == ("step_by_step", "plain/think/0.8")
    assert steps.difference == pytest.approx(0.15, abs=0.05)
    assert (steps.worst_paraphrase, steps.best_paraphrase) == (
        pytest.approx(0.7, abs=0.05),
        pytest.approx(0.8, abs=0.05),
    )
    assert told["plain", "think"].against == TODAY.label  # what the mode gains, not the words
    assert {key: t.verdict for key, t in told.items()} == {
        ("steps", "think"): "helps",
        ("plain", "think"): "helps",
        ("echo", "direct"): "hurts",
        ("same", "direct"): "not shown",
    }
    assert [t.difference for t in found] == sorted((t.difference for t in found), reverse=True)


def test_items_without_samples_of_both_take_no_part() -> None:
    table = world({TODAY: 0.5, Variant("steps", "direct", 0.8): 0.9}, n_items=60)
    table.variants[TODAY].score[:20] = np.nan
    (found,) = techniques(table, TODAY)
    assert found.items == 40
    table.variants[TODAY].score[1:] = np.nan
    assert techniques(table, TODAY) == []


def test_demonstrations_and_paraphrases_belong_to_their_prompt() -> None:
    assert first_paraphrase("steps~2+2.think") == "steps+2.think"
    assert first_paraphrase("lib_react") == "lib_react"


def test_techniques_that_do_nothing_are_rarely_said_to_do_something() -> None:
    variants = {TODAY: 0.6} | {Variant(f"t{i}", "direct", 0.8): 0.6 for i in range(8)}
    wrong = sum(
        any(t.verdict != "not shown" for t in techniques(world(variants, seed, n_items=60), TODAY))
        for seed in range(20)
    )
    assert wrong <= 3  # 5% of 20 is one; more than three have a chance of 1.6%
