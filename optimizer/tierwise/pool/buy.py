"""Buying what is missing, and nothing twice.

The only place, beside serving, that spends money. Before a call is sent, its worst case is set
aside in the pool; its samples, its failures and its bill are then stored in one transaction, within
a moment of its arrival and whatever came before it is still waited for. So a completion is durable
before anybody uses it, and kill -9 at any moment costs at most the calls in flight, which stay on
the bill at their worst case. An attempt that brings no answer and may be billed all the same is
stored before the next one is made, and the limits count it too.

Where a budget ends is decided by counts: reservations are made in order, and a refusal is final
only when nothing is in flight.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import NamedTuple

from tierwise.errors import ProviderError, UnsupportedError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, Result
from tierwise.llm.limits import DEFAULT_CONCURRENCY, SUPERVISOR, Withheld
from tierwise.pool.calls import Need, bill, calls_of, cells, there_or_failed, worst_case
from tierwise.pool.store import Answered, Book, Parcel, SamplePool, Settlement, buyer_name
from tierwise.pool.supervision import (
    GRACE_S,
    INTERRUPTION,
    OUTAGE,
    Circuit,
    PurchaseSupervisor,
    Window,
    key_of,
)
from tierwise.schema import NO_LIMITS, Tier, Usage, UsageLimits
from tierwise.schema.job import MAX_OUTAGE_S

CAPPED_CHUNK = 256
"""Samples of a chunk under a cap, at most: its worst case, several times what it will cost, must
fit into what is left, and the rest of a cap that no chunk fits into buys nothing."""

GATHER_S = 0.01
"""How long answers are gathered after the first, to be stored in one transaction."""

PART_UNDER_WAY = 0.5
"""Of the time that is kept for the test, what calls of the search that are under way may take."""

WAKE_S = 0.2
"""How often a buyer looks up while nothing arrives."""


@dataclass(frozen=True)
class Account:
    """Who pays, and how much at most.

    Attributes:
        run: the run in the pool; empty: a run of its own.
        seed: the job's.
        limits: over all purchases of the run for ``tier`` and all of its earlier starts; its
            ``seconds`` count from the beginning of a purchase where there is no ``deadline_s``.
        tier: under which name purchases are entered; empty: that of the tier that is bought from.
        deadline_s: on the monotonic clock, after which no call starts.
        test_s: of the time before it, what is kept for the held-out test.
        grace_s: how long calls under way may take after the deadline; None: ``GRACE_S``.
        max_outage_s: how long a provider that answers nobody is waited for.
        retry_before: samples that failed in purchases up to this one are asked for again.
    """

    run: str = ""
    seed: int = 0
    limits: UsageLimits = NO_LIMITS
    tier: str = ""
    deadline_s: float | None = None
    test_s: float = 0.0
    grace_s: float | None = None
    max_outage_s: float = MAX_OUTAGE_S
    retry_before: int = 0

    @property
    def before_test(self) -> Account:
        """The account with the deadline of what is bought before the test.

        Of the test's time, calls under way by then may take a part: they are paid for.
        """
        if self.deadline_s is None:
            return self
        grace_s = min(GRACE_S, self.test_s * PART_UNDER_WAY)
        return replace(self, deadline_s=self.deadline_s - self.test_s, grace_s=grace_s)


NOBODY = Account()


class Progress(NamedTuple):
    """How far a purchase is; samples that failed count as done.

    ``waiting`` says why nothing arrives, where the provider is out.
    """

    samples_done: int
    samples_planned: int
    calls: int
    usd: float
    waiting: str = ""


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
    account: Account = NOBODY,
    *,
    stage: str = "",
    progress: Callable[[Progress], None] = lambda so_far: None,
) -> Filled:
    """Buy what of ``needs`` is not there, as far as the account's limits allow.

    A sample that failed for good in this run is not asked for again: a run judges one snapshot; a
    later run on the same pool tries it again. ``stage`` says what is bought for, in the pool's
    book.

    ``model=None`` is a replay: nothing is bought, and a sample that failed once has failed.

    Raises:
        UnsupportedError: samples are missing and there is no model.
        InputError: a limit on dollars or tokens, and a mode without ``max_tokens``: no worst case.
        ProviderError: the provider failed for good as a whole (wrong key, unknown model, no answer
            for ``max_outage_s``).
        KeyboardInterrupt: somebody asked to stop (``INTERRUPTION``); what arrived is stored.
    """
    there = there_or_failed(
        pool, needs, account.run, replay=model is None, retry_before=account.retry_before
    )
    if model is None:
        missing = sum(len(cell) for cell in cells(needs, there, 1))
        if missing:
            raise UnsupportedError(
                f"{missing} of {sum(n.samples for n in needs)} samples of tier {tier.name!r} are "
                f"not in {pool.path.name}, and a replay buys nothing: `tierwise tune --resume` does"
            )
        return Filled(Usage())
    limits = account.limits
    chunk = model.chunk if limits.unlimited else min(model.chunk, CAPPED_CHUNK)
    chunks = [calls_of(c, tier.takes_n, account.seed) for c in cells(needs, there, chunk) if c]
    one_by_one = getattr(model, "one_by_one", False)
    units = [[call] for calls in chunks for call in calls] if one_by_one else chunks
    if not units:
        return Filled(Usage())
    purchase = _Purchase(pool, tier, units, account, stage, progress)
    try:
        if one_by_one:
            _undisturbed(lambda: purchase.one_by_one(model))
        else:
            purchase.by_chunks(model)
    finally:
        pool.leave(purchase.book.buyer)
    return purchase.filled


class _Purchase:
    """One fill under way: units to send, units in flight, and what came of the others.

    A unit is what is sent and settled together: a call, or a chunk of them.
    """

    def __init__(
        self,
        pool: SamplePool,
        tier: Tier,
        units: Sequence[Sequence[Call]],
        account: Account,
        stage: str,
        progress: Callable[[Progress], None],
    ) -> None:
        self._pool, self._tier, self._limits = pool, tier, account.limits
        self._wanted = deque(units)
        self._planned = sum(call.n for unit in units for call in unit)
        self._progress = progress
        run = account.run or uuid.uuid4().hex
        self.book = Book(run, account.tier or tier.name, stage, buyer_name())
        self._deadline_s = account.deadline_s
        if self._deadline_s is None and self._limits.seconds is not None:
            self._deadline_s = monotonic() + self._limits.seconds
        self._grace_s, self._max_outage_s = account.grace_s, account.max_outage_s
        self._in_flight: dict[int, Sequence[Call]] = {}
        self._reservation_of: dict[tuple[str, int], int] = {}
        """(request key, sample) -> its reservation, while it is in flight."""
        self._lost_calls: set[tuple[str, int]] = set()
        """Calls with a loss, whose attempts the losses count."""
        self._tried_again: set[tuple[str, int]] = set()
        """Calls that failed once while nobody was answered."""
        self._unaffordable: set[tuple[str, int]] = set()
        """Calls that may not be tried again: with their losses, the budget is used up."""
        self._sent_s: dict[int, float] = {}
        self._used, self._failures, self._elsewhere = Usage(), 0, 0
        self._short, self._blocked = "", False
        self._renewed_s = monotonic()
        """When the buyer's lease was last renewed, which every exchange does."""
        self._reported = Progress(0, 0, 0, 0.0)

    @property
    def filled(self) -> Filled:
        """What came of it so far."""
        return Filled(self._used, self._failures, self._short if self._wanted else "")

    def by_chunks(self, model: LanguageModel) -> None:
        """Send chunk after chunk to a model that computes each as a whole.

        A chunk that does not fit the limits beside the worst cases in flight waits until these are
        settled.
        """
        before = len(self._wanted) + 1
        while 0 < len(self._wanted) < before and self._short != "seconds":
            before = len(self._wanted)
            answers = model.complete(self._affordable())
            try:
                for results in answers:
                    purchase, calls = next(iter(self._in_flight.items()))
                    self._exchange([self._settlement(purchase, calls, results)])
                    self._report()
            finally:  # an interrupted model gives back what it was doing now, not when collected
                if isinstance(answers, Generator):
                    answers.close()
            if self._in_flight and not INTERRUPTION.asked:
                left = len(self._in_flight)
                raise ProviderError(f"{type(model).__name__} left {left} chunks unanswered")
            if INTERRUPTION.asked:
                raise KeyboardInterrupt

    def _affordable(self) -> Iterator[Sequence[Call]]:
        while self._wanted and not INTERRUPTION.asked:
            if self._deadline_s is not None and monotonic() >= self._deadline_s:
                self._short = "seconds"
                return
            reserved = self._exchange((), 1)
            if not reserved and (self._short or (self._blocked and self._in_flight)):
                return
            for purchase in reserved:
                yield self._in_flight[purchase]

    def one_by_one(self, model: LanguageModel) -> None:
        """Send call after call, many at a time, and store each answer as it arrives."""
        most = int(self._tier.limits.get("concurrency", DEFAULT_CONCURRENCY))
        trusted = self._pool.billed(self.book.run, self.book.tier).confirmed.samples > 0
        circuit = Circuit(trusted=trusted, max_outage_s=self._max_outage_s)
        window = Window(most)
        supervisor = PurchaseSupervisor(
            circuit, window, self._deadline_s, self._lost, self._grace_s
        )
        settlements: list[Settlement] = []
        error: BaseException | None = None
        courier = _Courier(model, supervisor)
        try:
            while True:
                done = supervisor.ended or bool(self._short) or not self._wanted
                if not self._in_flight and done and not settlements:
                    break
                if supervisor.give_up_at is not None and monotonic() >= supervisor.give_up_at:
                    break
                if circuit.given_up and error is None:
                    error = ProviderError(f"{self._tier.model}: {circuit.no_answer}")
                    supervisor.close()
                for purchase, came in courier.arrivals() if self._in_flight else ():
                    failed = self._arrived(settlements, purchase, came, supervisor)
                    courier.taken(purchase)
                    if failed is not None and error is None:
                        error = failed
                        supervisor.close()
                # Some wait in the model for a free place, so that none is empty while we write.
                room = 2 * window.size - len(self._in_flight) + len(settlements)
                sending = not (supervisor.ended or circuit.open) and room > 0
                sent = self._exchange(settlements, room if sending else 0)
                courier.send({purchase: self._in_flight[purchase] for purchase in sent})
                settlements = []
                self._report(circuit.waiting())
        finally:
            supervisor.close()
            for purchase, came in courier.close():
                self._arrived(settlements, purchase, came, supervisor)
            known = {settlement.purchase for settlement in settlements}
            for purchase, calls in self._in_flight.items():
                if purchase not in known and not supervisor.may_be_billed(_samples(calls)):
                    settlements.append(Settlement(purchase))
            self._wanted.extend(c for p, c in self._in_flight.items() if p not in known)
            self._exchange(settlements)
            self._in_flight.clear()
        if error is not None:
            raise error
        if INTERRUPTION.asked:
            raise KeyboardInterrupt
        if supervisor.out_of_time:
            self._short = "seconds"
        self._report()

    def _arrived(
        self,
        settlements: list[Settlement],
        purchase: int,
        came: Came,
        supervisor: PurchaseSupervisor,
    ) -> BaseException | None:
        """Note what became of a unit; the error that ends the purchase, if it was one."""
        calls = self._in_flight[purchase]
        for call in calls:
            supervisor.circuit.gone(key_of(call))
        if isinstance(came, BaseException):
            ended = None if isinstance(came, Withheld | asyncio.CancelledError) else came
            if supervisor.may_be_billed(_samples(calls)):
                self._wanted.append(self._in_flight.pop(purchase))  # what was set aside stays
                return ended
            self._wanted.appendleft(calls)
            settlements.append(Settlement(purchase))
            return ended
        if not supervisor.closed and self._in_an_outage(purchase, came, supervisor.circuit):
            self._wanted.append(calls)  # behind the others: is it the provider, or this call?
            settlements.append(Settlement(purchase))
            return None
        settlements.append(self._settlement(purchase, calls, came))
        return None

    def _in_an_outage(
        self, purchase: int, came: Sequence[Sequence[Result]], circuit: Circuit
    ) -> bool:
        """Whether a unit failed because the provider is out, and is to be sent again.

        So it is while the circuit is open, and once where nobody else was answered while the unit
        was tried. What a budget does not allow to try again is never sent again.
        """
        results = [result for own in came for result in own]
        if not all(isinstance(r, Failure) and r.error_class in OUTAGE for r in results):
            return False
        keys = set(map(key_of, self._in_flight[purchase]))
        if not circuit.trusted or keys & self._unaffordable:
            return False
        if circuit.open:
            return True
        alone = circuit.answered_s < self._sent_s[purchase] and not keys & self._tried_again
        self._tried_again |= keys
        return alone

    def _exchange(self, settlements: Sequence[Settlement], room: int = 0) -> list[int]:
        """Store what came and reserve up to ``room`` units; the ids of those that may be sent."""
        count = min(room, len(self._wanted))
        parcels = [
            Parcel(calls, worst_case(calls, self._tier, bounded=self._limits.bounds_price))
            for calls in (self._wanted[i] for i in range(count))
        ]
        idle = monotonic() < self._renewed_s + self._pool.lease_s / 4
        if not settlements and not parcels and (idle or not self._in_flight):
            return []
        self._renewed_s = monotonic()
        done = self._pool.exchange(self.book, settlements, parcels, self._limits)
        for purchase, answered, used in settlements:
            self._sent_s.pop(purchase, None)
            for sample in _samples(self._in_flight.pop(purchase)):
                self._reservation_of.pop(sample, None)
            self._used += used or Usage()
            self._failures += sum(isinstance(r, Failure) for _, own in answered for r in own)
        sent = []
        for reserved, calls in done.reserved:
            unit = self._wanted.popleft()
            if reserved is not None:
                self._in_flight[reserved] = calls
                self._sent_s[reserved] = monotonic()
                self._reservation_of.update(dict.fromkeys(_samples(calls), reserved))
                sent.append(reserved)
            self._elsewhere += sum(c.n for c in unit) - sum(c.n for c in calls)
        self._short, self._blocked = done.refused, done.blocked
        if done.blocked and not self._in_flight:
            _wait(WAKE_S)  # somebody else is buying the next one
        return sent

    def _lost(self, call: Call, error_class: str) -> bool:
        """See ``Supervisor.lost``; called from the model's own thread."""
        worst = worst_case([call], self._tier, bounded=self._limits.bounds_price)
        purchase = self._reservation_of.get(key_of(call))
        if purchase is None:  # given up meanwhile: its reservation stands
            return False
        self._lost_calls.add(key_of(call))
        if self._pool.lose(purchase, worst, error_class, self.book, self._limits):
            self._unaffordable.add(key_of(call))
            return False
        return True

    def _settlement(
        self, purchase: int, calls: Sequence[Call], results: Sequence[Sequence[Result]]
    ) -> Settlement:
        answered = [Answered(call, own) for call, own in zip(calls, results, strict=True)]
        for call, own in answered:
            if len(own) != call.n:
                raise ProviderError(f"a call for {call.n} samples was answered with {len(own)}")
        billed = [a for a in answered if not self._only_lost(a)]
        return Settlement(purchase, answered, bill(billed, self._tier))

    def _only_lost(self, answered: Answered) -> bool:
        call, results = answered
        lost = key_of(call) in self._lost_calls
        return lost and not any(isinstance(r, Completion) for r in results)

    def _report(self, waiting: str = "") -> None:
        done = self._used.samples + self._failures + self._elsewhere
        now = Progress(done, self._planned, self._used.calls, self._used.usd, waiting)
        if now != self._reported and not INTERRUPTION.asked:
            self._reported = now
            self._progress(now)


Came = list[list[Result]] | BaseException
"""What became of a unit: the results of its calls, or what was raised."""


class _Courier:
    """Units of a model under way on an event loop in a thread, and what became of them."""

    def __init__(self, model: LanguageModel, supervisor: PurchaseSupervisor) -> None:
        from tierwise.llm.provider import LoopThread

        self._model, self._supervisor = model, supervisor
        self._loop = LoopThread.join()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        """Touched on the loop alone."""
        self._came: dict[int, Came] = {}
        self._sent = 0
        self._wake = threading.Event()

    def send(self, units: Mapping[int, Sequence[Call]]) -> None:
        """Start units, each settled for itself, by the ids of their reservations."""
        if not units:
            return
        self._sent += len(units)
        token = SUPERVISOR.set(self._supervisor)
        try:
            self._loop.call(self._start, units)
        finally:
            SUPERVISOR.reset(token)

    def _start(self, units: Mapping[int, Sequence[Call]]) -> None:
        for purchase, calls in units.items():
            self._under_way[purchase] = asyncio.ensure_future(self._answer(purchase, calls))

    def arrivals(self) -> list[tuple[int, Came]]:
        """What has arrived, and what does within a moment of the first; nothing after a while."""
        if not self._wake.wait(WAKE_S):
            return []
        if len(self._came) < self._sent:
            sleep(GATHER_S)
        self._wake.clear()
        return list(self._came.items())

    def taken(self, purchase: int) -> None:
        """Forget a unit: what became of it is known to whom it was handed over."""
        self._sent -= 1
        self._came.pop(purchase, None)

    def close(self) -> list[tuple[int, Came]]:
        """Cancel what is under way; what had arrived by then and was not taken."""
        self._loop.submit(self._cancel()).result()
        self._loop.leave(lambda: asyncio.sleep(0))  # nothing is to be closed
        return list(self._came.items())

    async def _cancel(self) -> None:
        under_way = list(self._under_way.values())
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way, timeout=1.0)

    async def _answer(self, purchase: int, calls: Sequence[Call]) -> None:
        came: Came
        try:
            if len(calls) == 1:
                came = [await self._model.answer(calls[0])]
            else:
                came = list(await asyncio.gather(*map(self._model.answer, calls)))
        except asyncio.CancelledError as error:
            self._came[purchase] = error
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the purchase is
            came = error
        finally:
            self._under_way.pop(purchase, None)
        self._came[purchase] = came
        self._wake.set()


class PooledModel:
    """A ``LanguageModel`` over a pool; samples of a call count from its ``first_sample``.

    What is bought is entered under ``account.tier`` and ``stage``. A sample that the account's
    limits do not allow is a failure of class ``budget``.
    """

    chunk = 1

    def __init__(
        self, pool: SamplePool, model: LanguageModel, tier: Tier, account: Account, stage: str = ""
    ) -> None:
        self.tier = replace(tier, name=account.tier or tier.name)
        self._pool, self._model, self._account, self._stage = pool, model, account, stage

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks in order."""
        for calls in chunks:
            yield [self._bought(call) for call in calls]

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        return await asyncio.to_thread(self._bought, call)

    def samples(self, request: Request, n: int) -> list[Result]:
        """The first ``n`` samples of a request."""
        return self._bought(Call(request, 0, n, 0))

    def close(self) -> None:
        """Nothing: pool and model are their owner's."""

    def _bought(self, call: Call) -> list[Result]:
        needs, bought = [Need(call.request, call.n, call.first_sample)], self._account
        try:
            filled = fill(self._pool, self._model, self.tier, needs, bought, stage=self._stage)
        except ProviderError as error:
            return [Failure("ProviderError", str(error))] * call.n
        rows = self._pool.samples([call.request.key], call.first_sample, call.n)
        there: dict[int, Result] = {sample: Completion(*of) for _, sample, *of in rows}
        wanted = range(call.first_sample, call.first_sample + call.n)
        if len(there) == call.n:
            return [there[i] for i in wanted]
        failed = self._pool.last_failure(call.request.key) or ("failed", "the call failed for good")
        why = ("budget", f"the cap on {filled.short} is reached") if filled.short else failed
        return [there.get(i, Failure(*why)) for i in wanted]


def _undisturbed(work: Callable[[], None]) -> None:
    """Do ``work`` where no Ctrl-C breaks into it: in a thread, if this is the main one.

    A Ctrl-C that no handler of signals takes is noted as an interruption of ``work`` alone.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    errors: list[BaseException] = []
    done, asked = threading.Event(), False

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below, where it belongs
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="tierwise-buyer").start()
    while not done.is_set():
        try:
            done.wait()
        except KeyboardInterrupt:
            if asked or not INTERRUPTION.asked:
                INTERRUPTION.ask()
                asked = True
    if asked:
        INTERRUPTION.reset()
    if errors:
        raise errors[0]


def _samples(calls: Sequence[Call]) -> Iterator[tuple[str, int]]:
    for call in calls:
        for j in range(call.n):
            yield call.request.key, call.first_sample + j


def _wait(seconds: float) -> None:
    """Sleep, but not after somebody asked to stop."""
    until = monotonic() + seconds
    while monotonic() < until and not INTERRUPTION.asked:
        sleep(0.02)
