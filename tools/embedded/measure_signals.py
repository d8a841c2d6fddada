"""What the models say about themselves before they try: ratings and the control question.

``python tools/embedded/measure_signals.py small medium large`` prints, per tier, the AUROC with
which each tells the questions that a direct answer gets right, beside that of the length alone.
"""

from __future__ import annotations

import sys

import numpy as np
from measure import MODES, Wording, load_items, sample
from numpy.typing import NDArray

from tierwise.llm.embedded import Engine

EASY, HARD = 1, 8
"""Lengths to ask for; past eight operations nearly all direct answers are wrong."""


def auroc(score: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """Chance that a right draw's item scores above a wrong one's; ``weight`` is the share right."""
    above = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    pairs = weight[:, None] * (1 - weight)[None]
    return float((above * pairs).sum() / pairs.sum())


def main() -> None:
    items = [i for i in load_items(50) if EASY <= i.operations <= HARD]
    print("| tier | by length | by rating | rating's own values | by `think ?` | says yes |")
    print("|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        engine = Engine.load(name)
        direct = {**MODES["direct"], "temperature": 0.8}

        def said(system: str, engine: Engine = engine) -> list[str]:
            params = {**MODES["direct"], "temperature": 0.0}
            asked = [Wording(system, system).encode(i, params) for i in items]
            return [g.text.split()[2] for g in engine.generate(asked, [0] * len(asked))]

        prompts = [Wording("plain", "Solve this.").encode(i, direct) for i in items]
        right = sample(engine, prompts, items, 16).right.mean(1)
        ratings = said("Rate this.")
        rating = np.array([float(r) if r.isdigit() else 0.0 for r in ratings])
        thinks = said("Think?")
        yes = np.array([float(t == "yes") for t in thinks])
        length = -np.array([float(i.operations) for i in items])
        values = ", ".join(sorted(set(ratings)))
        print(
            f"| {name} | {auroc(length, right):.2f} | {auroc(rating, right):.2f} | {values} "
            f"| {auroc(-yes, right):.2f} | {yes.mean():.2f} |"
        )


if __name__ == "__main__":
    main()
