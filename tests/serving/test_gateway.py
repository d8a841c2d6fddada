"""The gateway over HTTP: what it answers, refuses, counts and survives."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra [serve] is not installed")
pytest.importorskip("prometheus_client", reason="the extra [serve] is not installed")

import httpx

from tests.serving.loopback import served
from tests.serving.worlds import ANSWER, ARMS, PROMPTS, SMALL, policy_file
from tierwise.errors import InputError, ProviderError
from tierwise.llm import Completion, Failure
from tierwise.llm.scripted import ScriptedModel
from tierwise.recipe import Difficulty, Limits, Policy, Probe, Recipe, StrategySpec, uniform
from tierwise.recipe.policy_file import PolicyFile, TaskRef
from tierwise.serving import PolicyRuntime
from tierwise.serving.access import Access, tokens_from_environment
from tierwise.serving.gateway import Bounds, Gateway
from tierwise.serving.shelf import Shelf

VOTE = uniform(ARMS[0], StrategySpec.of("self_consistency", draws=3))
BUCKETS = Policy(
    (
        Recipe(ARMS[:1], StrategySpec.of("single")),
        Recipe(ARMS[1:3], StrategySpec.of("self_consistency", draws=4)),
    ),
    Difficulty("probe_agreement", (0.9,), Probe(ARMS[:1], 2)),
)
TOKEN = "a-token-of-the-tests"


def words(request, seed: int) -> Completion:
    """A: 7, and 5 tokens for 11."""
    return Completion("Well. A: 7", 11, 5, latency_s=0.01)


class Slow(ScriptedModel):
    """Answers once it is released; counts the calls that were cancelled."""

    def __init__(self) -> None:
        super().__init__(words)
        self.waiting = self.cancelled = 0
        self.released = False

    async def answer(self, call):
        self.waiting += 1
        try:
            while not self.released:
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return await super().answer(call)


def gateway(tmp_path: Path, *files: PolicyFile, model=None, tokens=(), **bounds) -> Gateway:
    paths = [file.save(tmp_path / f"{i}.yaml") for i, file in enumerate(files)]
    model = model or ScriptedModel(words)

    def opened(file: PolicyFile) -> PolicyRuntime:
        return PolicyRuntime(file, {"small": model, "large": model})

    shelf = Shelf(paths, opened)
    return Gateway(shelf, Access("127.0.0.1", tuple(tokens)), Bounds(**bounds))


def client(gate: Gateway) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gate.app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


async def post(gate: Gateway, **body) -> httpx.Response:
    async with client(gate) as http:
        return await http.post("/v1/chat/completions", json={"model": "p", **body})


USER = [{"role": "user", "content": "what is it?"}]


async def test_a_vote_is_answered_once_and_billed_whole(tmp_path: Path) -> None:
    got = await post(gateway(tmp_path, policy_file(VOTE)), messages=USER)
    assert got.status_code == 200
    body = got.json()
    choice = body["choices"][0]
    assert choice["message"]["content"] == "Well. A: 7"
    assert choice["finish_reason"] == "stop"
    # Three draws share one call, whose prompt is billed once.
    assert body["usage"]["prompt_tokens"] == 11
    assert body["usage"]["completion_tokens"] == 15
    assert body["usage"]["total_tokens"] == 26
    told = body["tierwise"]
    assert (told["bucket"], told["draws"], told["rounds"], told["calls"]) == ("all", 3, 1, 1)
    assert told["answer"] == "7"
    assert told["usd"] == pytest.approx(11 * 0.5e-6 + 15 * 1.5e-6)
    assert got.headers["x-tierwise-draws"] == "3"
    assert got.headers["x-tierwise-bucket"] == "all"
    assert float(got.headers["x-tierwise-usd"]) == pytest.approx(told["usd"])
    assert got.headers["x-tierwise-version"] == told["version"]


async def test_a_stream_opens_waits_and_ends_with_the_chosen_answer(tmp_path: Path) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, keep_alive_s=0.01)
    async with asyncio.TaskGroup() as group:
        reply = group.create_task(
            post(gate, messages=USER, stream=True, stream_options={"include_usage": True})
        )
        while not model.waiting:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        model.released = True
    text = reply.result().text
    events = [e for e in text.split("\n\n") if e]
    assert events[0].startswith("data: ")
    assert ": keep-alive" in events
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(e[6:]) for e in events[:-1] if e.startswith("data: ")]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    said = "".join(d["delta"].get("content", "") for c in chunks for d in c["choices"])
    assert said == "Well. A: 7"
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 26
    assert chunks[-2]["tierwise"]["draws"] == 3


REFUSED = [
    ({"messages": [{"role": "system", "content": "be brief"}, *USER]}, "messages[0]", "system"),
    ({"messages": [*USER, {"role": "assistant", "content": "hm"}]}, "messages[1]", "assistant"),
    ({"messages": [*USER, *USER]}, "messages[1]", "second user message"),
    ({"messages": []}, "messages", "no user message"),
    ({"messages": "hello"}, "messages", "must be a list"),
    ({"messages": ["hello"]}, "messages[0]", "an object"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
     "messages[0].content[0]", "image_url"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "text"),
    ({"messages": USER, "n": 2}, "n", "the policy decides"),
    ({"messages": USER, "n": True}, "n", "the policy decides"),
    ({"messages": USER, "stop": ["\n"]}, "stop", "the policy decides"),
    ({"messages": USER, "tools": [{"type": "function"}]}, "tools", "the policy decides"),
    ({"messages": USER, "response_format": {"type": "json_object"}}, "response_format", "policy"),
    ({"messages": USER, "seed": "x"}, "seed", "whole number"),
    ({"messages": USER, "stream": "yes"}, "stream", "true or false"),
    ({"messages": USER, "temperatur": 1}, "temperatur", "did you mean 'temperature'"),
    ({"inputs": {"questoin": "x"}}, "inputs", "did you mean 'question'"),
    ({"inputs": {}}, "inputs", "'question' is missing"),
    ({"inputs": {"question": 3}}, "inputs", "must be text"),
    ({"inputs": {"question": "x"}, "messages": USER}, "inputs", "not in both"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "says"), REFUSED)
async def test_what_cannot_be_honoured_is_refused_by_name(
    tmp_path: Path, body: dict, param: str, says: str
) -> None:
    got = await post(gateway(tmp_path, policy_file(VOTE)), **body)
    error = got.json()["error"]
    assert got.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert says in error["message"]


async def test_what_does_no_harm_is_ignored_by_name(tmp_path: Path) -> None:
    got = await post(
        gateway(tmp_path, policy_file(VOTE)), messages=USER, temperature=0.2, max_tokens=9, n=1,
        user="me", stop=None, tools=[], presence_penalty=0.0, response_format={"type": "text"},
    )  # fmt: skip
    assert got.status_code == 200
    assert got.json()["tierwise"]["ignored"] == ["temperature", "max_tokens", "user"]


async def test_a_seed_is_the_seed_of_the_draws(tmp_path: Path) -> None:
    def by_seed(request, seed: int) -> Completion:
        return Completion(f"A: {seed}", 1, 1)

    gate = gateway(tmp_path, policy_file(VOTE), model=ScriptedModel(by_seed))
    first, again, other = [
        (await post(gate, messages=USER, seed=seed)).json()["tierwise"]["answer"]
        for seed in (5, 5, 6)
    ]
    assert first == again != other


def several() -> PolicyFile:
    prompt = PROMPTS["plain"].with_demonstrations([])
    return PolicyFile(
        name="p", tier=SMALL, task=TaskRef("t", 1, "exact_match", ""), inputs=("question", "hint"),
        prompts={"plain": prompt}, policy=VOTE, answer=ANSWER,
    )  # fmt: skip


async def test_several_inputs_come_as_json_or_beside_the_messages(tmp_path: Path) -> None:
    gate = gateway(tmp_path, several())
    both = {"question": "q", "hint": "h"}
    as_json = [{"role": "user", "content": json.dumps(both)}]
    for body in ({"messages": as_json}, {"messages": [], "inputs": both}, {"inputs": both}):
        assert (await post(gate, **body)).status_code == 200
    plain = await post(gate, messages=USER)
    assert plain.status_code == 400
    assert "question, hint" in plain.json()["error"]["message"]
    missing = await post(gate, inputs={"question": "q"})
    assert "'hint' is missing" in missing.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"\xff\xfe", b'{"model": NaN}', b'{"seed": ' + b"1" * 5000 + b"}",
        b"[" * 100_000, b'{"model": "p", "inputs": {"question": "\\ud800"}}',
    ],
)  # fmt: skip
async def test_a_body_that_is_not_json_is_a_400(tmp_path: Path, body: bytes) -> None:
    async with client(gateway(tmp_path, policy_file(VOTE))) as http:
        headers = {"content-type": "application/json"}
        got = await http.post("/v1/chat/completions", content=body, headers=headers)
    assert got.status_code == 400
    assert got.json()["error"]["type"] == "invalid_request_error"


async def test_models_are_listed_by_name_and_by_tier(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), policy_file(BUCKETS, "q"))
    async with client(gate) as http:
        listed = (await http.get("/v1/models")).json()["data"]
        # Two policies have the tier: its name says nothing.
        assert [m["id"] for m in listed] == ["p", "q"]
        assert (await http.get("/v1/models/q")).json()["tierwise"]["tier"] == "small"
        unknown = await http.get("/v1/models/tier/small")
        assert unknown.status_code == 404
    alone = gateway(tmp_path, policy_file(VOTE))
    assert (await post(alone, model="tier/small", messages=USER)).status_code == 200


async def test_an_unknown_model_and_an_unknown_path_are_404(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE, "arithmetic"))
    got = await post(gate, model="arithmetik", messages=USER)
    assert got.status_code == 404
    assert got.json()["error"]["code"] == "model_not_found"
    assert "did you mean 'arithmetic'" in got.json()["error"]["message"]
    async with client(gate) as http:
        assert (await http.get("/v1/nothing")).json()["error"]["code"] == "not_found"
        wrong = await http.get("/v1/chat/completions")
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_tokens_guard_everything_but_the_probes(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), tokens=[TOKEN])
    async with client(gate) as http:
        for path in ("/v1/models", "/metrics"):
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
                got = await http.get(path, headers=headers)
                assert got.status_code == 401
                assert got.json()["error"]["code"] == "invalid_api_key"
            good = {"authorization": f"Bearer {TOKEN}"}
            assert (await http.get(path, headers=good)).status_code == 200
        assert (await http.post("/v1/chat/completions", json={})).status_code == 401
        for path in ("/healthz", "/readyz"):
            assert (await http.get(path)).status_code == 200


def test_without_a_token_only_loopback_is_served() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        Access(host, ())
    for host in ("0.0.0.0", "::", "10.0.0.4", "example.org"):
        with pytest.raises(InputError, match="TIERWISE_TOKENS"):
            Access(host, ())
        Access(host, (TOKEN,))


async def test_without_a_token_a_foreign_name_for_loopback_is_refused(tmp_path: Path) -> None:
    async with client(gateway(tmp_path, policy_file(VOTE))) as http:
        got = await http.get("/v1/models", headers={"host": "rebound.example:8080"})
    assert got.status_code == 421


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERWISE_TOKENS", f"{TOKEN}, {TOKEN}-2\n")
    assert tokens_from_environment() == (TOKEN, f"{TOKEN}-2")
    monkeypatch.setenv("TIERWISE_TOKENS", "short")
    with pytest.raises(InputError, match="16"):
        tokens_from_environment()


async def test_a_body_over_the_limit_is_413_announced_or_not(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE), max_body_bytes=100)

    async def unannounced():
        for _ in range(50):
            yield b"x" * 10

    async with client(gate) as http:
        for content in (b"x" * 101, unannounced()):
            headers = {"content-type": "application/json"}
            got = await http.post("/v1/chat/completions", content=content, headers=headers)
            assert got.status_code == 413
        form = await http.post("/v1/chat/completions", content=b"{}")
        assert form.status_code == 415


async def test_more_than_the_bound_is_429_until_one_is_answered(tmp_path: Path) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, max_in_flight=2)
    async with asyncio.TaskGroup() as group:
        plain = group.create_task(post(gate, messages=USER))
        stream = group.create_task(post(gate, messages=USER, stream=True))
        while model.waiting < 2:
            await asyncio.sleep(0.001)
        third = await post(gate, messages=USER)
        assert third.status_code == 429
        assert third.headers["retry-after"] == "1"
        assert third.json()["error"]["type"] == "rate_limit_error"
        model.released = True
    assert plain.result().status_code == stream.result().status_code == 200
    assert (await post(gate, messages=USER)).status_code == 200


async def test_a_provider_that_gives_nothing_is_502_with_its_bill(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request, seed: Failure("server_error", "it broke"))
    gate = gateway(tmp_path, policy_file(VOTE), model=model)
    got = await post(gate, messages=USER)
    assert got.status_code == 502
    assert got.json()["error"]["type"] == "api_error"
    assert "it broke" in got.json()["error"]["message"]
    assert got.json()["tierwise"]["draws"] == 3
    streamed = await post(gate, messages=USER, stream=True)
    events = [e[6:] for e in streamed.text.split("\n\n") if e.startswith("data: ")]
    assert json.loads(events[-2])["error"]["code"] == "upstream_failed"
    assert events[-1] == "[DONE]"


async def test_a_hanging_provider_is_504_at_the_policys_timeout(tmp_path: Path) -> None:
    model = Slow()
    policy = Policy(VOTE.buckets, limits=Limits(timeout_s=0.05))
    got = await post(gateway(tmp_path, policy_file(policy), model=model), messages=USER)
    assert got.status_code == 504
    assert model.cancelled == 1


async def test_metrics_add_up(tmp_path: Path) -> None:
    model = ScriptedModel(words)
    gate = gateway(tmp_path, policy_file(BUCKETS, shares=(0.75, 0.25)), model=model)
    for _ in range(3):
        await post(gate, messages=USER)
    await post(gate, messages=USER, stream=True)
    await post(gate, messages=[])
    await post(gate, model="x", messages=USER)
    async with client(gate) as http:
        text = (await http.get("/metrics")).text
    seen = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(seen['tierwise_requests_total{policy="p",status="200"}']) == 4
    assert float(seen['tierwise_requests_total{policy="p",status="400"}']) == 1
    assert float(seen['tierwise_requests_total{policy="",status="404"}']) == 1
    assert float(seen['tierwise_errors_total{code="model_not_found",policy=""}']) == 1
    assert float(seen['tierwise_draws_total{outcome="ok",policy="p"}']) == model.draws == 8
    assert float(seen['tierwise_calls_total{policy="p"}']) == model.calls
    assert float(seen['tierwise_bucket_requests_total{bucket="easy",policy="p"}']) == 4
    assert float(seen['tierwise_bucket_expected_share{bucket="easy",policy="p"}']) == 0.75
    assert float(seen['tierwise_usd_total{policy="p"}']) == pytest.approx(4 * (5.5e-6 + 15e-6))
    assert float(seen["tierwise_in_flight"]) == 0
    assert float(seen['tierwise_ready{policy="p"}']) == 1


async def test_a_policy_without_credentials_is_not_ready_and_the_others_serve(
    tmp_path: Path,
) -> None:
    paths = [
        policy_file(VOTE, name).save(tmp_path / f"{name}.yaml") for name in ("good", "keyless")
    ]

    def opened(file: PolicyFile) -> PolicyRuntime:
        if file.name == "keyless":
            raise ProviderError("OPENAI_API_KEY is not set")
        return PolicyRuntime(file, ScriptedModel(words))

    gate = Gateway(Shelf(paths, opened), Access("127.0.0.1", ()))
    async with client(gate) as http:
        ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["policies"]["good"]["ready"]
    assert ready.json()["policies"]["keyless"]["reason"] == "OPENAI_API_KEY is not set"
    assert (await post(gate, model="good", messages=USER)).status_code == 200
    refused = await post(gate, model="keyless", messages=USER)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "policy_not_ready")


async def test_a_changed_policy_replaces_the_old_one_and_a_bad_one_does_not(tmp_path: Path) -> None:
    gate = gateway(tmp_path, policy_file(VOTE))
    path = tmp_path / "0.yaml"

    async def draws() -> int:
        return (await post(gate, messages=USER)).json()["tierwise"]["draws"]

    assert await gate.shelf.reload() == []
    policy_file(uniform(ARMS[0], StrategySpec.of("self_consistency", draws=5))).save(path)
    assert await draws() == 3
    assert await gate.shelf.reload() == [("p", "loaded")]
    assert await draws() == 5
    good = path.read_text()
    path.write_text(good.replace("self_consistency", "self_consistencyy"))
    assert await gate.shelf.reload() == [("p", "refused")]
    assert await gate.shelf.reload() == []
    assert await draws() == 5
    async with client(gate) as http:
        ready = await http.get("/readyz")
    assert ready.status_code == 200
    assert "self_consistencyy" in ready.json()["refused"]["0.yaml"]
    path.unlink()
    assert await gate.shelf.reload() == [("p", "refused")]
    assert await draws() == 5
    path.write_text(good)
    assert await gate.shelf.reload() == [("p", "loaded")]


async def test_a_replaced_runtime_is_closed_after_its_last_answer(tmp_path: Path) -> None:
    model, closed = Slow(), []

    class Runtime(PolicyRuntime):
        def close(self) -> None:
            closed.append(self.file)

    first = policy_file(VOTE)
    path = first.save(tmp_path / "p.yaml")
    gate = Gateway(Shelf([path], lambda file: Runtime(file, model)), Access("127.0.0.1", ()))
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(post(gate, messages=USER))
        while not model.waiting:
            await asyncio.sleep(0.001)
        policy_file(uniform(ARMS[0], StrategySpec.of("single"))).save(path)
        assert await gate.shelf.reload() == [("p", "loaded")]
        assert closed == []
        model.released = True
    assert asked.result().json()["tierwise"]["draws"] == 3
    assert closed == [first]


def test_a_policy_with_a_fault_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    path = policy_file(VOTE).save(tmp_path / "p.yaml")
    path.write_text(path.read_text().replace("self_consistency", "self_consistencyy"))
    with pytest.raises(InputError, match=r"p\.yaml: .*did you mean 'self_consistency'"):
        Shelf([path])
    with pytest.raises(InputError, match=r"p\.yaml: .*did you mean 'self_consistency'"):
        PolicyRuntime.load(path)


def test_two_policies_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1\.yaml.*'p' is that of"):
        gateway(tmp_path, policy_file(VOTE), policy_file(BUCKETS))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_calls(tmp_path: Path, stream: bool) -> None:
    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model, keep_alive_s=0.01)
    body = {"model": "p", "messages": USER, "stream": stream}
    with served(gate.app) as base:
        with contextlib.suppress(httpx.TimeoutException), httpx.Client(timeout=0.2) as http:
            if stream:
                with http.stream("POST", f"{base}/v1/chat/completions", json=body) as reply:
                    next(reply.iter_raw())
            else:
                http.post(f"{base}/v1/chat/completions", json=body)
        while not model.cancelled:
            pass
        text = httpx.get(f"{base}/metrics").text
    assert 'tierwise_requests_total{policy="p",status="499"} 1.0' in text


def test_a_stop_answers_what_is_under_way(tmp_path: Path) -> None:
    import threading

    model = Slow()
    gate = gateway(tmp_path, policy_file(VOTE), model=model)
    got = []

    def ask(base: str) -> None:
        body = {"model": "p", "messages": USER}
        got.append(httpx.post(f"{base}/v1/chat/completions", json=body, timeout=30).status_code)

    with served(gate.app) as base:
        thread = threading.Thread(target=ask, args=(base,))
        thread.start()
        while not model.waiting:
            pass
        threading.Timer(0.1, lambda: setattr(model, "released", True)).start()
    thread.join()
    assert got == [200]
