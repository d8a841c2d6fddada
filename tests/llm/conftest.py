from __future__ import annotations

import functools

import pytest

from tierwise.llm.provider import ProviderModel


@pytest.fixture(params=[False, True], ids=["litellm", "direct"])
def sender(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of the test sends through LiteLLM, then straight to the server."""
    opened = functools.partialmethod(ProviderModel.__init__, direct=request.param)
    monkeypatch.setattr(ProviderModel, "__init__", opened)
