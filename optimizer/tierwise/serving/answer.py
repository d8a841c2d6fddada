"""What a runtime hands back for one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from tierwise.episode import Ended, Outcome
from tierwise.llm import Completion, Failure
from tierwise.retrieval import Lost, Retrieved
from tierwise.schema import Usage
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.live import LiveResult
from tierwise.tasks.tool_calls import ToolCall, tool_parts


@dataclass(frozen=True, slots=True)
class TracedSample:
    """One sample of a request, in the order in which they were asked for.

    ``round`` counts from 0. ``error`` says what went wrong with a sample that failed; ``usd`` is
    the sample's own: where samples share a call, its prompt is with the first. ``parent`` is the
    index of the sample that it followed; ``passages`` are the ids of what its ``query`` brought.
    """

    variant: str
    round: int
    answer: str | None
    text: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    latency_s: float
    error: str | None = None
    parent: int | None = None
    query: str | None = None
    passages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer, what it took to get there, and what it cost.

    Attributes:
        text: what the policy hands out: the chosen sample's text, or its extracted answer where the
            policy says ``return: extracted`` and there is one. Empty where nothing arrived.
        answer: the extracted canonical answer, None for an abstention.
        bucket: name of the bucket that the request fell into.
        signal: the difficulty signal's value; higher is easier.
        samples, rounds, calls: how many of each; ``calls`` are those sent to the model.
        prompt_tokens, completion_tokens: billed, over all samples; a call's prompt counts once.
            Reasoning tokens are part of the completion tokens, cached ones of the prompt's.
        usd: the bill, at the policy file's prices.
        latency_s: seconds from question to answer.
        ended: ``answered``, the limit that ended the request, or ``failed``: no sample to return.
        trace: every sample; ``chosen`` is the index of the one that was returned.
        fields: where votes elected an object that no sample is, for each of its fields the index of
            the sample that the value is from; ``chosen`` then has most of them, and ``text`` is the
            object.
        tool_calls: those of the chosen sample; ``text`` is then what it says beside them.
    """

    text: str
    answer: str | None
    bucket: str
    signal: float
    samples: int
    rounds: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    usd: float
    latency_s: float
    ended: Ended
    finish_reason: str
    chosen: int | None
    trace: tuple[TracedSample, ...]
    fields: tuple[int, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is no answer to return."""
        return self.ended == "failed"

    @property
    def usage(self) -> Usage:
        """What was billed for it."""
        return Usage(
            calls=self.calls,
            samples=self.samples,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            reasoning_tokens=self.reasoning_tokens,
            cached_tokens=self.cached_tokens,
            usd=self.usd,
            seconds=self.latency_s,
        )

    @property
    def error(self) -> str | None:
        """The first fault of a sample; None where every sample arrived."""
        return next((d.error for d in self.trace if d.error), None)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def answer_of(
    file: PolicyFile, outcome: Outcome, live: Sequence[LiveResult], calls: int, latency_s: float
) -> Answer:
    """The answer that an episode ended with; ``live`` is what its samples came from, in order."""
    results = [one.result for one in live]
    chosen = None if outcome.index is None else outcome.samples[outcome.index].sample
    result = None if outcome.index is None else results[outcome.index]
    text, answer = "", None if chosen is None else chosen.answer
    tools: tuple[ToolCall, ...] = ()
    if outcome.fields:
        text = answer = file.answer.elected(outcome.elected)
    elif chosen is not None:
        text = chosen.text
        if isinstance(result, Completion) and result.finish_reason == "tool_calls":
            text, tools = tool_parts(text)
        if file.answer.returns == "extracted" and answer is not None:
            text = answer
    trace, prompts, completions = [], [], []
    for i, (round_, pays) in enumerate(_rounds_and_payers(outcome)):
        got = results[i]
        trace.append(_traced(outcome, i, live[i], round_, pays))
        if isinstance(got, Completion):
            completions.append(got)
            if pays:
                prompts.append(got)
    return Answer(
        text=text,
        answer=answer,
        bucket=file.policy.buckets[outcome.bucket].name,
        signal=outcome.signal,
        samples=len(outcome.samples),
        rounds=len(outcome.rounds),
        calls=calls,
        prompt_tokens=sum(c.prompt_tokens for c in prompts),
        completion_tokens=sum(c.completion_tokens for c in completions),
        reasoning_tokens=sum(c.reasoning_tokens for c in completions),
        cached_tokens=sum(c.cached_tokens for c in prompts),
        usd=outcome.usd,
        latency_s=latency_s,
        ended=outcome.ended,
        finish_reason=result.finish_reason if isinstance(result, Completion) else "stop",
        chosen=outcome.index,
        trace=tuple(trace),
        fields=outcome.fields,
        tool_calls=tools,
    )


def _rounds_and_payers(outcome: Outcome) -> list[tuple[int, bool]]:
    """Each sample's round, and whether it carries its call's prompt, as ``price`` bills it."""
    shown, samples = [], iter(outcome.samples)
    for round_, size in enumerate(outcome.rounds):
        billed: set[object] = set()
        for sampled in islice(samples, size):
            bill = sampled.bill
            pays = bill is not None and not (bill.takes_n and bill.call in billed)
            if bill is not None and pays:
                billed.add(bill.call)
            shown.append((round_, pays))
    return shown


def _traced(outcome: Outcome, i: int, live: LiveResult, round_: int, pays: bool) -> TracedSample:
    sampled, error, result, found = outcome.samples[i], None, live.result, live.found
    if isinstance(result, Failure):
        error = f"{result.error_class}: {result.message}"
    elif isinstance(found, Lost):
        error = f"lookup: of {live.said.query!r}: {found.message}"
    elif sampled.sample.failed:
        error = f"timeout: came after {result.latency_s:.3g} s"
    prompt_tokens = completion_tokens = 0
    usd = 0.0
    if isinstance(result, Completion) and sampled.bill is not None:
        prompt_tokens = result.prompt_tokens if pays else 0
        completion_tokens = result.completion_tokens
        usd = sampled.bill.completion_usd + (sampled.bill.prompt_usd if pays else 0.0)
    return TracedSample(
        variant=outcome.variants[i].label,
        round=round_,
        answer=sampled.sample.answer,
        text=sampled.sample.text,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        usd=usd,
        latency_s=sampled.latency_s,
        error=error,
        parent=outcome.parents[i],
        query=live.said.query,
        passages=tuple(p.id for p in found.passages) if isinstance(found, Retrieved) else (),
    )
