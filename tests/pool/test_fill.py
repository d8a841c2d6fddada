from __future__ import annotations

from dataclasses import replace

import pytest

from tierwise.errors import InputError, ProviderError, UnsupportedError
from tierwise.llm import Completion, Failure, Request, base_seed
from tierwise.llm.scripted import ScriptedModel, answering, failing
from tierwise.pool import Account, Need, fill, missing_calls
from tierwise.schema import Message, Usage, UsageLimits

SAY = answering({"A: 1": 0.5, "A: 2": 0.5})


class Recorder(ScriptedModel):
    """Keeps what it was asked for, chunk by chunk, as (item, first sample, n, seed)."""

    def __init__(self, script=SAY, **kw):
        super().__init__(script, **kw)
        self.chunks = []

    def complete(self, chunks):
        def kept():
            for chunk in chunks:
                self.chunks.append(
                    [(c.request.messages[-1].content, c.first_sample, c.n, c.seed) for c in chunk]
                )
                yield chunk

        return super().complete(kept())


def samples(model):
    return [
        (item, first + j) for chunk in model.chunks for item, first, n, _ in chunk for j in range(n)
    ]


def test_plan_names_only_what_is_missing(pool, world):
    a, b, c = world.requests()[:3]
    fill(
        pool, Recorder(), world.tier, [Need(a, 1), Need(a, 2, first=3), Need(c, 5)], Account("", 7)
    )
    needs = [Need(a, 7), Need(b, 2), Need(c, 5), Need(b, 3)]
    calls = missing_calls(pool, needs, seed=7)
    assert [(x.request, x.first_sample, x.n) for x in calls] == [(a, 1, 2), (a, 5, 2), (b, 0, 3)]
    assert all(x.seed == base_seed(7, x.request) + x.first_sample for x in calls)
    each = missing_calls(pool, needs, takes_n=False, seed=7)
    assert [(x.request, x.first_sample, x.n) for x in each] == [
        (r, d, 1) for r, d in [(a, 1), (a, 2), (a, 5), (a, 6), (b, 0), (b, 1), (b, 2)]
    ]


def test_a_fill_buys_what_is_missing_once_and_says_so(pool, world):
    needs = [Need(r, 3) for r in world.requests()]
    model = Recorder(chunk=4)
    first = fill(pool, model, world.tier, needs, Account("", 0))
    assert (first.usage.samples, first.failures, first.complete) == (18, 0, True)
    again = fill(pool, model, world.tier, needs, Account("", 0))
    assert (again.usage, again.complete) == (Usage(), True)
    deeper = fill(pool, model, world.tier, [Need(r, 5) for r in world.requests()], Account("", 0))
    assert deeper.usage.samples == 12
    assert len(samples(model)) == len(set(samples(model))) == 30


def test_the_bill_has_a_prompt_once_a_call_and_each_samples_tokens(pool, world):
    model = ScriptedModel(lambda request, seed: Completion("A: 1", 100, 10, cached_tokens=0))
    needs = [Need(world.requests()[0], 3)]
    together = fill(pool, model, world.tier, needs, Account("n", 0))
    assert (together.usage.calls, together.usage.tokens) == (1, 130)
    assert together.usage.usd == pytest.approx((100 * 2 + 30 * 8) / 1e6)
    tier = replace(world.tier, takes_n=False, model="scripted/one")
    apart = fill(pool, model, tier, [Need(world.requests(0, tier)[0], 3)], Account("each", 0))
    assert (apart.usage.calls, apart.usage.tokens) == (3, 330)
    assert apart.usage.usd == pytest.approx(3 * (100 * 2 + 10 * 8) / 1e6)
    assert pool.spent("each") == apart.usage


def test_a_request_is_cut_into_two_calls_only_where_it_alone_is_larger_than_a_chunk(pool, world):
    model = Recorder(chunk=5)
    a, b, c = world.requests()[:3]
    fill(pool, model, world.tier, [Need(a, 3), Need(b, 3), Need(c, 12)], Account("", 0))
    sizes = [[(item, n) for item, _, n, _ in chunk] for chunk in model.chunks]
    q = [r.messages[-1].content for r in (a, b, c)]
    assert sizes == [[(q[0], 3)], [(q[1], 3)], [(q[2], 5)], [(q[2], 5)], [(q[2], 2)]]


@pytest.mark.parametrize("stored_before_the_interruption", range(6))
def test_an_interrupted_fill_goes_on_with_the_chunks_of_the_uninterrupted_one(
    tmp_path, world, stored_before_the_interruption
):
    from tierwise.pool import SamplePool

    class InterruptedError_(BaseException):
        pass

    def interrupt(progress):
        nonlocal stored
        stored += 1
        if stored > stored_before_the_interruption:
            raise InterruptedError_

    requests = world.requests()
    before = [Need(requests[1], 2), Need(requests[4], 1, first=1)]
    needs = [Need(r, 3) for r in requests]
    with SamplePool.open(tmp_path / "whole") as pool:
        fill(pool, Recorder(chunk=7), world.tier, before, Account("", 0))
        whole = Recorder(chunk=4, ahead=2)
        fill(pool, whole, world.tier, needs, Account("", 0))
    with SamplePool.open(tmp_path / "parts") as pool:
        fill(pool, Recorder(chunk=7), world.tier, before, Account("", 0))
        stored, parts = 0, Recorder(chunk=4, ahead=2)
        try:
            fill(pool, parts, world.tier, needs, Account("", 0), progress=interrupt)
        except InterruptedError_:
            there = stored
            rest = Recorder(chunk=4, ahead=2)
            fill(pool, rest, world.tier, needs, Account("", 0))
            assert rest.chunks == whole.chunks[there:]
            assert parts.chunks[:there] == whole.chunks[:there]
        else:
            assert parts.chunks == whole.chunks


def test_a_sample_does_not_depend_on_how_calls_are_grouped(tmp_path, world):
    from tierwise.pool import SamplePool

    texts = []
    one_by_one = replace(world.tier, takes_n=False)
    for name, tier, chunk in [("a", world.tier, 100), ("b", one_by_one, 3)]:
        with SamplePool.open(tmp_path / name) as pool:
            fill(
                pool,
                ScriptedModel(SAY, chunk=chunk),
                tier,
                [Need(r, 4) for r in world.requests()],
                Account("", 3),
            )
            rows = pool.samples([r.key for r in world.requests()], 0, 4)
        texts.append([row[:3] for row in rows])
    assert len(texts[0]) == 24
    assert texts[0] == texts[1]


def test_failures_are_rows_counted_and_bought_again_by_a_later_run_only(pool, world):
    needs = [Need(r, 5) for r in world.requests()]
    flaky = Recorder(failing(SAY, 0.4, "Timeout"), chunk=8)
    first = fill(pool, flaky, world.tier, needs, Account("one", 0))
    assert first.complete
    assert 0 < first.failures == pool.counts("failures") < 30
    assert first.usage.samples + first.failures == 30
    healthy = Recorder()
    assert fill(pool, healthy, world.tier, needs, Account("one", 0)).usage.samples == 0
    assert fill(pool, None, world.tier, needs, Account("one", 0)).complete
    later = fill(pool, healthy, world.tier, needs, Account("two", 0))
    assert (later.usage.samples, later.failures) == (first.failures, 0)


def test_a_replay_buys_nothing_and_says_what_is_missing(pool, world):
    needs = [Need(r, 2) for r in world.requests()]
    fill(pool, Recorder(), world.tier, needs[:4], Account("", 0))
    assert fill(pool, None, world.tier, needs[:4], Account("", 0)).complete
    with pytest.raises(UnsupportedError, match=r"4 of 12 samples.*--resume"):
        fill(pool, None, world.tier, needs, Account("", 0))


def test_progress_counts_failures_as_done_and_ends_at_the_plan(pool, world):
    seen = []
    model = ScriptedModel(failing(SAY, 0.3), chunk=5)
    needs = [Need(r, 3) for r in world.requests()]
    filled = fill(pool, model, world.tier, needs, Account("", 0), progress=seen.append)
    assert [p.samples_planned for p in seen] == [18] * 6
    assert [p.samples_done for p in seen] == [3, 6, 9, 12, 15, 18]
    assert (seen[-1].calls, seen[-1].usd) == (filled.usage.calls, filled.usage.usd)


def test_no_chunk_is_sent_after_the_time_is_up(pool, world):
    model = Recorder(chunk=3)
    needs = [Need(r, 3) for r in world.requests()]
    filled = fill(pool, model, world.tier, needs, Account("", 0, UsageLimits(seconds=0.0)))
    assert (filled.complete, filled.short, model.chunks) == (False, "seconds", [])


def test_under_a_cap_chunks_are_small_whatever_the_model_takes(pool, world):
    needs = [Need(r, 200) for r in world.requests()]
    model = Recorder(chunk=4000)
    filled = fill(pool, model, world.tier, needs, Account("r", 0, UsageLimits(calls=3)))
    assert (filled.short, filled.usage.samples, len(model.chunks)) == ("calls", 600, 3)
    fill(pool, model, world.tier, needs, Account("r", 0))
    assert len(model.chunks) == 4, "without a cap the rest is one"


def test_a_budget_needs_a_worst_case(pool, world):
    request = Request("scripted/small", (Message("user", "?"),), {})
    with pytest.raises(InputError, match="max_tokens"):
        fill(pool, Recorder(), world.tier, [Need(request, 1)], Account("", 0, UsageLimits(usd=1.0)))
    assert fill(pool, Recorder(), world.tier, [Need(request, 1)], Account("", 0)).usage.samples == 1


@pytest.mark.parametrize(
    ("answers", "reason"), [([], "unanswered"), ([[[Failure("E", "m")]]], "answered with 1")]
)
def test_a_model_that_answers_too_little_is_found_out(pool, world, answers, reason):
    class Short(ScriptedModel):
        def complete(self, chunks):
            list(chunks)
            return iter(answers)

    with pytest.raises(ProviderError, match=reason):
        fill(pool, Short(SAY), world.tier, [Need(world.requests()[0], 2)], Account("", 0))
    assert pool.counts("samples") == 0
