"""Handing requests to a stronger tier: never, always, where it pays; held out.

    python benchmarks/escalation.py                       # the embedded tiers
    python benchmarks/escalation.py --recordings FOLDER   # and recorded pairs of models

A recorded pair is gpt-3.5-turbo and gpt4 over greedy samples of several prompts, gpt4 at 20 times
the price. Each task is split anew SPLITS times into validation and test items, and each split is
searched from scratch with the operating point ``level``. A row pools the splits: an item counts
with the mean over the splits that tested it, and intervals resample items, so that they are those
of the procedure, not of one lucky policy. ``strong`` is gpt4's best prompt at one sample, as its
own study found it; ``level`` is level with it where the lower bound of the difference is above
-.02.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tierwise.llm.recorded import Recording
from tierwise.runs.tune import tune
from tierwise.schema import Job, LoadedTask, Policy, Price, TierSpec, default_job
from tierwise.search.problem import escalated_share
from tierwise.search.tier import TierResult
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.tasks import Item, Task
from tierwise.tasks.task import assign_splits

TASKS = ("date", "gsm8k", "svamp", "sports", "aqua")
SHARES = {"train": 0.0, "validation": 0.65, "test": 0.35}
CHEAP, DEAR = "gpt-3.5-turbo", "gpt4"
PRICES = {CHEAP: Price(1.5, 2.0, as_of="2023"), DEAR: Price(30.0, 40.0, as_of="2023")}

RECORDED_SPACE = """description: Votes over greedy samples of several prompts, and handing on.
temperature: [0]
variants: [1, 2, 3]
modes: [direct, think]
strategies:
  single: {}
  self_consistency: {samples: {low: 2, high: 5}}
  adaptive_consistency: {threshold: {low: 0.7, high: 0.95}, max_samples: {low: 3, high: 5}}
difficulty:
  signals: [none, length, probe_agreement]
  buckets: [1, 2, 3]
  probe_samples: {low: 2, high: 3}
  probe_variants: [2, 3]
"""
EMBEDDED_SPACE = """description: The default space, smaller, with probes over two prompts.
prompts: {demos: [0]}
temperature: [0.8]
variants: [1, 2]
modes: [direct, think]
strategies:
  single: {}
  self_consistency: {samples: {low: 2, high: 9, log: true}}
  adaptive_consistency: {threshold: {low: 0.7, high: 0.99}, max_samples: {low: 3, high: 9}}
difficulty:
  signals: [none, length, probe_agreement, probe_confidence]
  buckets: [1, 2, 3]
  probe_samples: 2
  probe_variants: [1, 2]
"""


@dataclass(frozen=True)
class Resplit(Task):
    """A task whose items are interleaved to the splits anew."""

    interleave: int = 0

    @cached_property
    def splits(self) -> dict[str, tuple[Item, ...]]:
        """By a hash of content and ``interleave``."""
        salted = {self._salted(item).content_sha256: item for item in self.items}
        interleaved = assign_splits([self._salted(item) for item in self.items], self.shares)
        return {
            name: tuple(salted[item.content_sha256] for item in items)
            for name, items in interleaved.items()
        }

    def _salted(self, item: Item) -> Item:
        mark = hashlib.sha256(f"{self.interleave} {item.content_sha256}".encode()).hexdigest()
        return Item(item.id, {"": mark}, "")


class Tested(NamedTuple):
    """A policy on the test items of one split."""

    score: np.ndarray
    usd: np.ndarray
    escalated_share: float


@dataclass
class Pooled:
    """Policies by name -> item -> what each split that tested it said."""

    score: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    usd: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    escalated_share: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, found: TierResult, rows: dict[str, Policy]) -> None:
        """One split's policies."""
        held_out = found.held_out
        items, judged = held_out.table.item_ids, held_out.evaluations
        if not set(rows.values()) <= set(judged):  # samples are paid for: only one was tested
            items, judged = held_out.validation_items, held_out.validated
        for name, policy in rows.items():
            got = judged[policy]
            self.escalated_share[name].append(escalated_share(policy, got.shares))
            for item, score, usd in zip(items, got.score, got.usd, strict=True):
                self.score[name].setdefault(item, []).append(float(score))
                self.usd[name].setdefault(item, []).append(float(usd))

    def show(self, strong: str) -> None:
        """A line a policy, against ``strong``."""
        items = sorted(self.score[strong])
        paired = PairedBootstrap(len(items))
        score = {n: np.array([np.mean(by[i]) for i in items]) for n, by in self.score.items()}
        usd = {n: np.array([np.mean(by[i]) for i in items]) for n, by in self.usd.items()}
        for name in score:
            gap = paired.difference(score[name], score[strong])
            cost = paired.ratio(usd[name], usd[strong])
            print(
                f"  {name:22s} {score[name].mean():.3f}  ${1000 * usd[name].mean():8.3g}/1,000"
                f"  handed on {np.mean(self.escalated_share[name]):4.0%}"
                f"  to strong {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
                f"  cost x{cost.mean:.3f} [{cost.low:.3f}, {cost.high:.3f}]"
            )
        gap = paired.difference(score["level"], score[strong])
        ratio = usd["level"].mean() / usd[strong].mean()
        said = "yes" if gap.low > -0.02 and ratio <= 0.5 else "no"
        print(f"  equal score (lower bound > -.02) at half the cost or less: {said}", flush=True)


def rows_of(found: TierResult, cheap: str, strong: str) -> dict[str, Policy]:
    """What is compared, by name."""
    beside, steps = found.held_out.beside, found.held_out.ablation_steps
    return {
        "cheap, one sample": steps["best_prompt_one_sample"],
        "cheap, tuned": beside[f"always {cheap}"],
        "strong": beside[f"always {strong}"],
        "strong, tuned": beside[f"always {strong}, tuned"],
        "level": found.points["level"].policy,
        "balanced": found.points["balanced"].policy,
    }


def recorded(name: str, folder: Path, splits: int, work: Path) -> None:
    """One task's recorded pair, over all splits."""
    path = folder / f"{name}_prompts_by_tier.jsonl.gz"
    items = Recording.load(path, CHEAP).items
    inputs = tuple(items[0].inputs)
    pooled = Pooled()
    for interleave in range(splits):
        task = Resplit(
            name, 1, inputs, items, metric="recorded", shares=SHARES, interleave=interleave
        )
        specs = {
            model: TierSpec(f"recorded/{model}", PRICES[model], recordings=str(path))
            for model in (CHEAP, DEAR)
        }
        job = Job(
            task=name,
            space=str(work / "recorded.yaml"),
            tiers=specs,
            escalate_to=(DEAR,),
            operating_point="level",
            seed=interleave,
        )
        run = tune(job, work / f"{name}{interleave}", loaded=LoadedTask(task, (), Path()))
        pooled.add(run.found[CHEAP], rows_of(run.found[CHEAP], CHEAP, DEAR))
    tested = len(pooled.score["strong"])
    print(f"{name}: {CHEAP} and {DEAR}, {splits} splits, {tested} of {len(items)} items tested")
    pooled.show("strong")


def embedded(work: Path, trials: int) -> None:
    """The embedded tiers on their task: small and medium may hand on to large."""
    job = replace(
        default_job(),
        space=str(work / "embedded.yaml"),
        escalate_to=("large",),
        operating_point="level",
        trials=trials,
    )
    run = tune(job, work / "embedded")
    for name in ("small", "medium"):
        pooled, found = Pooled(), run.found[name]
        pooled.add(found, rows_of(found, name, "large"))
        print(
            f"arithmetic: embedded {name} and large, {found.study_table.n_items} validation items"
        )
        pooled.show("strong")


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table a pair."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recordings", type=Path, help="folder of NAME_prompts_by_tier.jsonl.gz")
    parser.add_argument("--tasks", nargs="*", default=TASKS, choices=TASKS)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--no-embedded", action="store_true")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "recorded.yaml").write_text(RECORDED_SPACE)
        (work / "embedded.yaml").write_text(EMBEDDED_SPACE)
        for name in asked.tasks if asked.recordings else ():
            recorded(name, asked.recordings, asked.splits, work)
        if not asked.no_embedded:
            embedded(work, asked.trials)


if __name__ == "__main__":
    main()
