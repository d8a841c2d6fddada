"""An input that is a chat: the messages of production, system prompt and history, as they are.

An item's inputs are texts, so a chat is kept as JSON text in OpenAI's form: ``[{"role": …,
"content": …}, …]``, with calls of tools and what they returned. It ends with what is to be
answered: a message of the user, or a tool's result.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from tierwise.errors import InputError
from tierwise.tasks.tool_calls import message_body, read_tool_calls, tool_result, tool_text

CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")
_SYSTEM = ("system", "developer")


class ChatMessage(NamedTuple):
    """One message of a chat; ``content`` holds calls and results as ``tool_calls`` has them."""

    role: str
    content: str


class Conversation(NamedTuple):
    """A chat in its parts: what the system says first, the messages between, and the last."""

    system: tuple[ChatMessage, ...]
    before: tuple[ChatMessage, ...]
    last: ChatMessage

    @property
    def system_text(self) -> str:
        """The system's text; empty where there is none."""
        return "\n\n".join(message.content for message in self.system)

    @property
    def last_of_user(self) -> str:
        """What the user said last."""
        said = (m.content for m in (self.last, *reversed(self.before)) if m.role == "user")
        return next(said, "")


def is_messages(value: Any) -> bool:
    """Whether a value looks like a chat: a list of objects with a role."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and "role" in each for each in value)
    )


def chat_text(value: Any, name: str = "messages", *, answered: bool = False) -> str:
    """A chat in OpenAI's form as the text that an item holds.

    ``answered``: its last message may be an assistant's, which is left out.

    Raises:
        InputError: what is no message of a text chat: a picture, another role, or what a tool
            returned to no call before it.
    """
    said = _read(value, name, answered=answered)
    return json.dumps([message_body(*message) for message in said], ensure_ascii=False)


def _read(value: Any, name: str, *, answered: bool = False) -> list[ChatMessage]:
    if not is_messages(value):
        _refuse(name, 'must be a list of messages, such as [{"role": "user", "content": "…"}]')
    calls: set[str] = set()
    said = [_said(message, f"{name}[{i}]", calls) for i, message in enumerate(value)]
    if answered and said[-1].role == "assistant":
        said.pop()
    if not said or said[-1].role not in ("user", "tool"):
        _refuse(name, "must end with what is to be answered: the user's message or a tool's result")
    return said


def answer_of_chat(value: Any) -> str | None:
    """The text of an assistant's message that ends a chat, as files for fine-tuning have it."""
    if not is_messages(value) or value[-1]["role"] != "assistant":
        return None
    return _said(value[-1], "messages[-1]", set()).content


def _said(message: Mapping[str, Any], at: str, calls: set[str]) -> ChatMessage:
    """A message; ``calls`` are the ids of those before it, to which its own are added."""
    role, content = message.get("role"), message.get("content")
    if role == "function":
        _refuse(at, "is of an older form: write role tool, with the tool_call_id of its call")
    if role not in CHAT_ROLES:
        _refuse(at, f"has the role {str(role)[:40]!r}; known: {', '.join(CHAT_ROLES)}")
    made = read_tool_calls(message) if role == "assistant" else ()
    if isinstance(content, list):
        content = "".join(_part(part, f"{at}.content[{i}]") for i, part in enumerate(content))
    if content is None and made:
        content = ""
    if not isinstance(content, str):
        _refuse(at, "has no content that is text")
    if role == "tool":
        call = message.get("tool_call_id")
        if not isinstance(call, str) or call not in calls:
            _refuse(at, "is a tool's result without the tool_call_id of a call before it")
        content = tool_result(call, content)
    elif made:
        calls.update(call.id for call in made)
        content = tool_text(content, made)
    if any("\ud800" <= c <= "\udfff" for c in content):
        _refuse(at, "holds half of a surrogate pair")
    return ChatMessage(str(role), content)


def _part(part: Any, at: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("text", "input_text") and isinstance(part.get("text"), str):
        return str(part["text"])
    what = "a picture" if kind in ("image_url", "image", "input_image") else f"of type {kind!r}"
    return _refuse(at, f"is {what}: only text is taken")


def _refuse(at: str, why: str) -> NoReturn:
    raise InputError(f"{at} {why}")


@functools.lru_cache(maxsize=4096)
def conversation(text: str) -> Conversation | None:
    """The chat that an input's text holds; None where it is no chat."""
    if not text.startswith("["):
        return None
    try:
        messages = _read(json.loads(text), "messages")
    except (ValueError, RecursionError, InputError):
        return None
    first = next(i for i, message in enumerate(messages) if message.role not in _SYSTEM)
    return Conversation(tuple(messages[:first]), tuple(messages[first:-1]), messages[-1])
