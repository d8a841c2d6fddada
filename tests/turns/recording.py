"""Write what was bought as recorded trajectories: the lines that another program would write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tierwise.pool import Trees
from tierwise.pool.trees import rows_of
from tierwise.recipe import Arm
from tierwise.retrieval import Found
from tierwise.search.buying import Buyer
from tierwise.task import Item


def lines_of(
    buyer: Buyer, items: Sequence[Item], depth: Mapping[Arm, int], model: str = "agent"
) -> list[dict[str, Any]]:
    """Every item and every stored draw of ``depth``, with what its query brought."""
    trees = Trees(
        buyer.pool, items, buyer.task.answer, buyer.request, lambda arm: range(depth[arm]),
        buyer.library,
    )  # fmt: skip
    lines: list[dict[str, Any]] = [
        {"id": item.id, "inputs": dict(item.inputs), "target": item.target} for item in items
    ]
    for arm in depth:
        told = trees.told(arm)
        for (i, draw), row in rows_of(buyer.pool, trees.level(arm).requests):
            line = {
                "item_id": items[i].id, "model": model, "prompt_id": arm.prompt, "mode": arm.mode,
                "temperature": arm.temperature, "draw": draw, "text": row[0],
                "prompt_tokens": row[1], "completion_tokens": row[2], "mean_logprob": row[4],
                "latency_s": row[6],
            }  # fmt: skip
            if arm.path:
                line["path"] = [turn.label for turn in arm.path]
            known = told.get((i, draw))
            if known is not None and isinstance(known.found, Found):
                line["query"], line["lookup_s"] = known.said.query, known.found.latency_s
                line["passages"] = [{"id": p.id, "text": p.text} for p in known.found.passages]
            lines.append(line)
    return lines


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
