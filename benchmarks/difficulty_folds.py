"""Draws and dollars at an equal score, from a finished run's own draws: nothing is bought.

    tierwise tune --space signals --out runs/signals
    python benchmarks/difficulty_folds.py runs/signals [TIER …]

The study's items are cut in two halves; everything (fixed n, early stop, thresholds and recipes
of buckets by each signal, out of ``search.allocation``) is chosen on one half and judged on the
other, both ways round. "Equal" is a mean within .005 on the half that is chosen on. Intervals are
over items. The router is fitted to the train split, as in the run.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.difficulty import SIGNALS, turn_of
from tierwise.evaluation import Evaluation, Evaluator, Orders, SampleTable
from tierwise.pool import Cap, SamplePool
from tierwise.recipe import Difficulty, Policy, Probe
from tierwise.search import RunDir
from tierwise.search.allocation import allocate
from tierwise.search.buying import Account, Buyer, Supply
from tierwise.search.effort import DrawCost, Effort
from tierwise.search.grid import recipes
from tierwise.search.ladder import ADAPTIVE
from tierwise.search.parameters import Dimensions, policy_of
from tierwise.search.prepared import Prepared
from tierwise.search.question import Question
from tierwise.search.router import fit_router
from tierwise.search.tune import prepare
from tierwise.stats.intervals import Interval
from tierwise.stats.paired import PairedBootstrap, ratio_of_means
from tierwise.strategies import build

ORDERS, DEPTH, NEAR = 8, 17, 0.005
SIGNALS_TRIED = ("length", "probe_confidence", "self_rating", "router")
Judged = Mapping[Policy, Evaluation]


def routers(prepared: Prepared, run: RunDir, name: str, table: SampleTable) -> list[Difficulty]:
    """As the run fits them: the best arm of the cheapest mode against the best of the others."""
    tier, task = prepared.tiers[name], prepared.loaded.task
    assert prepared.baseline is not None
    arms = prepared.arms(tier, prepared.baseline, prepared.loaded.prompts)
    mean = {arm: float(rows.score.mean()) for arm, rows in table.arms.items()}
    direct = [arm for arm in mean if arm.mode == "direct"]
    think = [arm for arm in mean if arm.mode != "direct"]
    if not direct or not think:
        return []
    pair = max(direct, key=lambda a: mean[a]), max(think, key=lambda a: mean[a])
    q = Question(task, tier, prepared.space, arms, 0, 1, 0.02, "balanced", Effort(), Cap(),
                 DrawCost(0.0, 0.0))  # fmt: skip
    with SamplePool.open(run.pool, read_only=True) as pool:
        supply = Supply(tier, None, arms.prompts)
        train = Buyer(pool, task, supply, Account(run.run, 0, Cap())).table(
            q.items("train")[: Effort().fit_items], dict.fromkeys(pair, Effort().fit_draws), "fit"
        )
    fits = [fit_router(train, *pair, 0.02, 2, probed=probed) for probed in (False, True)]
    return [fit.difficulty for fit in fits if fit]


def dimensions(prepared: Prepared, run: RunDir, name: str, table: SampleTable) -> Dimensions:
    """Up to three buckets, by the signals that the run has draws for."""
    told = {"router": tuple(routers(prepared, run, name, table))}
    wordings = {p.id: p.turn for prompt in prepared.loaded.asking for p in prompt.variants()}
    for kind in SIGNALS:
        own = [arm for arm in table.asked if wordings.get(arm.prompt) == turn_of(kind)]
        if own:
            told[kind] = (Difficulty(kind, (), Probe((own[0],), 1)),)
    return Dimensions(
        replace(prepared.space, buckets=(1, 2, 3)), tuple(table.arms), True, DEPTH,
        scores=frozenset({"mean_logprob", "min_logprob"}), told=told,
    )  # fmt: skip


def fixed(policy: Policy) -> bool:
    """Whether the number of draws does not hang on the draws."""
    spec = policy.buckets[0].strategy
    return spec.kind not in ADAPTIVE and not getattr(build(spec), "window", 0)


def families(on: Evaluator, dims: Dimensions) -> dict[str, Judged]:
    """What each freedom allows, judged on the half that is chosen on."""
    grid = [Policy((recipe,)) for recipe in recipes(dims, steps=4)]
    plain = _judged(on, grid)
    constant = {p: e for p, e in plain.items() if fixed(p)}
    found: dict[str, Judged] = {"leanest fixed n": constant, "early stop": plain}
    for kind in SIGNALS_TRIED:
        if dims.ways(kind):
            space = replace(dims.space, signals=("none", kind))
            proposals = allocate(on, replace(dims, space=space), max_points=150).proposals
            found[f"buckets by {kind}"] = _judged(on, [policy_of(p, on) for p in proposals])
    return found


def _judged(on: Evaluator, policies: Sequence[Policy | None]) -> Judged:
    judged = {p: on.evaluate(p) for p in policies if p is not None}
    return {p: e for p, e in judged.items() if np.isfinite(e.mean_score)}


def compared(prepared: Prepared, run: RunDir, name: str) -> None:
    """One tier's table."""
    table = SampleTable.load(run.path / f"tables.{name}.npz")
    dims = dimensions(prepared, run, name, table)
    half = np.arange(table.n_items) % 2
    best: list[Evaluation] = []
    chosen: dict[tuple[str, str], list[Evaluation]] = {}
    by: dict[str, Callable[[Evaluation], float]] = {
        "draws": lambda e: float(e.draws.mean()), "usd": lambda e: e.mean_usd,
    }  # fmt: skip
    for fold in (0, 1):
        on, other = (
            Evaluator(table.rows(np.flatnonzero(half == f)), Orders(ORDERS), exact=False)
            for f in (fold, 1 - fold)
        )
        found = families(on, dims)
        constant = found["leanest fixed n"]
        most = max(constant, key=lambda p: constant[p].mean_score)
        best.append(other.evaluate(most))
        for family, judged in found.items():
            level = [p for p in judged if judged[p].mean_score > constant[most].mean_score - NEAR]
            for what, measure in by.items():
                least = min(level, key=lambda p: measure(judged[p]), default=most)
                chosen.setdefault((family, what), []).append(other.evaluate(least))
    score, draws = _whole(best, "score"), _whole(best, "draws")
    print(f"\n## {name}: best fixed n {score.mean():.3f} at {draws.mean():.1f} draws\n")
    print("| least of | draws | score | beside best fixed n | fewer draws | than the leanest |"
          " fewer dollars | than the cheapest |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for (family, what), judged in chosen.items():
        mine = {m: _whole(judged, m) for m in ("score", "draws", "usd")}
        difference = PairedBootstrap(len(score), resamples=4000).difference(mine["score"], score)
        ratios = [
            ratio_of_means(_whole(against, m), mine[m], resamples=4000)
            for m in ("draws", "usd") for against in (best, chosen["leanest fixed n", m])
        ]  # fmt: skip
        print(
            f"| {family}, {what} | {mine['draws'].mean():.2f} | {mine['score'].mean():.3f} "
            f"| {_iv(difference, 3)} | " + " | ".join(f"×{_iv(r, 1)}" for r in ratios) + " |"
        )


def _whole(judged: Sequence[Evaluation], measure: str) -> np.ndarray:
    return np.concatenate([getattr(e, measure) for e in judged])


def _iv(interval: Interval, digits: int) -> str:
    return f"{interval.mean:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("tiers", nargs="*")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="optuna")
    run = RunDir.open(args.run)
    prepared = prepare(run.job())
    for name in args.tiers or prepared.tiers:
        compared(prepared, run, name)


if __name__ == "__main__":
    main()
