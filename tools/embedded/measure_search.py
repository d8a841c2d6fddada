"""Multi-hop look-ups against a store of facts, by hops and by the number of searches allowed.

``python tools/embedded/measure_search.py small large``. A loop is a chain of completions: what was
said so far, with the store's passages, is the cue of the next one. The store gives one to three
passages, the best match first, and misses as it did in training (``lookup.MISSES``). ``unknown``
is the model's own word after misses in a row; it is asked about ``EACH`` chains more of which one
fact is missing.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import NamedTuple

import lookup
from lookup import HOPS, MISSES, Fact

from tierwise.llm.embedded import Engine, Prompt
from tierwise.llm.embedded.decoder import WEIGHTS
from tierwise.llm.embedded.vocabulary import ids, words

ROUNDS = (0, 1, 2, 3, 4, 6, 8)
EACH = 40
TEMPERATURE = 0.8


class Asked(NamedTuple):
    chain: list[Fact]
    lost: int
    """Which fact the store does not have; the number of hops: it has all."""

    @property
    def text(self) -> str:
        relations = " ".join(f"{f.relation} of" for f in reversed(self.chain))
        return f"solve this : {relations} {self.chain[0].name} ?"

    def reply(self, rng: random.Random, query: str) -> str:
        at = [f"{f.relation} of {f.name}" for f in self.chain]
        place = at.index(query) if query in at else self.lost
        hit = place < len(self.chain) and place != self.lost and rng.random() >= MISSES
        wanted = self.chain[min(place, len(self.chain) - 1)]
        return " ".join(lookup.passages(rng, wanted, self.chain, hit=hit))


def answers(engine: Engine, asked: list[Asked], rounds: int) -> list[str]:
    """The last word of each loop; a search beyond ``rounds`` is met by ``stop answer :``."""
    rng = random.Random(0)
    said = ["work :"] * len(asked)
    running = list(range(len(asked)))
    for left in range(rounds, -2, -1):
        prompts = [
            Prompt(
                tuple(ids(words(asked[i].text))),
                tuple(ids(words(said[i]))),
                temperature=TEMPERATURE,
                max_tokens=len(words(said[i])) + 12,
            )
            for i in running
        ]
        searching = []
        for i, g in zip(running, engine.generate(prompts, running), strict=True):
            head, _, _ = g.text[len(said[i]) :].partition(";")
            query = head.partition("search : ")[2].strip()
            if query and left > 0:
                said[i] = f"{said[i]}{head}; {asked[i].reply(rng, query)}"
            else:
                said[i] += " stop answer :" if query and left == 0 else head
            if query:
                searching.append(i)
        running = searching
    return [s.split()[-1] for s in said]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="another folder of weights")
    options = parser.parse_args()
    print("| tier | hops | " + " | ".join(map(str, ROUNDS)) + " |\n|" + "---|" * (len(ROUNDS) + 2))
    for name in options.names:
        engine = Engine.load(name, options.weights)
        for hops in range(1, len(HOPS) + 1):
            rng = random.Random(hops)
            asked = [Asked(lookup.draw_chain(rng, hops), hops) for _ in range(EACH)]
            cells = []
            for rounds in ROUNDS:
                given = answers(engine, asked, rounds)
                right = sum(a == b.chain[-1].value for a, b in zip(given, asked, strict=True))
                cells.append(f"{right / EACH:.2f}")
            print(f"| {name} | {hops} | " + " | ".join(cells) + " |")
        lost = [a._replace(lost=rng.randrange(len(a.chain))) for a in asked]
        given = answers(engine, lost, ROUNDS[-1])
        share = given.count("unknown") / EACH
        print(f"| {name} | {hops}, a fact missing | `unknown`: {share:.2f} |" + " |" * 6)


if __name__ == "__main__":
    main()
