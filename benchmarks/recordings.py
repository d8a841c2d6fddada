"""Tune on recorded answers of real models, over many random splits of their items.

    python benchmarks/recordings.py FOLDER --out splits.jsonl [--pools NAME …] [--splits 0 1 …]
    [--renamed] python benchmarks/recordings.py FOLDER --out splits.jsonl --show

FOLDER holds recordings (``NAME.jsonl.gz`` and ``NAME.items.jsonl.gz``; docs/real_models.md has the
format). Each split is a run of ``tierwise tune`` with its samples free: 70% of the items to choose
on, 30% held out. What it chooses at the points `quality` and `balanced` is judged on the held-out
items over all recorded samples, beside what is chosen on the same 70% by the same utility among (a)
all prompts at one sample and (b) all prompts under every fixed number of samples, as votes and
best-of-n ("joint best fixed n"). Splits that are in the file are not run again.

``--show`` prints for each pool the mean difference over splits with a 95% interval clustered by
item (bootstrap over items: an item is held out in several splits), the worst split, how often the
gate was passed, and the reported (cross-fitted) score less the held-out one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from arenas import MODEL, TIER, Arena, whole_recording
from peers import policy_of
from tierwise.errors import TierwiseError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.runs.tune import tune
from tierwise.schema import Policy, load_job
from tierwise.search.selection import SCORE_PER_DOUBLING, TIE_PER_DOUBLING
from tierwise.search.study import described

FAITHFUL = ("code002", "gpt-3.5-turbo", "gpt4")
POOLS: Mapping[str, Sequence[str]] = {
    **{
        f"{name}_prompts_by_tier": FAITHFUL for name in ("gsm8k", "aqua", "date", "sports", "svamp")
    },
    "game24_gpt4_100_draws": ("gpt-4",),
    "cruxeval_codellama7b_10_draws": ("codellama-7b",),
    "support_qwen2.5-coder-0.5b_8_draws": ("qwen2.5-coder-0.5b",),
    "gsm8k_qwen2.5-coder-0.5b_8_draws": ("qwen2.5-coder-0.5b",),
}
"""Recordings by model."""

POINTS = {"quality": TIE_PER_DOUBLING, "balanced": SCORE_PER_DOUBLING}
"""Operating point -> score that a doubling of dollars costs there."""

FIXED = (2, 3, 5, 8, 12, 17)
TEST = 0.3
VERIFIERS = ("verifier_score", "mean_logprob")
"""Scores of samples that best-of-n may go by."""

Row = dict[str, Any]


def split_of(pool: str, table: SampleTable, split: int, renamed: bool) -> Arena:
    """The pool with its items' contents marked, so that they fall into splits anew."""
    marked = tuple({**inputs, "mark": f"{split:04}"} for inputs in table.inputs)
    arena = Arena(pool, replace(table, inputs=marked), table, next(iter(table.variants)))
    return arena.renamed(split) if renamed else arena


def run(arena: Arena, split: int, folder: Path) -> list[Row]:
    """What is chosen on one split, and what it is worth on the items held out."""
    written = arena.write(folder / "arena", TEST)
    tier = {
        "model": f"recorded/{MODEL}",
        "recordings": str(written),
        "price": {"prompt_usd_per_mtok": 0.1, "completion_usd_per_mtok": 0.1},
    }
    job = {
        "task": str(written.with_name("task.yaml")),
        "space": "default",
        "seed": split,
        "tiers": {TIER: tier},
        "baseline": arena.baseline.prompt,
        "operating_point": "balanced",
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    result = tune(load_job(path), folder / "run")
    found = result.found[TIER]
    held_out = {item.id for item in found.problem.task.splits["test"]}
    is_test = np.array([name in held_out for name in arena.search.item_ids])
    choose, judge = (
        Evaluator(arena.search.rows(np.flatnonzero(part)), Permutations(16, 0), exact=False)
        for part in (~is_test, is_test)
    )
    single, fixed = [policy_of(v) for v in arena.search.variants], _fixed(arena.search)
    rows = []
    for point in POINTS:
        choice = found.points[point]
        policies = {
            "tierwise": choice.policy,
            "one sample": _best(single, choose, point),
            "fixed n": _best(fixed, choose, point),
            "baseline": found.baseline,
        }
        judged = {name: judge.evaluate(policy) for name, policy in policies.items()}
        summary = result.summary.tiers[TIER].operating_points[point]
        rows.append({
            "pool": arena.name, "split": split, "point": point, "items": judge.table.item_ids,
            "policy": {name: described(policy) for name, policy in policies.items()},
            "score": {name: [round(float(s), 4) for s in e.score] for name, e in judged.items()},
            "usd": {name: e.mean_usd for name, e in judged.items()},
            "gate": summary.gate,
            "cross_fitted": float(choice.evidence.score.mean()),
        })  # fmt: skip
    return rows


def _utility(judged: Evaluation, point: str) -> float:
    return judged.mean_score - POINTS[point] * float(np.log2(max(judged.mean_usd, 1e-30)))


def _best(policies: Sequence[Policy], on: Evaluator, point: str) -> Policy:
    """The policy of the highest utility."""
    return max(policies, key=lambda policy: _utility(on.evaluate(policy), point))


def _fixed(table: SampleTable) -> list[Policy]:
    """Every prompt under a vote and under best-of-n, for every n that is recorded."""
    found = [policy_of(v) for v in table.variants]
    for variant, rows in table.variants.items():
        for n in (n for n in FIXED if n <= rows.n_samples):
            found += [policy_of(variant, "self_consistency", n)] if n > 2 else []
            found += [
                policy_of(variant, "best_of_n", n, verifier)
                for verifier in VERIFIERS
                if verifier in rows.scores
            ]
    return found


def fill(asked: argparse.Namespace) -> None:
    """Run the splits that are not in the file."""
    done = {(row["pool"], row["split"]) for row in read(asked.out)}
    with asked.out.open("a") as file:
        for name, models in POOLS.items():
            for model in models:
                pool = f"{name} {model}"
                wanted = [s for s in asked.splits if (pool, s) not in done]
                if (asked.pools and not any(p in pool for p in asked.pools)) or not wanted:
                    continue
                verifiers = ("game24",) if name.startswith("game24") else ()
                table = whole_recording(asked.folder / f"{name}.jsonl.gz", model, verifiers)
                for split in wanted:
                    arena = split_of(pool, table, split, asked.renamed)
                    with tempfile.TemporaryDirectory() as folder:
                        try:
                            rows = run(arena, split, Path(folder))
                        except TierwiseError as error:
                            print(f"{pool}, split {split}: {error}", flush=True)
                            continue
                    for row in rows:
                        file.write(json.dumps(row) + "\n")
                        means = {n: round(float(np.mean(s)), 3) for n, s in row["score"].items()}
                        said = f"{row['point']} {means} {row['policy']['tierwise']}"
                        print(f"{pool}, split {split}, {said}", flush=True)
                    file.flush()


def read(path: Path) -> list[Row]:
    """The rows of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# What the splits say

BOOTSTRAP = 1000


def clustered(
    rows: Sequence[Row], gain: Mapping[str, npt.NDArray[np.float64]], seed: int = 0
) -> tuple[float, float, float]:
    """Mean over splits of a per-item gain, with a 95% interval by bootstrap over items.

    ``gain[split]`` is (n_items,) of the split's held-out items.
    """
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        for item, value in zip(row["items"], gain[str(row["split"])], strict=True):
            sums[item] += float(value)
            counts[item] += 1
    total, n = np.array(list(sums.values())), np.array(list(counts.values()))
    drawn = np.random.default_rng(seed).integers(0, len(total), (BOOTSTRAP, len(total)))
    means = total[drawn].sum(axis=1) / n[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(total.sum() / n.sum()), float(low), float(high)


def gain_over(row: Row, other: str) -> npt.NDArray[np.float64]:
    """(n_items,): utility of tierwise's policy less that of another, at the row's point."""
    score, usd = row["score"], row["usd"]
    doublings = np.log2(max(usd["tierwise"], 1e-30) / max(usd[other], 1e-30))
    difference = np.array(score["tierwise"]) - np.array(score[other])
    return np.asarray(difference - POINTS[row["point"]] * doublings)


def show(rows: Sequence[Row]) -> str:
    """A line a pool, point and comparison as Markdown; points of utility (100 are a score of 1)."""
    lines = [
        "| pool | point | splits | score | cost | less (a) one sample | worst | less (b) fixed n "
        "| worst "
        "| less before | worst | gate passed | reported less held out |",
        "|" + "---|" * 13,
    ]
    by: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by[row["pool"], row["point"]].append(row)
    for (pool, point), of in by.items():
        cells = [pool, point, str(len(of))]
        score = float(np.mean([np.mean(r["score"]["tierwise"]) for r in of]))
        cost = float(np.mean([r["usd"]["tierwise"] / r["usd"]["baseline"] for r in of]))
        cells += [f"{score:.3f}", f"×{cost:.2f}"]
        for other in ("one sample", "fixed n", "before"):
            some = [r for r in of if other in r["score"]]
            if not some:
                cells += ["", ""]
                continue
            gain = {str(r["split"]): gain_over(r, other) for r in some}
            mean, low, high = (100 * v for v in clustered(some, gain))
            worst = min(100 * float(np.mean(g)) for g in gain.values())
            cells += [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]", f"{worst:+.1f}"]
        gates = [r["gate"] == "passed" for r in of if r["gate"] != "not tested"]
        cells.append(f"{np.mean(gates):.0%}" if gates else "")
        bias = [r["cross_fitted"] - np.mean(r["score"]["tierwise"]) for r in of]
        cells.append(f"{100 * float(np.mean(bias)):+.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON lines, a split and point each"
    )
    parser.add_argument("--pools", nargs="+", default=[], help="parts of their names")
    parser.add_argument("--splits", nargs="+", type=int, default=list(range(20)))
    parser.add_argument("--renamed", action="store_true", help="other names, another order")
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    if not asked.show:
        fill(asked)
    print(show(read(asked.out)))


if __name__ == "__main__":
    main()
