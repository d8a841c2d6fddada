"""Measure the embedded tiers on ``tasks/arithmetic`` and print Markdown tables.

``python tools/embedded/measure.py small medium --items 15 --draws 8`` (the package installed).
Accuracies are of single draws; votes are plurality over subsets of the same draws, the first seen
answer winning a tie; best-of-n picks by mean log-probability.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import yaml
from numpy.typing import NDArray

from tierwise.llm.embedded import Engine, Generation, Prompt, encode
from tierwise.recipe import Message
from tierwise.task import AnswerSpec

TASK = Path(__file__).parents[2] / "tasks" / "arithmetic"
MODES = {
    "direct": {"reasoning_effort": "none", "max_tokens": 40},
    "think": {"reasoning_effort": "high", "max_tokens": 160},
}
GROUPS = {"1-2": (1, 2), "3-4": (3, 4), "5-6": (5, 6), "7-8": (7, 8), "9-10": (9, 10),
          "11-12": (11, 12)}  # fmt: skip
VOTES = (1, 3, 5, 9, 17)
ANSWER = AnswerSpec(r"answer\s*:\s*(-?\d+)", "last", "integer")


class Arm(NamedTuple):
    """Draws of one prompt in one mode; arrays are (items, draws)."""

    right: NDArray[np.bool_]
    answers: list[list[str | None]]
    logprob: NDArray[np.float64]
    tokens: NDArray[np.int64]


class Item(NamedTuple):
    operations: int
    question: str
    target: str


def load_items(each: int) -> list[Item]:
    """The first ``each`` items of every length."""
    rows = map(json.loads, (TASK / "items.jsonl").read_text().splitlines())
    items = [Item(int(r["id"][3:5]), r["inputs"]["question"], r["target"]) for r in rows]
    seen: Counter[int] = Counter()
    return [i for i in items if not (seen.update([i.operations]) or seen[i.operations] > each)]


def prompt_of(system: str, user: str, item: Item, params: dict[str, object]) -> Prompt:
    content = user.replace("{{ question }}", item.question)
    return encode([Message("system", system), Message("user", content)], params)


def sample(engine: Engine, prompts: list[Prompt], items: list[Item], draws: int) -> Arm:
    pairs = [(p, s) for p in prompts for s in range(draws)]
    flat = engine.generate([p for p, _ in pairs], [s for _, s in pairs])
    grid: list[list[Generation]] = [flat[i : i + draws] for i in range(0, len(flat), draws)]
    answers = [[ANSWER.extract(g.text) for g in row] for row in grid]
    right = [[a == i.target for a in row] for row, i in zip(answers, items, strict=True)]
    return Arm(
        np.array(right),
        answers,
        np.array([[g.logprob_sum / max(1, g.n_own_tokens) for g in row] for row in grid]),
        np.array([[g.completion_tokens for g in row] for row in grid]),
    )


def vote(arm: Arm, n: int, rounds: int = 10) -> NDArray[np.float64]:
    """Share of ``rounds`` random subsets of ``n`` draws whose plurality is right, per item."""
    rng, wins = random.Random(0), np.zeros(len(arm.answers))
    for row, answers in enumerate(arm.answers):
        for _ in range(rounds):
            drawn = rng.sample(range(len(answers)), n)
            counts = Counter(answers[i] for i in drawn if answers[i] is not None)
            if counts:
                leader = counts.most_common(1)[0][0]
                wins[row] += arm.right[row, answers.index(leader)]
    return wins / rounds


def best_of(arm: Arm, n: int, rounds: int = 10) -> NDArray[np.float64]:
    """As ``vote``, the draw of the highest mean log-probability instead."""
    rng, wins = random.Random(0), np.zeros(len(arm.answers))
    for row in range(len(arm.answers)):
        for _ in range(rounds):
            pick = max(rng.sample(range(arm.right.shape[1]), n), key=lambda i: arm.logprob[row, i])
            wins[row] += arm.right[row, pick]
    return wins / rounds


def _line(cells: list[object]) -> str:
    shown = [f"{c:.2f}".lstrip("0") if isinstance(c, float) and c < 1 else
             "1.0" if isinstance(c, float) else str(c) for c in cells]  # fmt: skip
    return "| " + " | ".join(shown) + " |"


def _head(cells: list[str]) -> str:
    return _line(list(cells)) + "\n|" + "---|" * len(cells)


def by_length(values: NDArray[np.float64], items: list[Item]) -> list[object]:
    """Means by group of operations, then over all."""
    operations = np.array([i.operations for i in items])
    rows = [values[(operations >= low) & (operations <= high)] for low, high in GROUPS.values()]
    return [float(r.mean()) if len(r) else float("nan") for r in rows] + [float(values.mean())]


def report(name: str, items: list[Item], draws: int, temperature: float, all_modes: bool) -> None:
    engine = Engine.load(name)
    library = yaml.safe_load((TASK / "prompts.yaml").read_text())
    arms: dict[tuple[str, str], Arm] = {}
    cpu_s, tokens = time.process_time(), 0
    for prompt in library:
        for mode in MODES if all_modes else prompt.get("modes", MODES):
            params = {**MODES[mode], "temperature": temperature}
            prompts = [prompt_of(prompt["system"], prompt["user"], i, params) for i in items]
            arms[prompt["id"], mode] = sample(engine, prompts, items, draws)
            tokens += int(arms[prompt["id"], mode].tokens.sum())
    rate = tokens / (time.process_time() - cpu_s)
    print(f"\n### {name}: {engine.parameters:,} parameters, {rate:,.0f} tokens per CPU-second\n")
    print(_head(["prompt", "mode", *GROUPS, "all", "tokens"]))
    for (prompt_id, mode), arm in arms.items():
        cells = by_length(arm.right.mean(1), items)
        print(_line([prompt_id, mode, *cells, f"{arm.tokens.mean():.1f}"]))
    counts = [n for n in VOTES if n <= draws]
    titles = [f"{which}{n}" for which in ("vote ", "hard, vote ") for n in counts]
    print("\n" + _head(["prompt", "mode", *titles, f"best of {counts[-1]}"]))
    hard = np.array([i.operations >= 9 for i in items])
    for (prompt_id, mode), arm in arms.items():
        votes = [vote(arm, n) for n in counts]
        best = best_of(arm, counts[-1])
        print(_line([prompt_id, mode, *(float(v.mean()) for v in votes),
                     *(float(v[hard].mean()) for v in votes), float(best.mean())]))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--items", type=int, default=15, help="items of each length")
    parser.add_argument("--draws", type=int, default=17)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--all-modes", action="store_true", help="also modes a prompt is not for")
    options = parser.parse_args()
    for name in options.names:
        report(name, load_items(options.items), options.draws, options.temperature,
               options.all_modes)  # fmt: skip


if __name__ == "__main__":
    main()
