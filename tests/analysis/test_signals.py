"""What a signal is worth: one that knows, one that is placebo, and the oracle's own share."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.known_tiers import DIRECT, SPACE, THINK, variant_table
from tierwise.analysis.signals import difficulties_of, qualities, signal_table
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.schema import Difficulty, Probe, Recipe, StrategySpec
from tierwise.schema.space import Range
from tierwise.search.space import Dimensions

LENGTH = Difficulty("length")
SINGLE = StrategySpec.of("single")
RECIPES = [Recipe((variant,), SINGLE) for variant in (DIRECT, THINK)]


def table(lengths: np.ndarray, samples: int = 12) -> SampleTable:
    """Items are easy for all or hard for direct; thinking, ten times as dear, always helps."""
    rng = np.random.default_rng(0)
    hard = np.arange(len(lengths)) % 3 == 0
    cheap = variant_table(np.where(hard, 0.05, 0.95), samples, rng)
    dear = variant_table(np.full(len(lengths), 0.95), samples, rng)
    dear = type(dear)(
        dear.answers, dear.score, dear.prompt_usd, dear.prompt_usd * 19, dear.latency_s
    )
    inputs = tuple({"q": "word " * int(n)} for n in lengths)
    return SampleTable(tuple(map(str, range(len(inputs)))), inputs, {DIRECT: cheap, THINK: dear})


KNOWS = np.where(np.arange(300) % 3 == 0, 9, 2)
PLACEBO = np.random.default_rng(1).integers(1, 30, 300)


def quality(lengths: np.ndarray, difficulty: Difficulty = LENGTH):
    evaluator = Evaluator(table(lengths), Permutations(6), exact=False)
    return qualities(evaluator, RECIPES, [difficulty], DIRECT)[0]


def test_a_signal_that_knows_captures_what_the_oracle_gains() -> None:
    found = quality(KNOWS)
    assert found.auroc > 0.9
    assert found.gain_ci95[0] > 0
    assert (
        found.share_of_oracle_gain > 0.8
    )  # above 1 too: the oracle knows the truth from six samples only
    assert (found.gain, found.gain_ci95) == (found.gain_if_free, found.gain_if_free_ci95)


def test_a_placebo_orders_nothing_and_gains_nothing() -> None:
    found = quality(PLACEBO)
    assert found.auroc_ci95[0] < 0.5 < found.auroc_ci95[1]
    assert abs(found.spearman) < 0.1
    assert found.share_of_oracle_gain < 0.2
    assert found.oracle_gain_ci95[0] > 0


def test_a_probe_is_on_the_bill_and_its_own_samples_do_not_judge_it() -> None:
    found = quality(PLACEBO, Difficulty("probe_agreement", (), Probe((DIRECT,), 3)))
    assert found.usd_per_item == pytest.approx(4e-6)
    assert found.gain < found.gain_if_free
    with_itself = Difficulty("probe_agreement", (), Probe((DIRECT,), 11))
    assert quality(PLACEBO, with_itself).auroc < 1


def test_every_signal_of_a_space_is_in_the_summary() -> None:
    kinds = ("none", "length", "probe_agreement")
    space = SPACE.with_difficulty(signals=kinds, buckets=(1, 2), probe_samples=Range(2, 4))
    dims = Dimensions(space, {DIRECT: 6, THINK: 6}, logprobs=False)
    assert [str(d) for d in difficulties_of(dims, (DIRECT, THINK), 2)] == [
        "length",
        f"probe_agreement of 2 samples of {DIRECT.label}",
        f"probe_agreement of 2 samples of {THINK.label}",
    ]
    assert [str(d) for d in difficulties_of(dims, (DIRECT, THINK), 1)] == ["length"]
    told = signal_table(table(KNOWS), dims, Permutations(4))
    assert told is not None
    assert [row.signal for row in told.by_signal] == ["length", *["probe_agreement"] * 4]
    assert [row.probe.samples for row in told.by_signal[1:]] == [2, 2, 4, 4]
    assert signal_table(table(KNOWS, samples=2), dims, Permutations(4)) is None
