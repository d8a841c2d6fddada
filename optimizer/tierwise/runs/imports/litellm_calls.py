"""Calls that LiteLLM logged: spend logs of its proxy, or its standard logging payload."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from tierwise.errors import InputError
from tierwise.runs.imports.form import (
    Lenient,
    LoggedMessage,
    LoggedSample,
    LogOptions,
    ReadLog,
    json_rows,
    read_log_as,
)
from tierwise.tasks.data_files import load_items
from tierwise.tasks.items import Fields


def _json_inside(value: Any) -> Any:
    """A spend log holds messages and response as JSON in a text."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


@dataclass(frozen=True)
class _CallChoice(Lenient):
    message: LoggedMessage


@dataclass(frozen=True)
class _CallResponse(Lenient):
    choices: list[_CallChoice] = field(default_factory=list)


def _messages_or_none(value: Any) -> Any:
    value = _json_inside(value)
    return value if isinstance(value, list) else []


def _response_or_none(value: Any) -> Any:
    value = _json_inside(value)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class _LoggedCall(Lenient):
    model: str
    messages: Annotated[list[LoggedMessage], BeforeValidator(_messages_or_none)]
    response: Annotated[_CallResponse, BeforeValidator(_response_or_none)]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cache_hit: Any = None
    response_time: float | None = None
    model_parameters: dict[str, Any] | None = None


def read_litellm(files: Sequence[Path], options: LogOptions) -> ReadLog:
    """Samples of logged calls whose messages hold the inputs of an item of ``options.items``.

    A prompt is what stays of the messages without the item's inputs. Calls that belong to no item
    are counted in a note, so are those whose messages were not stored.
    """
    if options.items is None:
        raise InputError(
            "logs of calls hold no right answers: give your items by --items FILE --input COLUMN "
            "--target COLUMN; calls are found by the inputs that stand in their messages",
            path=files[0],
        )
    columns = options.inputs or ("input",)
    fields = Fields({column: column for column in columns}, options.target)
    items = load_items(options.items, columns, fields)
    log, bare, strange = ReadLog([]), 0, 0
    prompts: dict[str, str] = {}
    for path in files:
        for line, data in json_rows(path):
            call = read_log_as(_LoggedCall, data, path, line)
            if not call.messages or not call.response.choices:
                bare += 1
                continue
            text = "\n\n".join(f"{m.role}: {m.content}" for m in call.messages)
            inside = [item for item in items if all(v in text for v in item.inputs.values())]
            if not inside:
                strange += 1
                continue
            item = max(inside, key=lambda each: sum(map(len, each.inputs.values())))
            for name, value in item.inputs.items():
                text = text.replace(value, f"{{{{ {name} }}}}")
            parameters = call.model_parameters or {}
            temperature = parameters.get("temperature")
            log.samples.append(
                LoggedSample(
                    id=item.id,
                    inputs=item.inputs,
                    target=item.target,
                    model=call.model,
                    prompt=prompts.setdefault(text, f"prompt-{len(prompts) + 1}"),
                    text=call.response.choices[0].message.content,
                    mode=str(parameters.get("reasoning_effort") or "default"),
                    temperature=temperature if isinstance(temperature, int | float) else None,
                    prompt_tokens=call.prompt_tokens,
                    completion_tokens=call.completion_tokens,
                    latency_s=call.response_time,
                    cached=str(call.cache_hit).lower() == "true",
                )
            )
    for text, name in prompts.items():
        log.notes.append(f"{name} is {text[:100]!r}")
    if bare:
        log.notes.append(
            f"{bare:,} calls hold no messages or no response (store them: LiteLLM's "
            "store_prompts_in_spend_logs)"
        )
    if strange:
        log.notes.append(f"{strange:,} calls hold no item's inputs")
    return log
