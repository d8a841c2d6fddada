"""Shared by all tests: no network but loopback, and a scripted OpenAI-compatible server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.loopback import Loopback

# A shell that starts the suite in the background, or nohup, has its processes ignore these signals,
# which several tests send.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

settings.register_profile("no deadline", deadline=None)  # a machine may be busy
settings.load_profile("no deadline")

KEY = "sk-loopback-0123456789"


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    """A test that reaches for the network fails."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: object) -> None:
        host = str(address[0]) if isinstance(address, tuple) else "local"
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise OSError(f"tests may not connect to {host}")
        connect(self, address)  # type: ignore[arg-type]  # as it was given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local)
        yield


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server that ``openai/ANYTHING`` reaches; it accepts the key that is set, and no other."""
    with Loopback(key=KEY) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_API_BASE"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server
