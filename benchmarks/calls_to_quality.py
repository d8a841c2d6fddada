"""How many calls a search needs for a policy of what quality: tierwise and its peers.

    python benchmarks/calls_to_quality.py --out cells.jsonl [--worlds "few prompts" …]
        [--budgets 1000 …] [--seeds 1000 1001] [--searches tierwise "naive Optuna" …]
        [--recordings FOLDER] [--embedded small …]
    python benchmarks/calls_to_quality.py --out cells.jsonl --show

A cell is one search with one budget on one instance of an arena (``arenas.py``): a seed gives fresh
items and samples, and with ``--renamed`` other names and another order. Its policy is judged on
items that no search saw, at the point `balanced`: the score, less one point for each doubling of
dollars. Cells that are in the file are not run again, so that it can be filled in slices.

Seeds below 1000 were used while the search was written; figures are of seeds from 1000 on.

``--show`` prints for every arena and budget how far each search's mean utility is below the best
policy known, in points, with the standard error of the mean over arenas, and the calls to within
one point of it, with their geometric mean. The best known is the best of an enumeration on the
truth's own items, and of what any search found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arenas import Arena, Outcome, embedded, recorded, tierwise, worlds
from peers import PEERS, policy_of, run
from tierwise.errors import TierwiseError
from tierwise.schema import Policy, Recipe, StrategySpec

BUDGETS = (500, 1000, 2000, 4000, 8000)
SEARCHES = ("tierwise", *PEERS)
LEADING = 3
"""Prompts that lead, of which the best policy known is made."""
SAMPLES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 17)
"""Of a vote: up to as many as the default space, which tierwise searches, has."""
WITHIN = 1.0
"""Points below the best known that count as having found it."""

RECORDINGS = {
    "date_prompts_by_tier": ("gpt-3.5-turbo", "gpt4"),
    "sports_prompts_by_tier": ("gpt-3.5-turbo",),
    "gsm8k_prompts_by_tier": ("gpt-3.5-turbo",),
    "svamp_prompts_by_tier": ("gpt-3.5-turbo",),
    "cruxeval_codellama7b_10_draws": ("codellama-7b",),
    "game24_gpt4_100_draws": ("gpt-4",),
    "support_qwen2.5-coder-0.5b_8_draws": ("qwen2.5-coder-0.5b",),
}
"""Recordings of real models that are samples of one tier, by model."""

Cell = dict[str, Any]


def arenas(asked: argparse.Namespace, seed: int) -> Iterator[Arena]:
    """Those that are asked for, in one instance."""

    def wanted(name: str) -> bool:
        return not asked.worlds or name in asked.worlds

    for world in worlds(seed):
        if wanted(world.name):
            yield world.arena(seed)
    for tier in asked.embedded:
        if wanted(f"embedded {tier}"):
            yield embedded(tier, seed)
    for name, models in RECORDINGS.items() if asked.recordings else ():
        for model in models:
            if wanted(f"{name} {model}"):
                yield recorded(asked.recordings / f"{name}.jsonl.gz", model, seed)


def best_known(arena: Arena) -> float:
    """The highest utility among votes, weighted and adaptive votes and best-of-n of the prompts
    that lead at one sample and under a vote, and of pairs of them."""
    pool = list(arena.search.variants)
    one, five = (
        sorted(pool, key=lambda v: -arena.worth(policy_of(v, "self_consistency", n))[1])
        for n in (1, min(5, arena.depth))
    )
    leading = list(dict.fromkeys((*one[:LEADING], *five[:LEADING])))
    policies = [policy_of(v) for v in pool]
    verified = all("mean_logprob" in r.scores for r in arena.search.variants.values())
    for group in [(v,) for v in leading] + list(itertools.combinations(leading, 2)):
        for n in (n for n in SAMPLES if len(group) < n <= arena.depth * len(group)):
            specs = [StrategySpec.of("self_consistency", samples=n)]
            specs += [
                StrategySpec.of("adaptive_consistency", threshold=t, max_samples=n)
                for t in (0.8, 0.9, 0.95)
            ]
            for kind in ("best_of_n", "weighted_consistency") if verified else ():
                specs.append(StrategySpec.of(kind, samples=n, verifier="mean_logprob"))
            policies += [Policy((Recipe(group, spec),)) for spec in specs]
    return max(arena.worth(policy)[1] for policy in policies)


def cell(search: str, arena: Arena, budget: int, seed: int) -> Cell:
    """Run one search and judge what it found; with ``error`` where it refuses the budget."""
    started_s = time.process_time()
    error = ""
    try:
        if search == "tierwise":
            outcome = tierwise(arena, budget, seed)
        else:
            outcome = run(search, arena, budget, seed)
    except TierwiseError as fault:
        outcome, error = Outcome(policy_of(arena.baseline), 0), str(fault)
    score, utility = arena.worth(outcome.policy)
    return {
        "arena": arena.name, "search": search, "budget": budget, "seed": seed,
        "calls": outcome.calls, "exported": outcome.exported, "score": score,
        "utility": utility, "policy": str(outcome.policy), "error": error,
        "cpu_s": round(time.process_time() - started_s, 1),
    }  # fmt: skip


def fill(asked: argparse.Namespace) -> None:
    """Run the cells that are not in the file."""
    done = {_key(c) for c in read(asked.out)}
    with asked.out.open("a") as file:

        def keep(found: Cell) -> None:
            file.write(json.dumps(found) + "\n")
            file.flush()

        for seed in asked.seeds:
            for arena in arenas(asked, seed):
                wanted = [
                    (arena.name, search, budget, seed)
                    for budget in asked.budgets
                    for search in asked.searches
                    if (arena.name, search, budget, seed) not in done
                ]
                if not wanted:
                    continue
                if asked.renamed:
                    arena = arena.renamed(seed)
                if (arena.name, "best known", 0, seed) not in done:
                    known, (score, base) = best_known(arena), arena.worth(policy_of(arena.baseline))
                    keep({
                        "arena": arena.name, "search": "best known", "budget": 0, "seed": seed,
                        "utility": known, "score": score, "baseline": base,
                        "headroom": arena.headroom,
                    })  # fmt: skip
                for _, search, budget, _ in wanted:
                    found = cell(search, arena, budget, seed)
                    keep(found)
                    print(
                        f"{arena.name}, {search}, {budget}, seed {seed}: "
                        f"{found['utility']:.4f} {found['policy']} {found['error'][:80]}",
                        flush=True,
                    )


def _key(found: Cell) -> tuple[str, str, int, int]:
    return (found["arena"], found["search"], found["budget"], found["seed"])


def read(path: Path) -> list[Cell]:
    """The cells of a file, the last of each key."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return list({_key(row): row for row in rows}.values())


# What the cells say


def gaps(cells: Sequence[Cell]) -> dict[tuple[str, str, int], list[float]]:
    """(arena, search, budget) -> by seed, points below the best known of that instance."""
    best: dict[tuple[str, int], float] = defaultdict(lambda: -math.inf)
    for c in cells:
        best[c["arena"], c["seed"]] = max(best[c["arena"], c["seed"]], c["utility"])
    found: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for c in cells:
        if c["budget"]:
            gap = 100 * (best[c["arena"], c["seed"]] - c["utility"])
            found[c["arena"], c["search"], c["budget"]].append(gap)
    return found


def calls_to(mean_gap: Mapping[int, float], budgets: Sequence[int]) -> float:
    """Calls at which the mean gap comes within ``WITHIN`` for good, linear in log(calls) between
    two budgets; twice the largest budget where it never does, NaN where a budget was not run."""
    if any(budget not in mean_gap for budget in budgets):
        return math.nan
    reached = 2.0 * budgets[-1]
    for at, budget in reversed(list(enumerate(budgets))):
        if mean_gap[budget] > WITHIN:
            break
        reached = float(budget)
        if at and mean_gap[budgets[at - 1]] > WITHIN:
            low, high = mean_gap[budgets[at - 1]], mean_gap[budget]
            part = (low - WITHIN) / (low - high)
            reached = math.exp((1 - part) * math.log(budgets[at - 1]) + part * math.log(budget))
    return reached


def show(cells: Sequence[Cell]) -> str:
    """The tables as Markdown."""
    found, lines = gaps(cells), list[str]()
    names = list(dict.fromkeys(c["arena"] for c in cells))
    searches = [s for s in SEARCHES if any(k[1] == s for k in found)]
    budgets = sorted({k[2] for k in found})
    head = "| | calls | " + " | ".join(searches) + " |"
    lines += [head, "|" + "---|" * (2 + len(searches))]
    for name, budget in itertools.product(names, budgets):
        values = [found.get((name, s, budget)) for s in searches]
        means = [float(np.mean(v)) if v else math.nan for v in values]
        least = min((m for m in means if m == m), default=math.nan)
        shown = [_number(m, bold=m <= least + 0.05) for m in means]
        lines.append(f"| {name} | {budget:,} | " + " | ".join(shown) + " |")
    for budget in budgets:
        of_all = [
            np.mean([np.mean(found[n, s, budget]) for n in names])
            if all((n, s, budget) in found for n in names)
            else math.nan
            for s in searches
        ]
        errors = [_error([found.get((n, s, budget), []) for n in names]) for s in searches]
        shown = [f"{_number(float(m))}{e}" for m, e in zip(of_all, errors, strict=True)]
        lines.append(f"| **mean** | {budget:,} | " + " | ".join(shown) + " |")
    lines += ["", "| calls to within one point | " + " | ".join(searches) + " |"]
    lines.append("|" + "---|" * (1 + len(searches)))
    reached: dict[str, list[float]] = defaultdict(list)
    for name in names:
        row = []
        for s in searches:
            curve = {b: float(np.mean(found[name, s, b])) for b in budgets if (name, s, b) in found}
            n = calls_to(curve, budgets)
            reached[s].append(n)
            row.append("" if n != n else f"{n:,.0f}" if n <= budgets[-1] else f"> {budgets[-1]:,}")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    geometric = [float(np.exp(np.mean(np.log(reached[s])))) for s in searches]
    shown = ["" if m != m else f"{m:,.0f}" for m in geometric]
    lines.append("| **geometric mean** | " + " | ".join(shown) + " |")
    used = {
        s: [c["calls"] / c["budget"] for c in cells if c["search"] == s and c["budget"]]
        for s in searches
    }
    lines.append(
        "| calls used, of the budget | "
        + " | ".join(f"{100 * np.mean(used[s]):.0f}%" for s in searches)
        + " |"
    )
    instances = sorted({len(gap) for gap in found.values()})
    lines += [
        "",
        f"{' to '.join(map(str, dict.fromkeys((instances[0], instances[-1]))))} instances of each; "
        "a mean counts twice the largest budget where one point was never reached.",
    ]
    return "\n".join(lines)


def _error(by_arena: Sequence[Sequence[float]]) -> str:
    """Standard error of the mean over arenas from their instances; empty where there is one."""
    if any(len(gaps) < 2 for gaps in by_arena):
        return ""
    variance = sum(np.var(gaps, ddof=1) / len(gaps) for gaps in by_arena)
    return f" ± {math.sqrt(variance) / len(by_arena):.1f}"


def _number(value: float, *, bold: bool = False) -> str:
    if value != value:
        return ""
    return f"**{value:.1f}**" if bold else f"{value:.1f}"


def main() -> None:
    """Fill the file, or show what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, a cell each")
    parser.add_argument("--worlds", nargs="+", default=[], help="names of arenas; left out: all")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1000, 1001, 1002])
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=SEARCHES)
    parser.add_argument("--recordings", type=Path, help="folder of recordings of real models")
    parser.add_argument("--embedded", nargs="+", default=[], help="names of embedded tiers")
    parser.add_argument("--renamed", action="store_true", help="other names, another order")
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    if not asked.show:
        fill(asked)
    print(show(read(asked.out)))


if __name__ == "__main__":
    main()
