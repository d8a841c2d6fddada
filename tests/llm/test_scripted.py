from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tierwise.llm import Call, Completion, Failure, LanguageModel, Request
from tierwise.llm.scripted import ScriptedModel, answering, failing, hash_uniform
from tierwise.schema import Message

REQUEST = Request("scripted/x", (Message("user", "what is 1 + 1 ?"),), {"temperature": 0.5})
OTHER = Request("scripted/x", (Message("user", "what is 2 + 2 ?"),), {"temperature": 0.5})
SAY = answering({"A: 2": 0.7, "A: 3 or so": 0.3})


def answers(model, chunks):
    return list(model.complete(chunks))


def test_it_is_a_language_model():
    assert isinstance(ScriptedModel(SAY), LanguageModel)


def test_a_sample_is_the_same_in_any_call_and_live():
    whole = answers(ScriptedModel(SAY), [[Call(REQUEST, 0, 20, 100)]])[0][0]
    parts = answers(ScriptedModel(SAY), [[Call(REQUEST, k, 1, 100 + k)] for k in range(20)])
    live = asyncio.run(ScriptedModel(SAY).answer(Call(REQUEST, 0, 20, 100)))
    assert whole == [part[0][0] for part in parts] == live
    assert len({c.text for c in whole}) == 2


def test_probabilities_are_met_and_samples_of_two_requests_are_independent():
    n = 20_000
    first, second = (
        [r.text for r in answers(ScriptedModel(SAY), [[Call(request, 0, n, 0)]])[0][0]]
        for request in (REQUEST, OTHER)
    )
    counts = Counter(zip(first, second, strict=True))
    for a, p in (("A: 2", 0.7), ("A: 3 or so", 0.3)):
        for b, q in (("A: 2", 0.7), ("A: 3 or so", 0.3)):
            assert counts[a, b] / n == pytest.approx(p * q, abs=0.02)


def test_probabilities_may_depend_on_the_request_and_tokens_are_words():
    script = answering(lambda request: {request.messages[0].content: 1.0})
    assert script(OTHER, 0) == Completion("what is 2 + 2 ?", 6, 6)


def test_injected_failures_take_their_share_and_leave_the_other_samples_as_they_were():
    n = 10_000
    plain = answers(ScriptedModel(SAY), [[Call(REQUEST, 0, n, 0)]])[0][0]
    flaky = answers(ScriptedModel(failing(SAY, 0.2, "Timeout")), [[Call(REQUEST, 0, n, 0)]])[0][0]
    failed = [isinstance(r, Failure) for r in flaky]
    assert sum(failed) / n == pytest.approx(0.2, abs=0.02)
    assert {r.error_class for r in flaky if isinstance(r, Failure)} == {"Timeout"}
    assert all(f or a == b for f, a, b in zip(failed, plain, flaky, strict=True))
    share = sum(r.text == "A: 2" for r, f in zip(plain, failed, strict=True) if f) / sum(failed)
    assert share == pytest.approx(0.7, abs=0.04)


def test_it_counts_calls_samples_and_what_is_open_at_a_time():
    model = ScriptedModel(SAY, ahead=3)
    taken = []

    def chunks():
        for k in range(5):
            taken.append(k)
            yield [Call(REQUEST, 2 * k, 2, 0), Call(OTHER, k, 1, 0)]

    stream = model.complete(chunks())
    next(stream)
    assert taken == [0, 1, 2]
    assert (model.calls, model.samples, model.peak) == (2, 3, 6)
    assert len(list(stream)) == 4
    assert (model.calls, model.samples, model.peak) == (10, 15, 6)


async def test_live_calls_overlap():
    model = ScriptedModel(SAY, delay_s=0.01)
    await asyncio.gather(*(model.answer(Call(REQUEST, k, 1, k)) for k in range(8)))
    assert (model.calls, model.peak) == (8, 8)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ScriptedModel(SAY, chunk=0)


def test_uniform_is_in_its_interval_and_of_the_sample_alone():
    values = [hash_uniform(REQUEST, seed) for seed in range(1000)]
    assert min(values) >= 0
    assert max(values) < 1
    assert values == [hash_uniform(REQUEST, seed) for seed in range(1000)]
    assert len(set(values)) == 1000
    assert hash_uniform(REQUEST, 1) != hash_uniform(REQUEST, 1, "salt") != hash_uniform(OTHER, 1)
