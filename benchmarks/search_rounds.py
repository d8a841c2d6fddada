"""Score by rounds of search and hops on ``tasks/lookup``, with all of its corpus and with half.

``python benchmarks/search_rounds.py [--tiers small medium large] [--items 40] [--missing 0.5]``

Buys one chain an item of the embedded tiers (no key, no network), to six rounds, and prints for
each tier and number of hops the curve, its plateau, and what a request costs at it. Hops are known
here from the ids of the items; nothing that is tuned sees them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tierwise.content import load_task
from tierwise.evaluation import Evaluator, Orders
from tierwise.llm import build_request
from tierwise.llm.embedded_model import EmbeddedModel, embedded_tier
from tierwise.pool import Buys, Library, SamplePool, Trees, even, fill, load, parents_first
from tierwise.recipe import Arm, StrategySpec, uniform
from tierwise.reporting.search_rounds import curve
from tierwise.retrieval.bm25 import Bm25Retriever
from tierwise.search.effort import depth_needed

ROUNDS, PASSAGES, HOPS = 6, 1, (1, 2, 3, 4)
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiers", nargs="+", default=["small", "medium", "large"])
    parser.add_argument("--items", type=int, default=40, help="of each number of hops")
    parser.add_argument("--missing", type=float, default=0.5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        maker = ROOT / "tools" / "lookup_task" / "make_task.py"
        subprocess.run(
            [sys.executable, maker, "--missing", str(given.missing), "--out", folder], check=True
        )
        for name in given.tiers:
            for title, corpus in (
                ("whole corpus", ROOT / "tasks" / "lookup" / "corpus.jsonl"),
                (f"{given.missing:.0%} of the facts missing", Path(folder) / "corpus.jsonl"),
            ):
                report(name, title, corpus, given.items)


def report(name: str, title: str, corpus: Path, each: int) -> None:
    table = bought(name, corpus, each)
    judge = Evaluator(table, Orders(1, 0), exact=False)
    arm = next(iter(table.arms))
    print(f"\n{name}, {title}, {arm.label}, {PASSAGES} passage a round, {table.n_items} items")
    print("| hops | " + " | ".join(map(str, range(ROUNDS + 1))) + " | plateau | $ there | $ at 6 |")
    print("|" + "---|" * (ROUNDS + 5))
    for hops in HOPS:
        among = np.array([i.startswith(f"hops{hops}") for i in table.item_ids])
        found = curve(judge, arm, PASSAGES, ROUNDS, 1, among)
        if found is None:
            print(f"| {hops} | too few draws arrived |")
            continue
        cells = [f"{p.score.mean:.2f}" for p in found.points]
        usd = [f"{found.points[n].usd:.2e}" for n in (found.plateau, ROUNDS)]
        print(f"| {hops} | {' | '.join(cells)} | {found.plateau} | {' | '.join(usd)} |")
    spec = StrategySpec.of("retrieval", rounds=ROUNDS, passages=PASSAGES)
    used = judge.evaluate(uniform(arm, spec))
    by_hops = [used.rounds[[i.startswith(f"hops{h}") for i in table.item_ids]].mean() for h in HOPS]
    print("rounds of calls taken of up to 7, by hops: " + ", ".join(f"{r:.2f}" for r in by_hops))


def bought(name: str, corpus: Path, each: int):
    loaded = load_task("lookup")
    tier, arm = embedded_tier(name, f"embedded/{name}"), Arm("plain", "think", 0.3)
    items = [
        item for hops in HOPS
        for item in [i for i in loaded.task.items if i.id.startswith(f"hops{hops}")][:each]
    ]  # fmt: skip
    depth = even(depth_needed([uniform(arm, StrategySpec.of(
        "retrieval", rounds=ROUNDS, passages=PASSAGES))]))  # fmt: skip
    prompt = loaded.prompts[0]

    def ask(arm, item, parent=None):
        return build_request(tier, prompt, arm, item.inputs, parent=parent)

    retriever = Bm25Retriever.open("lookup", corpus)
    with tempfile.TemporaryDirectory() as folder, SamplePool.open(Path(folder) / "p") as pool:
        library = Library(loaded.retriever.spec, retriever.identity, retriever)
        trees = Trees(
            pool, items, loaded.task.answer, ask, lambda a: range(depth[a]), library,
            Buys(name, "benchmark"),
        )  # fmt: skip
        model = EmbeddedModel(f"embedded/{name}")
        try:
            for level in parents_first(depth):
                needs = [need for a in level for _, need in trees.needs(a)]
                fill(pool, model, tier, needs, seed=0, run="benchmark")
        finally:
            model.close()
        requests = {arm: [ask(arm, item) for item in items]}
        table = load(pool, loaded.task, tier, items, requests, depth, trees=trees)
    return table.rows(np.flatnonzero(table.complete))


if __name__ == "__main__":
    main()
