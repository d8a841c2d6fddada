"""Write ``tasks/arithmetic/items.jsonl``: held-out questions of 1 … 12 operations, no two alike.

Traffic has many easy questions and a tail of hard ones, and so has the task.

``PYTHONPATH=optimizer python tools/embedded/make_items.py`` (always the same file).
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from arithmetic import Question, draw

TASK = Path(__file__).parents[2] / "tasks" / "arithmetic"
SEED = 20261123
ITEMS = (50, 420, 480, 440, 200, 120, 80, 60, 50, 40, 35, 25)
"""How many of 1 … 12 operations; of one there are few, and one in eight is held out."""


def main() -> None:
    rng = random.Random(SEED)
    lines = []
    for operations, wanted in enumerate(ITEMS, start=1):
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
