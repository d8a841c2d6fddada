"""Limits queue, and hold over every minute; on a clock that jumps to what happens next."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import pytest

from tests.llm.test_litellm_samples import call, opened, texts, tier
from tests.loopback import Loopback
from tierwise.llm import Request
from tierwise.llm.limits import RateLimiter, prompt_tokens_bound
from tierwise.schema import Message

T = TypeVar("T")


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock hardly moves while it works and jumps while it would wait."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self._now


class _Jump(selectors.DefaultSelector):  # type: ignore[valid-type, misc]  # a class by platform
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop._now += max(
            timeout or 0.0, 1e-9
        )  # a clock that stood still would never round up
        return super().select(0)  # type: ignore[no-any-return]  # of that class by platform


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)


async def departures(
    limits: Mapping[str, float], sizes: list[int], takes_s: float = 1.0
) -> list[tuple[float, int]]:
    """(time, tokens) at which each call goes out, in order, when all come at time 0."""
    gate, out = RateLimiter(limits), list[tuple[float, int]]()

    async def one(tokens: int) -> None:
        async with gate.slot(tokens):
            out.append((asyncio.get_running_loop().time(), tokens))
            await asyncio.sleep(takes_s)

    await asyncio.gather(*map(one, sizes))
    return out


def worst_minute(out: list[tuple[float, int]]) -> tuple[int, int]:
    """Most calls, and most tokens, that went out in any 60 s."""
    starts = [t for t, _ in out]
    windows = [[n for t, n in out if s <= t < s + 60 - 1e-6] for s in starts]
    return max(map(len, windows)), max(map(sum, windows))


@pytest.mark.parametrize("rpm", [1, 3, 9, 10, 60, 500, 0.5])
def test_no_minute_has_more_calls_than_rpm(rpm: float) -> None:
    out = run(departures({"rpm": rpm, "concurrency": 10**6}, [1] * max(5, int(4 * rpm))))
    most, _ = worst_minute(out)
    assert 0.85 * rpm <= most <= max(1, rpm)  # kept, and made use of
    assert len(out) == max(5, int(4 * rpm))  # all were let out in the end


@pytest.mark.parametrize("sizes", [[50] * 400, [1, 700, 20, 3000] * 20])
def test_no_minute_has_more_tokens_than_tpm_but_for_the_call_that_straddles_it(
    sizes: list[int],
) -> None:
    out = run(departures({"tpm": 2000, "concurrency": 10**6}, sizes))
    _, most = worst_minute(out)
    assert most <= 2000 + max(sizes)
    assert len(out) == len(sizes)
    assert out[-1][0] <= sum(sizes) / (0.9 * 2000 / 60) + 1  # and no slower than it must


def test_calls_go_out_in_the_order_in_which_they_came() -> None:
    sizes = [300, 1, 200, 2, 100]
    out = run(departures({"tpm": 100, "rpm": 30}, sizes))
    assert [n for _, n in out] == sizes


def test_concurrency_is_what_is_open_at_one_time() -> None:
    out = run(departures({"concurrency": 4}, [1] * 12, takes_s=10))
    assert [t for t, _ in out] == pytest.approx([0] * 4 + [10] * 4 + [20] * 4, abs=1e-3)


def test_a_pause_holds_all_that_is_not_out_yet() -> None:
    async def scene() -> list[float]:
        gate, out = RateLimiter({"concurrency": 8}), list[float]()
        gate.pause(30)
        gate.pause(5)  # the longer one stays

        async def one() -> None:
            async with gate.slot(1):
                out.append(asyncio.get_running_loop().time())

        await asyncio.gather(*(one() for _ in range(3)))
        return out

    assert run(scene()) == pytest.approx([30, 30, 30], abs=1e-3)


def test_the_bound_on_prompt_tokens_counts_bytes() -> None:
    assert prompt_tokens_bound(Request("m", (Message("user", "äöü"),), {})) >= 6


@pytest.mark.parametrize("takes_n", [True, False])
def test_the_server_never_sees_more_calls_at_once_than_allowed(
    loopback: Loopback, takes_n: bool
) -> None:
    loopback.delay_s = 0.005
    with opened(tier(takes_n=takes_n, limits={"concurrency": 3})) as model:
        chunks = [[call(4, text=f"item {i}") for i in range(5)] for _ in range(4)]
        answers = list(model.complete(chunks))
    assert loopback.peak == 3
    assert loopback.calls == (20 if takes_n else 80)
    assert all(len(texts(results)) == 4 for chunk in answers for results in chunk)


def test_a_tier_with_rates_gets_all_its_answers(loopback: Loopback) -> None:
    limits = {"rpm": 60_000, "tpm": 6_000_000, "concurrency": 8}
    with opened(tier(limits=limits)) as model:
        [answers] = model.complete([[call(text=f"item {i}") for i in range(40)]])
    assert len(answers) == loopback.answered == 40
