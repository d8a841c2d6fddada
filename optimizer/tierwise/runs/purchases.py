"""What is in a run's pool: by what was sent, and where it was sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple


class Bought(NamedTuple):
    """Samples of one model with the same parameters."""

    model: str
    params: Mapping[str, Any]
    requests: int
    samples: int
    prompt_tokens: int
    completion_tokens: int


class Spending(NamedTuple):
    """What a run spent on a tier in a stage, the most that it may be billed."""

    tier: str
    stage: str
    calls: int
    tokens: int
    usd: float


def spent(pool: Path, run: str) -> list[Spending]:
    """What ``run`` spent, by tier and stage in their order; nothing without a pool to read."""
    rows = _rows(
        pool,
        "SELECT tier, stage, sum(calls), sum(prompt_tokens + completion_tokens), total(usd)"
        " FROM spending WHERE run = ? GROUP BY tier, stage ORDER BY min(id)",
        run,
    )
    return [Spending(*row) for row in rows]


def bought(pool: Path) -> list[Bought]:
    """What was sent, and the tokens that came back; nothing where there is no pool to read."""
    rows = _rows(
        pool,
        "SELECT r.model, json_extract(r.content, '$.params'), count(*), sum(d.n), sum(d.prompt),"
        " sum(d.completion) FROM requests AS r JOIN (SELECT request, count(*) AS n,"
        " sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion FROM samples"
        " GROUP BY request) AS d ON d.request = r.id GROUP BY 1, 2 ORDER BY 1, 2",
    )
    return [Bought(model, json.loads(params or "{}"), *counts) for model, params, *counts in rows]


def addresses(pool: Path, model: str) -> list[str]:
    """Where the model's requests were sent: a part of their keys."""
    rows = _rows(pool, "SELECT DISTINCT address FROM requests WHERE model = ? ORDER BY 1", model)
    return [str(address) for (address,) in rows]


def _rows(pool: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    if not pool.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{pool}?mode=ro", uri=True)) as db:
            return db.execute(query, values).fetchall()
    except sqlite3.Error:  # cut off, or no pool of ours: the report says what else there is
        return []
