"""The samples of a policy, through a ``dspy.LM``: its cache, history, callbacks and usage tracking.

The seed of a sample is part of the request, so DSPy's cache keeps the samples of one request apart, and
a sample that comes from the cache still carries its usage: what a policy costs is counted alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

from dspy.utils.exceptions import LMError

from tierwise.errors import UnsupportedError
from tierwise.llm import Call, Failure, Result
from tierwise.proposals.dspy_lm import completion_of, to_dspy


class ThroughDSPy:
    """A ``LanguageModel`` whose every sample is one call of a ``dspy.LM``."""

    chunk = 1

    def __init__(self, lm: Any, *, logprobs: bool = False, address: str = "") -> None:
        self.lm, self.address, self._logprobs = lm, address, logprobs

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Not offered: searches buy from the tier's own model."""
        raise UnsupportedError("a dspy.LM serves policies; searches buy from the tier's own model")

    async def answer(self, call: Call) -> list[Result]:
        """One DSPy call for each of the samples."""
        return [await self._sample(call, call.seed + j) for j in range(call.n)]

    def close(self) -> None:
        """Nothing: the LM is its owner's."""

    async def _sample(self, call: Call, seed: int) -> Result:
        request = to_dspy(call.request, self.lm.model, seed, logprobs=self._logprobs)
        started_s = perf_counter()
        try:
            response = await self.lm.acall(request=request)
        except LMError as error:
            return Failure(type(error).__name__, str(error), perf_counter() - started_s)
        return completion_of(response, perf_counter() - started_s)
