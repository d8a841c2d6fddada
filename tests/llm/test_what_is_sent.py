"""What a provider does not take is found out on the first call, said, and left out or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.llm.test_litellm_samples import call, opened, texts, tier
from tests.loopback import Loopback, Raw, Said
from tierwise.errors import InputError, ProviderError
from tierwise.llm import Completion, Request
from tierwise.llm.models import resolve_tier
from tierwise.llm.provider import ProviderModel
from tierwise.schema import Job, Message, Price, Tier, load_job
from tierwise.schema.yaml_io import parse, read_as

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("sender")]

PRICE = Price(1.0, 2.0)


def refusing(
    field: str, status: int, body: Mapping[str, Any], when: Callable[[Mapping[str, Any]], bool]
) -> Callable[[int, dict[str, Any]], Raw | None]:
    return lambda number, sent: Raw(status, body) if field in sent and when(sent) else None


def bought(of: Tier, n: int = 1, items: int = 4, **params: object) -> tuple[list[Any], list[str]]:
    """The samples of some items, and what was said of the provider."""
    said: list[str] = []
    with opened(of) as model:
        model.remark = said.append
        chunks = list(model.complete([call(n, text=f"item {i}", **params)] for i in range(items)))
    return [result for [results] in chunks for result in results], said


SEED = {
    "FastAPI": (
        422,
        {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
    ),
    "Anthropic": (
        400,
        {
            "error": {
                "type": "invalid_request_error",
                "message": "seed: Extra inputs are not permitted",
            }
        },
    ),
    "OpenAI, old": (400, {"error": {"message": "Unrecognized request argument supplied: seed"}}),
    "OpenAI, param": (
        400,
        {"error": {"message": "no", "param": "seed", "code": "unknown_parameter"}},
    ),
    "Google": (400, {"error": {"message": 'Unknown name "seed": Cannot find field.', "code": 400}}),
    "Groq": (400, {"error": {"message": "property 'seed' is unsupported"}}),
    "JSON schema": (
        400,
        {"error": {"message": "Additional properties are not allowed ('seed' was unexpected)"}},
    ),
}


@pytest.mark.parametrize("form", SEED)
def test_a_seed_that_is_refused_is_left_out_and_said(loopback: Loopback, form: str) -> None:
    loopback.raw = refusing("seed", *SEED[form], lambda sent: True)
    results, said = bought(tier(limits={"concurrency": 1}))
    assert all(isinstance(result, Completion) for result in results)
    assert len(said) == 1
    assert "refuses seed" in said[0]
    assert "takes_seed: false" in said[0]
    assert loopback.calls == 5  # one was refused
    assert ["seed" in sent for sent in loopback.bodies] == [True] + [False] * 4


def test_a_tier_that_takes_no_seed_sends_none(loopback: Loopback) -> None:
    results, said = bought(tier(takes_seed=False))
    assert texts(results)
    assert said == []
    assert not any("seed" in sent for sent in loopback.bodies)


def test_max_tokens_goes_out_under_the_name_that_the_provider_takes(loopback: Loopback) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead."
    )
    body = {"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}}
    loopback.raw = refusing("max_tokens", 400, body, lambda sent: True)
    results, said = bought(tier(limits={"concurrency": 1}))
    assert all(isinstance(result, Completion) for result in results)
    assert [sent.get("max_completion_tokens") for sent in loopback.bodies] == [None] + [20] * 4
    assert "max_completion_tokens" in said[0]


def streamed(sent: Mapping[str, Any]) -> Raw:
    """As a server that only streams answers."""
    rows = [
        {"choices": [{"index": j, "delta": {"role": "assistant", "content": part}}]}
        for part in ("A: ", "7")
        for j in range(sent.get("n", 1))
    ]
    rows += [
        {"choices": [{"index": j, "delta": {}, "finish_reason": "stop"}]}
        for j in range(sent.get("n", 1))
    ]
    if (sent.get("stream_options") or {}).get("include_usage"):
        usage = {"prompt_tokens": 3, "completion_tokens": 2 * sent.get("n", 1)}
        rows.append({"choices": [], "usage": usage})
    events = "".join(f"data: {json.dumps({'id': 'x', 'model': 'm', **row})}\n\n" for row in rows)
    return Raw(200, events + "data: [DONE]\n\n", {"Content-Type": "text/event-stream"})


@pytest.mark.parametrize(
    "message",
    [
        "This model only supports streaming; set stream=true",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "Non-stream requests are not supported",
    ],
)
def test_a_server_that_only_streams_is_read_as_one_that_does_not(
    loopback: Loopback, message: str
) -> None:
    refusal = Raw(400, {"error": {"message": message}})
    loopback.raw = lambda number, sent: streamed(sent) if sent.get("stream") else refusal
    results, said = bought(tier(limits={"concurrency": 1}), n=3)
    assert texts(results) == ["A: 7"] * 12
    assert sum(result.completion_tokens for result in results) == 24
    assert not any(result.estimated for result in results)
    assert "streamed from now on" in said[0]


def test_a_tier_that_streams_does_so_from_the_first_call(loopback: Loopback) -> None:
    loopback.raw = lambda number, sent: streamed(sent) if sent.get("stream") else Raw(500, "no")
    results, said = bought(tier(stream=True))
    assert texts(results) == ["A: 7"] * 4
    assert said == []


def test_log_probabilities_that_are_refused_are_left_out_and_said(loopback: Loopback) -> None:
    body = {"error": {"message": "logprobs are not supported with this model"}}
    loopback.raw = refusing("logprobs", 400, body, lambda sent: True)
    results, said = bought(tier(logprobs=True, limits={"concurrency": 1}))
    assert len(texts(results)) == 4
    assert "nothing that reads them can be chosen" in said[0]


def test_log_probabilities_that_never_come_are_said(loopback: Loopback) -> None:
    results, said = bought(tier(logprobs=True))
    assert len(texts(results)) == 4
    assert len(said) == 1
    assert "carry no log-probabilities" in said[0]


def ignoring_n(loopback: Loopback) -> None:
    async def one(messages: Any, seed: int, n: int, body: Any) -> list[Said]:
        return [Said("A: 7")]

    loopback.speak_all = one


def test_a_server_that_ignores_n_ends_at_its_first_call_and_names_the_key(
    loopback: Loopback,
) -> None:
    ignoring_n(loopback)
    with pytest.raises(ProviderError, match="takes_n: false for tier 'small'"):
        bought(tier(limits={"concurrency": 1}), n=5, items=50)
    assert loopback.calls == 1
    results, _ = bought(tier(takes_n=False), n=5)
    assert len(texts(results)) == 20


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Only one completion choice is allowed"),
        (422, "n > 1 is not currently supported"),
        (400, "`n` must be 1 when using this model"),
    ],
)
def test_a_server_that_refuses_n_ends_at_its_first_call_and_names_the_key(
    loopback: Loopback, status: int, message: str
) -> None:
    body = {"error": {"message": message}}
    loopback.raw = refusing("n", status, body, lambda sent: sent["n"] > 1)
    with pytest.raises(ProviderError, match="takes_n: false"):
        bought(tier(limits={"concurrency": 1}), n=3)
    assert loopback.calls == 1


def test_a_temperature_that_is_refused_ends_at_the_first_call_and_names_the_remedy(
    loopback: Loopback,
) -> None:
    message = (
        "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default "
        "(1) value is supported."
    )
    body = {"error": {"message": message, "param": "temperature", "code": "unsupported_value"}}
    loopback.raw = refusing("temperature", 400, body, lambda sent: True)
    with pytest.raises(ProviderError, match=r"temperature: \[1\.0\]"):
        bought(tier(limits={"concurrency": 1}))
    assert loopback.calls == 1


def test_a_field_that_was_taken_before_is_not_at_fault(loopback: Loopback) -> None:
    body = {"error": {"message": "the 'seed' of this 'temperature' is odd"}}
    loopback.raw = lambda number, sent: Raw(400, body) if number == 2 else None
    results, said = bought(tier(limits={"concurrency": 1}))
    assert [isinstance(result, Completion) for result in results] == [True, True, False, True]
    assert said == []


def test_choices_that_broke_off_are_asked_for_alone(loopback: Loopback) -> None:
    def broken(number: int, sent: dict[str, Any]) -> Raw | None:
        if sent.get("n", 1) == 1:
            return None
        choices = [
            {"index": j, "finish_reason": "stop", "message": {"content": f"A: {j}"}}
            for j in range(4)
        ]
        choices[1] |= {"finish_reason": "error", "error": {"code": 502, "message": "died"}}
        usage = {"prompt_tokens": 3, "completion_tokens": 8}
        return Raw(200, {"choices": choices[:3], "usage": usage})

    loopback.raw = broken
    with opened(tier()) as model:
        [[results]] = model.complete([[call(4)]])
        lost = model.traffic.possibly_billed_calls
    assert len(texts(results)) == 4
    assert texts(results)[0] == "A: 0"
    assert texts(results)[2] == "A: 2"
    assert (loopback.calls, lost) == (3, 2)


WORDS = "so the tens are carried and then the ones are added again"


@pytest.mark.parametrize("kind", ["words", "logprobs", "cut", "one short"])
def test_the_usage_of_one_choice_is_seen_and_billed_for_all(loopback: Loopback, kind: str) -> None:
    """As llama.cpp: the usage of a call counts its last choice. At least 98% are billed."""
    made = 0

    def one_counted(number: int, sent: dict[str, Any]) -> Raw:
        nonlocal made
        choices, tokens = [], []
        for j in range(sent.get("n", 1)):
            length = 20 if kind == "cut" else 4 + (number * 7 + j * 5) % 9
            text = " ".join(WORDS.split()[:length]) if kind != "cut" else "hm " * 20
            choice: dict[str, Any] = {"index": j, "message": {"content": text}}
            choice["finish_reason"] = "length" if kind == "cut" else "stop"
            tokens.append(len(text.split()))
            if kind == "logprobs":
                rows = [{"token": "t", "logprob": -0.1} for _ in range(tokens[-1])]
                choice["logprobs"] = {"content": rows}
            choices.append(choice)
        made += sum(tokens)
        usage = {"prompt_tokens": 3, "completion_tokens": tokens[-1]}
        return Raw(200, {"choices": choices, "usage": usage})

    loopback.raw = one_counted
    results, said = bought(tier(logprobs=kind == "logprobs"), n=5, items=40)
    billed = sum(result.completion_tokens for result in results)
    print(f"{kind}: billed {billed} of {made} tokens, {billed / made:.1%}")  # noqa: T201 - with -s
    assert billed >= 0.98 * made
    assert billed <= max(1.25 * made, 40)
    assert len(said) == 1
    assert "reported the usage of one" in said[0]


def test_a_cached_prompt_that_is_counted_as_nothing_is_billed_as_before(loopback: Loopback) -> None:
    loopback.speak = lambda messages, seed, body: Said(
        "A: 7", prompt_tokens=60 if loopback.calls <= 4 else 0
    )
    text = "word " * 50
    said: list[str] = []
    with opened(tier(limits={"concurrency": 1})) as model:
        model.remark = said.append
        for _ in range(2):
            chunks = list(model.complete([call(text=f"{text}{i}")] for i in range(4)))
    prompts = [result.prompt_tokens for [[result]] in chunks]
    assert prompts == [60] * 4
    assert len(said) == 1
    assert "prompt_tokens: none" in said[0] or "prompt_tokens: 0" in said[0]


def test_two_servers_of_one_provider_are_two_tiers_each_with_its_key(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARGE_KEY", "large-9876543210")
    with Loopback() as small, Loopback(key="large-9876543210") as large:
        tiers = [
            resolve_tier("small", "openai/a", price=PRICE, api_base=small.url),
            resolve_tier(
                "large", "openai/b", price=PRICE, api_base=large.url, api_key_env="LARGE_KEY"
            ),
        ]
        for of in tiers:
            model = ProviderModel(of)
            request = Request(of.model, (Message("user", "x"),), {"max_tokens": 9}, model.address)
            [[[result]]] = model.complete([[call()._replace(request=request)]])
            model.close()
            assert isinstance(result, Completion)
    assert (small.calls, large.calls, loopback.calls) == (1, 1, 0)


def test_the_providers_own_key_is_not_sent_to_the_address_of_a_job(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-the-real-one-123456")
    with Loopback(key="none") as own:
        of = resolve_tier("small", "openai/a", price=PRICE, api_base=own.url)
        model = ProviderModel(of)
        [[[result]]] = model.complete([[call()]])
        model.close()
    assert isinstance(result, Completion)


def test_a_key_that_is_not_there_is_named_before_the_first_call(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LARGE_KEY", raising=False)
    of = resolve_tier(
        "large", "openai/b", price=PRICE, api_base=loopback.url, api_key_env="LARGE_KEY"
    )
    with pytest.raises(ProviderError, match="set LARGE_KEY in the environment"):
        ProviderModel(of)


def test_where_a_policy_is_deployed_the_environment_says_the_address(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(key="deployed-123456") as deployed:
        monkeypatch.setenv("TIERWISE_API_BASE_MY_TIER", deployed.url)
        monkeypatch.setenv("TIERWISE_API_KEY_MY_TIER", "deployed-123456")
        model = ProviderModel(resolve_tier("my-tier", "openai/a", price=PRICE))
        [[[result]]] = model.complete([[call()]])
        model.close()
    assert isinstance(result, Completion)
    assert (deployed.calls, loopback.calls) == (1, 0)


@pytest.mark.parametrize("model", ["embedded/small"])
def test_a_model_that_is_called_nowhere_has_no_address(model: str) -> None:
    with pytest.raises(InputError, match="called at no address"):
        resolve_tier("small", model, api_base="http://localhost/v1")


HEADERS = {"X-Team": "TEAM_PASS", "X-Api-Version": "API_VERSION"}


def test_headers_of_a_tier_are_sent_and_their_values_stay_out_of_sight(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_PASS", "team-9876543210")
    monkeypatch.setenv("API_VERSION", "2026-11")
    loopback.key = None
    of = resolve_tier("small", "openai/a", price=PRICE, api_base=loopback.url, headers_env=HEADERS)
    results, _ = bought(of, items=1)
    assert isinstance(results[0], Completion)
    [sent] = loopback.headers
    assert (sent["X-Team"], sent["X-Api-Version"]) == ("team-9876543210", "2026-11")
    assert "team-9876543210" not in repr(of)
    # A server that repeats what it was sent is not believed to keep a secret.
    loopback.raw = lambda number, sent: Raw(400, {"error": {"message": "who is team-9876543210?"}})
    results, _ = bought(of, items=1)
    assert results[0].message == "who is [secret]?"


def test_a_header_whose_variable_is_not_set_is_named_before_the_first_call(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = resolve_tier("small", "openai/a", price=PRICE, headers_env={"X-Team": "TEAM_PASS"})
    monkeypatch.delenv("TEAM_PASS", raising=False)
    with pytest.raises(ProviderError, match="header 'X-Team' of tier 'small': set TEAM_PASS in"):
        ProviderModel(of)
    monkeypatch.setenv("TEAM_PASS", "two\nlines-123")
    with pytest.raises(ProviderError, match="TEAM_PASS cannot be sent") as caught:
        ProviderModel(of)
    assert "lines-123" not in str(caught.value)
    assert loopback.calls == 0


def test_where_a_policy_is_deployed_the_environment_names_its_headers(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_PASS", "team-9876543210")
    monkeypatch.setenv("TIERWISE_HEADERS_ENV_MY_TIER", "X-Team=TEAM_PASS")
    of = resolve_tier("my-tier", "openai/a", price=PRICE)
    bought(of, items=1)
    assert loopback.headers[0]["X-Team"] == "team-9876543210"
    monkeypatch.setenv("TIERWISE_HEADERS_ENV_MY_TIER", "X-Team: secret-98765")
    with pytest.raises(ProviderError, match="must name headers and the variables") as caught:
        ProviderModel(of)
    assert "secret-98765" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Host": "A"}, "no header"),
        ({"X Y": "A"}, "no header"),
        ({"X": "a value"}, "name of a var"),
    ],
)
def test_a_header_that_no_call_can_have_is_a_fault_of_the_job(
    headers: Mapping[str, str], says: str, tmp_path: Path
) -> None:
    job = {"task": "arithmetic", "tiers": {"t": {"model": "openai/a", "headers_env": headers}}}
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job))
    with pytest.raises(InputError, match=says):
        load_job(path)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "See https://example.org",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
FORM = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
ONE = {"type": "function", "function": {"name": "weather"}}
STRUCTURED = {
    "tools": {"tools": TOOLS, "tool_choice": "required"},
    "one tool": {"tools": TOOLS, "tool_choice": ONE},
    "schema": {"response_format": FORM},
    "any object": {"response_format": {"type": "json_object"}},
}


@pytest.mark.parametrize("name", STRUCTURED)
def test_tools_and_forms_of_answers_are_sent_as_they_are(loopback: Loopback, name: str) -> None:
    params = STRUCTURED[name]
    of = tier(modes={"direct": {"max_tokens": 20, **params}})
    results, said = bought(of, **params)
    assert all(isinstance(result, Completion) for result in results)
    assert said == []
    assert len(loopback.bodies) == 4
    for body in loopback.bodies:
        assert {key: body.get(key) for key in params} == params


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, "list of functions"),
        ({"tools": []}, "list of functions"),
        ({"tools": [{"type": "function", "function": {"name": "a", "url": "x"}}]}, "functions"),
        ({"tool_choice": "auto"}, "of a mode that sends tools"),
        ({"tools": TOOLS, "tool_choice": "any"}, "tool_choice is auto"),
        ({"response_format": "json"}, "response_format is"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format is"),
    ],
)
def test_a_mode_that_sends_another_form_is_refused(params: dict[str, Any], says: str) -> None:
    tier_ = {"model": "openai/gpt-4o-mini", "modes": {"direct": {"max_tokens": 9, **params}}}
    job = {"task": "arithmetic", "tiers": {"small": tier_}}
    with pytest.raises(InputError, match=says):
        read_as(Job, parse(json.dumps(job)))


@pytest.mark.parametrize("model", ["embedded/small", "nlp_cloud/dolphin", "perplexity/sonar"])
def test_a_model_that_takes_no_tools_is_refused_before_a_call(model: str) -> None:
    modes = {"direct": {"max_tokens": 9, "tools": TOOLS}}
    more = {} if model.startswith("embedded") else {"price": PRICE}
    with pytest.raises(InputError, match="does not take"):
        resolve_tier("t", model, modes=modes, **more)


def test_tools_are_part_of_what_a_call_may_cost() -> None:
    from tierwise.pool.calls import worst_case

    plain, with_tools = call(), call(tools=TOOLS)
    known = tier(price=PRICE)
    assert worst_case([with_tools], known).usd > worst_case([plain], known).usd
