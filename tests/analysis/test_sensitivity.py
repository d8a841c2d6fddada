"""ProSA's sensitivity against its closed form, what is chance in it, and the constraint."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tests.search.known_tiers import variant_table
from tierwise.analysis.prompts import by_chance, item_sensitivity, sensitivities
from tierwise.evaluation import SampleTable
from tierwise.schema import Variant


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
