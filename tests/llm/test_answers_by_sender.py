"""Recorded answers of providers through both senders: the same class, retry and bill for each.

The table is printed with ``-s``. Bodies are those of the providers' documents and of public
reports.
"""

from __future__ import annotations

import contextlib
import copy
import email.utils
import gzip
import http.server
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.llm.test_litellm_faults import Waits
from tests.llm.test_litellm_samples import call, tier
from tests.loopback import Loopback, Raw
from tierwise.errors import ProviderError
from tierwise.llm import Completion, Failure, Result
from tierwise.llm.answers import AnswerReader, parse_body
from tierwise.llm.faults import Fault, Retry, Traffic
from tierwise.llm.provider import ProviderModel
from tierwise.tasks.tool_calls import ToolCall, tool_text

pytestmark = pytest.mark.timeout(120)

NEARLY_600_S = 599.5  # of a date that is ten minutes after these tests were collected
CAP = 20  # ``call`` sends max_tokens: 20


class Case(NamedTuple):
    """An answer and what is right: the class (or ``ok``), the text, what it may have cost."""

    name: str
    raw: Raw
    kind: str
    text: str = ""
    wait_s: float | None = None
    tokens: int | None = None
    prompt: int | None = None


def error(
    status: int, message: str, headers: Mapping[str, str] | None = None, /, **more: Any
) -> Raw:
    return Raw(status, {"error": {"message": message, **more}}, headers or {})


def said(content: object, finish: object = "stop", usage: object = ..., **message: Any) -> Raw:
    if usage is ...:
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    choice = {"index": 0, "finish_reason": finish}
    choice["message"] = {"role": "assistant", "content": content, **message}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return Raw(200, body if usage is None else {**body, "usage": usage})


def changed(raw: Raw, **choice: Any) -> Raw:
    body = json.loads(json.dumps(raw.body))
    body["choices"][0] |= choice
    return raw._replace(body=body)


def events(*deltas: Mapping[str, Any], usage: bool = True, done: bool = True) -> Raw:
    chunks: list[Mapping[str, Any]] = [{"choices": [{"index": 0, **delta}]} for delta in deltas]
    if usage:
        tokens = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        chunks.append({"choices": [], "usage": tokens})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    text = "".join(lines) + ("data: [DONE]\n\n" if done else "")
    return Raw(200, text, {"Content-Type": "text/event-stream"})


WEATHER = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
CALL = ToolCall("c1", "weather", '{"city": "Oslo"}')
CALLED = tool_text("", [CALL])
GOOGLE_429 = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.4s"}],
    }
}
CONTEXT = {
    "OpenAI": error(
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9001.",
        code="context_length_exceeded",
    ),
    "vLLM, old form": Raw(
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 512 tokens. However, you requested "
            "900 tokens (836 in the messages, 64 in the completion).",
            "type": "BadRequestError",
            "code": 400,
        },
    ),
    "vLLM, newer": error(
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context "
        "length is 512 tokens and your request has 480 input tokens (64 > 512 - 480).",
        type="BadRequestError",
        code=400,
    ),
    "vLLM, max_model_len": error(
        400, "The prompt of 900 tokens and 64 output tokens do not fit max_model_len 512", code=400
    ),
    "llama.cpp": error(
        400,
        "request (900 tokens) exceeds the available context size (512 tokens), try increasing it",
        code=400,
        type="exceed_context_size_error",
    ),
    "llama.cpp, 500": error(
        500,
        "the request exceeds the available context size, try increasing it",
        type="server_error",
    ),
    "Ollama": error(
        400, "the input length exceeds the context length", type="invalid_request_error"
    ),
    "LM Studio": Raw(
        400,
        {
            "error": "Trying to keep the first 900 tokens when context the overflows. However, the "
            "model is loaded with context length of only 512 tokens."
        },
    ),
    "Groq": error(
        400,
        "Please reduce the length of the messages or completion.",
        code="context_length_exceeded",
    ),
    "Groq 413": error(
        413,
        "Request too large for model `x` in organization `o` on tokens per minute (TPM): Limit "
        "6000, "
        "Requested 9000",
        type="tokens",
        code="rate_limit_exceeded",
    ),
    "OpenAI 429, too large at once": error(
        429,
        "Request too large for gpt-4 in organization o on tokens per min (TPM): Limit 10000, "
        "Requested 15000. The input or output tokens must be reduced in order to run successfully.",
        type="tokens",
        code="rate_limit_exceeded",
    ),
    "Anthropic": Raw(
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 210000 tokens > 200000 maximum",
            },
        },
    ),
    "Anthropic 413": Raw(
        413,
        {
            "type": "error",
            "error": {
                "type": "request_too_large",
                "message": "Request exceeds the maximum allowed number of bytes.",
            },
        },
    ),
    "Google": Raw(
        400,
        [
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": "The input token count (1200000) exceeds the maximum number of "
                    "tokens "
                    "allowed (1048576).",
                }
            }
        ],
    ),
    "Bedrock": Raw(400, {"message": "Input is too long for requested model."}),
    "Mistral": Raw(
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with "
            "32768 maximum context length",
            "type": "invalid_request_error",
        },
    ),
    "Mistral 422": Raw(
        422, {"detail": "Prompt contains 40000 tokens, too large for model with 32768 maximum"}
    ),
    "xAI": Raw(
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains "
            "150000.",
        },
    ),
    "Together (TGI)": error(
        422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097."
    ),
    "Cohere": Raw(
        400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081"}
    ),
    "SGLang": Raw(
        400,
        {
            "object": "error",
            "message": "The input (900 tokens) is longer than the model's context length (512 "
            "tokens).",
            "code": 400,
        },
    ),
    "Fireworks": error(400, "The prompt is too long: 9001, model maximum context length: 8192"),
    "DashScope": error(
        400, "Range of input length should be [1, 30720]", code="invalid_parameter_error"
    ),
    "Moonshot": error(400, "Invalid request: Your request exceeded model token limit: 8192"),
    "Anthropic, cap": Raw(
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > "
                "200000, decrease input length or `max_tokens` and try again",
            },
        },
    ),
    "Vertex": error(
        400,
        "Unable to submit request because the input token count is 40000 but model only supports "
        "up "
        "to 32768. Reduce the input token count and try again.",
        code=400,
        status="INVALID_ARGUMENT",
    ),
    "Bedrock, Titan": Raw(
        400, {"message": "Malformed input request: expected maxLength: 60000, actual: 90000"}
    ),
    "Bedrock, Nova": Raw(
        400,
        {"message": "The model returned the following errors: Input tokens exceeded: 210 > 200"},
    ),
    "TGI": Raw(
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4096 tokens. Given: "
            "5000",
            "error_type": "validation",
        },
    ),
    "LM Studio, n_keep": Raw(
        400,
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the "
            "context length (n_keep: 5000>= n_ctx: 4096)."
        },
    ),
    "LiteLLM proxy": error(
        400, "litellm.ContextWindowExceededError: litellm.BadRequestError: too long", code="400"
    ),
    "nginx 413": Raw(413, "<html><title>413 Request Entity Too Large</title></html>"),
}
CONTENT = {
    "Azure": error(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry.",
        code="content_filter",
        innererror={"code": "ResponsibleAIPolicyViolation"},
    ),
    "OpenAI": error(400, "Your request was rejected.", code="content_policy_violation"),
    "OpenAI, reasoning": error(
        400,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        code="invalid_prompt",
    ),
    "OpenRouter 403": error(
        403,
        "Your chosen model requires moderation and your input was flagged",
        code=403,
        metadata={"reasons": ["violence"]},
    ),
    "DashScope": error(
        400, "Input data may contain inappropriate content.", code="data_inspection_failed"
    ),
    "DeepSeek": error(400, "Content Exists Risk", type="invalid_request_error"),
    "Moonshot": error(400, "The request was rejected because it was considered high risk"),
    "Zhipu": error(400, "The system detected unsafe or sensitive content.", code="1301"),
    "Anthropic": Raw(
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Output blocked by content filtering policy",
            },
        },
    ),
    "451": error(451, "not here"),
    "Gemini": error(
        400, "Request contains prohibited content (PROHIBITED_CONTENT).", status="INVALID_ARGUMENT"
    ),
    "xAI 403": Raw(
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
        },
    ),
    "LiteLLM proxy": error(400, "litellm.ContentPolicyViolationError: blocked", code="400"),
}
REFUSALS = [
    *(Case(f"context: {who}", raw, "context_window") for who, raw in CONTEXT.items()),
    *(Case(f"content: {who}", raw, "content_policy") for who, raw in CONTENT.items()),
    Case("403 page of a firewall", Raw(403, "<title>Attention Required!</title>"), "forbidden"),
    Case("404 on one item", error(404, "no such deployment"), "not_found"),
    Case("unknown 400", error(400, "odd"), "bad_request"),
    Case("unknown 422", Raw(422, {"detail": [{"loc": ["body"], "msg": "odd"}]}), "bad_request"),
    Case(
        "OpenAI, region",
        error(403, "Country, region, or territory not supported", type="request_forbidden"),
        "forbidden",
    ),
    Case("Gemini, place", error(400, "User location is not supported.", code=400), "bad_request"),
    Case("Bedrock, access", Raw(403, {"message": "You don't have access to it."}), "forbidden"),
    Case("Ollama, model", Raw(404, {"error": "model 'x' not found"}), "not_found"),
    Case("Anthropic, model", Raw(404, {"error": {"type": "not_found_error"}}), "not_found"),
    Case(
        "Groq, JSON mode",
        error(400, "Failed to generate JSON.", code="json_validate_failed"),
        "bad_request",
    ),
    Case("Cohere 422", Raw(422, {"message": "messages must not be empty"}), "bad_request"),
    Case("307", Raw(307, "", {"Location": "http://127.0.0.1:9/v1/chat/completions"}), "redirect"),
    Case("301", Raw(301, "<html>", {"Location": "https://elsewhere.example/"}), "redirect"),
]
WAITED = [
    Case("429, header", error(429, "slow", {"Retry-After": "0.3"}), "rate_limit", wait_s=0.3),
    Case("429, ms", error(429, "slow", {"retry-after-ms": "250"}), "rate_limit", wait_s=0.25),
    Case(
        "429, Retry-After is a date",
        error(429, "slow", {"Retry-After": email.utils.formatdate(time.time() + 600, usegmt=True)}),
        "rate_limit",
        wait_s=NEARLY_600_S,
    ),
    Case(
        "429, Retry-After is over",
        error(429, "slow", {"Retry-After": "Mon, 30 Nov 2020 10:00:00 GMT"}),
        "rate_limit",
        wait_s=0,
    ),
    Case("429, OpenAI, minutes", error(429, "Please try again in 6m0s."), "rate_limit", wait_s=360),
    Case(
        "429, Bedrock",
        Raw(429, {"message": "Too many tokens, please wait before trying again."}),
        "rate_limit",
    ),
    Case(
        "429, Mistral",
        error(429, "Service tier capacity exceeded for this model.", code="3505"),
        "rate_limit",
    ),
    Case(
        "429, Vertex",
        error(429, "Resource exhausted. Please try again later.", status="RESOURCE_EXHAUSTED"),
        "rate_limit",
    ),
    Case("429, Moonshot", error(429, "please try again after 1 seconds"), "rate_limit", wait_s=1),
    Case(
        "429, LiteLLM proxy",
        error(429, "No deployments available for selected model. Try again in 5 seconds."),
        "rate_limit",
        wait_s=5,
    ),
    Case(
        "429, Cloudflare",
        Raw(429, "<title>Error 1015</title>You are being rate limited"),
        "rate_limit",
    ),
    Case("429, no wait", error(429, "slow down"), "rate_limit"),
    Case("429, Retry-After: soon", error(429, "slow", {"Retry-After": "soon"}), "rate_limit"),
    Case("429, RetryInfo", Raw(429, GOOGLE_429), "rate_limit", wait_s=1.4),
    Case("429, RetryInfo in a list", Raw(429, [GOOGLE_429]), "rate_limit", wait_s=1.4),
    Case(
        "429, 'retry in 1.4s'",
        error(429, "You exceeded your current quota. Please retry in 1.4s."),
        "rate_limit",
        wait_s=1.4,
    ),
    Case(
        "429, Azure",
        error(429, "Requests have exceeded the limit. Please retry after 10 seconds.", code="429"),
        "rate_limit",
        wait_s=10,
    ),
    Case(
        "429, Groq",
        error(
            429,
            "Rate limit reached for model `x` on requests per minute (RPM): Limit 30, Used 30. "
            "Please try again in 1m26.4s.",
            code="rate_limit_exceeded",
        ),
        "rate_limit",
        wait_s=86.4,
    ),
    Case(
        "429, OpenAI",
        error(429, "Rate limit reached. Please try again in 20s.", type="tokens"),
        "rate_limit",
        wait_s=20,
    ),
    Case("429, ms in words", error(429, "Please try again in 6ms."), "rate_limit", wait_s=0.006),
    Case(
        "429, reset of a used-up limit",
        error(
            429,
            "slow",
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m2s"},
        ),
        "rate_limit",
        wait_s=62,
    ),
    Case("200, error 429", error(200, "Provider returned error", code=429), "rate_limit"),
    Case("200, error 502", error(200, "upstream died", code=502), "server_error"),
    Case("200, error in words", Raw(200, {"error": "no worker"}), "server_error"),
    Case(
        "529, Anthropic",
        Raw(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "overloaded",
    ),
    Case(
        "503, llama.cpp loads",
        error(503, "Loading model", type="unavailable_error", code=503),
        "overloaded",
    ),
    Case(
        "503, Hugging Face loads",
        Raw(503, {"error": "Model x is currently loading", "estimated_time": 20.0}),
        "overloaded",
        wait_s=20,
    ),
    Case(
        "503, Gemini",
        error(503, "The model is overloaded.", {"Retry-After": "20"}, status="UNAVAILABLE"),
        "overloaded",
        wait_s=20,
    ),
    Case("503, Ollama", error(503, "server busy, please try again."), "overloaded"),
    Case("503, SGLang", error(503, "The request queue is full."), "overloaded"),
    Case("503, OpenRouter", error(503, "There is no available model provider"), "overloaded"),
    Case("498, Groq flex", error(498, "Flex tier capacity exceeded"), "overloaded"),
    Case("424, Bedrock", Raw(424, {"message": "The model returned an error"}), "server_error"),
    Case("408, OpenRouter", error(408, "Your request timed out", code=408), "timeout"),
    Case("500, vLLM", Raw(500, {"object": "error", "message": "EngineCore died"}), "server_error"),
    *(
        Case(f"{status}, Cloudflare", Raw(status, f"<title>{status}: it</title>"), "server_error")
        for status in (520, 521, 522, 523, 530)
    ),
    Case("500", error(500, "broken"), "server_error"),
    Case("502 page", Raw(502, "<html><title>502 Bad Gateway</title></html>"), "server_error"),
    Case("524, Cloudflare", Raw(524, "<html>A timeout occurred</html>"), "timeout"),
    Case("200 page", Raw(200, "<html>a proxy</html>", {"Content-Type": "text/html"}), "malformed"),
    Case("200, nothing", Raw(200, ""), "malformed"),
    Case("200, long nonsense", Raw(200, "a: " * 300_000), "malformed"),
    Case("200, not an object", Raw(200, "[1, 2]"), "malformed"),
    Case("empty choices", Raw(200, {"choices": [], "usage": {}}), "malformed"),
    Case("choices null", Raw(200, {"choices": None}), "malformed"),
    Case("finish_reason error", changed(said("Answ", "error"), error={"code": 502}), "broken_off"),
    Case("error beside a stop", changed(said("Answ"), error={"message": "died"}), "broken_off"),
    Case("finish_reason abort", said("Answ", "abort"), "broken_off"),
    Case("DeepSeek: no resources", said("An", "insufficient_system_resource"), "broken_off"),
    Case(
        "stream, error on the way",
        events({"delta": {"content": "A"}}, usage=False)._replace(
            body='data: {"choices": [{"index": 0, "delta": {"content": "A"}}]}\n\n'
            'data: {"error": {"message": "upstream died", "code": 502}}\n\n'
        ),
        "server_error",
    ),
    Case(
        "stream that breaks off",
        events({"delta": {"content": "Answ"}}, usage=False, done=False),
        "malformed",
    ),
]
ENDS = [
    Case("402, DeepSeek", error(402, "Insufficient Balance"), "quota"),
    Case("429, a day's quota", error(429, "You exceeded your current quota"), "quota"),
    Case("429, code", error(429, "no", code="insufficient_quota"), "quota"),
    Case("400, Anthropic", error(400, "Your credit balance is too low to access the API"), "quota"),
    Case("429, Moonshot", error(429, "x", type="exceeded_current_quota_error"), "quota"),
    Case("402, OpenRouter", error(402, "Insufficient credits. Add more", code=402), "quota"),
    Case("403, xAI", Raw(403, {"error": "Your team has used all credits or reached its monthly "
                                        "spending limit."}), "quota"),
    Case("403, OpenRouter", error(403, "Key limit exceeded (total limit)", code=403), "quota"),
    Case("400, DashScope", error(400, "no", code="Arrearage"), "quota"),
    Case("412, Fireworks", error(412, "Account is suspended, possibly due to reaching the monthly "
                                      "spending limit"), "quota"),
    Case("400, LiteLLM proxy", error(400, "Budget has been exceeded! Current cost: 1",
                                     type="budget_exceeded"), "quota"),
    Case("400, Anthropic, limit", error(400, "You have reached your specified API usage limits."),
         "quota"),
]  # fmt: skip
SSE = {"Content-Type": "text/event-stream"}
CHUNK = 'data: {"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": %s}]%s}'
GROQ_USAGE = ', "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}'
TWO = {"type": "text", "text": "Answer: "}, {"type": "text", "text": "7"}
READ = [
    Case("plain", said("Answer: 7"), "ok", "Answer: 7", tokens=5, prompt=9),
    Case("content in parts", said(list(TWO)), "ok", "Answer: 7"),
    Case(
        "a thought and a text in parts",
        said([{"type": "thinking", "thinking": [{"type": "text", "text": "hm 5"}]}, TWO[1]]),
        "ok",
        "7",
    ),
    Case("output_text", said([{"type": "output_text", "text": "7"}]), "ok", "7"),
    Case("<think> in front", said("<think>Answer: 5?</think>\nAnswer: 7"), "ok", "Answer: 7"),
    Case("only </think>", said("Answer: 5? no.</think>\n\nAnswer: 7"), "ok", "Answer: 7"),
    Case("cut in content", said("Answer: 7", "length"), "cut", "Answer: 7"),
    Case("cut in <think>", said("<think>Answer: 5? let me", "length"), "cut"),
    Case("cut in reasoning_content", said(None, "length", reasoning_content="so 7"), "cut"),
    Case("cut in reasoning", said(None, "length", reasoning="so 7"), "cut"),
    Case("Mistral's model_length", said("Answ", "model_length"), "cut", "Answ"),
    Case("MAX_TOKENS", said("Answ", "MAX_TOKENS"), "cut", "Answ"),
    Case("filtered on the way", said("Answ", "content_filter"), "cut", "Answ"),
    Case("refusal", said(None, refusal="I cannot help with that."), "cut",
         "I cannot help with that."),
    Case("content null", said(None), "ok", ""),
    Case("only a tool call", said(None, "tool_calls", tool_calls=[{"id": "c"}]), "ok", ""),
    Case("a call of a tool", said(None, "tool_calls", tool_calls=[WEATHER]), "ok", CALLED),
    Case("a call that ended by stop", said("", "stop", tool_calls=[WEATHER]), "ok", CALLED),
    Case("a call of the old form", said(None, "function_call", function_call=WEATHER["function"]),
         "ok", tool_text("", [ToolCall("call_0", "weather", '{"city": "Oslo"}')])),
    Case("words beside two calls", said("I look.", "tool_calls", tool_calls=[WEATHER, WEATHER]),
         "ok", tool_text("I look.", [CALL, CALL])),
    Case("a call that was cut", said(None, "length", tool_calls=[WEATHER]), "cut", CALLED),
    Case("a call in pieces", events(
        {"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "weather",
                                                                     "arguments": ""}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ' "Oslo"}'}}]}},
        {"delta": {}, "finish_reason": "tool_calls"}), "ok", CALLED),
    Case("finish_reason null", said("Answer: 7", None), "ok", "Answer: 7"),
    Case("finish_reason eos", said("Answer: 7", "eos"), "ok", "Answer: 7"),
    Case("no index", changed(said("Answer: 7"), index=None), "ok", "Answer: 7"),
    Case("wrong index", changed(said("Answer: 7"), index=3), "ok", "Answer: 7"),
    Case("index as text", changed(said("Answer: 7"), index="0"), "ok", "Answer: 7"),
    Case("BOM", Raw(200, "\ufeff" + json.dumps(said("Answer: 7").body)), "ok", "Answer: 7"),
    Case("blanks in front", Raw(200, "\n\n  \n" + json.dumps(said("7").body)), "ok", "7"),
    Case("gzip", Raw(200, gzip.compress(json.dumps(said("7").body).encode()),
                     {"Content-Encoding": "gzip"}), "ok", "7"),
    Case("a stream that nobody asked for",
         events({"delta": {"content": "Answer"}}, {"delta": {"content": ": "
         "7"}, "finish_reason": "stop"}),
         "ok", "Answer: 7", tokens=5, prompt=9),
    Case("stream with comments, CRLF and no [DONE]", Raw(200, "\r\n\r\n".join([
        ": OPENROUTER PROCESSING", CHUNK % ("Answer: ", "null", ""), "event: ping", ": ping",
        CHUNK % ("7", '"stop"', ""), ""]), SSE), "ok", "Answer: 7"),
    Case("stream, usage of Groq", Raw(200, "\n\n".join([
        CHUNK % ("Answer: 7", "null", ""), CHUNK % ("", '"stop"', GROQ_USAGE), "data: "
        "[DONE]"]), SSE),
        "ok", "Answer: 7", tokens=4, prompt=9),
    Case("stream, usage in every chunk", Raw(200, "\n\n".join([
        CHUNK % ("Answer: ", "null", ', "usage": {"prompt_tokens": 9, "completion_tokens": 2}'),
        CHUNK % ("7", '"stop"', ', "usage": {"prompt_tokens": 9, "completion_tokens": 4}'),
        "data: [DONE]"]), SSE), "ok", "Answer: 7", tokens=4, prompt=9),
    Case("stream cut by the cap", events({"delta": {"content": "Answ"}, "finish_reason": "length"}),
         "cut", "Answ"),
    Case("stream of a thought alone", events(
        {"delta": {"reasoning_content": "so 7"}, "finish_reason": "length"}), "cut"),
    *(Case(f"finish_reason {end}", said("Answ", end), "cut", "Answ")
      for end in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "max_output_tokens", "refusal",
                  "Length", "CONTENT_FILTER", "BLOCKLIST", "model_context_window_exceeded")),
    *(Case(f"finish_reason {end}", said("Answer: 7", end), "ok", "Answer: 7")
      for end in ("STOP", "end_turn", "stop_sequence", "COMPLETE", "eos_token", "停止", "")),
    Case("a choice twice", Raw(200, {**said("Answer: 7").body, "choices": 2 * said(
        "Answer: 7").body["choices"]}), "ok", "Answer: 7"),
    Case("Latin-1", Raw(200, json.dumps(said("na\xefve: 7").body, ensure_ascii=False).encode(
        "latin-1"), {"Content-Type": "application/json; charset=latin-1"}), "ok", "na\ufffdve: 7"),
    Case("refusal beside a text", said("Answer: 7", refusal=None), "ok", "Answer: 7"),
    Case("usage in words", said("7", usage={"prompt_tokens": "9", "completion_tokens": "3"}),
         "ok", "7", tokens=3, prompt=9),
    Case("usage is a list", said("Answer: 7", usage=[1, 2]), "ok", "Answer: 7", tokens=5),
    Case("DeepSeek: cache hits", said("7", usage={
        "prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}), "ok", "7",
        tokens=2, prompt=9),
    Case("content is an empty list", said([]), "ok", ""),
    Case("content parts of Gemini", said([{"text": "Answer: 7"}]), "ok", "Answer: 7"),
    Case("logprobs null", changed(said("7"), logprobs={"content": None}), "ok", "7"),
    Case("logprobs NaN", Raw(200, json.dumps(changed(said("7"), logprobs={"content": [
        {"token": "7", "logprob": float("nan")}]}).body)), "ok", "7", tokens=5),
    Case("no usage", said("Answer: 7", usage=None), "ok", "Answer: 7", tokens=5),
    Case("usage null", said("Answer: 7", usage={"prompt_tokens": None, "completion_tokens": None}),
         "ok", "Answer: 7", tokens=5),
    Case("prompt_tokens 0", said("Answer: 7", usage={"prompt_tokens": 0, "completion_tokens": 3}),
         "ok", "Answer: 7", tokens=3),
    Case("floats", said("7", usage={"prompt_tokens": 9.0, "completion_tokens": 3.0}), "ok", "7",
         tokens=3, prompt=9),
    Case("negative", said("Answer: 7", usage={"prompt_tokens": -5, "completion_tokens": -1}),
         "ok", "Answer: 7", tokens=5),
    Case("fewer tokens than words", said("one two three four", usage={
        "prompt_tokens": 9, "completion_tokens": 1}), "ok", "one two three "
        "four", tokens=8, prompt=9),
    Case("above the cap", said("Answer: 7", usage={"prompt_tokens": 9, "completion_tokens": 900}),
         "ok", "Answer: 7", tokens=CAP, prompt=9),
    Case("xAI: thoughts beside", said("7", usage={
        "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 18,
        "completion_tokens_details": {"reasoning_tokens": 7}}), "ok", "7", tokens=9, prompt=9),
    Case("Gemini in OpenAI's form", said("7", usage={
        "prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 16}),
         "ok", "7", tokens=7, prompt=9),
    Case("input_tokens", said("7", usage={"input_tokens": 9, "output_tokens": 2}), "ok", "7",
         tokens=2, prompt=9),
]  # fmt: skip
POISON = [
    Case("200, deep", Raw(200, "[" * 1_000_000), "poison"),
    Case("200, objects", Raw(200, '{"choices": [' + '{"a":1},' * 500_000 + "{}]}"), "poison"),
    Case("200, numbers", Raw(200, '{"choices": [' + "1.5," * 1_300_000 + "1]}"), "poison"),
    Case("2^70 tokens", said("7", usage={"prompt_tokens": 9, "completion_tokens": 2**70}),
         "poison"),
    Case("NaN tokens", Raw(200, json.dumps(said("7", usage={"prompt_tokens": float("nan")}).body)),
         "poison"),
    Case("NUL", said("Answer: \0 7"), "poison"),
    Case("half of a character", said("Answer: \ud800 7"), "poison"),
    Case("content is a number", said(7), "poison"),
    Case("10 MB of text", said("7 " * 5_000_000), "poison"),
]  # fmt: skip
TABLE = [*REFUSALS, *WAITED, *READ, *POISON]


@pytest.fixture(scope="module")
def printed() -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print(f"\n{'answer':34} {'class':14} {'LiteLLM':>22} {'direct':>22}")  # noqa: T201 - the table
    print("\n".join(lines))  # noqa: T201  the table is shown with -s


def outcome(loopback: Loopback, raw: Raw, direct: bool) -> tuple[Result | str, Traffic, Waits]:
    """What two attempts at a call come to, after another call was answered well."""
    waits = Waits()
    retry = Retry(attempts=2, rate_limited_attempts=2, sleep=waits)
    model = ProviderModel(tier(), retry=retry, direct=direct)
    loopback.raw = lambda number, body: raw
    model.traffic.answered = 1
    model._gate.pause = lambda seconds: None  # type: ignore[method-assign]  # nobody waits here
    try:
        [[[result]]] = model.complete([[call()]])
        return result, model.traffic, waits
    except ProviderError as ended:
        return str(ended), model.traffic, waits
    finally:
        model.close()


def seen(result: Result | str) -> tuple[object, ...]:
    if isinstance(result, str):
        return ("ends", result.split(": ")[1])
    if isinstance(result, Failure):
        return (result.error_class, result.message)
    kind = "ok" if result.finished else "cut"
    return (kind, result.text, result.prompt_tokens, result.completion_tokens, result.estimated)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_both_senders_make_the_same_of_the_same_bytes(
    loopback: Loopback, case: Case, printed: list[str]
) -> None:
    by_sender = []
    for direct in (False, True):
        loopback.calls = 0
        result, traffic, waits = outcome(loopback, case.raw, direct)
        by_sender.append((seen(result), loopback.calls, traffic.possibly_billed_calls, waits[:]))
        if isinstance(result, Completion):
            assert ("ok" if result.finished else "cut", result.text) == (case.kind, case.text)
            assert case.tokens in (None, result.completion_tokens)
            assert case.prompt in (None, result.prompt_tokens)
            assert result.estimated == bool(traffic.answered and waits == [] and case in ESTIMATED)
        else:
            assert isinstance(result, Failure)
            assert result.error_class == case.kind
            assert "Traceback" not in result.message
            assert "Exception" not in result.message
    (litellm, calls, billed, waits), direct_ = by_sender[0], by_sender[1]
    assert (litellm, calls, billed) == direct_[:3]
    assert len(waits) == len(direct_[3])
    tolerance_s = 590 if case.wait_s == NEARLY_600_S else 0.01
    if case.wait_s is not None:
        assert all(w == [pytest.approx(case.wait_s, abs=tolerance_s)] for w in (waits, direct_[3]))
    assert calls == (2 if case in WAITED else 1)
    free = {"rate_limit", "overloaded", "ok", "cut", *(c.kind for c in REFUSALS)}
    assert (billed == 0) == (case.kind in free)
    row = f"{calls} call{'s' * (calls > 1)}, {billed} perhaps billed"
    printed.append(f"{case.name:34} {case.kind:14} {row:>22} {row:>22}")


ESTIMATED = [
    case
    for case in READ
    if case.name
    in {
        "no usage",
        "usage null",
        "prompt_tokens 0",
        "negative",
        "fewer tokens than words",
        "above the cap",
        "usage is a list",
        "stream with comments, CRLF and no [DONE]",
    }
]


@pytest.mark.parametrize("direct", [False, True], ids=["litellm", "direct"])
@pytest.mark.parametrize("case", ENDS, ids=lambda case: case.name)
def test_a_quota_without_end_ends_the_run(loopback: Loopback, case: Case, direct: bool) -> None:
    result, _, _ = outcome(loopback, case.raw, direct)
    assert seen(result) == ("ends", case.kind)
    assert loopback.calls == 1


@pytest.mark.parametrize("direct", [False, True], ids=["litellm", "direct"])
def test_a_long_answer_is_given_up_and_a_packed_one_is_not_unpacked(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    for module in ("tierwise.llm.litellm", "tierwise.llm.openai_client"):
        monkeypatch.setattr(f"{module}.LONGEST_ANSWER_BYTES", 100_000)
    bomb = gzip.compress(b" " * 20_000_000)
    for raw in (Raw(200, b" " * 200_000), Raw(200, bomb, {"Content-Encoding": "gzip"})):
        result, traffic, _ = outcome(loopback, raw, direct)
        assert isinstance(result, Failure)
        assert result.error_class == "poison"
        assert "longer than" in result.message
        assert traffic.possibly_billed_calls == 1


@pytest.mark.parametrize("kind", ["json", "events"])
@pytest.mark.parametrize("direct", [False, True], ids=["litellm", "direct"])
def test_an_answer_that_never_ends_is_given_up_in_time_at_its_worst_case(
    direct: bool, kind: str
) -> None:
    """One that drips is given up at the time-out; nothing of it is an answer."""
    part = b": still there\n\n" if kind == "events" else b" "
    with dripping(part, "text/event-stream" if kind == "events" else "application/json") as url:
        of = tier(api_base=url, limits={"timeout_s": 0.6})
        model = ProviderModel(of, retry=Retry(attempts=1), direct=direct)
        model.traffic.answered = 1
        began_s = time.monotonic()
        [[[result]]] = model.complete([[call()]])
        took_s = time.monotonic() - began_s
        model.close()
    assert isinstance(result, Failure)
    assert result.error_class == "timeout"
    assert took_s < 10
    assert model.traffic.possibly_billed_calls == 1
    assert model.traffic.possibly_billed_completion_tokens == CAP


@contextlib.contextmanager
def dripping(part: bytes, kind: str) -> Iterator[str]:
    """A server that sends ``part`` again and again, for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(0.02)

        def log_message(self, *said: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("direct", [False, True], ids=["litellm", "direct"])
def test_a_redirect_is_not_followed_and_nothing_of_ours_goes_there(
    loopback: Loopback, direct: bool
) -> None:
    with Loopback() as elsewhere:
        raw = Raw(307, "", {"Location": f"{elsewhere.url}/chat/completions"})
        result, _, _ = outcome(loopback, raw, direct)
    assert isinstance(result, Failure)
    assert elsewhere.url in result.message
    assert elsewhere.calls == 0


@pytest.mark.parametrize("direct", [False, True], ids=["litellm", "direct"])
def test_mutated_answers_end_well_and_their_bill_is_bounded(
    loopback: Loopback, direct: bool
) -> None:
    """300 bodies: never an exception, never an answer without a text that says it, never a bill
    above both what the server counted and the worst case."""
    rng = random.Random(7)
    good = json.dumps(changed(said("Answer: 7"), logprobs={"content": [{"logprob": -0.5}]}).body)
    numbers = itertools.count()
    worst = CAP
    bodies = [mutated(good, rng) for _ in range(150)]
    model = ProviderModel(tier(), retry=Retry(attempts=1, rate_limited_attempts=1), direct=direct)
    loopback.raw = lambda number, body: Raw(200, bodies[next(numbers) % len(bodies)])
    try:
        for i, body in enumerate(bodies):
            model.traffic = Traffic(answered=1)
            [[[result]]] = model.complete([[call(text=f"item {i}")]])
            if isinstance(result, Failure):
                assert "Traceback" not in result.message
                continue
            counted = counts_in(body)
            assert 0 <= result.completion_tokens <= max([worst, *counted])
            assert result.prompt_tokens <= max([4 * 1000 + 20_000, *counted])
            if "7" in result.text and result.finished:
                assert "7" in body
    finally:
        model.close()


def test_any_body_and_any_stream_is_read_within_bounds_or_a_fault() -> None:
    """2,000 more, of several choices and of events, without a server."""
    rng = random.Random(3)
    usage = {
        **{"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    message = {"role": "assistant", "content": "Answer: 7", "reasoning_content": "x"}
    rest = {"finish_reason": "stop", "logprobs": {"content": [{"token": "7", "logprob": -0.5}]}}
    seen: Counter[str] = Counter()
    for i in range(2000):
        n = rng.choice([1, 2, 5])
        if i % 2:
            rows = ({"index": 0, "delta": message}, {"index": 0, "delta": {}, **rest})
            chunks = [json.dumps({"choices": [row]}) for row in rows]
            chunks.append(json.dumps({"choices": [], "usage": usage}))
            lines = [mutated(c, rng) if rng.random() < 0.6 else c for c in chunks]
            text = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
        else:
            choices = [{"index": j, "message": message, **rest} for j in range(n)]
            text = mutated(json.dumps({"choices": choices, "usage": usage}), rng)
        reader = AnswerReader("openai/m")
        try:
            body = parse_body(200, SSE if i % 2 else {}, text.encode("utf-8", "surrogatepass"))
            results = reader.read(body, call(n), CAP)
        except Fault as fault:
            seen[fault.kind] += 1
            continue
        assert len(results) == n
        for got in results:
            if isinstance(got, Failure):
                seen[got.error_class] += 1
                continue
            seen["ok"] += 1
            assert 0 <= got.reasoning_tokens <= got.completion_tokens <= 10**9
            assert 0 <= got.cached_tokens <= got.prompt_tokens <= 10**9
            assert got.mean_logprob is None or got.mean_logprob <= 0
    assert set(seen) == {"ok", "missing_choice", "malformed", "poison"}


def mutated(good: str, rng: random.Random) -> str:
    body = json.loads(good)
    odd = [None, True, -1, 0, 2**70, 1e308, float("nan"), "", "x", [], {}, [None], {"a": []}, "\0"]
    for _ in range(rng.randint(1, 4)):
        node: Any = body
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            if isinstance(node, dict) and rng.random() < 0.2:
                del node[key]
            else:
                node[key] = copy.deepcopy(rng.choice(odd))
            break
    text = json.dumps(body)
    if rng.random() < 0.15:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(["", "}", '"', "\x01", "é"]) + text[at + 1 :]
    return text


def counts_in(body: str) -> list[int]:
    try:
        usage = json.loads(body).get("usage")
    except (ValueError, AttributeError):
        return []
    values = usage.values() if isinstance(usage, dict) else ()
    return [int(v) for v in values if isinstance(v, int | float) and abs(v) < 1e12]


def test_the_message_is_the_providers_own_words(loopback: Loopback) -> None:
    raw = error(
        200,
        "Provider returned error",
        code=429,
        metadata={"raw": "practice-model is limited upstream at the moment"},
    )
    for direct in (False, True):
        result, _, _ = outcome(loopback, raw, direct)
        assert isinstance(result, Failure)
        assert result.message == (
            "Provider returned error; practice-model is limited upstream at the moment"
        )
