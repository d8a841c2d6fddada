from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tierwise.errors import InputError, ProviderError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, base_seed, build_request
from tierwise.llm.embedded_model import (
    SIMULATED_S_PER_TOKEN,
    EmbeddedFleet,
    EmbeddedModel,
    embedded_tier,
    simulated_price,
)
from tierwise.schema import Message, PromptTemplate, Variant

PLAIN = PromptTemplate("plain", (Message("user", "{{ question }}"),))
QUESTIONS = ["5 + 3", "5 + 3 + 5 - 2", "9 - 2 - 6 + 5", "12 + 6 - 4 - 3 + 7"]


@pytest.fixture(scope="module")
def tier():
    return embedded_tier("mine", "embedded/small")


@pytest.fixture(scope="module")
def model():
    with EmbeddedFleet(2) as fleet:
        yield EmbeddedModel("embedded/small", fleet=fleet)


def requests(tier, mode="think"):
    variant = Variant("plain", mode, 0.8)
    return [build_request(tier, PLAIN, variant, {"question": q}) for q in QUESTIONS]


def calls(tier, mode="think", n=4):
    return [Call(r, 0, n, base_seed(0, r)) for r in requests(tier, mode)]


def texts(chunks):
    return [[[r.text for r in own] for own in chunk] for chunk in chunks]


def test_the_tier_has_two_modes_and_a_simulated_price(tier):
    assert (tier.name, tier.model, tier.takes_n, tier.logprobs) == (
        "mine",
        "embedded/small",
        True,
        True,
    )
    assert tier.modes == {
        "direct": {"reasoning_effort": "none", "max_tokens": 40},
        "think": {"reasoning_effort": "high", "max_tokens": 160},
    }
    assert tier.price.simulated
    assert tier.price.prompt_usd_per_mtok == tier.price.completion_usd_per_mtok / 4
    assert simulated_price(100_000).completion_usd_per_mtok == pytest.approx(1.0)


@pytest.mark.parametrize("make", [lambda m: embedded_tier("t", m), EmbeddedModel])
def test_an_unknown_model_is_named_with_its_neighbours(make):
    with pytest.raises(InputError, match=r"unknown embedded model 'smal'.*'small'"):
        make("embedded/smal")


def test_chunks_are_answered_in_order_and_a_sample_is_the_same_in_any_chunk(tier, model):
    assert isinstance(model, LanguageModel)
    whole = texts(model.complete([calls(tier)]))
    apart = texts(model.complete([call] for call in calls(tier)))
    assert [chunk[0] for chunk in apart] == whole[0]
    assert len({t for own in whole[0] for t in own}) > 4


async def test_a_live_call_gives_the_samples_of_the_batch(tier, model):
    for mode in ("direct", "think"):
        (batch,) = model.complete([calls(tier, mode)])
        for call, own in zip(calls(tier, mode), batch, strict=True):
            live = await model.answer(call)
            assert [r.text for r in live] == [r.text for r in own]
            for a, b in zip(live, own, strict=True):
                assert a.mean_logprob == pytest.approx(b.mean_logprob, abs=1e-4)
                assert a.min_logprob == pytest.approx(b.min_logprob, abs=1e-4)


def test_tokens_log_probabilities_and_simulated_seconds_are_those_of_the_sample(tier, model):
    (batch,) = model.complete([calls(tier, "direct") + calls(tier, "think")])
    parameters = tier.price.completion_usd_per_mtok / simulated_price(1).completion_usd_per_mtok
    for sample in (r for own in batch for r in own):
        assert isinstance(sample, Completion)
        assert 0 < sample.completion_tokens <= 160
        assert sample.min_logprob <= sample.mean_logprob <= 0
        assert sample.latency_s == pytest.approx(
            sample.completion_tokens * parameters * SIMULATED_S_PER_TOKEN
        )
    direct, think = (
        sum(r.completion_tokens for o in half for r in o) for half in (batch[:4], batch[4:])
    )
    assert think > direct


def test_what_the_model_cannot_read_is_a_failure_of_its_samples_alone(tier, model):
    good = calls(tier)[0]
    words = Request(tier.model, (Message("user", "antidisestablishmentarianism"),), {})
    params = Request(tier.model, good.request.messages, {"top_p": 0.9})
    chunk = [Call(words, 0, 2, 0), good, Call(params, 0, 1, 0)]
    (batch,) = model.complete([chunk])
    assert [len(own) for own in batch] == [2, 4, 1]
    assert all(isinstance(r, Failure) and r.error_class == "InputError" for r in batch[0])
    assert "top_p" in batch[2][0].message
    assert texts([[batch[1]]]) == texts(model.complete([[good]]))


def test_few_chunks_are_under_way_and_an_interrupted_stream_gives_the_others_back(tier, model):
    taken = []

    def chunks():
        for k in range(50):
            taken.append(k)
            yield [Call(requests(tier)[0], k, 1, k)]

    stream = model.complete(chunks())
    next(stream)
    assert len(taken) == 4
    stream.close()
    assert len(taken) == 4
    assert len(list(model.complete([calls(tier)]))) == 1


def test_models_without_a_fleet_share_one_that_ends_with_the_last_of_them(tier):
    one, two = EmbeddedModel("embedded/small"), EmbeddedModel("embedded/small")
    assert one._fleet is two._fleet
    one.close()
    one.close()
    assert len(list(two.complete([calls(tier)]))) == 1
    two.close()
    three = EmbeddedModel("embedded/small")
    assert three._fleet is not two._fleet
    three.close()


def test_workers_keep_blas_to_one_thread_and_leave_the_environment_of_the_parent(tier, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with EmbeddedFleet(1) as fleet:
        fleet.submit("small", calls(tier)).result()
        executor = fleet._executor
        assert executor.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
        assert executor.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_worker_that_dies_is_a_provider_error(tier):
    with EmbeddedFleet(1) as fleet:
        mine = EmbeddedModel("embedded/small", fleet=fleet)
        list(mine.complete([calls(tier)]))
        os.kill(fleet._executor.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(ProviderError, match="worker"):
            list(mine.complete([calls(tier)] * 3))


PARENT = """
import os, signal
from tierwise.llm.embedded_model import EmbeddedFleet

if __name__ == "__main__":
    fleet = EmbeddedFleet(2)
    fleet.submit("small", []).result()
    print(*fleet._executor._processes, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    workers = [int(pid) for pid in done.stdout.split()]
    assert len(workers) == 2
    for _ in range(200):
        if not any(alive(pid) for pid in workers):
            break
        time.sleep(0.05)
    assert [pid for pid in workers if alive(pid)] == []


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # one that nobody has waited for yet has ended all the same
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_importing_the_module_brings_neither_numpy_nor_weights():
    code = (
        "import sys, tierwise.llm.embedded_model; "
        "print([m for m in ('numpy', 'litellm', 'tierwise.llm.embedded') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
