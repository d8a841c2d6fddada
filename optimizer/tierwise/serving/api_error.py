"""Errors in OpenAI's shape, so that their clients raise what their users expect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from tierwise.serving.answer import Answer

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    429: "too_many_requests",
    500: "internal_error",
    502: "upstream_failed",
    503: "policy_not_ready",
    504: "timeout",
}
_STATUS_OF_FAULT = {
    "timeout": 504,
    "rate_limit": 503,
    "context_window": 400,
    "content_policy": 400,
    "bad_request": 400,
    "InputError": 400,
}
"""Classes of a sample's failure that are not simply an upstream that failed (502)."""


# ``json.dumps`` makes one at every call where it is told how to write.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class ApiError(Exception):
    """What a client is told: a status, and ``{"error": {message, type, param, code}}``."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param
        self.code = code or _CODES[status]
        self.headers, self.more = dict(headers or {}), dict(more or {})

    @property
    def body(self) -> dict[str, Any]:
        """The error object, and beside it what the request cost all the same."""
        kind = "invalid_request_error" if self.status < 500 else "api_error"
        if self.status == 429:
            kind = "rate_limit_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error, **self.more}

    def response(self) -> Response:
        """The error as a response."""
        return json_response(self.body, self.status, self.headers)


def failed(answer: Answer, more: Mapping[str, Any]) -> ApiError:
    """The error of a request to which no sample came back."""
    error = answer.error or "upstream: no sample came back"
    status = _STATUS_OF_FAULT.get(error.partition(":")[0], 502)
    return ApiError(status, f"no answer: {error}", more=more)


def json_bytes(data: Any) -> bytes:
    """Compact JSON; what is not valid Unicode in a model's output becomes a question mark."""
    return _ENCODER.encode(data).encode("utf-8", "replace")


def json_response(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """``data`` as a JSON response."""
    return Response(json_bytes(data), status, headers, media_type="application/json")
