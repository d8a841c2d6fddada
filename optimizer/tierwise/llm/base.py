"""The seam to language models: requests in, completions or failures out.

A sample is (request, index). The seed of sample i is ``base_seed(job seed, request) + i``, and
choice j of a call with seed s is the sample of seed s + j: so samples do not depend on how calls
are grouped, and a provider that refuses ``n`` gives the samples that one that takes it would.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from tierwise.schema import Message, Price, PromptTemplate, SampleBill, Tier, Variant, substitute
from tierwise.schema.prompt import PASSAGES
from tierwise.schema.turns import SELECTING, numbered

SEED_SPACE = 2**31 - 2**12
"""Seeds stay below 2**31, the most that some providers take, with room for 4,096 samples."""


CAPS = ("max_tokens", "max_completion_tokens")
"""Parameters that cap the tokens of a sample."""
UNFINISHED = frozenset({"length", "content_filter"})
"""``finish_reason`` of completions that were cut: by the cap on tokens, or by a filter."""


IN_PROMPT = ("tools", "response_format")
"""Parameters that providers write into the prompt, and bill as part of it."""
TOOLS_BYTES = 2000
"""More than any provider writes around them; 300 to 700 tokens of instructions are usual."""


@dataclass(frozen=True)
class Request:
    """One exact request: model, messages and every parameter that can change the output."""

    model: str
    messages: tuple[Message, ...]
    params: Mapping[str, object]
    address: str = ""

    @functools.cached_property
    def prompt_bytes(self) -> int:
        """Bytes of all that its prompt is made of: its messages, and the tools and the schema."""
        said = sum(len(m.content.encode("utf-8", "replace")) for m in self.messages)
        told = [self.params[name] for name in IN_PROMPT if name in self.params]
        return said + (len(json.dumps(told)) + TOOLS_BYTES if told else 0)

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over everything that can change the output; what the pool is keyed by."""
        content = [self.model, self.address, [list(m) for m in self.messages], dict(self.params)]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Parent(NamedTuple):
    """A sample that another follows: what it was asked, what it said, and what its query brought
    (``passages`` as they are shown; None where nothing was looked up). ``block``: the texts of the
    samples to select from, its own the last, for a turn that selects."""

    request: Request
    text: str
    query: str | None = None
    passages: str | None = None
    block: tuple[str, ...] = ()


def build_request(
    tier: Tier,
    prompt: PromptTemplate,
    variant: Variant,
    inputs: Mapping[str, str],
    address: str = "",
    history: Sequence[Message] = (),
    parent: Parent | None = None,
) -> Request:
    """The request of ``variant`` for one item's inputs; the same bytes in search and in serving.

    ``history`` are the messages before the question, which fill the prompt's slot for them. Without
    a ``parent`` it is the prompt, with the text of the variant's turn below the last message. Else
    it is the parent's messages, what the parent said, and as one message what its query brought and
    the text of the turn. A turn that selects is asked below the prompt, of the parent's block.

    Raises:
        UnsupportedError: the prompt has no such turn.
    """
    params = dict(tier.mode(variant.mode))
    if parent is None or variant.turn.name == SELECTING:
        *before, last = prompt.render(inputs, history)
        parts = [last.content]
    else:
        before = [*parent.request.messages, Message("assistant", parent.text)]
        last, parts = Message("user", ""), []
        if parent.passages is not None:
            found = {"passages": parent.passages, "query": parent.query or ""}
            handed = prompt.words_of(PASSAGES).text
            parts.append(substitute(handed, {**inputs, **found}))
    if variant.path:
        turn = prompt.words_of(variant.turn.name)
        params |= turn.sends
        said = {} if parent is None else {"parent": parent.text, "answers": numbered(parent.block)}
        parts.append(substitute(turn.text, {**inputs, **said}))
    params["temperature"] = variant.temperature
    suffix = str(params.pop("suffix", None) or "")
    if last.role == "tool":  # what a tool returned is not added to
        before, parts = [*before, last], parts[1:]
        last = Message("user", "")
    content = "\n\n".join(part for part in parts if part) + suffix
    if not content.strip() and before and before[-1].role == "tool":
        return Request(tier.model, tuple(before), params, address)
    return Request(tier.model, (*before, Message(last.role, content)), params, address)


def judge_request(tier: Tier, messages: tuple[Message, ...], address: str = "") -> Request:
    """A judge's request, at temperature 0 in its tier's first mode."""
    sends = dict(next(iter(tier.modes.values()), {}))
    suffix = str(sends.pop("suffix", None) or "")
    *before, last = messages
    last = Message(last.role, last.content + suffix)
    return Request(tier.model, (*before, last), {**sends, "temperature": 0.0}, address)


def cap_of(request: Request) -> int:
    """The most tokens that a sample of the request may have; 0 where nothing says so."""
    return next((v for c in CAPS if isinstance(v := request.params.get(c), int)), 0)


def base_seed(seed: int, request: Request) -> int:
    """Seed of sample 0 of ``request``; sample i has ``base_seed + i``."""
    digest = hashlib.sha256(f"{seed}:{request.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % SEED_SPACE


class Call(NamedTuple):
    """Buy samples ``first_sample … first_sample + n - 1`` of a request."""

    request: Request
    first_sample: int
    n: int
    seed: int

    def alone(self, j: int) -> Call:
        """The call for its sample ``j`` by itself."""
        return Call(self.request, self.first_sample + j, 1, self.seed + j)


@dataclass(frozen=True, slots=True)
class Completion:
    """One output of a model, with what was billed for it.

    ``prompt_tokens`` is that of its call. Log-probabilities are natural, of the tokens that the
    model chose; None where the provider gives none. ``estimated``: the provider's token counts
    could not be right, and were corrected upward.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    mean_logprob: float | None = None
    min_logprob: float | None = None
    latency_s: float = 0.0
    finish_reason: str = "stop"
    estimated: bool = False

    @property
    def finished(self) -> bool:
        """Whether the model came to its end: what was cut is paid for, and answers nothing."""
        return self.finish_reason not in UNFINISHED

    def bill(self, call: object, price: Price, *, takes_n: bool = True) -> SampleBill:
        """What it costs at ``price``; ``call`` names the call that it came with."""
        return SampleBill(
            call,
            price.prompt_usd(self.prompt_tokens, self.cached_tokens),
            price.completion_usd(
                self.completion_tokens, self.reasoning_tokens, prompt_tokens=self.prompt_tokens
            ),
            takes_n,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed for good: a third outcome, never scored and never dropped."""

    error_class: str
    message: str
    latency_s: float = 0.0


Result = Completion | Failure


@runtime_checkable
class LanguageModel(Protocol):
    """One model behind one address.

    ``chunk`` is the number of samples that ``complete`` computes together, and that are stored
    together. A model with a true attribute ``one_by_one`` is asked by ``answer`` instead, many
    calls at a time; calls for several samples then share at most a chunk.
    """

    chunk: int

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks, each as soon as it is there, in the order given.

        A chunk's answer holds for each of its calls the results of its ``n`` samples.
        """
        ...

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        ...

    def close(self) -> None:
        """Give back processes and connections."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A model that has something to say about its provider, once a matter: a bill that was
    corrected, a parameter that was left out. ``remark(text)`` may be called from any thread."""

    remark: Callable[[str], None]
