"""Buckets are chosen where they gain, and hardly ever by random numbers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tierwise.difficulty import SIGNALS
from tierwise.difficulty._base import register_signal

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "buckets_never_cost.py"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    """The benchmark's module, its placebo among the signals for as long as the tests run."""
    spec = importlib.util.spec_from_file_location("buckets_never_cost", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    importlib.sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    register_signal(module.Placebo)
    yield module
    SIGNALS.pop(module.Placebo.kind)


def bucketed(chosen: list) -> list[float]:
    return [c.gain for c in chosen if c.buckets > 1]


def test_random_numbers_are_not_taken_for_difficulty(benchmark: ModuleType) -> None:
    world = benchmark.simulated(0, told=0.3, n_items=240).placebo
    chosen = [c for seed in range(3) for c in benchmark.split(world, seed, 30)]
    assert len(bucketed(chosen)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("told", [0.8, 0.3])
def test_buckets_never_cost_over_twenty_splits(benchmark: ModuleType, told: float) -> None:
    """Over all splits: where two or three choose buckets, a mean over these is one test's noise."""
    world = benchmark.simulated(0, told=told)
    real = [c for seed in range(20) for c in benchmark.split(world, seed, 100)]
    placebo = [c for seed in range(20) for c in benchmark.split(world.placebo, seed, 100)]
    for point in benchmark.POINTS:
        gains = bucketed([c for c in real if c.point == point])
        assert sum(gains) / 20 > -0.3
        assert (told, point) != (0.8, "balanced") or len(gains) > 5
        assert len(bucketed([c for c in placebo if c.point == point])) <= 2


@pytest.mark.slow
def test_the_gate_is_wrong_as_rarely_as_it_says(benchmark: ModuleType) -> None:
    assert sum(benchmark.opens(0.0, seed) for seed in range(200)) <= 10
    assert sum(benchmark.opens(0.05, seed) for seed in range(200)) >= 190
