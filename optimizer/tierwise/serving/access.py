"""Who may ask: bearer tokens from the environment, and without one only this machine."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping

from tierwise.errors import InputError
from tierwise.serving.api_error import ApiError

TOKENS_VARIABLE = "TIERWISE_TOKENS"


def tokens_from_environment() -> tuple[str, ...]:
    """The tokens in ``TIERWISE_TOKENS``, separated by commas or white space.

    Raises:
        InputError: one is shorter than 16 characters, which can be guessed, or is not ASCII.
    """
    tokens = tuple(t for t in re.split(r"[,\s]+", os.environ.get(TOKENS_VARIABLE, "")) if t)
    for token in tokens:
        if len(token) < 16 or not token.isascii():
            raise InputError(f"a token in {TOKENS_VARIABLE} is not 16 ASCII characters or more")
    return tokens


class Access:
    """The rules for one address.

    Without a token only a loopback address is served, and only under a loopback name: a page in a
    browser on this machine could otherwise reach it under a name of its own (DNS rebinding).

    Raises:
        InputError: no token, and the address is not loopback.
    """

    def __init__(self, host: str, tokens: tuple[str, ...]) -> None:
        if not tokens and not is_loopback(host):
            raise InputError(
                f"{host} can be reached from other machines: set {TOKENS_VARIABLE} to the tokens "
                "that clients must send, or serve on 127.0.0.1"
            )
        self._tokens = [token.encode() for token in tokens]

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise ApiError unless a request with these headers may pass."""
        if not self._tokens:
            host = _hostname(headers.get("host", ""))
            if not is_loopback(host):
                raise ApiError(421, "this gateway is served to this machine only")
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        token = given.strip().encode("utf-8", "replace")
        matches = [hmac.compare_digest(token, known) for known in self._tokens]  # all, always
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(
                401,
                "a valid bearer token is needed (Authorization: Bearer …)",
                headers={"WWW-Authenticate": "Bearer"},
            )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, by name or by address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
