"""A model for servers that stay up: one that failed for good is opened anew after a pause."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic

from tierwise.errors import ProviderError
from tierwise.llm import Call, LanguageModel, Result
from tierwise.llm.faults import Traffic
from tierwise.llm.models import open_model
from tierwise.schema import Tier

PAUSE_S = 10.0
SEND = "TIERWISE_SEND"
"""``litellm`` there sends every call through LiteLLM, with its callbacks and its network settings;
else calls to OpenAI-compatible servers go straight there (``llm.openai_client``)."""


class ReopeningModel:
    """The model of ``tier``.

    A job may end with the first ``ProviderError`` (wrong key, no quota, host not reachable); a
    server must not stay broken once that is mended. So for ``pause_s`` seconds all calls fail with
    the same reason and nothing is sent, then the next call opens the model again.

    Attributes:
        fault: why calls fail at present, None where they do not.

    Raises:
        InputError: there is no such model, or it does not take what a mode sends.
        ProviderError: there is no key for it.
    """

    def __init__(self, tier: Tier, *, pause_s: float = PAUSE_S) -> None:
        self.tier = tier
        self.fault: str | None = None
        self._pause_s, self._again_at_s = pause_s, 0.0
        self._direct = os.environ.get(SEND, "") != "litellm"
        self._model: LanguageModel = open_model(tier, direct=self._direct)
        self.chunk = self._model.chunk

    @property
    def address(self) -> str:
        """What ``Request.address`` must be for this model."""
        return str(getattr(self._model, "address", ""))

    @property
    def traffic(self) -> Traffic | None:
        """What the model sent since it was opened; None where nothing is sent."""
        return getattr(self._model, "traffic", None)

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call; raises ProviderError while the provider is given up."""
        if self.fault is not None:
            if monotonic() < self._again_at_s:
                raise ProviderError(self.fault)
            self._reopen()
        try:
            return await self._model.answer(call)
        except ProviderError as error:
            self.fault, self._again_at_s = str(error), monotonic() + self._pause_s
            raise

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks, as the model does."""
        return self._model.complete(chunks)

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def _reopen(self) -> None:
        dead = self._model  # calls on it still return
        self._model = open_model(self.tier, direct=self._direct)
        self.fault = None
        dead.close()
