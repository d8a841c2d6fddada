"""Measure the embedded tiers on ``tasks/arithmetic`` and print Markdown tables.

``python tools/embedded/measure.py small medium --items 15 --draws 17`` (the package installed).
Single draws by length of the question; votes of 1 … 17 over all items and over the hard ones (9
operations and more); best of the most draws by mean log-probability; which prompts change places
under a vote. ``+2`` are prompts with two demonstrations before the question.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import yaml
from estimates import Arm, best_of, flips, vote
from numpy.typing import NDArray

from tierwise.llm.embedded import Engine, Prompt, encode
from tierwise.llm.embedded.decoder import WEIGHTS
from tierwise.schema import Message, substitute
from tierwise.tasks import AnswerSpec

TASK = Path(__file__).parents[2] / "tasks" / "arithmetic"
MODES: dict[str, dict[str, object]] = {
    "direct": {"reasoning_effort": "none", "max_tokens": 40},
    "think": {"reasoning_effort": "high", "max_tokens": 160},
}
GROUPS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12))
HARD = 9
VOTES = (1, 3, 5, 9, 17)
ANSWER = AnswerSpec(r"answer\s*:\s*(-?\d+)", "last", "integer")


class Item(NamedTuple):
    operations: int
    question: str
    target: str


class Wording(NamedTuple):
    """A system text, with demonstrations before the question."""

    label: str
    system: str
    shown: tuple[Item, ...] = ()

    def encode(self, item: Item, params: dict[str, object]) -> Prompt:
        chat = [Message("system", self.system)]
        for one in self.shown:
            chat += [Message("user", one.question), Message("assistant", f"answer : {one.target}")]
        return encode([*chat, Message("user", item.question)], params)


def load_items(each: int) -> list[Item]:
    """The first ``each`` items of every length."""
    rows = map(json.loads, (TASK / "items.jsonl").read_text().splitlines())
    items = [Item(int(r["id"][3:5]), r["inputs"]["question"], r["target"]) for r in rows]
    seen: Counter[int] = Counter()
    return [i for i in items if not (seen.update([i.operations]) or seen[i.operations] > each)]


def wordings(prompts: list[dict[str, str]]) -> dict[Wording, list[str]]:
    """The task's prompts and two of them with demonstrations; the modes of each."""
    shown = {i.operations: i for i in load_items(50)}  # the last of fifty: none that is asked
    found = {}
    for prompt in prompts:
        if "turn" in prompt:
            continue  # what a difficulty signal asks: measure_signals.py
        system = substitute(prompt["system"], {})
        found[Wording(prompt["id"], system)] = list(prompt.get("modes", MODES))
        if prompt["id"] in ("steps", "examples"):
            demonstrated = Wording(f"{prompt['id']}+2", system, (shown[3], shown[5]))
            found[demonstrated] = list(prompt.get("modes", MODES))
    return found


def sample(engine: Engine, prompts: list[Prompt], items: list[Item], draws: int) -> Arm:
    flat = engine.generate(
        [p for p in prompts for _ in range(draws)], [*range(draws)] * len(prompts)
    )
    grid = [flat[i : i + draws] for i in range(0, len(flat), draws)]
    answers = [[ANSWER.extract(g.text) for g in row] for row in grid]
    return Arm(
        np.array([[a == i.target for a in r] for r, i in zip(answers, items, strict=True)]),
        answers,
        np.array([[g.logprob_sum / max(1, g.n_own_tokens) for g in row] for row in grid]),
        np.array([[g.completion_tokens for g in row] for row in grid]),
    )


def row(cells: list[object]) -> str:
    shown = [f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells]
    return "| " + " | ".join(shown) + " |"


def head(cells: list[str]) -> str:
    return row(list(cells)) + "\n|" + "---|" * len(cells)


def by_length(values: NDArray[np.float64], items: list[Item]) -> list[object]:
    """Means by group of operations, then over all."""
    operations = np.array([i.operations for i in items])
    groups = [values[(operations >= low) & (operations <= high)] for low, high in GROUPS]
    return [*(float(g.mean()) for g in groups), float(values.mean())]


def report(engine: Engine, items: list[Item], draws: int, temperature: float) -> None:
    library = wordings(yaml.safe_load((TASK / "prompts.yaml").read_text()))
    arms: dict[str, Arm] = {}
    cpu_s = time.process_time()
    for wording, modes in library.items():
        for mode in modes:
            params = {**MODES[mode], "temperature": temperature}
            prompts = [wording.encode(i, params) for i in items]
            arms[f"{wording.label} | {mode}"] = sample(engine, prompts, items, draws)
    rate = sum(int(a.tokens.sum()) for a in arms.values()) / (time.process_time() - cpu_s)
    print(f"\n### {engine.name}")
    print(f"{engine.parameters:,} parameters, {rate:,.0f} tokens per CPU-second\n")
    print(head(["prompt", "mode", *(f"{low}–{high}" for low, high in GROUPS), "all", "tokens"]))
    for label, arm in arms.items():
        cells = by_length(arm.right.mean(1), items)
        print(row([label, *cells, f"{arm.tokens.mean():.1f}"]))
    votes = {n: {label: vote(arm, n) for label, arm in arms.items()} for n in VOTES if n <= draws}
    most = max(votes)
    hard = np.array([i.operations >= HARD for i in items])
    titles = [f"{which}{n}" for which in ("vote ", "hard, vote ") for n in votes]
    print("\n" + head(["prompt", "mode", *titles, f"best of {most}", f"hard, best of {most}"]))
    for label, arm in arms.items():
        scores = [votes[n][label] for n in votes]
        best = best_of(arm, most)
        cells = [*scores, *(v[hard] for v in scores), best, best[hard]]
        print(row([label, *(float(c.mean()) for c in cells)]))
    print()
    one = {label: arm.right.mean(1) for label, arm in arms.items()}
    for flip in flips(one, votes[most]):
        told = [f"{gap:+.3f} ± {half:.3f}" for gap, half in (flip.one, flip.voted)]
        names = " − ".join(name.replace(" | ", "/") for name in (flip.a, flip.b))
        print(f"- {names}: {told[0]} at one draw, {told[1]} at {most}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--items", type=int, default=15, help="items of each length")
    parser.add_argument("--draws", type=int, default=17)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="another folder of weights")
    options = parser.parse_args()
    items = load_items(options.items)
    for name in options.names:
        engine = Engine.load(name, options.weights)
        report(engine, items, options.draws, options.temperature)


if __name__ == "__main__":
    main()
