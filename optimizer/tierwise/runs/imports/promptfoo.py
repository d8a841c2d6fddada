"""Results of ``promptfoo eval -o FILE.json`` or ``.jsonl``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tierwise.errors import unknown_name
from tierwise.runs.imports.form import (
    Lenient,
    LoggedSample,
    LoggedText,
    LogOptions,
    ReadLog,
    in_range,
    inside,
    json_of,
    json_rows,
    placeholder_name,
    read_log_as,
    text_or_json,
)


@dataclass(frozen=True)
class _PromptfooRow(Lenient):
    vars: dict[str, Any]
    provider: Annotated[str, inside("provider", "id")]
    score: float
    label: Annotated[str, inside("prompt", "label")] = "prompt"
    response: Any = None
    output: Annotated[LoggedText, inside("response", "output")] = ""
    cached: Annotated[bool | None, inside("response", "cached")] = None
    prompt_tokens: Annotated[int | None, inside("response", "tokenUsage", "prompt")] = None
    completion_tokens: Annotated[int | None, inside("response", "tokenUsage", "completion")] = None
    testCase: dict[str, Any] = field(default_factory=dict)
    latencyMs: float | None = None
    error: str | None = None
    failureReason: int = 0
    namedScores: dict[str, float] | None = None


_PROMPTFOO_FAILED = 2
"""promptfoo's reason of a call that failed; 1 is an assertion that did not hold."""


def read_promptfoo(files: Sequence[Path], options: LogOptions) -> ReadLog:
    """Samples of results in ``.json`` or ``.jsonl``: rows of equal variables are one item."""
    log = ReadLog([])
    for path in files:
        temperatures = _promptfoo_temperatures(path)
        for number, (line, data) in enumerate(json_rows(path)):
            row = read_log_as(_PromptfooRow, data, path, line)
            score = row.score
            if options.score is not None:
                if options.score not in (row.namedScores or {}):
                    raise unknown_name("score", options.score, row.namedScores or {}, path=path)
                score = (row.namedScores or {})[options.score]
            failed = row.failureReason == _PROMPTFOO_FAILED or row.response is None
            log.samples.append(
                LoggedSample(
                    id=f"row-{number}",
                    inputs={placeholder_name(k): text_or_json(v) for k, v in row.vars.items()},
                    target=_promptfoo_target(row),
                    model=row.provider,
                    prompt=row.label.replace("{{", "").replace("}}", ""),
                    text=row.output,
                    temperature=temperatures.get(row.provider),
                    score=None if failed else in_range(score, "score", path, line),
                    prompt_tokens=row.prompt_tokens,
                    completion_tokens=row.completion_tokens,
                    latency_s=row.latencyMs / 1000 if row.latencyMs is not None else None,
                    error=(row.error or "failed")[:500] if failed else None,
                    cached=bool(row.cached),
                )
            )
    return log


def _promptfoo_target(row: _PromptfooRow) -> str:
    """What the assertions expect, as far as they say it in words; scores stand as recorded."""
    asserts = row.testCase.get("assert")
    values = [
        each.get("value")
        for each in (asserts if isinstance(asserts, list) else [])
        if isinstance(each, dict)
    ]
    return " | ".join(str(value) for value in values if isinstance(value, str | int | float))


def _promptfoo_temperatures(path: Path) -> dict[str, float]:
    """The temperature of each provider that the results' configuration names; lines have none."""
    if not path.name.removesuffix(".gz").endswith(".json"):
        return {}
    data = json_of(path)
    config = data.get("config") if isinstance(data, dict) else None
    providers = config.get("providers") if isinstance(config, dict) else None
    found: dict[str, float] = {}
    for provider in providers if isinstance(providers, list) else []:
        settings = provider.get("config") if isinstance(provider, dict) else None
        value = settings.get("temperature") if isinstance(settings, dict) else None
        if isinstance(value, int | float):
            found[str(provider.get("id"))] = float(value)
    return found
