"""From chat messages and LiteLLM-style parameters to the tokens of a prompt.

The template: the system text's words and a colon; each demonstration as ``question answer ;``; the
last user text. Then the cue that opens the completion, which the mode forces: ``answer :`` for a
direct answer, ``work :`` for one with its work. A budget ends the work by ``stop answer :``.

A chat that goes on after a search is the model's own text, continued: what it said, then the last
user message, which begins with ``->`` and holds what was found (``-> friend of ann is bob ;``). It
may end with ``stop answer :``, which forces the answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tierwise.errors import InputError, unknown_name
from tierwise.llm.embedded.vocabulary import ID, ids, words
from tierwise.schema import Message

DIRECT, WORK = (ID["answer"], ID[":"]), (ID["work"], ID[":"])
STOP = (ID["stop"], ID["answer"], ID[":"])
EFFORTS: dict[str, int | None] = {"low": 8, "medium": 24, "high": None}
"""Tokens of work per ``reasoning_effort``; None is as many as ``max_tokens`` allows."""
KNOWN = ("temperature", "max_tokens", "reasoning_effort", "thinking", "stop")
REPLY = "->"
"""What a message begins with that brings what a search found."""
LONGEST_PROMPT = 256


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens to read, the cue that opens the completion, and how to decode.

    ``budget_tokens`` are the tokens of work before it is stopped; None sets no end but
    ``max_tokens``, which counts every token of the completion, the cue and the end mark among them.
    """

    tokens: tuple[int, ...]
    cue: tuple[int, ...] = DIRECT
    temperature: float = 1.0
    max_tokens: int = 160
    budget_tokens: int | None = None
    stop: tuple[int, ...] = ()
    """Tokens that end the completion, and are no part of its text."""

    @property
    def key(self) -> int:
        """64 bits of a hash of tokens and cue: with the seed, all that chance depends on."""
        content = bytes(self.tokens) + b"\0" + bytes(self.cue)
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def encode(messages: Sequence[Message], params: Mapping[str, object]) -> Prompt:
    """The prompt for ``messages`` under ``params``.

    Known parameters: ``temperature`` (default 1), ``max_tokens`` (default 160),
    ``reasoning_effort`` (none, low, medium, high; none where nothing asks for thinking),
    ``thinking: {budget_tokens}`` and ``stop``, a list of words. Full stops that end a message are
    not read.

    Raises:
        InputError: an unknown word, number, role or parameter, or a value out of range; never a
            silent token and never a parameter that is dropped.
    """
    for name in params:
        if name not in KNOWN:
            near = unknown_name("parameter of an embedded model", name, KNOWN)
            raise InputError(f"{near.message}; known: {', '.join(KNOWN)}")
    cue, budget_tokens = _reasoning(params)
    tokens = _tokens(messages)
    if words(messages[-1].content)[:1] == [REPLY]:
        forced = tokens[-len(STOP) :] == STOP
        tokens, cue = (tokens[: -len(STOP)], STOP) if forced else (tokens, ())
        budget_tokens = None
    return Prompt(
        tokens=tokens,
        cue=cue,
        temperature=_number("temperature", params.get("temperature", 1.0), least=0.0),
        max_tokens=_count("max_tokens", params.get("max_tokens", 160), least=len(cue) + 1),
        budget_tokens=budget_tokens,
        stop=_stop(params.get("stop")),
    )


def _tokens(messages: Sequence[Message]) -> tuple[int, ...]:
    if not messages or messages[-1].role != "user":
        raise InputError("an embedded model answers a chat that ends with a user message")
    tokens: list[int] = []
    for role, content in messages:
        if role not in ("system", "user", "assistant"):
            raise unknown_name("role of a message", role, ("system", "user", "assistant"))
        pieces = words(content.rstrip().rstrip("."))
        end = {"system": [":"], "assistant": [";"], "user": []}[role]
        if role == "system" and (not pieces or pieces[-1] in (":", "?")):
            end = []
        tokens += ids(pieces + end)
    if len(tokens) > LONGEST_PROMPT:
        raise InputError(
            f"the prompt has {len(tokens)} tokens; an embedded model reads {LONGEST_PROMPT}"
        )
    return tuple(tokens)


def _stop(value: object) -> tuple[int, ...]:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(word, str) and len(words(word)) == 1 for word in listed):
        raise InputError(f"stop takes single words or signs of an embedded model, got {value!r}")
    return tuple(ids(words(" ".join(map(str, listed)))))


def _reasoning(params: Mapping[str, object]) -> tuple[tuple[int, ...], int | None]:
    """The cue and the tokens of work that ``reasoning_effort`` and ``thinking`` ask for."""
    thinking = params.get("thinking")
    if thinking is not None:
        if not isinstance(thinking, Mapping) or set(thinking) - {"type", "budget_tokens"}:
            raise InputError(f"thinking takes {{budget_tokens: N}}, got {thinking!r}")
        if "reasoning_effort" in params:
            raise InputError("give reasoning_effort or thinking, not both")
        if thinking.get("type") == "disabled":
            return DIRECT, None
        budget_tokens = thinking.get("budget_tokens")
        return WORK, None if budget_tokens is None else _count("budget_tokens", budget_tokens)
    effort = params.get("reasoning_effort", "none")
    if effort is None or effort == "none":
        return DIRECT, None
    if not isinstance(effort, str) or effort not in EFFORTS:
        raise unknown_name("reasoning_effort", str(effort), ("none", *EFFORTS))
    return WORK, EFFORTS[effort]


def _number(name: str, value: object, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise InputError(f"{name} must be a number of at least {least:g}, got {value!r}")
    return float(value)


def _count(name: str, value: object, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value
