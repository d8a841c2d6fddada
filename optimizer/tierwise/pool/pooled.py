"""A model whose samples live in a run's pool: bought once, within a cap, and there when resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tierwise.errors import ProviderError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, Result
from tierwise.pool.fill import fill
from tierwise.pool.grid import Need
from tierwise.pool.store import SamplePool
from tierwise.schema import Tier, UsageLimits


class PooledModel:
    """A ``LanguageModel`` over a pool; samples of a call count from its ``first_sample``.

    What is bought is booked under the tier name ``book`` and ``stage``; ``cap`` is that book's. A
    sample that the cap does not allow is a failure of class ``budget``.
    """

    chunk = 1

    def __init__(
        self,
        pool: SamplePool,
        model: LanguageModel,
        tier: Tier,
        *,
        seed: int,
        run: str,
        cap: UsageLimits,
        book: str,
        stage: str = "",
    ) -> None:
        self.tier = replace(tier, name=book)
        self._pool, self._model, self._seed, self._run, self._cap = pool, model, seed, run, cap
        self._stage = stage

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
        need = Need(call.request, call.n, call.first_sample)
        try:
            filled = fill(
                self._pool,
                self._model,
                self.tier,
                [need],
                seed=self._seed,
                cap=self._cap,
                run=self._run,
                stage=self._stage,
            )
        except ProviderError as error:
            return [Failure("ProviderError", str(error))] * call.n
        rows = self._pool.samples([call.request.key], call.first_sample, call.n)
        there: dict[int, Result] = {}
        for _, sample, text, prompt, completion, cached, mean, least, latency_s, end in rows:
            there[sample] = Completion(
                text,
                prompt,
                completion,
                cached_tokens=cached or 0,
                mean_logprob=mean,
                min_logprob=least,
                latency_s=latency_s,
                finish_reason=end,
            )
        wanted = range(call.first_sample, call.first_sample + call.n)
        if len(there) == call.n:
            return [there[i] for i in wanted]
        failed = self._pool.last_failure(call.request.key) or ("failed", "the call failed for good")
        why = ("budget", f"the cap on {filled.short} is reached") if filled.short else failed
        return [there.get(i, Failure(*why)) for i in wanted]
