"""Buying what is missing, and nothing twice.

The only place, beside serving, that spends money. Before a chunk is sent, its worst case is set
aside in the pool; its samples, its failures and its bill are then stored in one transaction. So a
completion is durable before anybody uses it, and kill -9 at any moment costs at most the chunks in
flight, which stay on the bill at their worst case. An attempt that brings no answer and may be
billed all the same is stored before the next one is made, and the limits count it too.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from tierwise.errors import ProviderError, UnsupportedError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Losing, Result
from tierwise.pool.bill import bill, worst_case
from tierwise.pool.grid import Need, calls_of, grid, settled
from tierwise.pool.store import Answered, SamplePool
from tierwise.schema import NO_LIMITS, Tier, Usage, UsageLimits

CAPPED_CHUNK = 256
"""Samples of a chunk under a cap, at most: its worst case, several times what it will cost, must fit
into what is left, and the rest of a cap that no chunk fits into buys nothing."""


class Progress(NamedTuple):
    """How far a fill is; samples that failed count as done."""

    samples_done: int
    samples_planned: int
    calls: int
    usd: float


@dataclass(frozen=True)
class Filled:
    """What a fill bought, and which limit ended it (usd, calls, tokens or seconds), if one did.

    ``failures`` counts samples that failed for good in this fill: they are rows in the pool, and
    not there in a table.
    """

    usage: Usage
    failures: int = 0
    short: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left to buy."""
        return not self.short


def fill(
    pool: SamplePool,
    model: LanguageModel | None,
    tier: Tier,
    needs: Sequence[Need],
    *,
    seed: int,
    cap: UsageLimits = NO_LIMITS,
    run: str = "",
    stage: str = "",
    progress: Callable[[Progress], None] | None = None,
    account: str | None = None,
) -> Filled:
    """Buy what is missing of ``needs``; sample i has the seed ``base_seed(seed, request) + i``.

    At ``tier``'s prices, and on its account; or on that of ``account``, a tier that buys samples of
    another, whose ``cap`` it then is.

    A sample that failed for good is a row of its own and is not bought again in the same ``run``,
    resumed or not, so that a run judges one snapshot; a later run on the same pool tries it again.
    An empty ``run`` is a run of its own. ``stage`` says what is bought for, in the pool's book.

    ``model=None`` is a replay: nothing is bought, and a sample that failed once has failed.

    Raises:
        UnsupportedError: samples are missing and there is no model.
        InputError: a cap on dollars or tokens, and a mode without ``max_tokens``: no worst case.
        ProviderError: the provider failed for good as a whole (wrong key, unknown model).
    """
    there = settled(pool, needs, run, replay=model is None)
    if model is None:
        missing = sum(len(cell) for cell in grid(needs, there, 1))
        if missing:
            raise UnsupportedError(
                f"{missing} of {sum(n.samples for n in needs)} samples of tier {tier.name!r} are not "
                f"in {pool.path.name}, and a replay buys nothing: `tierwise tune --resume` does"
            )
        return Filled(Usage())
    capped = not cap.unlimited
    cells = grid(needs, there, min(model.chunk, CAPPED_CHUNK) if capped else model.chunk)
    chunks = deque(calls_of(cell, tier.takes_n, seed) for cell in cells if cell)
    planned = sum(call.n for chunk in chunks for call in chunk)
    purpose = (account or tier.name, run or uuid.uuid4().hex, stage)
    purchase = _Purchase(pool, tier, purpose, cap, chunks)
    for _ in purchase.buy(model):
        if progress is not None:
            so_far = purchase.filled
            done = so_far.usage.samples + so_far.failures
            progress(Progress(done, planned, so_far.usage.calls, so_far.usage.usd))
    return purchase.filled


class _Purchase:
    """One fill under way: chunks to send, chunks in flight, and what came of the others."""

    def __init__(
        self,
        pool: SamplePool,
        tier: Tier,
        purpose: tuple[str, str, str],
        cap: UsageLimits,
        chunks: deque[list[Call]],
    ) -> None:
        self._pool, self._tier, self._chunks = pool, tier, chunks
        self._account, self._run, self._stage = purpose
        self._limit = cap
        self._bounded = cap.bounds_price
        self._deadline = None if cap.seconds is None else monotonic() + cap.seconds
        self._in_flight: deque[tuple[int, list[Call]]] = deque()
        self._reservation_of: dict[tuple[str, int], int] = {}
        """(request key, sample) -> the reservation of its chunk, while it is in flight."""
        self._lost_calls: set[tuple[str, int]] = set()
        """(request key, first sample) of calls with a loss, whose attempts the losses count."""
        self._failures = 0
        self._spent = Usage()
        self._short = ""

    @property
    def filled(self) -> Filled:
        """What came of it so far."""
        short = self._short if self._chunks else ""
        return Filled(self._spent, self._failures, short)

    def buy(self, model: LanguageModel) -> Iterator[None]:
        """Send chunk after chunk; yields after each that is stored.

        A chunk that does not fit the cap beside the worst cases in flight waits until these are
        settled: so where a fill ends does not depend on timing.
        """
        if isinstance(model, Losing):
            model.lost = self._lost
        before = len(self._chunks) + 1
        while 0 < len(self._chunks) < before and self._short != "seconds":
            before = len(self._chunks)
            answers = model.complete(self._affordable())
            try:
                for results in answers:
                    self._store(results)
                    yield
            finally:  # an interrupted model gives back what it was doing now, not when collected
                if isinstance(answers, Generator):
                    answers.close()
            if self._in_flight:
                raise ProviderError(
                    f"{type(model).__name__} left {len(self._in_flight)} chunks unanswered"
                )

    def _affordable(self) -> Iterator[list[Call]]:
        while self._chunks:
            if self._deadline is not None and monotonic() >= self._deadline:
                self._short = "seconds"
                return
            worst = worst_case(self._chunks[0], self._tier, bounded=self._bounded)
            reserved = self._pool.reserve(self._account, self._run, worst, self._limit, self._stage)
            if isinstance(reserved, str):
                self._short = reserved
                return
            calls = self._chunks.popleft()
            self._in_flight.append((reserved, calls))
            self._reservation_of.update(dict.fromkeys(_samples(calls), reserved))
            yield calls

    def _lost(self, call: Call, error_class: str) -> bool:
        """See ``Losing.lost``; called from the model's own thread."""
        worst = worst_case([call], self._tier, bounded=self._bounded)
        at = call.request.key, call.first_sample
        reservation = self._reservation_of[at]
        self._lost_calls.add(at)
        return not self._pool.lose(
            reservation, worst, error_class, self._tier.name, self._run, self._limit
        )

    def _only_lost(self, answered: Answered) -> bool:
        call, results = answered
        at = call.request.key, call.first_sample
        return at in self._lost_calls and not any(isinstance(r, Completion) for r in results)

    def _store(self, results: Sequence[Sequence[Result]]) -> None:
        reservation, calls = self._in_flight[0]
        answered = [Answered(call, own) for call, own in zip(calls, results, strict=True)]
        for call, own in answered:
            if len(own) != call.n:
                raise ProviderError(f"a call for {call.n} samples was answered with {len(own)}")
        spent = bill([a for a in answered if not self._only_lost(a)], self._tier)
        self._pool.settle(reservation, answered, spent)
        self._in_flight.popleft()
        for sample in _samples(calls):
            del self._reservation_of[sample]
        self._spent += spent
        self._failures += sum(isinstance(result, Failure) for own in results for result in own)


def _samples(calls: Sequence[Call]) -> Iterator[tuple[str, int]]:
    for call in calls:
        for j in range(call.n):
            yield call.request.key, call.first_sample + j
