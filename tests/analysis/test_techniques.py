"""What helps on a tier is told from what was lucky, and the whole table errs in one of twenty."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.search.known_tiers import variant_table
from tierwise.analysis.prompts import first_paraphrase, techniques
from tierwise.evaluation import SampleTable
from tierwise.schema import Variant

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
