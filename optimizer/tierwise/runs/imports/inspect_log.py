"""Logs of inspect_ai (UK AISI): ``.eval`` files, or JSON by ``inspect log dump``."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from tierwise.errors import InputError, unknown_name
from tierwise.runs.imports.form import (
    Lenient,
    LoggedMessage,
    LoggedSample,
    LoggedText,
    LogOptions,
    ReadLog,
    in_range,
    inside,
    json_of,
    listed,
    or_default,
    read_log_as,
)


@dataclass(frozen=True)
class _InspectUsage(Lenient):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_cache_read: int | None = None
    input_tokens_cache_write: int | None = None

    @property
    def prompt_tokens(self) -> int | None:
        if self.input_tokens is None:
            return None
        cached = (self.input_tokens_cache_read, self.input_tokens_cache_write)
        return self.input_tokens + sum(or_default(each, 0) for each in cached)


@dataclass(frozen=True)
class _Logprob(Lenient):
    logprob: float


@dataclass(frozen=True)
class _InspectScore(Lenient):
    value: Any = None
    answer: str | None = None


_CHOICE = ("output", "choices", 0)


@dataclass(frozen=True)
class _InspectSample(Lenient):
    id: int | str
    epoch: int
    input: str | list[LoggedMessage]
    target: str | list[str] = ""
    choices: list[str] | None = None
    text: Annotated[LoggedText, inside(*_CHOICE, "message", "content")] = ""
    logprobs: Annotated[list[_Logprob] | None, inside(*_CHOICE, "logprobs", "content")] = None
    usage: Annotated[_InspectUsage | None, inside("output", "usage")] = None
    time: Annotated[float | None, inside("output", "time")] = None
    scores: dict[str, _InspectScore] | None = None
    model_usage: dict[str, _InspectUsage] = field(default_factory=dict)
    error: Any = None
    fault: Annotated[str, inside("error", "message")] = ""
    attachments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _InspectConfig(Lenient):
    temperature: float | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True)
class _InspectLog(Lenient):
    task: Annotated[str, inside("eval", "task")]
    model: Annotated[str, inside("eval", "model")]
    task_args: Annotated[dict[str, Any], inside("eval", "task_args")] = field(default_factory=dict)
    config: Annotated[_InspectConfig, inside("eval", "model_generate_config")] = _InspectConfig()
    steps: Annotated[list[dict[str, Any]], inside("plan", "steps")] = field(default_factory=list)
    planned: Annotated[_InspectConfig, inside("plan", "config")] = _InspectConfig()
    samples: Annotated[list[_InspectSample], BeforeValidator(listed)] = field(default_factory=list)


_LARGEST_SAMPLE = 200_000_000
"""Bytes of one sample of an ``.eval`` file: what a zip unpacks to is not trusted."""
_INSPECT_GRADES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}


def read_inspect(files: Sequence[Path], options: LogOptions) -> ReadLog:
    """Samples of ``.eval`` files (by inspect_ai itself) and ``.json`` ones: an epoch is a
    sample."""
    log = ReadLog([])
    labels: dict[str, str] = {}
    for path in files:
        one = read_log_as(_InspectLog, _inspect_json(path), path)
        arguments = {name: value for name, value in one.task_args.items() if value is not None}
        told = json.dumps([one.task, arguments, one.steps], sort_keys=True, default=str)
        same = [label for label in labels.values() if label.partition("-")[0] == one.task]
        prompt = labels.setdefault(told, one.task if not same else f"{one.task}-{len(same) + 1}")
        config, planned = one.config, one.planned
        for sample in sorted(one.samples, key=lambda each: each.epoch):
            log.samples.append(
                replace(
                    _inspect_sample(sample, one.model, options, path),
                    prompt=prompt,
                    mode=config.reasoning_effort or planned.reasoning_effort or "default",
                    temperature=or_default(config.temperature, planned.temperature),
                )
            )
        if not one.samples:
            log.notes.append(f"{path.name} holds no samples: its run ended before the first")
    return log


def _inspect_json(path: Path) -> Any:
    """The log as one object; an ``.eval`` file is a zip of its header and a file a sample."""
    if path.suffix != ".eval":
        return json_of(path)

    try:
        import zipfile_zstd  # type: ignore[import-untyped]  # noqa: F401  zipfile learns zstd of it
    except ImportError:
        raise InputError(
            "reading .eval files needs tierwise[inspect]; or write it as JSON where inspect is "
            "installed: `inspect log dump FILE.eval > FILE.json`",
            path=path,
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info for info in archive.infolist() if info.filename.startswith("samples/")]
            large = next((info for info in names if info.file_size > _LARGEST_SAMPLE), None)
            if large is not None:
                raise InputError(f"{large.filename} is too large to be read", path=path)
            header = "header.json" if "header.json" in archive.namelist() else "_journal/start.json"
            return {
                **json.loads(archive.read(header)),
                "samples": [json.loads(archive.read(info)) for info in names],
            }
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, ValueError, EOFError) as error:
        raise InputError(f"no inspect log: {error}", path=path) from None


def _inspect_sample(
    sample: _InspectSample, model: str, options: LogOptions, path: Path
) -> LoggedSample:
    def resolved(text: str) -> str:
        return sample.attachments.get(text.removeprefix("attachment://"), text)

    if isinstance(sample.input, str):
        asked = resolved(sample.input)
    else:
        asked = "\n\n".join(resolved(m.content) for m in sample.input if m.role == "user")
    inputs = {"input": asked}
    if sample.choices:
        lettered = (f"{chr(65 + i)}) {choice}" for i, choice in enumerate(sample.choices))
        inputs["choices"] = "\n".join(lettered)
    score = answer = None
    if sample.scores:
        name = options.score or next(iter(sample.scores))
        if name not in sample.scores:
            raise unknown_name("score", name, sample.scores, path=path)
        score = _inspect_score(name, sample.scores[name].value, path)
        answer = sample.scores[name].answer
    error = sample.fault[:500] or "failed" if sample.error else None
    if error is None and score is None:
        error = "not scored"
    usage = sample.model_usage.get(model) or sample.usage or _InspectUsage()
    logprobs = [each.logprob for each in sample.logprobs or ()]
    return LoggedSample(
        id=str(sample.id),
        inputs=inputs,
        target=sample.target if isinstance(sample.target, str) else " | ".join(sample.target),
        model=model,
        prompt="",
        text=resolved(sample.text),
        answer=answer,
        score=None if error else score,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.output_tokens,
        mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
        latency_s=sample.time,
        error=error,
    )


def _inspect_score(name: str, value: Any, path: Path) -> float | None:
    if isinstance(value, str):
        grade = _INSPECT_GRADES.get(value)
        try:
            number = float(value) if grade is None else grade
        except ValueError:
            raise InputError(f"score {name!r} is {value[:40]!r}, no grade", path=path) from None
    elif isinstance(value, int | float):
        number = float(value)
    elif value is None:
        return None
    else:
        raise InputError(
            f"score {name!r} has several parts; name a score of one number by --score", path=path
        )
    return in_range(number, name, path)
