"""Tune on recorded answers of real models, over many random splits of their items.

    python benchmarks/recordings.py FOLDER --out splits.jsonl [--pools NAME …] [--splits 0 1 …]
    python benchmarks/recordings.py FOLDER --out splits.jsonl --show [--before OTHER.jsonl]

FOLDER holds recordings (``NAME.jsonl.gz`` and ``NAME.items.jsonl.gz``; docs/real_models.md has the
format). Each split searches the recorded samples of 70% of the items, all of them free, in one
process; every odd one with other names of prompts and tiers, in another order. What is chosen is
judged on the other items over all recorded samples.

- One model: at `quality` and `balanced`, beside what the same utility takes on the same items among
  (a) all prompts at one sample and (b) all prompts under every fixed number of samples, as votes
  and best-of-n ("joint best fixed n").
- Several models, which escalate from each to the next ones (``CHAINS``): at `level`, beside the
  strongest model's best prompt at one sample, and beside hindsight: the cheapest of all that the
  search judged with that one's score on all items of the recording.

Splits that are in the file are not run again. ``--show`` prints a line a pool and point: the mean
difference over splits with a 95% interval clustered by item (bootstrap over items: an item is held
out in several splits), the worst split, how often the gate was passed, and the reported
(cross-fitted) score less the held-out one. ``--before``: the same splits of another commit.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arenas import PRICES, whole_recording
from peers import policy_of
from tierwise.errors import TierwiseError
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable
from tierwise.llm.recorded import Recording, recorded_tier
from tierwise.runs.inputs import load_space
from tierwise.runs.recorded_depth import FREE
from tierwise.runs.recorded_samples import recorded_table
from tierwise.schema import Policy, Price, PromptTemplate, Tier, UsageLimits, Variant
from tierwise.search.held_out import passed
from tierwise.search.problem import EscalationTarget, TierProblem, Variants
from tierwise.search.samples import SampleCost
from tierwise.search.selection import SCORE_PER_DOUBLING, TIE_PER_DOUBLING
from tierwise.search.space import offered, within_depth
from tierwise.search.tier import TierResult, escalation_target, search
from tierwise.tasks import AnswerSpec, Item, Task

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

BY_TIER = {"gpt-3.5-turbo": (1.5, 2.0), "gpt4": (30.0, 40.0)}
ZERO_EVAL = {
    "Meta-Llama-3.1-8B-Instruct": (0.05, 0.08),
    "gemini-1.5-flash": (0.075, 0.3),
    "gpt-4o-mini-2024-07-18": (0.15, 0.6),
    "gpt-4o-2024-08-06": (2.5, 10.0),
}
CHAINS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    **{f"{name}_prompts_by_tier": BY_TIER for name in ("gsm8k", "aqua", "date", "sports", "svamp")},
    "gsm8k_models_greedy": ZERO_EVAL,
}
"""Recordings -> models from the weakest with dollars per million prompt and completion tokens."""

POINTS = {"quality": TIE_PER_DOUBLING, "balanced": SCORE_PER_DOUBLING}
"""Operating point -> score that a doubling of dollars costs there."""

FIXED = (2, 3, 5, 8, 12, 17)
TEST = 0.3
MARGIN = 0.02
VERIFIERS = ("verifier_score", "mean_logprob")
"""Scores of samples that best-of-n may go by."""

Row = dict[str, Any]


class Recorded:
    """All samples of a recording as a search's ``Samples``."""

    free = True

    def __init__(self, table: SampleTable) -> None:
        self._table = table
        self._at = {name: i for i, name in enumerate(table.item_ids)}

    def most(self, variant: Variant) -> int:
        """See ``Samples``."""
        return self._table.of(variant).n_samples

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``."""
        own = {
            v: self._table.variants[v].columns(np.arange(min(n, self.most(v))))
            for v, n in n_samples.items()
        }
        rows = np.array([self._at[item.id] for item in items], dtype=np.intp)
        return replace(self._table, variants=own).rows(rows)

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """Where samples are free, tables are asked for."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pool:
    """A recording of one or of several models.

    Attributes:
        table: variants of all models, each with the name of its tier; all items have all samples.
        tiers: the models from the weakest.
    """

    name: str
    table: SampleTable
    tiers: tuple[Tier, ...]

    @property
    def task(self) -> Task:
        """Its items, with their splits."""
        inputs = zip(self.table.item_ids, self.table.inputs, strict=True)
        return Task(
            self.name,
            1,
            tuple(self.table.inputs[0]),
            tuple(Item(name, of, "") for name, of in inputs),
            metric="recorded",
            shares={"train": 0.0, "validation": 1 - TEST, "test": TEST},
        )

    def split(self, number: int) -> Pool:
        """With the items' contents marked, so that they fall into splits anew; every odd one with
        other names, in another order."""
        marked = tuple({**inputs, "mark": f"{number:04}"} for inputs in self.table.inputs)
        pool = replace(self, table=replace(self.table, inputs=marked))
        return pool.renamed(number) if number % 2 else pool

    def renamed(self, seed: int) -> Pool:
        """The same under other names, in another order; the first prompt stays the first."""
        rng = np.random.default_rng([seed, 7])
        variants = list(self.table.variants)
        order = [variants[0], *(variants[i] for i in 1 + rng.permutation(len(variants) - 1))]
        prompts = list(dict.fromkeys(v.prompt for v in order))
        letters = rng.permutation([f"{a}{b}" for a in "bcdfgh" for b in "aeiou"])
        name = dict(zip(prompts, map(str, letters), strict=False))
        tier = {t.name: f"{letter}{i}" for i, (t, letter) in enumerate(zip(self.tiers, letters))}  # noqa: B905  more letters than tiers
        moved = {
            v._replace(prompt=name[v.prompt], tier=tier[str(v.tier)]): self.table.variants[v]
            for v in order
        }
        table = replace(self.table, variants=moved).rows(rng.permutation(self.table.n_items))
        tiers = tuple(replace(t, name=tier[t.name]) for t in self.tiers)
        return Pool(self.name, table, tiers)

    def seen_by(self, tier: Tier) -> SampleTable:
        """The table in which the variants of ``tier`` are its own."""
        own = {v._replace(tier=None): rows for v, rows in self.of(tier).items()}
        others = {v: rows for v, rows in self.table.variants.items() if v.tier != tier.name}
        return replace(self.table, variants={**own, **others})

    def of(self, tier: Tier) -> Mapping[Variant, Any]:
        """The variants of ``tier``."""
        return {v: rows for v, rows in self.table.variants.items() if v.tier == tier.name}

    def search(
        self, tier: Tier, point: str, seed: int, targets: Sequence[EscalationTarget] = ()
    ) -> TierResult:
        """What a search of ``tier`` finds."""
        own = tuple(v._replace(tier=None) for v in self.of(tier))
        samples = Recorded(self.seen_by(tier))
        scores = frozenset(name for rows in self.of(tier).values() for name in rows.scores)
        depth = max(map(samples.most, own))
        space = load_space("default")
        problem = TierProblem(
            task=self.task,
            tier=tier,
            space=offered(within_depth(space, depth * max(space.variants)), scores),
            variants=Variants({v.prompt: PromptTemplate(v.prompt, ()) for v in own}, own, own[0]),
            seed=seed,
            trials=300,
            margin=MARGIN,
            operating_point=point,
            search_size=FREE,
            cap=UsageLimits(),
            assumed=SampleCost(0.0, 0.0),
            scores=scores,
            targets=tuple(targets),
        )
        return search(problem, problem.ledger(samples), lambda event: None)


@functools.lru_cache(maxsize=1)
def one_model(folder: Path, name: str, model: str) -> Pool:
    """The recording of one model."""
    verifiers = ("game24",) if name.startswith("game24") else ()
    path = folder / f"{name}.jsonl.gz"
    table = whole_recording(path, model, verifiers)
    named = {v._replace(tier="t"): rows for v, rows in table.variants.items()}
    tier = recorded_tier("t", Recording.load(path, model), Price(*PRICES.get(model, (1.0, 1.0))))
    return Pool(f"{name} {model}", replace(table, variants=named), (tier,))


@functools.lru_cache(maxsize=1)
def chain(folder: Path, name: str) -> Pool:
    """The recordings of several models on the same items."""
    path = folder / f"{name}.jsonl.gz"
    found = {}
    for model, price in CHAINS[name].items():
        recording = Recording.load(path, model)
        found[model] = recording, recorded_tier(model, recording, Price(*price))
    recording, weakest = next(iter(found.values()))
    variants = [
        v._replace(tier=model)
        for model, (of, _) in found.items()
        for v, coverage in of.variants.items()
        if coverage.items >= 0.9 * len(of.items)
    ]
    table = recorded_table(
        recording, weakest, recording.items, AnswerSpec(), variants=variants, others=found
    )
    table = table.rows(np.flatnonzero(table.complete))
    return Pool(name, table, tuple(tier for _, tier in found.values()))


class Held(NamedTuple):
    """The two parts of a split."""

    choose: Evaluator
    judge: Evaluator

    @classmethod
    def out(cls, table: SampleTable, task: Task) -> Held:
        """Of ``table``, by the splits of ``task``."""
        test = {item.id for item in task.splits["test"]}
        is_test = np.array([name in test for name in table.item_ids])
        parts = (table.rows(np.flatnonzero(part)) for part in (~is_test, is_test))
        return cls(*(Evaluator(part, Permutations(16, 0), exact=False) for part in parts))


def points_of_one(pool: Pool, split: int) -> Iterator[Row]:
    """What is chosen for one model, and what it is worth on the items held out."""
    pool = pool.split(split)
    (tier,) = pool.tiers
    found = pool.search(tier, "balanced", split)
    table = pool.seen_by(tier)
    choose, judge = Held.out(table, pool.task)
    single, fixed = [policy_of(v) for v in table.variants], _fixed(table)
    gates = _gates(found)
    for point in POINTS:
        policies = {
            "tierwise": found.points[point].policy,
            "one sample": _best(single, choose, point),
            "fixed n": _best(fixed, choose, point),
            "baseline": found.baseline,
        }
        yield _row(pool.name, split, point, judge, policies) | {
            "gate": gates.get(point),
            "cross_fitted": float(found.points[point].evidence.score.mean()),
        }


def points_of_chain(pool: Pool, split: int) -> Iterator[Row]:
    """What each tier but the strongest takes at `level`, and what it is worth."""
    pool = pool.split(split)
    targets: list[EscalationTarget] = []
    for tier in reversed(pool.tiers):
        found = pool.search(tier, "level", split, targets)
        if targets:
            yield _at_level(pool, tier, split, found, targets[-1])
        targets.insert(0, escalation_target(found))


def _at_level(
    pool: Pool, tier: Tier, split: int, found: TierResult, strong: EscalationTarget
) -> Row:
    table = pool.seen_by(tier)
    everything = Evaluator(table, Permutations(16, 0), exact=False)
    reference = everything.evaluate(strong.one_sample)
    judged = [(c.policy, everything.evaluate(c.policy)) for c in found.candidates]
    level = [one for one in judged if one[1].mean_score >= reference.mean_score]
    hindsight, worth = min(level, key=lambda one: one[1].mean_usd)
    policies = {
        "tierwise": found.points["level"].policy,
        "strong": strong.one_sample,
        "hindsight": hindsight,
        "baseline": found.baseline,
    }
    place = [t.name for t in pool.tiers].index(tier.name)
    judge = Held.out(table, pool.task).judge
    return _row(f"{pool.name} {place}", split, "level", judge, policies) | {
        "gate": _gates(found).get("level"),
        "cross_fitted": float(found.points["level"].evidence.score.mean()),
        "hindsight": worth.mean_usd / reference.mean_usd,
        "calls": _calls(judge.table, policies["tierwise"], pool.tiers[-1].name),
    }


def _calls(table: SampleTable, policy: Policy, tier: str) -> float:
    """Samples of ``tier`` that ``policy`` asks for on an item: what it costs where only these cost
    a dollar each."""
    counted = {
        v: replace(
            rows,
            prompt_usd=np.full_like(rows.score, float(v.tier == tier)),
            completion_usd=np.zeros_like(rows.score),
        )
        for v, rows in table.variants.items()
    }
    judge = Evaluator(replace(table, variants=counted), Permutations(16, 0), exact=False)
    return judge.evaluate(policy).mean_usd


def _gates(found: TierResult) -> dict[str, bool]:
    tested = {
        point: comparison
        for point, comparison in found.held_out.comparisons.items()
        if found.points[point].policy != found.baseline
    }
    return dict(zip(tested, passed(list(tested.values())), strict=True))


def _row(
    pool: str, split: int, point: str, judge: Evaluator, policies: Mapping[str, Policy]
) -> Row:
    judged = {name: judge.evaluate(policy) for name, policy in policies.items()}
    return {
        "pool": pool, "split": split, "point": point, "items": judge.table.item_ids,
        "policy": {name: str(policy) for name, policy in policies.items()},
        "score": {name: [round(float(s), 4) for s in e.score] for name, e in judged.items()},
        "usd": {name: e.mean_usd for name, e in judged.items()},
    }  # fmt: skip


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
    done = {(row["pool"].split()[0], row["of"], row["split"]) for row in read(asked.out)}
    wanted = [
        (name, model, split)
        for name, models in POOLS.items()
        for model in models
        for split in asked.splits
    ] + [(name, "chain", split) for name in CHAINS for split in asked.splits]
    with asked.out.open("a") as file:
        for name, model, split in wanted:
            chosen = not asked.pools or any(p in f"{name} {model}" for p in asked.pools)
            if not chosen or (name, model, split) in done:
                continue
            try:
                if model == "chain":
                    rows = list(points_of_chain(chain(asked.folder, name), split))
                else:
                    rows = list(points_of_one(one_model(asked.folder, name, model), split))
            except TierwiseError as error:
                print(f"{name} {model}, split {split}: {error}", flush=True)
                continue
            for row in rows:
                file.write(json.dumps(row | {"of": model}) + "\n")
                means = {n: round(float(np.mean(s)), 3) for n, s in row["score"].items()}
                said = f"{row['point']} {means} {row['policy']['tierwise']}"
                print(f"{row['pool']}, split {split}, {said}", flush=True)
            file.flush()


def read(path: Path | None) -> list[Row]:
    """The rows of a file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


# What the splits say

BOOTSTRAP = 1000


def clustered(gains: Sequence[Mapping[str, float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean over splits of gains by held-out item, with a 95% interval by bootstrap over items."""
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for gain in gains:
        for item, value in gain.items():
            sums[item] += value
            counts[item] += 1
    total, n = np.array(list(sums.values())), np.array(list(counts.values()))
    drawn = np.random.default_rng(seed).integers(0, len(total), (BOOTSTRAP, len(total)))
    means = total[drawn].sum(axis=1) / n[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(total.sum() / n.sum()), float(low), float(high)


def gain_over(row: Row, other: Row, policy: str) -> dict[str, float]:
    """Item -> utility of tierwise's policy less that of a ``policy`` of ``other``, at the point; at
    `level` it is the score."""
    doublings = np.log2(max(row["usd"]["tierwise"], 1e-30) / max(other["usd"][policy], 1e-30))
    cost = POINTS.get(row["point"], 0.0) * doublings
    of_other = dict(zip(other["items"], other["score"][policy], strict=True))
    mine = zip(row["items"], row["score"]["tierwise"], strict=True)
    return {item: score - of_other[item] - cost for item, score in mine}


def difference(rows: Sequence[Row], policy: str, before: Mapping[Any, Row] | None = None) -> str:
    """Mean, interval and worst split in points."""
    gains = [
        gain_over(row, other, policy)
        for row in rows
        if (other := row if before is None else before.get(_key(row)))
    ]
    if not gains:
        return ""
    mean, low, high = (100 * value for value in clustered(gains))
    worst = min(100 * float(np.mean(list(gain.values()))) for gain in gains)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], {worst:+.1f}"


def _key(row: Row) -> tuple[Any, ...]:
    return row["pool"], row["split"], row["point"]


def show(rows: Sequence[Row], before: Sequence[Row]) -> str:
    """A line a pool and point as Markdown, in points (100 are a score of 1)."""
    earlier = {_key(row): row for row in before}
    by: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by[row["pool"], row["point"]].append(row)
    one = [
        "| pool | point | splits | score | less one sample, worst | less fixed n, worst "
        "| less before, worst | gate passed | reported less held out |",
        "|" + "---|" * 9,
    ]
    several = [
        "| pool | splits | cost | hindsight | calls of the strongest | less the strongest, worst "
        "| less before, worst | gate passed | reported less held out |",
        "|" + "---|" * 9,
    ]
    for (pool, point), of in by.items():
        score = float(np.mean([np.mean(row["score"]["tierwise"]) for row in of]))
        gates = [row["gate"] for row in of if row["gate"] is not None]
        bias = [row["cross_fitted"] - np.mean(row["score"]["tierwise"]) for row in of]
        last = [
            difference(of, "tierwise", earlier),
            f"{np.mean(gates):.0%}" if gates else "",
            f"{100 * float(np.mean(bias)):+.1f}",
        ]
        if point in POINTS:
            against = [difference(of, policy) for policy in ("one sample", "fixed n")]
            one.append(_line([pool, point, len(of), f"{score:.3f}", *against, *last]))
        else:
            cost = np.mean([row["usd"]["tierwise"] / row["usd"]["strong"] for row in of])
            hindsight = np.mean([row["hindsight"] for row in of])
            calls = np.mean([row["calls"] for row in of])
            cells = [pool, len(of), f"×{cost:.2f}", f"×{hindsight:.2f}", f"{calls:.3f}"]
            several.append(_line([*cells, difference(of, "strong"), *last]))
    return "\n".join([*one, "", *several])


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON lines, a split and point each"
    )
    parser.add_argument("--pools", nargs="+", default=[], help="parts of their names")
    parser.add_argument("--splits", nargs="+", type=int, default=list(range(20)))
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--before", type=Path, help="what another commit wrote")
    asked = parser.parse_args()
    if not asked.show:
        fill(asked)
    print(show(read(asked.out), read(asked.before)))


if __name__ == "__main__":
    main()
