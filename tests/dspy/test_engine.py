from __future__ import annotations

import asyncio

import pytest
from dspy.utils.exceptions import LMProviderError

import dspy
from tierwise.dspy import EmbeddedAdapter, tier_lm
from tierwise.errors import InputError
from tierwise.llm import Completion, Failure, Request, Result
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Price, Tier

TIER = Tier(
    "t",
    "embedded/small",
    Price(1.0, 2.0),
    {"direct": {"max_tokens": 9, "reasoning_effort": "none"}, "wordy": {"suffix": "!"}},
)


def counted(seen: list[Request]) -> ScriptedModel:
    def script(request: Request, seed: int) -> Result:
        seen.append(request)
        return Completion(f"answer : {len(seen)}", 10, 5)

    return ScriptedModel(script)


def test_a_predictor_runs_on_an_embedded_tier() -> None:
    lm = tier_lm("embedded/small", "think", temperature=0.3)
    with dspy.context(lm=lm, adapter=EmbeddedAdapter()):
        assert dspy.Predict("question -> answer")(question="3 + 4").answer == "7"
        thought = dspy.ChainOfThought("question -> answer")(question="2 + 2")
    assert thought.answer == "4"
    assert "4" in thought.reasoning.split()  # the model chooses how it works
    lm.engine.close()


def test_a_request_is_what_the_mode_sends_and_the_call_overrides() -> None:
    seen: list[Request] = []
    lm = tier_lm(TIER, model=counted(seen), cache=False)
    with dspy.context(lm=lm, adapter=EmbeddedAdapter()):
        predict = dspy.Predict("question -> answer")
        predict(question="1 + 1")
        predict(question="1 + 1", config={"temperature": 0.5, "max_tokens": 30})
    assert dict(seen[0].params) == {"max_tokens": 9, "reasoning_effort": "none"}
    assert dict(seen[1].params) == {
        "max_tokens": 30,
        "reasoning_effort": "none",
        "temperature": 0.5,
    }
    assert [m.role for m in seen[0].messages] == ["system", "user"]


def test_the_same_request_again_is_its_next_sample_unless_dspy_has_it_cached() -> None:
    lm = tier_lm("embedded/small", "think", temperature=1.5, cache=False)
    texts = [lm("9 + 8 + 7 - 3 + 2")[0] for _ in range(6)]
    again = tier_lm("embedded/small", "think", temperature=1.5, cache=False)
    assert [again("9 + 8 + 7 - 3 + 2")[0] for _ in range(6)] == texts
    assert len(set(texts)) > 1
    cached = tier_lm("embedded/small", "think", temperature=1.5)
    assert len({cached("9 + 8 + 7 - 3 + 2")[0] for _ in range(6)}) == 1
    assert cached.engine.calls == 1
    for used in (lm, again, cached):
        used.engine.close()


def test_modes_do_not_share_answers_in_dspys_cache() -> None:
    direct, think = tier_lm("embedded/small", "direct"), tier_lm("embedded/small", "think")
    assert direct("3 + 4")[0].startswith("answer")
    assert think("3 + 4")[0].startswith("work")
    direct.engine.close()
    think.engine.close()


def test_usage_and_the_bill_are_those_of_the_model() -> None:
    lm = tier_lm(TIER, model=counted([]))
    lm("1 + 1")
    lm("1 + 1")
    assert lm.history[0]["usage"]["prompt_tokens"] == 10
    assert lm.history[0]["usage"]["completion_tokens"] == 5
    assert lm.engine.calls == 1
    assert lm.engine.usd == pytest.approx((10 * 1 + 5 * 2) / 1e6)


def test_a_failure_is_dspys_error_and_is_not_asked_again() -> None:
    model = ScriptedModel(lambda request, seed: Failure("context_window", "too long"))
    lm = tier_lm(TIER, model=model, cache=False)
    with pytest.raises(LMProviderError, match="context_window: too long"):
        lm("1 + 1")
    assert model.calls == 1


async def test_it_works_within_a_running_loop_and_as_a_coroutine() -> None:
    lm = tier_lm(TIER, model=counted([]), cache=False)
    assert lm("1 + 1") == ["answer : 1"]
    assert await lm.acall("1 + 1") == ["answer : 2"]
    assert await asyncio.gather(lm.acall("1 + 2")) == [["answer : 3"]]


def test_an_lm_is_saved_and_loaded_by_dspy() -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(tier_lm("embedded/small", "think", temperature=0.3, seed=4))
    other = dspy.Predict("question -> answer")
    other.load_state(program.dump_state(), allow_unsafe_lm_state=True)
    assert other.lm.engine.dump_state() == program.lm.engine.dump_state()
    with dspy.context(adapter=EmbeddedAdapter()):
        assert other(question="3 + 4").answer == "7"
    other.lm.engine.close()


def test_a_mode_that_changes_the_message_cannot_be_an_lm() -> None:
    with pytest.raises(InputError, match="adds words to the last message"):
        tier_lm(TIER, "wordy")
