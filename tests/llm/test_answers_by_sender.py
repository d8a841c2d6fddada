"""Recorded answers of providers through both senders: the same class, retry and bill for each.

The table is printed with ``-s``. Bodies are those of the providers' documents and of public
reports; those that say no stand in ``refusals.yaml``.
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
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.llm.test_litellm_faults import Waits
from tests.llm.test_litellm_samples import call, tier
from tests.loopback import Loopback, Raw
from tierwise.errors import ProviderError
from tierwise.llm import Completion, Failure, Result
from tierwise.llm.answers import AnswerReader, parse_body
from tierwise.llm.faults import Fault
from tierwise.llm.limits import Retry, Traffic
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


def refusals(section: str) -> list[Case]:
    """The cases of a section of ``refusals.yaml``."""
    kinds = yaml.safe_load(Path(__file__).with_name("refusals.yaml").read_text())[section]
    return [
        Case(
            f"{kind}: {who}",
            Raw(said["status"], said["body"], said.get("headers", {})),
            kind,
            wait_s=said.get("wait_s"),
        )
        for kind, answers in kinds.items()
        for who, said in answers.items()
    ]


def read_answers() -> Iterator[Case]:
    """The cases of ``answers.yaml``."""
    rows = yaml.safe_load(Path(__file__).with_name("answers.yaml").read_text())
    for name, row in rows.items():
        usage = {"usage": row["usage"]} if "usage" in row else {}
        raw = changed(said(**row["answer"], **usage), **row.get("choice", {}))
        expected = row.get("tokens"), row.get("prompt")
        yield Case(name, raw, row.get("is", "ok"), row["text"], None, *expected)


REFUSALS = refusals("refused")
ENDS = refusals("ends")
IN_TEN_MINUTES = email.utils.formatdate(time.time() + 600, usegmt=True)
WAITED = [
    *refusals("waited"),
    Case(
        "429, Retry-After is a date",
        error(429, "slow", {"Retry-After": IN_TEN_MINUTES}),
        "rate_limit",
        wait_s=NEARLY_600_S,
    ),
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
SSE = {"Content-Type": "text/event-stream"}
CHUNK = 'data: {"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": %s}]%s}'
GROQ_USAGE = ', "x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}'
TWO = {"type": "text", "text": "Answer: "}, {"type": "text", "text": "7"}
READ = [
    *read_answers(),
    Case(
        "a call in pieces",
        events(
            {
                "delta": {
                    "tool_calls": [
                        {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": ""}}
                    ]
                }
            },
            {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}},
            {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": ' "Oslo"}'}}]}},
            {"delta": {}, "finish_reason": "tool_calls"},
        ),
        "ok",
        CALLED,
    ),
    Case("no index", changed(said("Answer: 7"), index=None), "ok", "Answer: 7"),
    Case("wrong index", changed(said("Answer: 7"), index=3), "ok", "Answer: 7"),
    Case("index as text", changed(said("Answer: 7"), index="0"), "ok", "Answer: 7"),
    Case("BOM", Raw(200, "\ufeff" + json.dumps(said("Answer: 7").body)), "ok", "Answer: 7"),
    Case("blanks in front", Raw(200, "\n\n  \n" + json.dumps(said("7").body)), "ok", "7"),
    Case(
        "gzip",
        Raw(200, gzip.compress(json.dumps(said("7").body).encode()), {"Content-Encoding": "gzip"}),
        "ok",
        "7",
    ),
    Case(
        "a stream that nobody asked for",
        events(
            {"delta": {"content": "Answer"}}, {"delta": {"content": ": 7"}, "finish_reason": "stop"}
        ),
        "ok",
        "Answer: 7",
        tokens=5,
        prompt=9,
    ),
    Case(
        "stream with comments, CRLF and no [DONE]",
        Raw(
            200,
            "\r\n\r\n".join(
                [
                    ": OPENROUTER PROCESSING",
                    CHUNK % ("Answer: ", "null", ""),
                    "event: ping",
                    ": ping",
                    CHUNK % ("7", '"stop"', ""),
                    "",
                ]
            ),
            SSE,
        ),
        "ok",
        "Answer: 7",
    ),
    Case(
        "stream, usage of Groq",
        Raw(
            200,
            "\n\n".join(
                [
                    CHUNK % ("Answer: 7", "null", ""),
                    CHUNK % ("", '"stop"', GROQ_USAGE),
                    "data: [DONE]",
                ]
            ),
            SSE,
        ),
        "ok",
        "Answer: 7",
        tokens=4,
        prompt=9,
    ),
    Case(
        "stream, usage in every chunk",
        Raw(
            200,
            "\n\n".join(
                [
                    CHUNK
                    % (
                        "Answer: ",
                        "null",
                        ', "usage": {"prompt_tokens": 9, "completion_tokens": 2}',
                    ),
                    CHUNK
                    % ("7", '"stop"', ', "usage": {"prompt_tokens": 9, "completion_tokens": 4}'),
                    "data: [DONE]",
                ]
            ),
            SSE,
        ),
        "ok",
        "Answer: 7",
        tokens=4,
        prompt=9,
    ),
    Case(
        "stream cut by the cap",
        events({"delta": {"content": "Answ"}, "finish_reason": "length"}),
        "cut",
        "Answ",
    ),
    Case(
        "stream of a thought alone",
        events({"delta": {"reasoning_content": "so 7"}, "finish_reason": "length"}),
        "cut",
    ),
    Case(
        "a choice twice",
        Raw(200, {**said("Answer: 7").body, "choices": 2 * said("Answer: 7").body["choices"]}),
        "ok",
        "Answer: 7",
    ),
    Case(
        "Latin-1",
        Raw(
            200,
            json.dumps(said("na\xefve: 7").body, ensure_ascii=False).encode("latin-1"),
            {"Content-Type": "application/json; charset=latin-1"},
        ),
        "ok",
        "na\ufffdve: 7",
    ),
    Case(
        "logprobs NaN",
        Raw(
            200,
            json.dumps(
                changed(
                    said("7"), logprobs={"content": [{"token": "7", "logprob": float("nan")}]}
                ).body
            ),
        ),
        "ok",
        "7",
        tokens=5,
    ),
]
POISON = [
    Case("200, deep", Raw(200, "[" * 1_000_000), "poison"),
    Case("200, objects", Raw(200, '{"choices": [' + '{"a":1},' * 500_000 + "{}]}"), "poison"),
    Case("200, numbers", Raw(200, '{"choices": [' + "1.5," * 1_300_000 + "1]}"), "poison"),
    Case(
        "2^70 tokens", said("7", usage={"prompt_tokens": 9, "completion_tokens": 2**70}), "poison"
    ),
    Case(
        "NaN tokens",
        Raw(200, json.dumps(said("7", usage={"prompt_tokens": float("nan")}).body)),
        "poison",
    ),
    Case("NUL", said("Answer: \0 7"), "poison"),
    Case("half of a character", said("Answer: \ud800 7"), "poison"),
    Case("content is a number", said(7), "poison"),
    Case("10 MB of text", said("7 " * 5_000_000), "poison"),
]
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
    monkeypatch.setattr("tierwise.llm.senders.LONGEST_ANSWER_BYTES", 100_000)
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
