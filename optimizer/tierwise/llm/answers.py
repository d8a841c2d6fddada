"""Reading an answer: a body's choices as samples, and a bill that is checked, not believed.

Both senders hand over the parsed body of a chat completion in OpenAI's form. What a body is worth
does not depend on who received it.

**Texts.** ``content`` is a string or a list of parts, of which the text parts are read; a thought
in front (``<think>…</think>``) is no part of the text. Calls of tools are held by the text too, see
``tool_calls``. A choice that ended by an error is no answer.

**Tokens.** The usage of a call is the sum over its choices, and is split among them by their
log-probabilities where each carries some, else by the length of what each said. It is corrected
upward, and marked as estimated, where it cannot be right: below the log-probabilities or the words
of the texts (a token holds at most one word), the usage of one choice for ``n`` of them, null, zero
or negative. No call is billed above its cap, unless its texts are longer than that.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tierwise.llm.base import Call, Completion, Failure, Result
from tierwise.llm.faults import Fault, brief, classify_answer, mapping_in
from tierwise.llm.limits import prompt_tokens_bound
from tierwise.tasks.tool_calls import read_tool_calls, tool_text

LONGEST_ANSWER_BYTES = 32_000_000
"""Bytes of one answer, unpacked: what a call for many samples with log-probabilities may take."""
MOST_COMMAS, MOST_CONTAINERS = 1_200_000, 400_000
"""Of an answer: 64 samples of 2,048 tokens with log-probabilities have less of both."""
LONGEST_TEXT = 4_000_000
"""Characters of one choice; a longer one is no answer."""
MOST_COUNTED_TOKENS = 10**9
"""A count above it is no count."""
UNCOUNTED_BYTES_A_TOKEN = 3.0
"""Of a text whose tokens nobody counted: fewer than tokenizers average, so that a guess is high."""
REMEMBERED_PROMPTS = 4096

_ENDS = {
    "length": (
        *("length", "max_tokens", "max_output_tokens", "max_completion_tokens", "max_length"),
        *("model_length", "model_context_window_exceeded", "context_length_exceeded"),
        *("token_limit", "error_limit", "incomplete"),
    ),
    "content_filter": (
        *("content_filter", "content-filter", "content_filtered", "guardrail_intervened", "safety"),
        *("recitation", "prohibited_content", "blocklist", "spii", "language", "image_safety"),
        *("sensitive", "refusal", "error_toxic", "blocked"),
    ),
    "tool_calls": ("tool_calls", "function_call", "tool_use"),
    "error": (
        *("error", "network_error", "engine_error", "abort", "aborted", "cancelled", "user_cancel"),
        *("timeout", "time_limit", "insufficient_system_resource", "malformed_response"),
        *("malformed_function_call", "unexpected_tool_call", "unknown_error"),
    ),
}
"""The end of a choice -> what providers call it, in lower case; all else is ``stop``."""
_FINISHED = {name: end for end, names in _ENDS.items() for name in names}

_THOUGHT = re.compile(r"\s*<(think|thinking|thought|reasoning)>", re.I)
_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character that UTF-16 writes as two."""
_THOUGHT_END = re.compile(r"</(think|thinking|thought|reasoning)>\s*", re.I)


class _Choice(NamedTuple):
    """One choice as read; ``fault`` where it is no answer."""

    text: str
    thought: str
    logprobs: tuple[float, ...]
    finish_reason: str
    fault: Fault | None = None

    @property
    def said(self) -> str:
        return f"{self.thought} {self.text}"

    @property
    def least(self) -> int:
        """Fewer tokens it cannot have: those with a log-probability, or its words."""
        return max(len(self.logprobs), len(self.said.split()))


class _Usage(NamedTuple):
    """Token counts of a call as reported; None where there is no sensible number."""

    prompt: int | None
    completion: int | None
    reasoning: int
    cached: int


@dataclass
class AnswerReader:
    """Reads the answers of one model; it remembers what their bills have shown.

    Attributes:
        remarks: what was corrected, a sentence for each kind, in the order found.
        one_choice_usage: the usage of a call for several samples counts one of them.
    """

    model: str
    remarks: dict[str, str] = field(default_factory=dict)
    one_choice_usage: bool = False
    _prompt_tokens: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _prompt_tokens_a_byte: float = 0.0
    _misfits: dict[int, int] = field(default_factory=lambda: {0: 0, -1: 0})
    """Calls whose usage cannot be that of the first choice, and of the last."""

    def read(
        self, body: Mapping[str, Any], call: Call, cap: int, latency_s: float = 0.0
    ) -> list[Result]:
        """The ``call.n`` samples of a body, in the order of the choices' indices.

        ``cap``: the most tokens of a sample, 0 where nobody knows. A choice that is missing, or
        that is no answer, is a ``Failure`` in its place: ``missing_choice``, ``broken_off`` or
        ``poison``.

        Raises:
            Fault: there is no choice, or a number in the usage is none.
        """
        rows = _in_order(body.get("choices"))[: call.n]
        choices = [_choice(row) for row in rows]
        usage = _usage(body)
        prompt, estimated = self._prompt(usage.prompt, call)
        tokens, guessed = self._completion(usage, choices, cap)
        reasoning = _dealt(min(usage.reasoning, sum(tokens)), [len(c.thought) for c in choices])
        results: list[Result] = []
        for choice, own, thought in zip(choices, tokens, reasoning, strict=True):
            if choice.fault is not None:
                results.append(Failure(choice.fault.kind, choice.fault.message, latency_s))
                continue
            logprobs = choice.logprobs
            results.append(
                Completion(
                    text=choice.text,
                    prompt_tokens=prompt,
                    completion_tokens=own,
                    reasoning_tokens=min(own, thought),
                    cached_tokens=min(prompt, usage.cached),
                    mean_logprob=sum(logprobs) / len(logprobs) if logprobs else None,
                    min_logprob=min(logprobs) if logprobs else None,
                    latency_s=latency_s,
                    finish_reason=choice.finish_reason,
                    estimated=estimated or guessed,
                )
            )
        message = f"the provider returned {len(choices)} of {call.n} choices"
        missing = Failure("missing_choice", message, latency_s)
        return results + [missing] * (call.n - len(choices))

    def _remark(self, kind: str, text: str) -> None:
        self.remarks.setdefault(kind, f"{self.model}: {text}")

    def _prompt(self, reported: int | None, call: Call) -> tuple[int, bool]:
        """Prompt tokens of a call, and whether they are estimated."""
        messages, key = call.request.messages, call.request.key
        words = sum(len(m.content.split()) for m in messages)
        size = call.request.prompt_bytes
        known = self._prompt_tokens.get(key, 0)
        most = 4 * prompt_tokens_bound(call.request) + 20_000
        if reported is not None and max(1, 3 * words // 4) <= reported <= most:
            self._prompt_tokens[key] = max(known, reported)
            if len(self._prompt_tokens) > REMEMBERED_PROMPTS:
                self._prompt_tokens.popitem(last=False)
            self._prompt_tokens_a_byte = max(self._prompt_tokens_a_byte, reported / max(1, size))
            return reported, False
        if not known:
            rate = self._prompt_tokens_a_byte or 1 / UNCOUNTED_BYTES_A_TOKEN
            known = max(1, words, math.ceil(size * rate) + 4 * len(messages))
        said = "none" if reported is None else str(reported)
        self._remark(
            "prompt_tokens",
            f"the usage of some answers is wrong (prompt_tokens: {said} for a prompt of {size} "
            "bytes); their prompts are billed as the same or like prompts were, estimated upward",
        )
        return known, True

    def _completion(
        self, usage: _Usage, choices: Sequence[_Choice], cap: int
    ) -> tuple[list[int], bool]:
        """Completion tokens of each choice, and whether they are estimated."""
        reported, least = usage.completion, [choice.least for choice in choices]
        sizes = [_size(c.said) for c in choices]
        n = len(choices)
        if n > 1 and reported and self._counts_one_choice(reported, choices, cap):
            self._remark(
                "one_choice",
                f"a call for {n} choices reported the usage of one ({reported} completion tokens); "
                "the tokens of the others are estimated from log-probabilities, caps and lengths",
            )
            return self._of_each(reported, choices, cap), True
        if reported is None or reported < sum(least):
            said = "none" if reported is None else str(reported)
            self._remark(
                "completion_tokens",
                f"the usage of some answers is wrong (completion_tokens: {said} for texts of "
                f"{sum(sizes)} bytes); they are billed by their texts, estimated upward",
            )
            return [_guess(c, size, cap) for c, size in zip(choices, sizes, strict=True)], True
        if cap and reported - usage.reasoning > cap * n and reported > sum(least):
            self._remark(
                "above_cap",
                f"some answers report more completion tokens than were asked for ({reported}, with "
                f"a cap of {cap} for each of {n}); they are billed at the cap",
            )
            return _dealt(max(cap * n, sum(least)), sizes), True
        counted = [len(choice.logprobs) for choice in choices]
        beside = reported - usage.reasoning - sum(counted)
        if all(counted) and beside >= 0 and not usage.reasoning:  # ends of turn are alike
            return [a + b for a, b in zip(counted, _dealt(beside, [1] * n), strict=True)], False
        thought = min(reported, usage.reasoning)
        thoughts = _dealt(thought, [_size(c.thought) for c in choices])
        texts = [_size(c.text) for c in choices]
        visible = _dealt(reported - thought, texts if thought else sizes)
        return [a + b for a, b in zip(thoughts, visible, strict=True)], False

    def _counts_one_choice(self, reported: int, choices: Sequence[_Choice], cap: int) -> bool:
        """Whether the usage of several choices is that of one: llama.cpp counts the first."""
        least = sum(choice.least for choice in choices)
        cut = sum(choice.finish_reason == "length" for choice in choices)
        at_cap = cap and ((cut > 1 and reported <= cap) or (cut == 1 and reported == cap < least))
        if (reported < least or at_cap) and reported >= min(choices[0].least, choices[-1].least):
            self.one_choice_usage = True
        return self.one_choice_usage and not (cap and reported > cap)

    def _of_each(self, reported: int, choices: Sequence[_Choice], cap: int) -> list[int]:
        """Tokens of each choice where ``reported`` are those of one, the first or the last.

        Log-probabilities and caps count exactly; other choices are estimated by the tokens a byte
        of the one that is counted, ends of turn apart. Which one that is, the calls so far have
        shown; as long as they have not, what comes to more is taken.
        """
        for place in (0, -1):
            self._misfits[place] += not _may_have(choices[place], reported, cap)
        first, last = self._misfits[0], self._misfits[-1]
        places = [0] * (first <= last) + [-1] * (last <= first)
        return max((_by_counted(reported, choices, place, cap) for place in places), key=sum)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _may_have(choice: _Choice, tokens: int, cap: int) -> bool:
    """Whether a choice can have so many tokens."""
    if choice.logprobs and not choice.thought:
        return len(choice.logprobs) <= tokens <= len(choice.logprobs) + 2
    if choice.finish_reason == "length" and cap:
        return tokens == cap
    return choice.least <= tokens <= _size(choice.said) + 2


def _by_counted(reported: int, choices: Sequence[_Choice], counted: int, cap: int) -> list[int]:
    known = choices[counted]
    size = _size(known.said.strip())
    rate = (reported - (known.finish_reason == "stop")) / size if size else 0.0
    tokens = []
    for choice in choices:
        if choice.logprobs and not choice.thought:
            own = len(choice.logprobs) + (choice.finish_reason == "stop")
        elif choice.finish_reason == "length" and cap:
            own = cap
        elif choice is known:
            own = reported
        else:
            own = math.ceil(_size(choice.said.strip()) * rate)
            own += choice.finish_reason == "stop"
        tokens.append(max(choice.least, min(own, cap) if cap else own, 1))
    return tokens


def parse_body(status: int, headers: Mapping[str, str], content: bytes) -> Mapping[str, Any]:
    """The body of an answer in OpenAI's form: JSON, or a stream's events put together.

    Raises:
        Fault: an error status, an error in the body, or what cannot be read.
    """
    fault = too_many_values(content)
    if fault is not None:
        raise fault
    text = content.decode("utf-8-sig", "replace")
    if status >= 300 or status < 200:
        raise classify_answer(status, headers, text)
    if "text/event-stream" in headers.get("content-type", "") or text.startswith("data:"):
        return joined_stream(text)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        start = brief(re.sub(r"<[^>]*>", " ", text[:400])[:80])
        raise Fault("malformed", f"the answer is not JSON: {start!r}", billed=True) from None
    if isinstance(body, list) and len(body) == 1:  # Google's way of an error
        body = body[0]
    if not isinstance(body, dict):
        raise Fault("malformed", "the answer is not a JSON object", billed=True)
    if body.get("error") and not body.get("choices"):
        raise classify_answer(status, headers, text)
    return body


def too_long() -> Fault:
    """The fault of an answer that was given up at ``LONGEST_ANSWER_BYTES``."""
    return Fault("poison", f"the answer is longer than {LONGEST_ANSWER_BYTES} bytes", billed=True)


def too_many_values(content: bytes) -> Fault | None:
    """The fault of an answer whose JSON would take many times its bytes, as empty objects do."""
    if (
        content.count(b",") <= MOST_COMMAS
        and content.count(b"{") + content.count(b"[") <= MOST_CONTAINERS
    ):
        return None
    return Fault("poison", "the answer has too many values to be one", billed=True)


def joined_stream(text: str) -> Mapping[str, Any]:
    """The chat completion whose chunks are the ``data:`` events of ``text``."""
    choices: dict[int, dict[str, Any]] = {}
    body: dict[str, Any] = {}
    for line in re.split(r"\r\n|\r|\n", text):  # as events are split, whatever their texts hold
        if not line.startswith("data:") or line[5:].strip() in ("", "[DONE]"):
            continue
        try:
            chunk = json.loads(line[5:])
        except (ValueError, RecursionError):
            raise Fault("malformed", "an event of the stream is not JSON", billed=True) from None
        if not isinstance(chunk, dict):
            continue
        if chunk.get("error"):
            fault = classify_answer(200, {}, json.dumps(chunk))
            fault.possibly_billed |= bool(choices)
            raise fault
        body.update({k: v for k, v in chunk.items() if k != "choices" and v is not None})
        rows = chunk.get("choices")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                index = row.get("index")
                place = index if isinstance(index, int) else 0
                _add_delta(choices.setdefault(place, {}), row)
    if not choices:
        raise Fault("malformed", "the stream held no choices", billed=True)
    if not any(choice.get("finish_reason") for choice in choices.values()) and "[DONE]" not in text:
        raise Fault("malformed", "the stream ended before the answer did", billed=True)
    return {**body, "choices": [{"index": i, **choices[i]} for i in sorted(choices)]}


def _add_delta(choice: dict[str, Any], row: Mapping[str, Any]) -> None:
    message = choice.setdefault("message", {"content": ""})
    delta = mapping_in(row, "delta") or mapping_in(row, "message")
    for part in delta.get("tool_calls") or ():
        if isinstance(part, dict):
            _add_call(message.setdefault("tool_calls", []), part)
    for name in ("content", "reasoning_content", "reasoning", "refusal"):
        if isinstance(part := delta.get(name), str):
            message[name] = (message.get(name) or "") + part
        elif isinstance(part, list):
            message[name] = (message.get(name) or "") + _text_of(part)[0]
    if row.get("finish_reason"):
        choice["finish_reason"] = row["finish_reason"]
    logprobs = mapping_in(row, "logprobs").get("content")
    if isinstance(logprobs, list):
        choice.setdefault("logprobs", {"content": []})["content"] += logprobs


def _add_call(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> None:
    """Put a piece of a call to the others of its index; one without an index goes on the last."""
    place = part.get("index", max(0, len(calls) - 1))
    if not isinstance(place, int) or not 0 <= place <= len(calls):
        raise Fault("malformed", "a call of a tool in the stream is out of order", billed=True)
    if place == len(calls):
        calls.append({"id": part.get("id"), "function": {"name": "", "arguments": ""}})
    given = part.get("function")
    for name, text in given.items() if isinstance(given, dict) else ():
        if name in ("name", "arguments") and isinstance(text, str):
            calls[place]["function"][name] += text


def _in_order(rows: object) -> list[Mapping[str, Any]]:
    """The choices by their indices, where these are all there and different; else as they stand."""
    choices: list[Mapping[str, Any]] = (
        [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    )
    if not choices:
        raise Fault("malformed", "the answer holds no choices", billed=True)
    places = [row.get("index") for row in choices]
    if sorted(map(repr, places)) == sorted(map(repr, range(len(choices)))):
        return sorted(choices, key=lambda row: int(row["index"]))
    return choices


def _choice(row: Mapping[str, Any]) -> _Choice:
    message = row.get("message")
    message = message if isinstance(message, dict) else {"content": row.get("text")}
    content = message.get("content")
    text, thought = _text_of(content)
    for name in ("reasoning_content", "reasoning"):
        thought = thought or (message[name] if isinstance(message.get(name), str) else "")
    reason = str(row.get("finish_reason") or "stop").lower()
    finish_reason = _FINISHED.get(reason, "stop")
    if not text and isinstance(message.get("refusal"), str):
        text, finish_reason = message["refusal"], "content_filter"
    text, inner = _without_thought(text)
    calls = read_tool_calls(message)
    if calls:
        text = tool_text(text, calls)
    if finish_reason in ("stop", "tool_calls"):
        finish_reason = "tool_calls" if calls else "stop"
    choice = _Choice(text, thought or inner, _logprobs(row), finish_reason)
    error = row.get("error")
    if finish_reason == "error" or error:
        fault = classify_answer(200, {}, json.dumps({"error": error or {"message": ""}}))
        message_ = f"the provider broke off: {fault.message or 'no reason given'}"
        return choice._replace(fault=Fault("broken_off", brief(message_), billed=True))
    if content is not None and not isinstance(content, str | list):
        return choice._replace(fault=_poison(f"content is of type {type(content).__name__}"))
    if len(text) > LONGEST_TEXT:
        return choice._replace(fault=_poison(f"a text of {len(text)} characters"))
    if "\0" in text or _HALF.search(text):
        return choice._replace(fault=_poison("a text with a NUL or half of a character"))
    return choice


def _poison(what: str) -> Fault:
    return Fault("poison", f"the answer cannot be stored: {what}", billed=True)


def _text_of(content: object) -> tuple[str, str]:
    """(text, thought) of a message's content; of parts, those that are text are joined."""
    if isinstance(content, str):
        return content, ""
    texts, thoughts = [], []
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            kind = str(part.get("type") or "text")
            if kind in ("text", "output_text") and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif kind in ("thinking", "reasoning"):
                inner = part.get("thinking") or part.get("text") or part.get("reasoning")
                thoughts.append(_text_of(inner)[0])
    return "".join(texts), "".join(thoughts)


def _without_thought(text: str) -> tuple[str, str]:
    """(what follows a leading thought, the thought); an open thought has nothing after it.

    A template that opens the thought itself leaves only its end in the text.
    """
    opened, ended = _THOUGHT.match(text), _THOUGHT_END.search(text)
    if ended and (opened or not re.search(rf"<{ended[1]}>", text[: ended.start()], re.I)):
        return text[ended.end() :], text[: ended.start()]
    if opened and not ended:
        return "", text
    return text, ""


def _logprobs(row: Mapping[str, Any]) -> tuple[float, ...]:
    """Natural log-probabilities of the chosen tokens; none where one of them is no number."""
    logprobs = mapping_in(row, "logprobs")
    rows, plain = logprobs.get("content"), logprobs.get("token_logprobs")  # older completions
    rows = rows if isinstance(rows, list) else []
    values = [t.get("logprob") for t in rows if isinstance(t, dict)]
    values = values or (plain if isinstance(plain, list) else [])
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    whole = len(numbers) == len(values) and all(map(math.isfinite, numbers))
    return tuple(min(0.0, v) for v in numbers) if whole else ()


def _usage(body: Mapping[str, Any]) -> _Usage:
    """The reported counts, with what ``total_tokens`` says of thoughts that are counted beside.

    Raises:
        Fault: ``poison``, where a count is no number at all.
    """
    usage = mapping_in(body, "usage") or mapping_in(mapping_in(body, "x_groq"), "usage")
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    reasoning = _count(mapping_in(usage, "completion_tokens_details"), "reasoning_tokens")
    reasoning = reasoning or _count(usage, "reasoning_tokens") or 0
    cached = _count(mapping_in(usage, "prompt_tokens_details"), "cached_tokens")
    cached = cached or _count(usage, "prompt_cache_hit_tokens", "cached_tokens") or 0
    if completion is not None and prompt and total and total > prompt + completion:
        completion = total - prompt  # xAI, and Gemini in OpenAI's form, count thoughts beside
    elif completion is not None and reasoning > completion:
        completion += reasoning
    return _Usage(prompt or None, completion, reasoning, cached)


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    value = next((usage[name] for name in names if usage.get(name) is not None), None)
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not abs(value) <= MOST_COUNTED_TOKENS:  # NaN is not
        raise _poison(f"its usage counts {str(value)[:40]} tokens")
    return int(value) if value >= 0 else None


def _guess(choice: _Choice, size: int, cap: int) -> int:
    """Tokens of a choice that nobody counted, upward."""
    if choice.logprobs and not choice.thought:
        own = len(choice.logprobs) + 1
    elif choice.finish_reason == "length" and cap:
        own = cap
    else:
        own = math.ceil(size / UNCOUNTED_BYTES_A_TOKEN) + 1
    return max(choice.least, min(own, cap) if cap else own)


def _dealt(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` split by ``weights`` in whole numbers that add up to it (largest remainders).

    Weights of zero share alike; the first of equal remainders gets the odd one.
    """
    known = list(weights) if sum(weights) else [1] * len(weights)
    whole = sum(known)
    split = [total * w // whole for w in known]
    by_remainder = sorted(range(len(known)), key=lambda i: (-(total * known[i] % whole), i))
    for i in by_remainder[: total - sum(split)]:
        split[i] += 1
    return split
