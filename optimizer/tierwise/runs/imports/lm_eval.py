"""Samples that lm-eval (EleutherAI) writes with ``--log_samples``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from tierwise.errors import unknown_name
from tierwise.runs.imports.form import (
    Lenient,
    LoggedSample,
    LogOptions,
    ReadLog,
    as_text,
    in_range,
    json_of,
    json_rows,
    listed,
    or_default,
    placeholder_name,
    read_log_as,
    text_or_json,
)
from tierwise.tasks import AnswerSpec


@dataclass(frozen=True)
class _HarnessRow(Lenient):
    doc_id: int
    doc: dict[str, Any]
    resps: list[Any]
    target: Any = ""
    arguments: Any = None
    filter: str = "none"
    metrics: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _HarnessFilter(Lenient):
    name: str
    filter: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _HarnessConfig(Lenient):
    filter_list: Annotated[list[_HarnessFilter], BeforeValidator(listed)] = field(
        default_factory=list
    )
    generation_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True)
class _HarnessResults(Lenient):
    configs: dict[str, _HarnessConfig] = field(default_factory=dict)
    model_name: str | None = None


_SAMPLES_FILE = re.compile(
    r"samples_(?P<task>.+?)_(?P<date>\d{4}-\d\d-\d\dT[\d\-.]+)\.jsonl(\.gz)?"
)


def read_lm_eval(files: Sequence[Path], options: LogOptions) -> ReadLog:
    """Samples of ``samples_TASK_DATE.jsonl``; the ``results_DATE.json`` beside it says the rest."""
    log = ReadLog([])
    for path in files:
        named = _SAMPLES_FILE.fullmatch(path.name)
        task = named["task"] if named else path.name.partition(".")[0]
        results = _HarnessResults()
        beside = path.with_name(f"results_{named['date']}.json") if named else path
        if named and beside.is_file():
            results = read_log_as(_HarnessResults, json_of(beside), beside)
        else:
            log.notes.append(
                f"no results_….json beside {path.name}: model, temperature and pattern are unknown"
            )
        config = results.configs.get(task, _HarnessConfig())
        rows = [
            (line, read_log_as(_HarnessRow, row, path, line), row) for line, row in json_rows(path)
        ]
        first = rows[0][1].filter if rows else "none"
        log.answer = or_default(_harness_answer(config, first, rows), log.answer)
        sampling = config.generation_kwargs or {}
        temperature = sampling.get("temperature")
        if sampling.get("do_sample") is False:
            temperature = 0.0
        for line, row, whole in rows:
            if row.filter != first:  # the same samples again, read in another way
                continue
            for text in _harness_texts(row):
                log.samples.append(
                    LoggedSample(
                        id=str(row.doc_id),
                        inputs=_harness_inputs(row),
                        target=as_text(row.target),
                        model=results.model_name or path.parent.name or "model",
                        prompt=task,
                        text=text,
                        temperature=float(temperature) if temperature is not None else None,
                        score=_harness_score(row, whole, options, path, line),
                    )
                )
    return log


def _harness_texts(row: _HarnessRow) -> list[str]:
    """Every response of a document; of a choice by likelihood, the number of the likeliest."""
    if row.resps and all(isinstance(each, list) and each for each in row.resps):
        first = [each[0] for each in row.resps]
        if all(isinstance(each, list) and len(each) == 2 for each in first):
            likelihoods = [float(each[0]) for each in first]
            return [str(max(range(len(likelihoods)), key=likelihoods.__getitem__))]
    flat = [text for each in row.resps for text in (each if isinstance(each, list) else [each])]
    return [as_text(text) for text in flat]


def _harness_inputs(row: _HarnessRow) -> dict[str, str]:
    """The document's fields but its target, by names that prompts may use."""
    target = as_text(row.target)
    texts = {
        placeholder_name(name, "field"): text_or_json(value)
        for name, value in row.doc.items()
        if value is not None
    }
    inputs = {name: text for name, text in texts.items() if text != target}
    return inputs or texts


def _harness_score(
    row: _HarnessRow, whole: Mapping[str, Any], options: LogOptions, path: Path, line: int
) -> float | None:
    """The row's score, where it is that of one sample: of several it is their vote's or first's."""
    if len(_harness_texts(row)) != 1 or not row.metrics:
        return None
    name = options.score or row.metrics[0]
    if name not in row.metrics:
        raise unknown_name("score", name, row.metrics, path=path)
    value = whole.get(name)
    return in_range(float(value), name, path, line) if isinstance(value, int | float) else None


def _harness_answer(
    config: _HarnessConfig, name: str, rows: Sequence[tuple[int, _HarnessRow, Any]]
) -> AnswerSpec | None:
    """How the filter of that name reads answers, as far as it is a pattern."""
    targets = [as_text(row.target).strip() for _, row, _ in rows]
    numbers = bool(targets) and all(re.fullmatch(r"[-+]?[\d.,]+", target) for target in targets)
    normalise = "number" if numbers else "text"
    steps = next((each.filter for each in config.filter_list if each.name == name), [])
    for step in steps:
        if step.get("function") == "regex" and isinstance(step.get("regex_pattern"), str):
            last = step.get("group_select") == -1
            return AnswerSpec(step["regex_pattern"], "last" if last else "first", normalise)
    return AnswerSpec(normalise=normalise)
