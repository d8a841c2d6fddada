"""The embedded models behind the seam: sampled in worker processes, with simulated prices and
latencies.

Nobody sends a bill for an embedded model, and its speed is that of the machine at hand. So that
policies can be compared, and rebuilt to the byte, its dollars and seconds are simulated:
proportional to parameters x tokens, and marked as such (``Price.simulated``).

Several tiers share one fleet of processes. A worker keeps linear algebra to one thread, leaves
Ctrl-C to its parent, and ends with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from tierwise.errors import InputError, ProviderError
from tierwise.llm.base import Call, Completion, Failure, Result
from tierwise.schema import Price, Tier

EMBEDDED_PREFIX = "embedded/"

SIMULATED_USD_PER_MTOK = 1e-5
"""Dollars per million completion tokens and parameter: $1 at 100,000 parameters."""

SIMULATED_PROMPT_SHARE = 0.25
"""A prompt token's price, in completion tokens."""

SIMULATED_S_PER_TOKEN = 1e-7
"""Seconds per completion token and parameter: 10 ms at 100,000 parameters."""

MODES = {
    "direct": {"reasoning_effort": "none", "max_tokens": 40},
    "think": {"reasoning_effort": "high", "max_tokens": 160},
}

_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


def simulated_price(parameters: int) -> Price:
    """What a model of this size costs in comparisons: simulated, not billed."""
    completion = round(parameters * SIMULATED_USD_PER_MTOK, 6)
    prompt = round(completion * SIMULATED_PROMPT_SHARE, 6)
    return Price(prompt, completion, as_of="simulated", simulated=True)


def embedded_tier(name: str, model: str = "embedded/small") -> Tier:
    """The tier of an embedded model, with the modes ``direct`` and ``think``.

    Raises:
        InputError: there is no such model, or its weights are damaged.
    """
    price = simulated_price(_parameters(model))
    return Tier(name, model, price, modes=MODES, takes_n=True, logprobs=True)


def _parameters(model: str) -> int:
    from tierwise.llm.embedded import Engine  # numpy and weights: only for those who use them

    return Engine.load(model.removeprefix(EMBEDDED_PREFIX)).parameters


class EmbeddedModel:
    """A ``LanguageModel`` that samples from an embedded model.

    ``complete`` samples in ``fleet``; without one, in the fleet that all such models of this
    process share, which ends with the last of them that is closed. ``answer`` samples in a thread
    of this
    process: the very tokens that a batch has, but for the float noise of a matrix product's
    blocking. A request that the model cannot read (a word that it never learned, a parameter that
    it does not take) is a failure of its samples.

    ``latency_s`` of a completion is simulated: tokens x parameters x ``SIMULATED_S_PER_TOKEN``.

    Raises:
        InputError: there is no such model, or its weights are damaged.
    """

    chunk = 1024

    def __init__(
        self, model: str = "embedded/small", *, fleet: EmbeddedFleet | None = None
    ) -> None:
        _parameters(model)  # a wrong name or damaged weights show here, not in a worker
        self._name = model.removeprefix(EMBEDDED_PREFIX)
        self._shared = fleet is None
        self._fleet = _Shared.join() if fleet is None else fleet

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks in order; at most two for each worker are under way.

        Raises:
            ProviderError: a worker died.
        """
        waiting: deque[Future[list[list[Result]]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(self._fleet.submit(self._name, chunk))
                if len(waiting) >= 2 * self._fleet.workers:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        return (await asyncio.to_thread(_sample, self._name, [call]))[0]

    def close(self) -> None:
        """Let go of the shared fleet; a fleet that was given is its owner's to close."""
        if self._shared:
            self._shared = False
            _Shared.leave()


class EmbeddedFleet:
    """Worker processes for embedded models, started at first use; a context manager."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or min(2, os.cpu_count() or 1)
        self._executor: ProcessPoolExecutor | None = None
        self._lock = threading.Lock()

    def submit(self, name: str, chunk: Sequence[Call]) -> Future[list[list[Result]]]:
        """Sample a chunk from the embedded model ``name``."""
        with self._lock, _broken_explained():
            if self._executor is None:
                self._executor = self._start()
            with _interrupts_held():
                return self._executor.submit(_sample, name, list(chunk))

    def close(self) -> None:
        """End the workers, after the chunks that they are sampling."""
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown(wait=True, cancel_futures=True)
                self._executor = None

    def __enter__(self) -> EmbeddedFleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(
            self.workers, _WorkerContext(), initializer=_enlist, initargs=(os.getpid(),)
        )
        # BLAS reads its threads when numpy is imported: so the environment is set here, and all
        # workers start here.
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        try:
            for _ in range(self.workers):
                with _interrupts_held():
                    executor.submit(os.getpid)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        return executor


class _WorkerProcess(SpawnProcess):
    """A process that does not run the caller's script again, since a worker needs nothing of it.

    So a script, or a notebook, may tune without an ``if __name__ == "__main__":``.
    """

    _one = threading.Lock()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        prepare = spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            data = prepare(name)
            return {k: v for k, v in data.items() if not k.startswith("init_main_from")}

        with _WorkerProcess._one:
            spawn.get_preparation_data = without_main
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                spawn.get_preparation_data = prepare


class _WorkerContext(SpawnContext):
    Process = _WorkerProcess


class _Shared:
    """The fleet of models that were given none, and how many of them are open."""

    fleet: EmbeddedFleet | None = None
    users = 0
    lock = threading.Lock()

    @classmethod
    def join(cls) -> EmbeddedFleet:
        with cls.lock:
            cls.fleet = cls.fleet or EmbeddedFleet()
            cls.users += 1
            return cls.fleet

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.users -= 1
            if cls.users == 0 and cls.fleet is not None:
                cls.fleet.close()
                cls.fleet = None


@contextlib.contextmanager
def _broken_explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise ProviderError(
            "a worker of the embedded models died: killed from outside, or out of memory"
        ) from None


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back where workers may start: a process inherits the mask of the thread that
    starts it, so that none is interrupted while it imports, before ``_enlist``."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(future: Future[list[list[Result]]]) -> list[list[Result]]:
    with _broken_explained():
        return future.result()


def _enlist(parent: int) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int, every_s: float = 1.0) -> None:
    # A parent that is killed (-9) tells nobody, and its workers hold each other's pipes open.
    while os.getppid() == parent:
        time.sleep(every_s)
    os._exit(1)


def _sample(name: str, calls: Sequence[Call]) -> list[list[Result]]:
    """The samples of ``calls``, all in one batch."""
    from tierwise.llm.embedded import Engine, Prompt, encode

    engine = Engine.load(name)
    prompts: list[Prompt] = []
    seeds: list[int] = []
    refused: dict[int, Failure] = {}
    for i, call in enumerate(calls):
        try:
            prompt = encode(call.request.messages, call.request.params)
        except InputError as error:
            refused[i] = Failure("InputError", str(error))
            continue
        prompts += [prompt] * call.n
        seeds += range(call.seed, call.seed + call.n)
    sampled = iter(engine.generate(prompts, seeds) if prompts else ())
    second = engine.parameters * SIMULATED_S_PER_TOKEN
    return [
        [refused[i]] * call.n
        if i in refused
        else [
            Completion(
                g.text,
                g.prompt_tokens,
                g.completion_tokens,
                mean_logprob=g.logprob_sum / g.n_own_tokens if g.n_own_tokens else None,
                min_logprob=g.logprob_min if g.n_own_tokens else None,
                latency_s=g.completion_tokens * second,
                finish_reason=g.finish_reason,
            )
            for g in (next(sampled) for _ in range(call.n))
        ]
        for i, call in enumerate(calls)
    ]
