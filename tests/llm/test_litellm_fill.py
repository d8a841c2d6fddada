"""The pool filled over real HTTP: its bill is the server's, and samples do not depend on
grouping."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import KEY
from tests.llm.test_litellm_samples import opened, tier
from tests.loopback import Fault, Loopback
from tierwise.llm import Request
from tierwise.llm.models import address_of
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.schema import Message, Tier

pytestmark = pytest.mark.timeout(60)


def needs(of: Tier, samples: int = 5) -> list[Need]:
    params = {"max_tokens": 20, "temperature": 0.5}
    asked = [(Message("user", f"item {i} and so on"),) for i in range(30)]
    return [Need(Request(of.model, m, params, address_of(of)), samples) for m in asked]


def samples(pool: SamplePool, of: Tier) -> list[tuple[object, ...]]:
    return [row[:3] for row in pool.samples([n.request.key for n in needs(of)], 0, 5)]


def test_calls_tokens_and_dollars_are_those_that_the_server_counted(
    loopback: Loopback, tmp_path: Path
) -> None:
    stored = []
    for takes_n in (True, False):
        loopback.takes_n = takes_n
        before = loopback.calls, loopback.prompt_tokens, loopback.completion_tokens
        of = tier(takes_n=takes_n)
        with opened(of) as model, SamplePool.open(tmp_path / f"{takes_n}.sqlite") as pool:
            filled = fill(pool, model, of, needs(of), Account("", 3))
            stored.append(samples(pool, of))
        calls, prompt, completion = (
            loopback.calls - before[0],
            loopback.prompt_tokens - before[1],
            loopback.completion_tokens - before[2],
        )
        assert (filled.usage.samples, filled.failures, filled.usage.calls) == (150, 0, calls)
        assert filled.usage.tokens == prompt + completion
        assert filled.usage.usd == pytest.approx((1.0 * prompt + 2.0 * completion) * 1e-6)
        assert calls == (30 if takes_n else 150)
    assert stored[0] == stored[1]
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert len(stored[0]) == 150


def test_a_sample_that_failed_is_a_row_and_never_a_score(
    loopback: Loopback, tmp_path: Path
) -> None:
    refusal = {"message": "no", "code": "content_policy_violation"}
    loopback.fault = lambda n: Fault("status", 400, error=refusal) if n % 10 == 3 else None
    of = tier()
    with opened(of) as model, SamplePool.open(tmp_path / "pool.sqlite") as pool:
        filled = fill(pool, model, of, needs(of), Account("", 3))
        assert (filled.failures, filled.usage.samples) == (15, 135)
        assert len(samples(pool, of)) == 135
    assert filled.usage.tokens == loopback.prompt_tokens + loopback.completion_tokens
