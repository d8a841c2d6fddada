"""The router's fit: where the truth is known, where there is none, and as the runtime reads it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.search.known_tiers import DIRECT, THINK, variant_table
from tierwise.difficulty import Router, SignalFit, TrainingSamples, signal_of
from tierwise.difficulty.router_features import ROUTER_FEATURES
from tierwise.difficulty.router_fit import _visible, fit_router
from tierwise.evaluation import SampleTable
from tierwise.search.signals import training_samples
from tierwise.stats.estimators import sigmoid

N = 240


def world(hard: np.ndarray, lengths: np.ndarray, *, think: float = 0.95) -> SampleTable:
    """Direct answers fail on ``hard`` items, where thinking helps."""
    rng = np.random.default_rng(0)
    direct = variant_table(np.where(hard, 0.1, 0.95), 8, rng)
    logprob = np.where(hard, -1.0, -0.2)[:, None] + 0.3 * rng.normal(size=direct.score.shape)
    direct = type(direct)(
        direct.answers,
        direct.score,
        direct.prompt_usd,
        direct.completion_usd,
        direct.latency_s,
        {"mean_logprob": logprob},
    )
    inputs = tuple({"q": "word " * int(n)} for n in lengths)
    variants = {DIRECT: direct, THINK: variant_table(np.full(len(hard), think), 8, rng)}
    return SampleTable(tuple(map(str, range(len(hard)))), inputs, variants)


HARD = np.random.default_rng(4).random(N) < 0.5
TELLING = np.where(HARD, 9, 3) + np.random.default_rng(5).integers(0, 3, N)
BLIND = np.random.default_rng(6).integers(3, 12, N)


def train(table: SampleTable) -> TrainingSamples:
    return training_samples(table, DIRECT, THINK, 0.02, 2)


def fitted(table: SampleTable, *, probed: bool = False) -> SignalFit:
    found = fit_router(train(table), probed=probed)
    assert found is not None
    return found


def test_it_finds_the_feature_that_tells_when_thinking_pays() -> None:
    found = fitted(world(HARD, TELLING))
    summary, pays = found.summary, (0.95 * (0.9 * HARD + 0.05 * ~HARD)).mean()
    assert summary.auroc > 0.9
    assert summary.auroc_of_length > 0.9
    assert summary.ece < 0.1
    assert not summary.collapsed
    assert summary.share_where_thinking_pays == pytest.approx(pays, abs=0.05)
    assert summary.share_predicted_above_that == pytest.approx(HARD.mean(), abs=0.1)
    router = signal_of(found.difficulty)
    easy, hard = router.value({"q": "word " * 4}, ()), router.value({"q": "word " * 10}, ())
    assert easy > 0.7 > 0.3 > hard


def test_features_that_say_nothing_leave_it_at_the_share() -> None:
    found = fitted(world(HARD, BLIND)).summary
    assert 0.35 < found.auroc < 0.65
    assert found.log_loss == pytest.approx(found.log_loss_of_the_share, abs=0.05)
    assert found.ece < 0.15


def test_a_probe_helps_where_the_text_says_nothing_and_is_in_its_signal() -> None:
    found = fitted(world(HARD, BLIND), probed=True)
    assert found.summary.auroc > 0.85
    assert found.difficulty.probe == ((DIRECT,), 2)
    assert signal_of(found.difficulty).probes
    assert not signal_of(fitted(world(HARD, TELLING)).difficulty).probes


def test_the_runtime_computes_what_was_fitted() -> None:
    table = world(HARD, TELLING)
    found = fitted(table)
    by_name = {w.feature: w for w in found.difficulty.weights}
    x = _visible(train(table), probed=False)
    logits = np.full(N, by_name.pop("intercept").weight)
    for name, weight in by_name.items():
        logits += weight.weight * (x[:, ROUTER_FEATURES.index(name)] - weight.mean) / weight.scale
    values = [signal_of(found.difficulty).value(inputs, ()) for inputs in table.inputs]
    np.testing.assert_allclose(values, 1 - sigmoid(logits), rtol=1e-9)


def test_where_thinking_never_pays_or_items_are_few_there_is_no_router() -> None:
    assert fit_router(train(world(HARD, TELLING, think=0.0)), probed=False) is None
    few = world(HARD, TELLING).rows(np.arange(30))
    assert not Router.fit(train(few))


def test_its_weights_are_short_numbers() -> None:
    for weight in fitted(world(HARD, TELLING)).difficulty.weights:
        for value in weight[1:]:
            assert float(f"{value:.5g}") == value
