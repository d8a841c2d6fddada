"""Write the corpus and the items of ``tasks/lookup``: chains of 1 to 4 facts, each fact a document.

Every relation of every name is one document, ``friend of ann is bob``, found by ``friend of ann``.
A search by words brings the fact that was asked for, and beside it others that share a word.

``PYTHONPATH=optimizer python tools/lookup_task/make_task.py`` (always the same files); with
``--missing 0.5 --out FOLDER`` half of the documents are left out (``benchmarks/search_rounds.py``).
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from tierwise.llm.embedded.vocabulary import NAMES, RELATIONS

TASK = Path(__file__).parents[2] / "tasks" / "lookup"
SEED = 20261125
HOPS = (150, 150, 150, 150)
"""Items of 1 … 4 hops."""

Facts = dict[tuple[str, str], str]
"""(relation, name) -> the name that it leads to."""


def facts(rng: random.Random) -> Facts:
    """One value for every relation of every name, never the name itself."""
    return {
        (relation, name): rng.choice([other for other in NAMES if other != name])
        for relation in RELATIONS
        for name in NAMES
    }


def questions(rng: random.Random, known: Facts) -> list[dict[str, object]]:
    """Items; no question twice, and no chain that comes back to where it was."""
    rows = []
    for hops, wanted in enumerate(HOPS, start=1):
        found: dict[str, str] = {}
        while len(found) < wanted:
            chain, asked = [rng.choice(NAMES)], list[str]()
            for _ in range(hops):
                asked.append(rng.choice(RELATIONS))
                chain.append(known[asked[-1], chain[-1]])
            if len(set(chain)) == len(chain):
                text = "".join(f"{relation} of " for relation in reversed(asked))
                found.setdefault(f"{text}{chain[0]} ?", chain[-1])
        rows += [
            {"id": f"hops{hops}-{i:03d}", "inputs": {"question": text}, "target": target}
            for i, (text, target) in enumerate(found.items())
        ]
    return rows


def documents(known: Facts) -> list[dict[str, str]]:
    """The corpus, in an order that has nothing to do with what is asked."""
    return [
        {
            "id": f"{relation}-{name}",
            "text": f"{relation} of {name} is {value}",
            "index": f"{relation} of {name}",
        }
        for (relation, name), value in sorted(known.items(), key=lambda f: (f[0][1], f[0][0]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", type=float, default=0.0, help="Share of documents left out.")
    parser.add_argument("--out", type=Path, default=TASK)
    given = parser.parse_args()
    rng = random.Random(SEED)
    known = facts(rng)
    items = questions(rng, known)
    kept = [row for row in documents(known) if rng.random() >= given.missing]
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("items", items), ("corpus", kept)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (given.out / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
