"""A model that answers from a pure function: for tests, docs, and those who extend tierwise.

::

    model = ScriptedModel(answering({"A: 4": 0.7, "A: 5": 0.3}))

answers every sample with "A: 4" at a probability of .7, the same sample always alike. With known
probabilities, everything that is estimated from samples has a closed form to be checked against.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tierwise.llm.base import Call, Completion, Failure, Request, Result

Script = Callable[[Request, int], Result]
"""(request, the sample's seed) -> what the model says; pure."""


def hash_uniform(request: Request, seed: int, salt: str = "") -> float:
    """A number in [0, 1) that depends on the sample alone, independent for each ``salt``."""
    digest = hashlib.sha256(f"{request.key}:{seed}:{salt}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 256**7


def answering(
    probabilities: Mapping[str, float] | Callable[[Request], Mapping[str, float]],
) -> Script:
    """A script that says each text with its probability (of all, or of what the request gets).

    Tokens are words. Probabilities that sum to less than 1 leave the rest to the last text.
    """

    def script(request: Request, seed: int) -> Result:
        choices = probabilities(request) if callable(probabilities) else probabilities
        u = hash_uniform(request, seed)
        text = ""
        for text, probability in choices.items():  # noqa: B007  (the last text takes the rest)
            u -= probability
            if u < 0:
                break
        prompt_tokens = sum(len(m.content.split()) for m in request.messages)
        return Completion(text, prompt_tokens, len(text.split()))

    return script


def failing(script: Script, share: float, error_class: str = "InjectedError") -> Script:
    """``script``, but this share of samples fails for good, the same samples always."""

    def injected(request: Request, seed: int) -> Result:
        if hash_uniform(request, seed, "failure") < share:
            return Failure(error_class, "injected by the script")
        return script(request, seed)

    return injected


class ScriptedModel:
    """A ``LanguageModel`` over a ``Script``; safe for threads.

    ``ahead`` chunks are taken in before the first is answered, as a model does that works on
    several at once. ``delay_s`` is waited for each chunk, and for each live call.

    Attributes:
        calls: calls answered so far.
        samples: samples answered so far.
        peak: the most calls that were open at one time: taken in and not yet answered.
    """

    def __init__(
        self, script: Script, *, chunk: int = 64, ahead: int = 1, delay_s: float = 0.0
    ) -> None:
        if chunk < 1 or ahead < 1:
            raise ValueError(f"chunk and ahead must be at least 1, got {chunk} and {ahead}")
        self.chunk = chunk
        self.calls = self.samples = self.peak = 0
        self._script, self._ahead, self._delay_s = script, ahead, delay_s
        self._open = 0
        self._lock = threading.Lock()

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks in order."""
        waiting: deque[Sequence[Call]] = deque()
        for chunk in chunks:
            waiting.append(chunk)
            self._enter(len(chunk))
            if len(waiting) >= self._ahead:
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call."""
        self._enter(1)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return self._leave([call])[0]

    def close(self) -> None:
        """Nothing to give back."""

    def _next(self, waiting: deque[Sequence[Call]]) -> list[list[Result]]:
        if self._delay_s:
            time.sleep(self._delay_s)
        return self._leave(waiting.popleft())

    def _enter(self, calls: int) -> None:
        with self._lock:
            self._open += calls
            self.peak = max(self.peak, self._open)

    def _leave(self, calls: Sequence[Call]) -> list[list[Result]]:
        answers = [[self._script(c.request, c.seed + j) for j in range(c.n)] for c in calls]
        with self._lock:
            self._open -= len(calls)
            self.calls += len(calls)
            self.samples += sum(call.n for call in calls)
        return answers
