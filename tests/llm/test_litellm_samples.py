"""Samples over real HTTP: the same however they are grouped, with the bill that the server
wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.loopback import Loopback, Said
from tierwise.llm import Call, Completion, Request, Result, base_seed
from tierwise.llm.provider import ProviderModel
from tierwise.schema import Message, Price, Tier

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("sender")]


def tier(**changes: object) -> Tier:
    settings: dict[str, object] = {
        "name": "small",
        "model": "openai/test-model",
        "price": Price(1.0, 2.0),
        "modes": {"direct": {"max_tokens": 20}},
    }
    return Tier(**{**settings, **changes})  # type: ignore[arg-type]  # a table of settings


@contextmanager
def opened(of: Tier) -> Iterator[ProviderModel]:
    model = ProviderModel(of)
    try:
        yield model
    finally:
        model.close()


def call(n: int = 1, first: int = 0, text: str = "two plus two", **params: object) -> Call:
    request = Request(
        "openai/test-model",
        (Message("user", text),),
        {"max_tokens": 20, "temperature": 0.5, **params},
    )
    return Call(request, first, n, base_seed(0, request) + first)


def texts(results: Sequence[Result]) -> list[str]:
    assert all(isinstance(r, Completion) for r in results), results
    return [r.text for r in results if isinstance(r, Completion)]


def test_samples_are_the_same_from_one_call_from_many_and_in_two_halves(loopback: Loopback) -> None:
    with opened(tier()) as model:
        [[together]] = model.complete([[call(6)]])
        assert loopback.calls == 1
        [[first], [second]] = model.complete([[call(2)], [call(4, first=2)]])
    with opened(tier(takes_n=False)) as model:
        loopback.takes_n = False
        [[single]] = model.complete([[call(6)]])
        assert loopback.calls == 3 + 6
    assert texts(together) == texts(single) == texts(first) + texts(second)
    assert len(set(texts(together))) > 1  # the server's answers do differ by seed


def test_answers_come_in_the_order_of_the_calls(loopback: Loopback) -> None:
    loopback.speak = lambda messages, seed, body: Said(messages[-1]["content"])
    chunks = [[call(text=f"item {i} {j}") for j in range(3)] for i in range(12)]
    with opened(tier()) as model:
        answers = list(model.complete(chunks))
    said = [[texts(results) for results in chunk] for chunk in answers]
    assert said == [[[f"item {i} {j}"] for j in range(3)] for i in range(12)]


def test_the_bill_of_a_call_is_interleaved_over_its_choices_to_the_last_token(
    loopback: Loopback,
) -> None:
    loopback.cached_tokens = 2
    loopback.speak = lambda messages, seed, body: Said("A: 4", "hm " * (1 + seed % 3), (-0.5, -1.5))
    with opened(tier(logprobs=True)) as model:
        [[results]] = model.complete([[call(5)]])
    done = [r for r in results if isinstance(r, Completion)]
    assert sum(r.completion_tokens for r in done) == loopback.completion_tokens
    assert [r.reasoning_tokens for r in done] == [
        1 + (base_seed(0, call(5).request) + j) % 3 for j in range(5)
    ]
    assert {(r.prompt_tokens, r.cached_tokens) for r in done} == {(loopback.prompt_tokens, 2)}
    assert {(r.mean_logprob, r.min_logprob) for r in done} == {(-1.0, -1.5)}
    assert all(r.latency_s > 0 for r in done)


def test_a_fan_out_bills_the_prompt_of_each_call(loopback: Loopback) -> None:
    with opened(tier(takes_n=False)) as model:
        [[results]] = model.complete([[call(4)]])
    done = [r for r in results if isinstance(r, Completion)]
    assert sum(r.prompt_tokens for r in done) == loopback.prompt_tokens == 4 * 3
    assert sum(r.completion_tokens for r in done) == loopback.completion_tokens


def test_log_probabilities_are_asked_for_only_where_the_tier_says_so(loopback: Loopback) -> None:
    loopback.speak = lambda messages, seed, body: Said("A: 4", logprobs=(-0.5, -1.5))
    with opened(tier()) as model:
        [[[result]]] = model.complete([[call()]])
    assert isinstance(result, Completion)
    assert result.mean_logprob is None
    assert "logprobs" not in loopback.bodies[0]


def test_what_the_recipe_says_is_what_is_sent(loopback: Loopback) -> None:
    sent = call(3, reasoning_effort="low")
    with opened(tier()) as model:
        list(model.complete([[sent]]))
    [body] = loopback.bodies
    assert body == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "two plus two"}],
        "max_tokens": 20,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "n": 3,
        "seed": sent.seed,
    }


def test_a_cut_by_the_cap_is_a_completion_that_says_so(loopback: Loopback) -> None:
    loopback.speak = lambda messages, seed, body: Said("", "hm hm", finish_reason="length")
    with opened(tier()) as model:
        [[[result]]] = model.complete([[call()]])
    assert isinstance(result, Completion)
    assert (result.text, result.finish_reason, result.completion_tokens) == ("", "length", 2)


async def test_a_live_call_gives_the_samples_of_the_pool(loopback: Loopback) -> None:
    with opened(tier()) as model:
        live = await model.answer(call(3))
        [[stored]] = model.complete([[call(3)]])
    assert texts(live) == texts(stored)


def test_two_models_share_the_loop_and_one_may_close_first(loopback: Loopback) -> None:
    with opened(tier()) as first:
        with opened(tier(name="other")) as second:
            list(second.complete([[call()]]))
        [[results]] = first.complete([[call(2)]])
    assert len(texts(results)) == 2
    with pytest.raises(RuntimeError, match="closed"):
        list(first.complete([[call()]]))


def test_an_abandoned_fill_ends_at_once(loopback: Loopback) -> None:
    loopback.delay_s = 0.02
    with opened(tier(limits={"concurrency": 2})) as model:
        answers = model.complete([call(text=f"item {i}")] for i in range(500))
        next(answers)
        answers.close()  # type: ignore[attr-defined]  # it is a generator
    assert loopback.calls < 200
