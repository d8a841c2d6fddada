"""A retriever at an address: POST {"query", "k"}, and {"passages": [{"id", "text", "score"}]} back.

Every way in which a server can fail is bounded: it has a few seconds and a second try, and then the
look-up has failed, and with it the sample that asked for it.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from tierwise.errors import ProviderError
from tierwise.retrieval.base import Retrieved
from tierwise.schema import Passage

TRIES = 2
RETRIEVER_TIMEOUT_S = 10.0
MOST_PASSAGE_BYTES = 4_000_000
"""A longer answer is none."""


class HttpRetriever:
    """The retriever that ``address`` answers for; its identity is its name.

    ``token`` is sent as a bearer token. Neither is ever stored or shown.
    """

    def __init__(
        self,
        name: str,
        address: str,
        *,
        token: str | None = None,
        timeout_s: float = RETRIEVER_TIMEOUT_S,
    ) -> None:
        import httpx

        self.identity = f"{name}/http"
        self._name, self._address = name, address
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(timeout=timeout_s, headers=headers, follow_redirects=False)

    def find(self, query: str, k: int) -> Retrieved:
        """See ``Retriever``."""
        import httpx

        started_s, fault = monotonic(), ""
        for _ in range(TRIES):
            try:
                answer = self._client.post(self._address, json={"query": query, "k": k})
                if answer.status_code < 400:
                    return Retrieved(self._read(answer)[:k], monotonic() - started_s)
                fault = f"it answered with status {answer.status_code}"
                if answer.status_code < 500 and answer.status_code != 429:
                    break
            except httpx.TimeoutException:
                fault = "it did not answer in time"
            except httpx.HTTPError as error:  # the message may hold the address
                fault = f"it cannot be reached ({type(error).__name__})"
        raise ProviderError(f"retriever {self._name!r}: {fault}")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read(self, answer: Any) -> tuple[Passage, ...]:
        if len(answer.content) > MOST_PASSAGE_BYTES:
            raise ProviderError(f"retriever {self._name!r}: its answer is too long to be passages")
        try:
            rows = answer.json()["passages"]
            return tuple(
                Passage(str(row["id"]), str(row["text"]), float(row.get("score") or 0.0))
                for row in rows
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ProviderError(
                f'retriever {self._name!r}: its answer is not {{"passages": '
                '[{"id", "text", "score"}]}}'
            ) from None
