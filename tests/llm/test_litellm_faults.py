"""Faults over real HTTP: what is waited out, what becomes a row, what ends the run."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.llm.test_litellm_samples import call, texts, tier
from tests.loopback import Fault, Loopback, hashed
from tierwise.errors import ProviderError
from tierwise.llm import Completion, Failure, Result
from tierwise.llm.limits import Retry
from tierwise.llm.provider import ProviderModel
from tierwise.schema import Tier

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("sender")]


class Waits(list[float]):
    """A sleep that takes no time, and the seconds that were asked of it."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@contextmanager
def opened(of: Tier | None = None, **retry: object) -> Iterator[tuple[ProviderModel, Waits]]:
    waits = Waits()
    model = ProviderModel(of or tier(), retry=Retry(sleep=waits, **retry))  # type: ignore[arg-type]  # settings
    try:
        yield model, waits
    finally:
        model.close()


def one(model: ProviderModel, **params: object) -> Result:
    [[[result]]] = model.complete([[call(**params)]])  # type: ignore[arg-type]  # settings
    return result


def script(server: Loopback, *faults: Fault | None) -> None:
    """These faults for the first calls, then none."""
    server.fault = lambda number: faults[number] if number < len(faults) else None


def test_a_rate_limit_is_waited_out_for_as_long_as_the_server_says(loopback: Loopback) -> None:
    script(loopback, *[Fault("status", 429, {"Retry-After": "0.02"})] * 2)
    with opened() as (model, waits):
        assert isinstance(one(model), Completion)
    assert waits == [0.02, 0.02]
    assert model.traffic.faults == {"rate_limit": 2}
    assert model.traffic.possibly_billed_calls == 0
    assert loopback.calls == model.traffic.attempts == 3


def test_a_rate_limit_holds_back_the_calls_that_wait_behind_it(loopback: Loopback) -> None:
    script(loopback, Fault("status", 429, {"Retry-After": "0.05"}))
    with opened(tier(limits={"concurrency": 1})) as (model, _):
        held: list[float] = []
        pause = model._gate.pause
        # The gate is watched, not replaced: what it was asked, and then it does it.
        model._gate.pause = lambda s: (held.append(s), pause(s))[1]  # type: ignore[method-assign]  # the pause is watched
        answers = list(model.complete([[call(text=f"item {i}") for i in range(3)]]))
    assert held == [0.05]
    assert len(answers[0]) == 3


def test_a_server_that_asks_for_an_hour_is_taken_at_its_word(loopback: Loopback) -> None:
    script(loopback, Fault("status", 429, {"Retry-After": "3600"}))
    with opened() as (model, waits):
        result = one(model)
        model._gate._resume_at_s = 0.0  # nobody waits for the test's next call
    assert isinstance(result, Failure)
    assert result.error_class == "rate_limit"
    assert (waits, loopback.calls) == ([], 1)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", 500), "server_error"),
        (Fault("status", 503), "server_error"),
        (Fault("truncated"), "malformed"),
        (Fault("html"), "malformed"),
        (Fault("empty"), "malformed"),
        (Fault("cut"), "connection"),
        (Fault("hang", seconds=5.0), "timeout"),
    ],
)
def test_what_passes_is_tried_again_and_may_have_been_billed(
    loopback: Loopback, fault: Fault, kind: str
) -> None:
    script(loopback, None, fault)
    patience_s = 0.4 if kind == "timeout" else 60.0  # a loaded machine answers late
    with opened(tier(limits={"timeout_s": patience_s})) as (model, waits):
        first = one(model, text="first")
        second = one(model, text="second")
        assert isinstance(first, Completion)
        assert isinstance(second, Completion)
    traffic = model.traffic
    assert (traffic.faults, len(waits), loopback.calls) == ({kind: 1}, 1, 3)
    billed = sum(r.completion_tokens for r in (first, second))
    lost = traffic.possibly_billed_completion_tokens
    assert traffic.possibly_billed_calls == 1
    assert billed <= loopback.completion_tokens <= billed + lost


def test_waits_grow_and_end(loopback: Loopback) -> None:
    loopback.fault = lambda number: Fault("status", 500)
    with opened(attempts=4, base_s=1.0, max_s=3.0) as (model, waits):
        result = one(model)
    assert isinstance(result, Failure)
    assert result.error_class == "server_error"
    assert loopback.calls == 4
    assert all(0 <= wait <= most for wait, most in zip(waits, (1, 2, 3), strict=True))


def test_a_failed_call_is_a_failure_of_each_of_its_samples(loopback: Loopback) -> None:
    script(loopback, None, *[Fault("status", 500)] * 2)
    with opened(attempts=2) as (model, _):
        [[good], [bad]] = [next(model.complete([[call(n)]])) for n in (1, 3)]
    assert isinstance(good[0], Completion)
    assert [type(r) for r in bad] == [Failure] * 3


@pytest.mark.parametrize(
    ("fault", "kind", "items"),
    [
        (Fault("status", 401), "auth", 3),
        (Fault("status", 403), "forbidden", 3),
        (Fault("status", 404, error={"message": "no such model"}), "not_found", 3),
        (Fault("status", 307, {"Location": "http://127.0.0.1:9/v1"}), "redirect", 3),
        (Fault("status", 402, error={"message": "Insufficient Balance"}), "quota", 1),
        (Fault("status", 429, error={"message": "You exceeded your current quota"}), "quota", 1),
        (Fault("status", 429, error={"message": "no", "code": "insufficient_quota"}), "quota", 1),
    ],
)
def test_what_no_retry_can_mend_ends_the_run_after_as_many_items_as_make_it_sure(
    loopback: Loopback, fault: Fault, kind: str, items: int
) -> None:
    loopback.fault = lambda number: fault
    with opened(tier(limits={"concurrency": 2})) as (model, waits):
        with pytest.raises(ProviderError, match=rf"openai/test-model: {kind}: "):
            list(model.complete([call(text=f"item {i}")] for i in range(50)))
        with pytest.raises(ProviderError):
            list(model.complete([[call()]]))
    assert waits == []
    assert loopback.calls <= items + 1  # one more was out when the last answer came


@pytest.mark.parametrize("status", [403, 404, 400, 422])
def test_after_a_good_answer_a_refusal_is_that_of_its_item(loopback: Loopback, status: int) -> None:
    loopback.fault = lambda number: Fault("status", status) if number % 3 == 1 else None
    with opened(tier(limits={"concurrency": 1})) as (model, waits):
        chunks = list(model.complete([call(text=f"item {i}")] for i in range(30)))
    kinds = [type(result) for [[result]] in chunks]
    assert kinds == [Failure if i % 3 == 1 else Completion for i in range(30)]
    assert waits == []


def test_three_refusals_at_the_beginning_do_not_end_the_run(loopback: Loopback) -> None:
    script(loopback, *[Fault("status", 400, error={"message": "odd request"})] * 3)
    with opened(tier(limits={"concurrency": 1})) as (model, _):
        chunks = list(model.complete([call(text=f"item {i}")] for i in range(5)))
    assert [type(result) for [[result]] in chunks] == [Failure] * 3 + [Completion] * 2


def test_a_wrong_key_that_turns_up_later_ends_the_run_too(loopback: Loopback) -> None:
    loopback.fault = lambda number: Fault("status", 401) if number >= 5 else None
    given_up = pytest.raises(ProviderError, match="auth")
    with opened(tier(limits={"concurrency": 1})) as (model, _), given_up:
        list(model.complete([call(text=f"item {i}")] for i in range(50)))
    assert loopback.calls == 8


def test_a_host_that_never_answers_ends_the_run(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with opened(attempts=3) as (model, waits), pytest.raises(ProviderError, match="connection"):
        list(model.complete([[call()]]))
    assert len(waits) == 2
    assert model.traffic.possibly_billed_calls == 0


def test_a_provider_that_only_fails_is_given_up(loopback: Loopback) -> None:
    loopback.fault = lambda number: Fault("status", 500)
    given_up = pytest.raises(ProviderError, match="server_error")
    with opened(tier(limits={"concurrency": 1}), attempts=1) as (model, _), given_up:
        list(model.complete([call(text=f"item {i}")] for i in range(200)))
    assert loopback.calls == 20


def test_with_a_fifth_of_calls_at_fault_every_sample_arrives_and_is_the_right_one(
    loopback: Loopback,
) -> None:
    kinds = itertools.cycle(
        [
            Fault("status", 429, {"Retry-After": "0.01"}),
            Fault("status", 500),
            Fault("truncated"),
            Fault("empty"),
            Fault("cut"),
        ]
    )
    loopback.fault = lambda number: next(kinds) if number % 5 == 2 else None
    with opened(tier(takes_n=False)) as (model, _):
        chunks = list(model.complete([call(2, text=f"item {i}")] for i in range(60)))
    for i, [results] in enumerate(chunks):
        asked = call(2, text=f"item {i}")
        messages = [{"role": "user", "content": f"item {i}"}]
        assert texts(results) == [hashed(messages, asked.seed + j, {}).text for j in (0, 1)]
    done = [r for [results] in chunks for r in results if isinstance(r, Completion)]
    confirmed = sum(r.completion_tokens for r in done)
    most = confirmed + model.traffic.possibly_billed_completion_tokens
    assert confirmed <= loopback.completion_tokens <= most
    assert loopback.calls == model.traffic.attempts


def test_the_key_appears_nowhere(
    loopback: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wrong = "sk-wrong-9876543210-secret"
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    caplog.set_level(logging.DEBUG)  # the libraries below speak too
    with opened() as (model, _):
        with pytest.raises(ProviderError) as caught:
            list(model.complete([[call(text=f"item {i}")] for i in range(3)]))
        shown = [repr(model), repr(model.traffic), str(model.address)]
    error: BaseException | None = caught.value
    while error is not None:
        shown += [repr(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    printed = capfd.readouterr()
    shown += [caplog.text, printed.out, printed.err]
    assert "Incorrect API key" in str(caught.value)  # the server repeated it, and was heard
    assert not [text for text in shown if wrong in text or "9876543210" in text]
