from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.llm import Call, Completion
from tierwise.llm.scripted import ScriptedModel, failing, hash_uniform
from tierwise.pool import Account, Need, SamplePool, fill
from tierwise.pool.calls import bill, worst_case
from tierwise.pool.store import Answered
from tierwise.schema import Usage, UsageLimits

from .conftest import World

WORLD = World()
WORST_CALL_TOKENS = len("0 + 0") + 8 + 10


def answer(request, seed):
    """As many tokens as the bound allows, at most; fewer as a rule."""
    u = hash_uniform(request, seed)
    return Completion("A: 1", round(u * 13), round(hash_uniform(request, seed, "c") * 10))


@settings(max_examples=40)
@given(
    n_samples=st.integers(1, 7),
    chunk=st.integers(1, 9),
    ahead=st.integers(1, 4),
    takes_n=st.booleans(),
    failures=st.sampled_from([0.0, 0.3]),
    usd=st.none() | st.floats(0, 6e-3),
    calls=st.none() | st.integers(0, 45),
    tokens=st.none() | st.integers(0, 900),
)
def test_caps_are_never_passed_and_never_left_unused(
    n_samples, chunk, ahead, takes_n, failures, usd, calls, tokens
):
    tier = replace(WORLD.tier, takes_n=takes_n)
    needs = [Need(r, n_samples) for r in WORLD.requests()]
    cap = UsageLimits(usd, calls, tokens)
    with tempfile.TemporaryDirectory() as folder, SamplePool.open(Path(folder) / "p") as pool:
        model = ScriptedModel(failing(answer, failures), chunk=chunk, ahead=ahead)
        filled = fill(pool, model, tier, needs, Account("r", 0, cap))
        again = fill(pool, model, tier, needs, Account("r", 0, cap))
        spent = pool.spent("r")
        stored = pool.counts("samples")
    assert filled.usage.usd == pytest.approx(spent.usd)
    assert replace(filled.usage, usd=spent.usd, seconds=spent.seconds) == spent
    assert usd is None or spent.usd <= usd + 1e-12
    assert calls is None or spent.calls <= calls
    assert tokens is None or spent.tokens <= tokens
    assert again == replace(filled, usage=Usage(), failures=0)
    assert stored == filled.usage.samples
    assert filled.complete == (filled.usage.samples + filled.failures == 6 * n_samples)
    assert filled.complete == (filled.short == "")
    if not filled.complete:  # the next chunk would not have fitted
        n = min(n_samples, chunk) if n_samples > chunk else n_samples * (chunk // n_samples)
        room = {
            "usd": (usd, spent.usd, n * WORST_CALL_TOKENS * 8e-6),
            "calls": (calls, spent.calls, n),
            "tokens": (tokens, spent.tokens, n * WORST_CALL_TOKENS),
        }
        most, used, largest_chunk = room[filled.short]
        assert used + largest_chunk > most


def test_the_end_of_a_budget_does_not_depend_on_how_much_is_in_flight(tmp_path):
    needs = [Need(r, 4) for r in WORLD.requests()]
    ends = []
    for ahead in (1, 2, 5):
        with SamplePool.open(tmp_path / f"{ahead}") as pool:
            model = ScriptedModel(answer, chunk=4, ahead=ahead)
            ends.append(
                fill(pool, model, WORLD.tier, needs, Account("", 0, UsageLimits(usd=0.9e-3)))
            )
    assert 0 < ends[0].usage.samples < 24
    assert ends[0] == ends[1] == ends[2]


def test_spending_of_an_interrupted_start_counts_at_its_worst(tmp_path):
    needs = [Need(WORLD.requests()[0], 5)]
    worst = worst_case([Call(needs[0].request, 0, 5, 0)], WORLD.tier)
    with SamplePool.open(tmp_path / "p") as pool:

        class Dies(ScriptedModel):
            def complete(self, chunks):
                next(iter(chunks))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fill(pool, Dies(answer), WORLD.tier, needs, Account("r", 0))
        assert pool.spent("r") == worst
    with SamplePool.open(tmp_path / "p") as pool:
        model = ScriptedModel(answer)
        tight = UsageLimits(usd=1.5 * worst.usd)
        assert fill(pool, model, WORLD.tier, needs, Account("r", 0, tight)).short == "usd"
        assert fill(pool, model, WORLD.tier, needs, Account("new", 0, tight)).complete


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=4), n=st.integers(1, 5))
def test_the_worst_case_bounds_a_tokenizer_that_takes_every_byte(texts, n):
    from tierwise.llm import Request
    from tierwise.schema import Message

    request = Request("m", tuple(Message("user", t) for t in texts), {"max_tokens": 9})
    call = Call(request, 0, n, 0)
    bytes_ = sum(len(t.encode()) + 8 for t in texts)
    real = bill([Answered(call, [Completion("", bytes_, 9)] * n)], WORLD.tier)
    worst = worst_case([call], WORLD.tier)
    assert real.usd == pytest.approx(worst.usd)
    assert (real.calls, real.tokens) == (worst.calls, worst.tokens)
