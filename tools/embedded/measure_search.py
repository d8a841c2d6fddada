"""Multi-hop look-ups against a store of facts, by the number of searches allowed.

``python tools/embedded/measure_search.py small large``. A loop is a chain of completions: what was
said so far, with the store's reply, is the cue of the next one. One search in five misses.
"""

from __future__ import annotations

import random
import sys

from lookup import MISSES

from tierwise.llm.embedded import Engine, Prompt
from tierwise.llm.embedded.vocabulary import NAMES, RELATIONS, ids, words

ROUNDS = (0, 1, 2, 3, 4, 6, 8)
HOPS = (1, 2, 3, 4)
EACH = 50
TEMPERATURE = 0.8


def questions(rng: random.Random) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """A store of facts, and (question, answer) pairs."""
    facts = {
        f"{r} of {n}": rng.choice([m for m in NAMES if m != n]) for r in RELATIONS for n in NAMES
    }
    asked = []
    for hops in HOPS:
        for _ in range(EACH):
            name = first = rng.choice(NAMES)
            chain = [rng.choice(RELATIONS) for _ in range(hops)]
            for relation in chain:
                name = facts[f"{relation} of {name}"]
            text = " ".join(f"{r} of" for r in reversed(chain))
            asked.append((f"{text} {first} ?", name))
    return facts, asked


def answers(engine: Engine, texts: list[str], facts: dict[str, str], rounds: int) -> list[str]:
    """The last word of each loop; a search beyond ``rounds`` is met by ``stop answer :``."""
    rng = random.Random(0)
    said = ["work :"] * len(texts)
    running = list(range(len(texts)))
    for left in range(rounds, -2, -1):
        prompts = [
            Prompt(
                tuple(ids(words(f"solve this : {texts[i]}"))),
                tuple(ids(words(said[i]))),
                temperature=TEMPERATURE,
                max_tokens=len(words(said[i])) + 12,
            )
            for i in running
        ]
        searching = []
        for i, g in zip(running, engine.generate(prompts, running), strict=True):
            head, _, _ = g.text[len(said[i]) :].partition(";")
            asked = head.partition("search : ")[2].strip()
            if asked and left > 0:
                found = "none" if rng.random() < MISSES else facts.get(asked, "none")
                said[i] = f"{said[i]}{head}; -> {found} ;"
            else:
                said[i] += " stop answer :" if asked and left == 0 else head
            if asked:
                searching.append(i)
        running = searching
    return [s.split()[-1] for s in said]


def main() -> None:
    facts, asked = questions(random.Random(99))
    print("| tier | " + " | ".join(map(str, ROUNDS)) + " |\n|" + "---|" * (len(ROUNDS) + 1))
    for name in sys.argv[1:]:
        engine = Engine.load(name)
        cells = []
        for rounds in ROUNDS:
            given = answers(engine, [q for q, _ in asked], facts, rounds)
            right = sum(a == b for a, (_, b) in zip(given, asked, strict=True))
            cells.append(f"{right / len(asked):.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
