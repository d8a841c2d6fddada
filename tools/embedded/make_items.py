"""Write ``tasks/arithmetic/items.jsonl``: held-out questions of 1 … 12 operations, no two alike.

``PYTHONPATH=optimizer python tools/embedded/make_items.py`` (always the same file).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from arithmetic import MOST_OPERATIONS, Question, draw

TASK = Path(__file__).parents[2] / "tasks" / "arithmetic"
SEED = 20261123
A_LENGTH = 170
OF_ONE = 50
"""There are few questions of one operation, and one in eight is held out."""


def main() -> None:
    rng = random.Random(SEED)
    lines = []
    for operations in range(1, MOST_OPERATIONS + 1):
        wanted = OF_ONE if operations == 1 else A_LENGTH
        found: dict[str, Question] = {}
        while len(found) < wanted:
            question = draw(rng, operations, test=True)
            found.setdefault(question.text, question)
        for place, question in enumerate(found.values()):
            row = {
                "id": f"ops{operations:02d}-{place:03d}",
                "inputs": {"question": question.text},
                "target": str(question.target),
            }
            lines.append(json.dumps(row))
    (TASK / "items.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
