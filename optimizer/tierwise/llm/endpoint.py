"""Where a tier's calls go, and with which key and headers: the job and the environment say so.

A tier's address is the job's ``api_base``, else what the environment gives for its provider, the
way LiteLLM reads it (``OPENAI_BASE_URL``, ``HOSTED_VLLM_API_BASE`` …); ``TIERWISE_API_BASE_TIER``
goes before both. Keys come from the environment alone, and a provider's own key is never sent to a
job's ``api_base``.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from tierwise.errors import ProviderError
from tierwise.llm.faults import keep_secret
from tierwise.llm.litellm import litellm_library, provider_of
from tierwise.schema import Tier
from tierwise.schema.job import HeaderName, VariableName


class ProviderEndpoint(NamedTuple):
    """Where a tier's calls go; None: LiteLLM knows.

    ``key`` and the values of ``headers`` are secrets: they are shown nowhere.
    """

    base: str | None
    key: str | None
    headers: Mapping[str, str] = {}

    @property
    def address(self) -> str:
        """``Request.address``: the base without any password."""
        parts = urllib.parse.urlsplit(self.base or "")
        host = parts.netloc.rpartition("@")[2]
        return urllib.parse.urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def endpoint_of(tier: Tier) -> ProviderEndpoint:
    """Where the calls of ``tier`` go, and with which key.

    Raises:
        ProviderError: the environment lacks the variable that the job names for the key.
    """
    own = os.environ.get(_variable_of("API_BASE", tier.name)) or tier.api_base
    key = os.environ.get(_variable_of("API_KEY", tier.name))
    if key is None and tier.api_key_env:
        key = os.environ.get(tier.api_key_env)
        if not key:
            raise ProviderError(
                f"no key for tier {tier.name!r}: set {tier.api_key_env} in the environment"
            )
    if key:
        keep_secret(key)
    if own:
        return ProviderEndpoint(own, key or "none")
    provider = provider_of(tier.model)[0].upper()
    base = os.environ.get(f"{provider}_BASE_URL") or os.environ.get(f"{provider}_API_BASE")
    return ProviderEndpoint(base or None, key)


def header_variables(tier: Tier) -> Mapping[str, str]:
    """Headers of the tier's calls -> the variables that hold their values.

    Those of the job, or where a policy is deployed ``TIERWISE_HEADERS_ENV_TIER``, which names both:
    ``X-Team=TEAM_TOKEN, X-Region=REGION``.

    Raises:
        ProviderError: that variable says something else.
    """
    variable = _variable_of("HEADERS_ENV", tier.name)
    said = os.environ.get(variable)
    if said is None:
        return tier.headers_env
    pairs = [part.partition("=") for part in said.split(",") if part.strip()]
    try:
        found = TypeAdapter(Mapping[HeaderName, VariableName]).validate_python(
            {name.strip(): value.strip() for name, _, value in pairs}
        )
    except ValidationError:
        raise ProviderError(
            f"{variable} must name headers and the variables that hold their values: "
            "X-Team=TEAM_TOKEN, X-Region=REGION"
        ) from None
    return dict(found)


def headers_of(tier: Tier) -> dict[str, str]:
    """The headers that the tier adds to every call, from the environment; their values are secrets.

    Raises:
        ProviderError: a variable is not set, or holds what no header can.
    """
    headers = {}
    for name, variable in header_variables(tier).items():
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ProviderError(
                f"no value for header {name!r} of tier {tier.name!r}: set {variable} in the "
                "environment"
            )
        if not (value.isascii() and value.isprintable()):
            raise ProviderError(
                f"{variable} cannot be sent as header {name!r}: it holds more than one line of "
                "ASCII text"
            )
        keep_secret(value)
        headers[name] = value
    return headers


def _variable_of(what: str, tier: str) -> str:
    """The variable that sets a tier's ``API_BASE`` or ``API_KEY`` where a policy is deployed."""
    return f"TIERWISE_{what}_" + re.sub(r"[^A-Z0-9]", "_", tier.upper())


def check_key(tier: Tier) -> None:
    """Raise ProviderError where the environment lacks the tier's key."""
    if endpoint_of(tier).key is not None:
        return
    found = litellm_library().validate_environment(tier.model)
    missing = [str(name) for name in found["missing_keys"]]
    if not found["keys_in_environment"] and missing and all(m.endswith("_KEY") for m in missing):
        raise ProviderError(
            f"no key for {tier.model}: set {' or '.join(missing)} in the environment"
        )
