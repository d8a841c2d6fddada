"""How near a study without warm starts comes to the exact allocation, sampler by sampler.

    python benchmarks/search_quality.py                        # tunes the default job first
    python benchmarks/search_quality.py --run runs/arithmetic  # the tables of a finished run

Every study is over the default space, on the table that a run's last generation was judged on
(about 5 variants x 17 samples x 240 items). A study's utility is the best score - price * dollars
among its trials; it is told no price, so one study is measured at all three. Ratios are to the
utility of ``search.allocation`` on the same table, which may be beaten: its grid is coarse.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna

from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.runs import load_space
from tierwise.runs.tune import tune
from tierwise.schema import StrategySpec, default_job, uniform
from tierwise.search import RunDir
from tierwise.search.allocation import allocate
from tierwise.search.sampler import PartwiseSampler
from tierwise.search.space import Dimensions
from tierwise.search.study import StudyRound

TRIALS, DEPTH, SHARE = 300, 17, 0.99
PRICES = (0.002, 0.01, 0.05)
"""Score that one sample of the cheapest variant is worth."""

SAMPLERS: dict[str, Callable[[int, StudyRound], optuna.samplers.BaseSampler]] = {
    "partwise": lambda seed, of: PartwiseSampler(seed, 2, is_new=of.is_new),
    "random": lambda seed, of: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed, of: optuna.samplers.NSGAIISampler(seed=seed),
    "tpe": lambda seed, of: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
}


def study(table: SampleTable, sampler: str, seed: int, trials: int) -> tuple[StudyRound, float]:
    """A study without warm starts, and its seconds."""
    dims = Dimensions(load_space("default"), dict.fromkeys(table.variants, DEPTH), True)
    study_round = StudyRound("b", Evaluator(table, Permutations(16)), dims, seed, 2)
    study_round.study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=SAMPLERS[sampler](seed, study_round)
    )
    start = time.perf_counter()
    study_round.run(trials)
    return study_round, time.perf_counter() - start


def compare(name: str, table: SampleTable, args: argparse.Namespace) -> None:
    evaluator = Evaluator(table, Permutations(16))
    dims = Dimensions(load_space("default"), dict.fromkeys(table.variants, DEPTH), True)
    cheapest = min(
        evaluator.evaluate(uniform(variant, StrategySpec.of("single"))).mean_usd
        for variant in table.variants
    )
    prices = [worth / cheapest for worth in PRICES]
    start = time.perf_counter()
    exact = allocate(evaluator, dims)
    print(
        f"{name}: {len(table.variants)} variants x {DEPTH} samples x {table.n_items} items; exact "
        f"allocation {', '.join(f'{exact.utility(p):.4f}' for p in prices)} at the three prices "
        f"in {time.perf_counter() - start:.1f} s"
    )
    for sampler in args.samplers:
        ratios, seconds = [], []
        for seed in range(args.seeds):
            study_round, took = study(table, sampler, seed, args.trials)
            judged = list(study_round.judged.values())
            ratios.append(
                [max(j.score - p * j.usd for j in judged) / exact.utility(p) for p in prices]
            )
            seconds.append(took)
        r = np.array(ratios)
        reached = " ".join(f"{(r[:, i] >= SHARE).sum()}/{args.seeds}" for i in range(len(prices)))
        shown = " ".join(f"{m:.4f} ({w:.4f})" for m, w in zip(r.mean(0), r.min(0), strict=True))
        print(
            f"  {sampler:9s} mean (worst) {shown}   at {SHARE:.0%} or more: {reached}   "
            f"{np.mean(seconds):.1f} s a study",
            flush=True,
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--run", type=Path, help="a finished run on the default space")
    options.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    options.add_argument("--tiers", nargs="+", default=["small", "medium", "large"])
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--trials", type=int, default=TRIALS)
    args = options.parse_args()
    # Of samplers that Optuna calls experimental: true, and no figure of this table.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        run = RunDir.open(args.run) if args.run else tune(default_job(), Path(scratch) / "run").run
        tables = {name: SampleTable.load(run.path / f"tables.{name}.npz") for name in args.tiers}
    for name, table in tables.items():
        compare(name, table, args)


if __name__ == "__main__":
    main()
