"""The runtime as a library: calls, limits, failures and what an answer says."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.worlds import (
    ANSWER,
    LARGE,
    PROMPTS,
    SEED,
    SMALL,
    TURNS,
    VARIANTS,
    Recorded,
    policy_file,
    random_policy,
)
from tierwise.errors import InputError, ProviderError
from tierwise.evaluation import replay_item
from tierwise.llm import Completion, Failure, base_seed, build_request
from tierwise.llm.scripted import ScriptedModel, answering, failing
from tierwise.pool import Account, Need, SamplePool, TableOptions, fill, load
from tierwise.schema import Difficulty, Limits, Policy, Probe, Recipe, StrategySpec, uniform
from tierwise.serving import PolicyRuntime
from tierwise.serving.runtime import ReopeningModel
from tierwise.tasks import AnswerSpec, Item, Task

PORTFOLIO = Policy(
    (Recipe((VARIANTS[0], VARIANTS[3]), StrategySpec.of("self_consistency", samples=5)),)
)


def said(text: str, latency_s: float = 0.0):
    return lambda request, seed: Completion(text, 10, 2, latency_s=latency_s)


class Asked(ScriptedModel):
    """Keeps its calls; waits for ever where ``hangs(call)``, and counts those cancelled."""

    def __init__(self, script=None, hangs=lambda call: False) -> None:
        super().__init__(script or said("A: 1"))
        self.asked, self.cancelled, self.hangs = [], 0, hangs

    async def answer(self, call):
        self.asked.append(call)
        if self.hangs(call):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return await super().answer(call)


async def test_a_round_is_one_call_an_variant_where_the_tier_takes_n() -> None:
    small, large = Asked(), Asked()
    runtime = PolicyRuntime(policy_file(PORTFOLIO), {"small": small, "large": large}, seed=3)
    answer = await runtime.answer(question="q")
    [call] = small.asked
    request = build_request(SMALL, PROMPTS["plain"], VARIANTS[0], {"question": "q"})
    assert call == (request, 0, 3, base_seed(3, request))
    # The large tier takes no n: a call a sample, which may arrive alone, with the same seeds.
    other = base_seed(3, build_request(LARGE, PROMPTS["plain"], VARIANTS[3], {"question": "q"}))
    assert [(c.first_sample, c.n, c.seed) for c in large.asked] == [
        (0, 1, other),
        (1, 1, other + 1),
    ]
    assert (answer.samples, answer.rounds, answer.calls) == (5, 1, 3)
    assert answer.prompt_tokens == 10 + 2 * 10
    assert [d.variant for d in answer.trace] == [
        a.label for a in (VARIANTS[0], VARIANTS[3]) * 2 + VARIANTS[:1]
    ]


async def test_a_seed_of_the_request_replaces_that_of_the_runtime() -> None:
    model = Asked()
    runtime = PolicyRuntime(
        policy_file(uniform(VARIANTS[0], StrategySpec.of("single"))), model, seed=1
    )
    await runtime.answer(question="q")
    await runtime.answer(question="q", seed=2)
    request = model.asked[0].request
    assert [c.seed for c in model.asked] == [base_seed(1, request), base_seed(2, request)]


@pytest.mark.parametrize("number", range(0, 280, 5))
async def test_the_trace_adds_up_to_the_bill(number: int) -> None:
    recorded = Recorded.random(1, n_items=1)
    runtime = PolicyRuntime(policy_file(random_policy(number)), recorded.models(), seed=SEED)
    answer = await runtime.answer(question=recorded.questions[0])
    assert sum(d.usd for d in answer.trace) == pytest.approx(answer.usd, rel=1e-12)
    assert sum(d.prompt_tokens for d in answer.trace) == answer.prompt_tokens
    assert sum(d.completion_tokens for d in answer.trace) == answer.completion_tokens
    assert json.loads(json.dumps(answer.as_dict()))["samples"] == len(answer.trace)


async def test_what_arrived_before_the_timeout_votes() -> None:
    large = Asked(hangs=lambda call: call.first_sample == 1)
    policy = Policy(PORTFOLIO.buckets, limits=Limits(timeout_s=0.05))
    runtime = PolicyRuntime(policy_file(policy), {"small": Asked(said("A: 2")), "large": large})
    answer = await runtime.answer(question="q")
    assert (answer.answer, answer.ended, answer.samples) == ("2", "timeout", 5)
    assert [d.error is None for d in answer.trace] == [True, True, True, False, True]
    assert "timeout" in answer.error
    assert large.cancelled == 1


async def test_fail_on_error_gives_no_answer_but_the_bill() -> None:
    policy = Policy(PORTFOLIO.buckets, limits=Limits(on_error="fail"))
    broken = Asked(lambda request, seed: Failure("server_error", "no"))
    runtime = PolicyRuntime(policy_file(policy), {"small": Asked(), "large": broken})
    answer = await runtime.answer(question="q")
    assert answer.failed
    assert answer.text == ""
    assert answer.usd > 0
    assert answer.error == "server_error: no"


async def test_a_provider_that_failed_for_good_fails_its_samples_only() -> None:
    class Gone(Asked):
        async def answer(self, call):
            raise ProviderError("wrong key")

    runtime = PolicyRuntime(policy_file(PORTFOLIO), {"small": Asked(), "large": Gone()})
    answer = await runtime.answer(question="q")
    assert answer.answer == "1"
    assert answer.error == "ProviderError: wrong key"


async def test_too_few_samples_from_a_call_are_failures() -> None:
    class Short(Asked):
        async def answer(self, call):
            return (await super().answer(call))[:1]

    vote = uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=3))
    answer = await PolicyRuntime(policy_file(vote), Short()).answer(question="q")
    assert [d.error is None for d in answer.trace] == [True, False, False]


async def test_a_cancelled_request_cancels_its_calls() -> None:
    model = Asked(hangs=lambda call: True)
    task = asyncio.create_task(
        PolicyRuntime(policy_file(PORTFOLIO), {"small": model, "large": model}).answer(question="q")
    )
    while len(model.asked) < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert model.cancelled == 3


async def test_a_call_that_will_not_stop_does_not_hold_the_request() -> None:
    release = asyncio.Event()

    class Deaf(Asked):
        async def answer(self, call):
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue
            return []

    policy = Policy(
        (Recipe(VARIANTS[:1], StrategySpec.of("single")),), limits=Limits(timeout_s=0.02)
    )
    answer = await PolicyRuntime(policy_file(policy), Deaf()).answer(question="q")
    assert answer.failed
    release.set()


async def test_a_probe_that_ends_the_request_is_what_arrived() -> None:
    policy = Policy(
        (Recipe((VARIANTS[1],), StrategySpec.of("single")),),
        Difficulty("probe_agreement", (), Probe(VARIANTS[:1], 2)),
        Limits(max_samples=2),
    )
    answer = await PolicyRuntime(policy_file(policy), Asked(said("A: 4"))).answer(question="q")
    assert (answer.answer, answer.samples, answer.ended) == ("4", 2, "max_samples")


def test_extracted_answers_are_returned_where_there_is_one() -> None:
    spec = AnswerSpec(ANSWER.regex, "last", "none", "extracted")
    single = uniform(VARIANTS[0], StrategySpec.of("single"))
    file = policy_file(single)
    object.__setattr__(file, "answer", spec)
    assert PolicyRuntime(file, Asked(said("So A: 3."))).answer_sync(question="q").text == "3"
    assert PolicyRuntime(file, Asked(said("dunno"))).answer_sync(question="q").text == "dunno"


async def test_the_sync_twin_works_inside_a_running_loop() -> None:
    runtime = PolicyRuntime(policy_file(uniform(VARIANTS[0], StrategySpec.of("single"))), Asked())
    assert runtime.answer_sync({"question": "q"}).text == "A: 1"


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({}, "'question' is missing"),
        ({"question": "q", "hint": "h"}, "unknown input 'hint'"),
        ({"question": 3}, "must be text"),
    ],
)
def test_inputs_are_checked(inputs: dict, says: str) -> None:
    model = Asked()
    runtime = PolicyRuntime(policy_file(uniform(VARIANTS[0], StrategySpec.of("single"))), model)
    with pytest.raises(InputError, match=says):
        runtime.answer_sync(inputs)
    assert model.asked == []


def test_a_signal_that_needs_a_probe_must_have_one() -> None:
    policy = Policy(
        (Recipe(VARIANTS[:1], StrategySpec.of("single")),) * 2,
        Difficulty("probe_agreement", (0.5,)),
    )
    with pytest.raises(InputError, match="needs a probe"):
        PolicyRuntime(policy_file(policy), Asked())


def test_a_policy_of_recorded_samples_is_not_served() -> None:
    file = policy_file(uniform(VARIANTS[0], StrategySpec.of("single")), deployable=False)
    with pytest.raises(InputError, match="deployable: false"):
        PolicyRuntime(file)
    PolicyRuntime(file, Asked())  # replaying it on a model of one's own is fine


async def test_a_model_that_failed_for_good_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = [], []

    class Flaky(Asked):
        address = "there"

        async def answer(self, call):
            if len(opened) == 1:
                raise ProviderError("no quota")
            return await super().answer(call)

        def close(self) -> None:
            closed.append(self)

    def open_model(tier, **_):
        opened.append(Flaky())
        return opened[-1]

    monkeypatch.setattr("tierwise.serving.runtime.open_model", open_model)
    model = ReopeningModel(SMALL, pause_s=3600)
    single = policy_file(uniform(VARIANTS[0], StrategySpec.of("single")))
    runtime = PolicyRuntime(single, model)
    assert (await runtime.answer(question="q")).failed
    assert model.fault == "no quota"
    assert (await runtime.answer(question="q")).failed
    assert len(opened) == 1, "nothing is tried again during the pause"
    model._again_at_s = 0.0
    answer = await runtime.answer(question="q")
    assert answer.text == "A: 1"
    assert opened[1].asked[0].request.address == "there"
    assert (model.fault, closed) == (None, opened[:1])


def says(request) -> dict[str, float]:
    """What is asked before an answer gets a reply of its own kind."""
    replies = {"rate": {"5": 0.3, "2": 0.5, "hm": 0.2}, "ask": {"yes": 0.5, "no": 0.3, "hm": 0.2}}
    answers = {"A: 24": 0.4, "Hm, A: 2": 0.3, "no": 0.3}
    return replies.get(request.messages[0].content, answers)


@pytest.mark.parametrize("number", range(0, 280, 11))
async def test_a_pool_that_was_bought_says_what_the_runtime_does(number: int, tmp_path) -> None:
    """The whole way: bought with a seed, read as a table, replayed; then asked live with it."""
    policy = random_policy(number)
    script = answering(says)
    items = [Item(str(i), {"question": f"24 {chr(97 + i)} " + "word " * i}, "1") for i in range(4)]
    task = Task("t", 1, ("question",), tuple(items), ANSWER, verifiers=("game24",))
    tiers = {None: SMALL, "large": LARGE}
    requests = {
        variant: [
            build_request(tiers[variant.tier], PROMPTS[variant.prompt], variant, i.inputs)
            for i in items
        ]
        for variant in policy.variants
    }
    depth = dict.fromkeys(policy.variants, 14)
    with SamplePool.open(tmp_path / "pool.sqlite") as pool:
        for variant, asked in requests.items():
            needs = [Need(request, 14) for request in asked]
            fill(pool, ScriptedModel(script), tiers[variant.tier], needs, Account("", SEED))
        table = load(
            pool,
            task,
            SMALL,
            items,
            requests,
            depth,
            TableOptions(
                others={"large": LARGE},
                turns={variant: TURNS[variant.prompt] for variant in policy.variants},
            ),
        )
    model = ScriptedModel(script)
    runtime = PolicyRuntime(policy_file(policy), {"small": model, "large": model}, seed=SEED)
    for position, item in enumerate(items):
        expected = replay_item(policy, table, position)
        got = await runtime.answer(item.inputs)
        assert (got.usd, got.samples, got.rounds, got.ended, got.chosen) == (
            expected.usd,
            len(expected.samples),
            len(expected.rounds),
            expected.ended,
            expected.index,
        )


async def test_failing_samples_are_paid_for_by_nobody() -> None:
    vote = uniform(VARIANTS[0], StrategySpec.of("self_consistency", samples=9))
    model = ScriptedModel(failing(answering({"A: 1": 1.0}), 0.5))
    answer = await PolicyRuntime(policy_file(vote), model).answer(question="q")
    failed = [d for d in answer.trace if d.error]
    assert 0 < len(failed) < 9
    assert all(d.usd == 0 for d in failed)
    assert sum(d.usd for d in answer.trace) == pytest.approx(answer.usd)


def test_importing_serving_loads_nothing_of_the_search() -> None:
    code = (
        "import sys, tierwise.serving; not_here = 'optuna dspy pandas litellm starlette'; "
        "print(sorted(set(not_here.split()) & set(sys.modules)))"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"


def test_the_example_policy_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "examples" / "serving" / "arithmetic-small.yaml"
    with PolicyRuntime.load(path) as runtime:
        answer = runtime.answer_sync(question="6 + 3")
    assert answer.answer == "9"
    assert answer.ended == "answered"
