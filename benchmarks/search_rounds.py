"""Score by rounds of search and hops on ``tasks/lookup``, with all of its corpus and with half.

``python benchmarks/search_rounds.py [--tiers small medium large] [--items 40] [--missing 0.5]``

Buys one chain an item of the embedded tiers (no key, no network), to six rounds, and prints for
each tier and number of hops the curve, its plateau, and what a request costs at it. Hops are known
here from the ids of the items; nothing that is tuned sees them.

``python benchmarks/search_rounds.py --run RUN_DIR […]`` says what the policies of finished runs
spend on the held-out items by hops, with samples of their own; the corpus is that of each run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.analysis.search_rounds import curve
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.llm import Parent, Request, build_request
from tierwise.llm.embedded_model import EmbeddedModel, embedded_tier
from tierwise.pool import (
    Account,
    Library,
    SamplePool,
    TableOptions,
    Trees,
    even,
    fill,
    load,
    parents_first,
)
from tierwise.retrieval.bm25 import Bm25Retriever
from tierwise.runs import load_task
from tierwise.schema import Policy, PolicyFile, Recipe, StrategySpec, Variant, load_job, uniform
from tierwise.search.samples import samples_needed
from tierwise.stats import bootstrap_ratio, paired_difference
from tierwise.tasks import Item

ROUNDS, PASSAGES, HOPS = 6, 1, (1, 2, 3, 4)
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiers", nargs="+", default=["small", "medium", "large"])
    parser.add_argument("--items", type=int, default=40, help="of each number of hops")
    parser.add_argument("--missing", type=float, default=0.5)
    parser.add_argument("--run", nargs="+", type=Path, help="run directories of tune")
    given = parser.parse_args()
    if given.run:
        for folder in given.run:
            policies(folder)
        return
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
    judge = Evaluator(table, Permutations(1, 0), exact=False)
    variant = next(iter(table.variants))
    print(f"\n{name}, {title}, {variant.label}, {PASSAGES} passage a round, {table.n_items} items")
    print("| hops | " + " | ".join(map(str, range(ROUNDS + 1))) + " | plateau | $ there | $ at 6 |")
    print("|" + "---|" * (ROUNDS + 5))
    for hops in HOPS:
        among = np.array([i.startswith(f"hops{hops}") for i in table.item_ids])
        found = curve(judge, variant, PASSAGES, ROUNDS, 1, among)
        if found is None:
            print(f"| {hops} | too few samples arrived |")
            continue
        cells = [f"{p.score.mean:.2f}" for p in found.points]
        usd = [f"{found.points[n].usd:.2e}" for n in (found.plateau, ROUNDS)]
        print(f"| {hops} | {' | '.join(cells)} | {found.plateau} | {' | '.join(usd)} |")
    for words in (0.0, 1.0):
        spec = StrategySpec.of("retrieval", rounds=ROUNDS, passages=PASSAGES, least_match=words)
        print(
            f"rounds of calls taken of up to 7, least_match {words:g}: "
            + by_hops(judge.evaluate(uniform(variant, spec)), table)
        )


def by_hops(found: Evaluation, table: SampleTable) -> str:
    said = []
    for hops in HOPS:
        among = [i.startswith(f"hops{hops}") for i in table.item_ids]
        score, usd, rounds = (getattr(found, n)[among].mean() for n in ("score", "usd", "rounds"))
        said.append(f"{hops}: {rounds:.2f} rounds, ${usd:.2e}, right {score:.2f}")
    return "; ".join(said)


def policies(folder: Path) -> None:
    """Each policy of a run on the test split, with samples of its own, and without its early
    stop."""
    job = load_job(folder / "job.yaml")
    retriever = load_task(job.task).retriever
    assert retriever is not None
    assert retriever.corpus is not None
    corpus = retriever.corpus
    for path in sorted((folder / "policies").glob("*.yaml")):
        file = PolicyFile.load(path)
        kept = Policy(file.policy.buckets, file.policy.difficulty)
        never = replace(kept, buckets=tuple(map(_to_the_end, kept.buckets)))
        variant = Variant("plain", "think", 0.3)
        even_handed = [
            uniform(
                variant,
                StrategySpec.of("retrieval", rounds=n, passages=k, samples=d, least_match=1.0),
            )
            for n in range(ROUNDS + 1)
            for k in (1, 2)
            for d in (1, 3)
        ]
        items = load_task(job.task).task.splits["test"]
        table = bought(file.tier.name, corpus, items=items, policies=(kept, never, *even_handed))
        judge = Evaluator(table, Permutations(1, 0), exact=False)
        print(f"\n{folder} {file.tier.name}, {table.n_items} held-out items")
        for title, policy in (("as tuned", kept), ("without least_match", never)):
            found = judge.evaluate(policy)
            print(
                f"{title}: ${found.mean_usd:.3e} an item, right {found.mean_score:.3f}\n"
                f"  {by_hops(found, table)}"
            )
        against(judge.evaluate(kept), even_handed, judge)


def against(tuned: Evaluation, even_handed: Sequence[Policy], judge: Evaluator) -> None:
    """The best of the policies that give every item the same, picked on these very items."""
    found = [(judge.evaluate(policy), policy) for policy in even_handed]
    affordable = [f for f in found if f[0].mean_usd <= tuned.mean_usd]
    level = [f for f in found if f[0].mean_score >= tuned.mean_score]
    for title, picked in (
        ("best at no more dollars", max(affordable, key=lambda f: f[0].mean_score, default=None)),
        ("cheapest at no lower score", min(level, key=lambda f: f[0].mean_usd, default=None)),
    ):
        if picked is None:
            print(f"the same for all, {title}: none")
            continue
        other, policy = picked
        gain = paired_difference(tuned.score, other.score)
        ratio = bootstrap_ratio(tuned.usd, other.usd, resamples=10_000)
        params = dict(policy.buckets[0].strategy.params)
        said = ", ".join(f"{name} {params[name]}" for name in ("rounds", "passages", "samples"))
        print(
            f"the same for all, {title}: {said}: right {other.mean_score:.3f} at "
            f"${other.mean_usd:.3e}; tuned gains {100 * gain.mean:+.1f} points "
            f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] at x{ratio.mean:.2f} "
            f"[{ratio.low:.2f}, {ratio.high:.2f}]"
        )


def _to_the_end(recipe: Recipe) -> Recipe:
    params = dict(recipe.strategy.params)
    if "least_match" in params:
        params["least_match"] = 0.0
    return replace(recipe, strategy=StrategySpec.of(recipe.strategy.kind, params))


def bought(
    name: str,
    corpus: Path,
    each: int = 0,
    items: Sequence[Item] = (),
    policies: Sequence[Policy] = (),
) -> SampleTable:
    loaded = load_task("lookup")
    tier, variant = embedded_tier(name, f"embedded/{name}"), Variant("plain", "think", 0.3)
    items = list(items) or [
        item
        for hops in HOPS
        for item in [i for i in loaded.task.items if i.id.startswith(f"hops{hops}")][:each]
    ]
    every = uniform(variant, StrategySpec.of("retrieval", rounds=ROUNDS, passages=PASSAGES))
    n_samples = even(samples_needed(policies or [every]))
    prompt = loaded.prompts[0]

    def ask(variant: Variant, item: Item, parent: Parent | None = None) -> Request:
        return build_request(tier, prompt, variant, item.inputs, parent=parent)

    retriever = Bm25Retriever.open("lookup", corpus)
    with tempfile.TemporaryDirectory() as folder, SamplePool.open(Path(folder) / "p") as pool:
        assert loaded.retriever is not None
        library = Library(loaded.retriever.spec, retriever.identity, retriever)
        trees = Trees(
            pool,
            items,
            loaded.task.answer,
            ask,
            lambda a: range(n_samples[a]),
            library,
            Account("benchmark", tier=name),
        )
        model = EmbeddedModel(f"embedded/{name}")
        try:
            for level in parents_first(n_samples):
                needs = [need for a in level for _, need in trees.needs(a)]
                fill(pool, model, tier, needs, Account("benchmark", int(bool(policies))))
        finally:
            model.close()
        requests = {a: [ask(a, item) for item in items] for a in n_samples if not a.path}
        table = load(pool, loaded.task, tier, items, requests, n_samples, TableOptions(trees=trees))
    return table.rows(np.flatnonzero(table.complete))


if __name__ == "__main__":
    main()
