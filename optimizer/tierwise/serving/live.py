"""The rounds of one request, sampled live: calls out at once, and back by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from time import monotonic
from typing import NamedTuple, Protocol

from tierwise.difficulty import read_reply
from tierwise.episode import Round, Sampled
from tierwise.errors import ProviderError
from tierwise.llm import (
    Call,
    Completion,
    Failure,
    LanguageModel,
    Parent,
    Request,
    Result,
    base_seed,
)
from tierwise.retrieval import Lost, Retrieved, Retriever, look_up, news
from tierwise.schema import ANSWER, Passage, RetrieverSpec, Said, Tier, Variant, read_turn
from tierwise.schema.judge import JudgeVerifier, number_of
from tierwise.schema.policy import JUDGES
from tierwise.schema.turns import JUDGED_TURN, SELECTING
from tierwise.strategies import Sample
from tierwise.tasks import AnswerSpec, verified

_CANCEL_GRACE_S = 0.5
"""How long a call that was given up may take to stop before it is left to itself."""


class SampleSource(NamedTuple):
    """Where a variant's samples come from, for the inputs of one request, and in which turn."""

    model: LanguageModel
    tier: Tier
    request: Request
    turn: str = ANSWER


class BoundRetriever(NamedTuple):
    """A retriever, and how a policy uses it."""

    spec: RetrieverSpec
    retriever: Retriever


class SampleSourceOf(Protocol):
    """The model, tier and request of a variant, for the inputs of one request."""

    def __call__(self, variant: Variant, *, parent: Parent | None = None) -> SampleSource:
        """The source of a variant's samples, below ``parent`` where there is one."""
        ...


class _PendingCall(NamedTuple):
    """A call, and which samples of its round it is for."""

    variant: Variant
    source: SampleSource
    call: Call
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What came back for one sample, what it says, and what its query brought."""

    variant: Variant
    request: Request
    index: int
    result: Result
    said: Said = Said(None)
    found: Retrieved | Lost | None = None


@dataclass
class LiveSamples:
    """The samples of one request.

    Sample i of a variant is sample i of the variant's pool, seed and all; a sample that follows
    another has its parent's index. ``results`` is what came back for each, in order.
    """

    source_of: SampleSourceOf
    inputs: Mapping[str, str]
    answer: AnswerSpec
    seed: int
    timeout_s: InitVar[float | None]
    verifiers: Sequence[str] = ()
    retriever: BoundRetriever | None = None
    judge: JudgeVerifier | None = None
    calls: int = field(default=0, init=False)
    results: list[LiveResult] = field(default_factory=list, init=False)
    _parents: list[int | None] = field(default_factory=list, init=False)
    _source: dict[Variant, SampleSource] = field(default_factory=dict, init=False)
    _taken: dict[Variant, int] = field(default_factory=dict, init=False)

    def __post_init__(self, timeout_s: float | None) -> None:
        self._deadline = None if timeout_s is None else monotonic() + timeout_s

    async def sample(self, round_: Round) -> list[Sampled]:
        """The round's samples, in its order; what is not there in time has failed.

        The deadline is on the clock too, so that what a round does beside its samples counts. The
        look-up of a query is part of its sample.
        """
        tasks = {asyncio.ensure_future(self._made(out)): out for out in self._out(round_)}
        self.calls += len(tasks)
        timeout_s = round_.timeout_s
        if timeout_s is not None and self._deadline is not None:
            timeout_s = max(0.0, min(timeout_s, self._deadline - monotonic()))
        try:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
        finally:  # also where the request itself is cancelled
            for task in tasks:
                task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_GRACE_S)
        faults = [t.exception() for t in tasks if t.done() and not t.cancelled()]
        for fault in faults:
            if fault is not None:
                raise fault
        came: dict[int, LiveResult] = {}
        for task, out in tasks.items():
            results = _lost(out, _late(round_)) if task in late else task.result()
            came |= zip(out.places, results, strict=True)
        first = len(self.results)
        self.results += [came[place] for place in range(len(came))]
        self._parents += round_.parents
        return [self._sampled(i) for i in range(first, len(self.results))]

    def _out(self, round_: Round) -> Iterator[_PendingCall]:
        """One call a variant where the tier takes ``n``, else one a sample: it may arrive alone."""
        roots: dict[Variant, list[int]] = {}
        for place, (variant, parent) in enumerate(
            zip(round_.variants, round_.parents, strict=True)
        ):
            if parent is None:
                roots.setdefault(variant, []).append(place)
                continue
            above = self.results[parent]
            source = self.source_of(variant, parent=self._follows(above))
            yield self._call(variant, source, above.index, (place,))
        for variant, places in roots.items():
            source, first = self._of(variant), self._taken.get(variant, 0)
            self._taken[variant] = first + len(places)
            size = len(places) if source.tier.takes_n else 1
            for at in range(0, len(places), size):
                yield self._call(variant, source, first + at, tuple(places[at : at + size]))

    def _of(self, variant: Variant) -> SampleSource:
        if variant not in self._source:
            self._source[variant] = self.source_of(variant)
        return self._source[variant]

    def _call(
        self, variant: Variant, source: SampleSource, first: int, places: tuple[int, ...]
    ) -> _PendingCall:
        seed = base_seed(self.seed, source.request) + first
        return _PendingCall(variant, source, Call(source.request, first, len(places), seed), places)

    def _follows(self, above: LiveResult) -> Parent:
        assert isinstance(above.result, Completion)  # an episode asks nothing after a failure
        retriever, passages = self.retriever, None
        if retriever is not None and above.variant.turn.name == "query":
            passages = retriever.spec.shown(_passages(above))
        return Parent(
            above.request, above.result.text, above.said.query, passages, self._block(above)
        )

    def _block(self, last: LiveResult) -> tuple[str, ...]:
        """The texts of the samples of ``last``'s variant up to it."""
        return tuple(
            one.result.text
            for one in self.results
            if one.variant == last.variant
            and one.index <= last.index
            and isinstance(one.result, Completion)
        )

    async def _made(self, out: _PendingCall) -> list[LiveResult]:
        """The call's samples, with what their queries bring."""
        results = await _answer(out.source.model, out.call)
        samples = enumerate(results, start=out.call.first_sample)
        return list(await asyncio.gather(*(self._read(out, i, result) for i, result in samples)))

    async def _read(self, out: _PendingCall, index: int, result: Result) -> LiveResult:
        variant, retriever = out.variant, self.retriever
        if isinstance(result, Failure):
            return LiveResult(variant, out.call.request, index, result)
        spec = retriever.spec.query if retriever else None
        read = variant.turn, result.text, self.answer, spec, result.finished
        said = await asyncio.to_thread(read_turn, *read) if self.answer.calls else read_turn(*read)
        found = None
        if said.query is not None and retriever is not None and variant.turn.passages:
            k = variant.turn.passages
            found = await asyncio.to_thread(look_up, retriever.retriever, said.query, k)
        return LiveResult(variant, out.call.request, index, result, said, found)

    def _sampled(self, i: int) -> Sampled:
        came, parent = self.results[i], self._parents[i]
        result, found = came.result, came.found
        if isinstance(result, Failure):
            return Sampled(Sample(None, failed=True), None, result.latency_s)
        _, tier, _, turn = self._of(came.variant.root)
        if self.judge is not None and came.variant.owner == JUDGES:
            tier = self.judge.tier
        call = came.variant if parent is None else (came.variant, parent)
        bill = result.bill(call, tier.price, takes_n=tier.takes_n)
        if isinstance(found, Retrieved) and self.retriever is not None:
            look_up_usd = self.retriever.spec.usd_per_call
            bill = bill._replace(completion_usd=bill.completion_usd + look_up_usd)
        latency_s = result.latency_s + (found.latency_s if found else 0.0)
        if isinstance(found, Lost):
            return Sampled(Sample(None, failed=True, text=result.text), bill, latency_s)
        if turn != ANSWER:
            said = read_reply(turn, result.text, result.min_logprob)
            return Sampled(Sample(None, said, turn=turn, text=result.text), bill, latency_s)
        if came.variant.turn.name in (JUDGED_TURN, SELECTING):
            name = came.variant.turn.name
            number = number_of(came.variant.turn, result.text, self.judge, result.finished)
            said = {} if number is None else {name: float(number)}
            return Sampled(Sample(None, said, turn=name, text=result.text), bill, latency_s)
        answer = came.said.answer
        scores = _scores(result)
        scores |= verified(self.verifiers, self.inputs, result.text, answer)
        fields = self.answer.values(answer)
        sample = Sample(answer, scores, text=result.text, fields=fields)
        if isinstance(found, Retrieved) and came.said.query is not None:
            brought = news(came.said.query, found, self._had(i))
            sample = sample._replace(fresh=brought.fresh, match=brought.match)
        return Sampled(sample, bill, latency_s)

    def _had(self, i: int) -> set[str]:
        """The passages that the chain of a sample had before it."""
        above, had = self._parents[i], set[str]()
        while above is not None:
            had.update(p.id for p in _passages(self.results[above]))
            above = self._parents[above]
        return had


def _passages(came: LiveResult) -> tuple[Passage, ...]:
    return came.found.passages if isinstance(came.found, Retrieved) else ()


def _lost(out: _PendingCall, failure: Failure) -> list[LiveResult]:
    request, first = out.call.request, out.call.first_sample
    return [LiveResult(out.variant, request, first + i, failure) for i in range(out.call.n)]


async def _answer(model: LanguageModel, call: Call) -> list[Result]:
    """The call's ``n`` results; a provider that failed for good has failed these samples only."""
    try:
        results = list(await model.answer(call))
    except ProviderError as error:
        return [Failure(type(error).__name__, str(error))] * call.n
    missing = Failure("missing_choice", f"{len(results)} of {call.n} samples came back")
    return (results + [missing] * (call.n - len(results)))[: call.n]


def _late(round_: Round) -> Failure:
    seconds = round_.timeout_s or 0.0
    return Failure("timeout", f"not there {seconds:.3g} s after it was asked for", seconds)


def _scores(completion: Completion) -> dict[str, float]:
    scores = {"mean_logprob": completion.mean_logprob, "min_logprob": completion.min_logprob}
    return {name: value for name, value in scores.items() if value is not None}
