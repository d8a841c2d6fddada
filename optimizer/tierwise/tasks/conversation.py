"""An input that is a chat: the messages of production, system prompt and history, as they are.

An item's inputs are texts, so a chat is kept as JSON text: ``[{"role": …, "content": …}, …]``. Its
last message is the user's, which is the one to answer.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from tierwise.errors import InputError

CHAT_ROLES = ("system", "developer", "user", "assistant")
_SYSTEM = ("system", "developer")


class ChatMessage(NamedTuple):
    """One message of a chat."""

    role: str
    content: str


class Conversation(NamedTuple):
    """A chat in its parts: what the system says first, the messages between, the last of the
    user."""

    system: tuple[ChatMessage, ...]
    before: tuple[ChatMessage, ...]
    last: ChatMessage

    @property
    def system_text(self) -> str:
        """The system's text; empty where there is none."""
        return "\n\n".join(message.content for message in self.system)


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
        InputError: what is no message of a text chat: a picture, a call of a tool, another role.
    """
    if not is_messages(value):
        _refuse(name, 'must be a list of messages, such as [{"role": "user", "content": "…"}]')
    said = [_said(message, f"{name}[{i}]") for i, message in enumerate(value)]
    if answered and said[-1].role == "assistant":
        said.pop()
    if not said or said[-1].role != "user":
        _refuse(name, "must end with a message of the user: the one to answer")
    return text_of(said)


def text_of(messages: Iterable[ChatMessage]) -> str:
    """Messages as the text that an item holds."""
    return json.dumps([m._asdict() for m in messages], ensure_ascii=False)


def answer_of_chat(value: Any) -> str | None:
    """The text of an assistant's message that ends a chat, as files for fine-tuning have it."""
    if not is_messages(value) or value[-1]["role"] != "assistant":
        return None
    return _said(value[-1], "messages[-1]").content


def _said(message: Mapping[str, Any], at: str) -> ChatMessage:
    role, content = message.get("role"), message.get("content")
    if role in ("tool", "function") or message.get("tool_calls"):
        _refuse(at, "calls a tool or brings what one returned: chats with tools are not taken")
    if role not in CHAT_ROLES:
        _refuse(at, f"has the role {str(role)[:40]!r}; known: {', '.join(CHAT_ROLES)}")
    if isinstance(content, list):
        content = "".join(_part(part, f"{at}.content[{i}]") for i, part in enumerate(content))
    if not isinstance(content, str):
        _refuse(at, "has no content that is text")
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
        value = json.loads(text)
        said = json.loads(chat_text(value))
    except (ValueError, RecursionError, InputError):
        return None
    messages = [ChatMessage(**message) for message in said]
    first = next(i for i, message in enumerate(messages) if message.role not in _SYSTEM)
    return Conversation(tuple(messages[:first]), tuple(messages[first:-1]), messages[-1])
