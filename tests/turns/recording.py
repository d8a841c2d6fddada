"""Write what was bought as recorded trajectories: the lines that another program would write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tierwise.pool import Buyer, Trees
from tierwise.pool.trees import rows_of
from tierwise.retrieval import Retrieved
from tierwise.schema import Variant
from tierwise.tasks import Item


def lines_of(
    buyer: Buyer, items: Sequence[Item], n_samples: Mapping[Variant, int], model: str = "agent"
) -> list[dict[str, Any]]:
    """Every item and every stored sample of ``n_samples``, with what its query brought."""
    trees = Trees(
        buyer.pool,
        items,
        buyer.task.answer,
        buyer.request,
        lambda variant: range(n_samples[variant]),
        buyer.library,
    )
    lines: list[dict[str, Any]] = [
        {"id": item.id, "inputs": dict(item.inputs), "target": item.target} for item in items
    ]
    for variant in n_samples:
        told = trees.told(variant)
        for (i, sample), row in rows_of(buyer.pool, trees.level(variant).requests):
            line = {
                "item_id": items[i].id,
                "model": model,
                "prompt_id": variant.prompt,
                "mode": variant.mode,
                "temperature": variant.temperature,
                "sample": sample,
                "text": row[0],
                "prompt_tokens": row[1],
                "completion_tokens": row[2],
                "mean_logprob": row[4],
                "latency_s": row[7],
            }
            if variant.path:
                line["path"] = [turn.label for turn in variant.path]
            known = told.get((i, sample))
            if known is not None and isinstance(known.found, Retrieved):
                line["query"], line["lookup_s"] = known.said.query, known.found.latency_s
                line["passages"] = [{"id": p.id, "text": p.text} for p in known.found.passages]
            lines.append(line)
    return lines


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
