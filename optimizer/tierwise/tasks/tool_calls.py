"""Calls of tools: how a message's text holds them, and the answer that votes compare.

A provider gives calls beside the text. A stored text holds both, as JSON in one line:
``{"content": "…", "tool_calls": [{"id": …, "name": …, "arguments": "…"}]}``, with the arguments as
the model wrote them. Models without a parser for tools write calls into their text; these are read
too. What a tool returned is held in the same way: ``{"tool_call_id": …, "content": "…"}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tierwise.tasks.objects import json_text, json_values, settled

_KEY = "tool_calls"


class ToolCall(NamedTuple):
    """One call; ``arguments`` is what the model wrote, which need not be JSON."""

    id: str
    name: str
    arguments: str

    @property
    def body(self) -> dict[str, Any]:
        """In OpenAI's form."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


def read_tool_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of a message in OpenAI's form; what is no call of a function is passed over."""
    rows = message.get(_KEY)
    if not isinstance(rows, list):
        rows = [{"function": message.get("function_call")}]  # the form of older completions
    found: list[ToolCall] = []
    for row in rows:
        function = row.get("function") if isinstance(row, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            continue
        given = function.get("arguments")
        arguments = given if isinstance(given, str) else json.dumps(given or {})
        found.append(ToolCall(str(row.get("id") or f"call_{len(found)}"), name, arguments))
    return tuple(found)


def tool_text(content: str, calls: Sequence[ToolCall]) -> str:
    """What is stored of a completion that calls tools."""
    made = {"content": content, _KEY: [call._asdict() for call in calls]}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def tool_parts(text: str) -> tuple[str, tuple[ToolCall, ...]]:
    """The content and the calls of a stored text; any other text is content alone."""
    if not text.startswith('{"content":'):
        return text, ()
    try:
        made = json.loads(text)
        calls = tuple(ToolCall(**call) for call in made[_KEY])
        return str(made["content"]), calls
    except (ValueError, TypeError, KeyError, RecursionError):  # a model may write what looks alike
        return text, ()


def tool_result(call_id: str, content: str) -> str:
    """The content of a message of role ``tool``."""
    made = {"tool_call_id": call_id, "content": content}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def message_body(role: str, content: str) -> dict[str, Any]:
    """A message in OpenAI's form, with the calls or the result that its text holds."""
    if role == "tool":
        return {"role": role, **json.loads(content)}
    said, calls = tool_parts(content) if role == "assistant" else (content, ())
    if not calls:
        return {"role": role, "content": content}
    return {"role": role, "content": said or None, _KEY: [call.body for call in calls]}


def canonical_tool_calls(raw: str) -> str | None:
    """The calls as a JSON list of names and canonical arguments, in whatever order they were made.

    ``[]`` where a text calls nothing, which is an answer too. Arguments that are no JSON object
    abstain, and so does an empty text.
    """
    _, calls = tool_parts(raw)
    if calls:
        found = [_call(call.name, call.arguments) for call in calls]
    else:
        found = list(_written(json_values(raw)))
    if not raw.strip() or None in found:
        return None
    return json_text(sorted((call for call in found if call), key=json_text))


def _written(values: Iterable[Any]) -> Iterator[dict[str, Any] | None]:
    """Calls in a text or a target: objects with a name and arguments, or lists of them."""
    for value in values:
        if isinstance(value, list):
            yield from _written(value)
        elif isinstance(value, dict):
            function = value.get("function")
            own = function if isinstance(function, dict) else value
            arguments = own.get("arguments", own.get("parameters"))
            if isinstance(own.get("name"), str) and arguments is not None:
                yield _call(own["name"], arguments)
            elif isinstance(value.get(_KEY), list):
                yield from _written(value[_KEY])


def _call(name: str, arguments: Any) -> dict[str, Any] | None:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}", parse_constant=_refused)
        except (ValueError, RecursionError):
            return None
    return {"name": name, "arguments": settled(arguments)} if isinstance(arguments, dict) else None


def _refused(constant: str) -> Any:
    raise ValueError(constant)
