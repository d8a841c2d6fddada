"""A retriever that answers from recorded look-ups, and from no other."""

from __future__ import annotations

from collections.abc import Mapping

from tierwise.errors import ProviderError
from tierwise.retrieval._base import Retrieved


class RecordedRetriever:
    """What ``look_ups`` say of a query; one that is not there fails: it is never made up."""

    def __init__(self, identity: str, look_ups: Mapping[str, Retrieved]) -> None:
        self.identity = identity
        self._look_ups = look_ups

    def find(self, query: str, k: int) -> Retrieved:
        """See ``Retriever``."""
        found = self._look_ups.get(query)
        if found is None:
            raise ProviderError(f"no look-up of {query!r} is recorded")
        return Retrieved(found.passages[:k], found.latency_s)

    def close(self) -> None:
        """Nothing to give back."""
