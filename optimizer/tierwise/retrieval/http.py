"""A retriever at an address: POST {"query", "k"}, and {"passages": [{"id", "text", "score"}]} back.

Every way in which a server can fail is bounded: it has a few seconds and a second try, and then the
look-up has failed, and with it the sample that asked for it.
"""

from __future__ import annotations

import json
from time import monotonic
from typing import TYPE_CHECKING

from tierwise.errors import ProviderError
from tierwise.retrieval.base import Retrieved
from tierwise.schema import Passage

if TYPE_CHECKING:
    import httpx

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
        self._name, self._address, self._timeout_s = name, address, timeout_s
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(timeout=timeout_s, headers=headers, follow_redirects=False)

    def find(self, query: str, k: int) -> Retrieved:
        """See ``Retriever``."""
        import httpx

        started_s, fault = monotonic(), ""
        for _ in range(TRIES):
            try:
                body = {"query": query, "k": k}
                with self._client.stream("POST", self._address, json=body) as answer:
                    if answer.status_code < 300:
                        content = self._content(answer, started_s)
                        return Retrieved(self._read(content)[:k], monotonic() - started_s)
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

    def _content(self, answer: httpx.Response, started_s: float) -> bytes:
        """The body, unpacked, given up once it is too long or comes too slowly."""
        parts, size = [], 0
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_PASSAGE_BYTES:
                raise ProviderError(
                    f"retriever {self._name!r}: its answer is too long to be passages"
                )
            if monotonic() - started_s > TRIES * self._timeout_s:
                raise ProviderError(f"retriever {self._name!r}: its answer does not end")
        return b"".join(parts)

    def _read(self, content: bytes) -> tuple[Passage, ...]:
        try:
            rows = json.loads(content)["passages"]
            return tuple(
                Passage(str(row["id"]), str(row["text"]), float(row.get("score") or 0.0))
                for row in rows
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProviderError(
                f'retriever {self._name!r}: its answer is not {{"passages": '
                '[{"id", "text", "score"}]}}'
            ) from None
