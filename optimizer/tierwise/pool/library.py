"""A retriever beside a pool: what was looked up once is not looked up again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tierwise.pool.store import SamplePool
from tierwise.retrieval import Lost, Retrieved, Retriever, look_up
from tierwise.schema import RetrieverSpec, Usage, UsageLimits

AT_ONCE = 8
"""Look-ups that are out at one time."""


@dataclass(frozen=True)
class Library:
    """Where the queries of a tier are answered.

    ``identity`` is that of the retriever; ``retriever`` None is a replay: nothing is looked up, and
    what the pool does not have is not there. ``free``: its look-ups were paid for elsewhere, and
    are not booked.
    """

    spec: RetrieverSpec
    identity: str
    retriever: Retriever | None = None
    free: bool = False

    def read(
        self,
        pool: SamplePool,
        k: int,
        queries: Sequence[str],
        *,
        tier: str,
        run: str,
        limit: UsageLimits,
    ) -> dict[str, Retrieved | Lost]:
        """What each query brings, looked up where the pool does not have it.

        A query that failed for good in this run is not asked again in it. Where ``limit`` does not
        allow what is missing, it is not there.
        """
        asked = tuple(dict.fromkeys(queries))
        known = pool.lookups(self.identity, k, asked, None if self.retriever is None else run)
        missing = [query for query in asked if query not in known]
        if not missing or self.retriever is None:
            return known
        usd_per_call = 0.0 if self.free else self.spec.usd_per_call
        spent = Usage(usd=usd_per_call * len(missing))
        reserved = pool.reserve(tier, run, spent, limit)
        if isinstance(reserved, str):
            return known
        retriever = self.retriever
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found = list(threads.map(lambda query: look_up(retriever, query, k), missing))
        fresh = dict(zip(missing, found, strict=True))
        pool.keep_lookups(self.identity, k, fresh, run)
        pool.settle(reserved, (), spent)
        return known | fresh
