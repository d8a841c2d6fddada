"""Chains that were bought are replayed and served alike: answer, samples, rounds and cost."""

from __future__ import annotations

import numpy as np
import pytest

from tests.turns import worlds
from tests.turns.parity import assert_evaluated_as_replayed, assert_served_as_replayed
from tierwise.errors import InputError
from tierwise.evaluation import SampleTable
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Difficulty, Limits, Policy, Probe, Recipe, StrategySpec, Turn, uniform
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.samples import samples_needed
from tierwise.serving import PolicyRuntime

PLAIN, STEPS = worlds.VARIANTS
REFINE = StrategySpec.of("self_refine", rounds=2)
POLICIES = {
    "refined": uniform(PLAIN, REFINE),
    "to the end": uniform(
        STEPS, StrategySpec.of("self_refine", rounds=3, until_stable=False, verifier="mean_logprob")
    ),
    "after a probe": Policy(
        (Recipe((PLAIN,), StrategySpec.of("single")), Recipe((PLAIN, STEPS), REFINE)),
        Difficulty("probe_agreement", (0.9,), Probe((PLAIN,), 3)),
    ),
    "dear": Policy((Recipe((PLAIN,), REFINE),), limits=Limits(max_usd_per_request=1e-4)),
    "short": Policy((Recipe((PLAIN,), REFINE),), limits=Limits(max_samples=2)),
    "in haste": Policy((Recipe((PLAIN,), REFINE),), limits=Limits(timeout_s=0.8)),
}


def bought(tmp_path, policy: Policy, tier=worlds.TIER, model=None) -> SampleTable:
    with worlds.opened(tmp_path) as pool:
        return worlds.buyer(pool, model or worlds.model(), tier=tier).table(
            worlds.ITEMS, samples_needed([policy], 4), "test"
        )


def breaking() -> ScriptedModel:
    return ScriptedModel(worlds.later_turns_fail(worlds.script))


@pytest.mark.parametrize("takes_n", [True, False])
@pytest.mark.parametrize("name", POLICIES)
async def test_the_runtime_does_what_the_evaluation_said(tmp_path, name, takes_n) -> None:
    policy = POLICIES[name]
    tier = worlds.TIER if takes_n else worlds.one_call_a_sample()
    table = bought(tmp_path, policy, tier)
    runtime = PolicyRuntime(worlds.policy_file(policy, tier), worlds.model(), seed=worlds.SEED)
    await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)


@pytest.mark.parametrize("name", POLICIES)
async def test_a_chain_whose_later_turn_fails_keeps_its_item(tmp_path, name) -> None:
    policy = POLICIES[name]
    table = bought(tmp_path, policy, model=breaking())
    assert table.n_items == len(worlds.ITEMS)
    assert not table.left_out
    failed = table.failed_items(policy.variants)
    assert failed.unanswered > 0
    runtime = PolicyRuntime(worlds.policy_file(policy), breaking(), seed=worlds.SEED)
    await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)
    assert_evaluated_as_replayed(policy, table)
    table.save(tmp_path / "t.npz")
    assert SampleTable.load(tmp_path / "t.npz").failed_items(policy.variants) == failed


def test_the_samples_of_a_chain_have_one_index_and_their_own_requests(tmp_path) -> None:
    table = bought(tmp_path, POLICIES["refined"])
    assert [variant.label for variant in table.nodes] == [
        "plain/direct/0.8 answer>critique",
        "plain/direct/0.8 answer>critique>refine",
        "plain/direct/0.8 answer>critique>refine>critique",
        "plain/direct/0.8 answer>critique>refine>critique>refine",
    ]
    critiques = table.nodes[PLAIN.below(Turn("critique"))]
    assert critiques.score.shape == table.variants[PLAIN].score.shape == (10, 4)
    assert (critiques.answers == -1).all(), "a critique that names an answer gives none"
    assert not np.isnan(critiques.score).any()


def test_a_table_is_read_back_as_it_was(tmp_path) -> None:
    table = bought(tmp_path, POLICIES["refined"])
    table.save(tmp_path / "t.npz")
    again = SampleTable.load(tmp_path / "t.npz")
    assert list(again.everything) == list(table.everything)
    for variant, rows in table.everything.items():
        np.testing.assert_array_equal(rows.score, again.everything[variant].score)
        np.testing.assert_array_equal(rows.ended, again.everything[variant].ended)


def test_the_evaluator_says_what_replay_says(tmp_path) -> None:
    policy = POLICIES["after a probe"]
    table = bought(tmp_path, policy)
    assert_evaluated_as_replayed(policy, table)


def test_nothing_is_bought_twice_and_a_replay_buys_nothing(tmp_path) -> None:
    needed = samples_needed([POLICIES["refined"]], 4)
    with worlds.opened(tmp_path) as pool:
        first = worlds.model()
        table = worlds.buyer(pool, first).table(worlds.ITEMS, needed, "test")
        assert first.samples == 10 * 4 * 5
        again = worlds.model()
        worlds.buyer(pool, again).table(worlds.ITEMS, needed, "test")
        assert again.samples == 0
        replayed = worlds.buyer(pool, None).table(worlds.ITEMS, needed, "test")
    for variant, rows in table.everything.items():
        np.testing.assert_array_equal(
            rows.completion_usd, replayed.everything[variant].completion_usd
        )


def test_a_failed_turn_is_an_abstention_and_its_item_stays(tmp_path) -> None:
    needed = samples_needed([POLICIES["refined"]])
    with worlds.opened(tmp_path) as pool:
        table = worlds.buyer(pool, breaking()).table(worlds.ITEMS, needed, "test")
        assert pool.counts("failures") > 0
    assert table.n_items == len(worlds.ITEMS)
    assert table.complete.all()
    lost = [rows for rows in table.nodes.values() if (rows.prompt_usd == 0).any()]
    assert lost
    assert all((rows.score[rows.prompt_usd == 0] == 0).all() for rows in lost)


async def test_a_turn_that_fails_ends_the_chain_with_what_there_is() -> None:
    runtime = PolicyRuntime(worlds.policy_file(POLICIES["refined"]), worlds.model(0.3), seed=1)
    answers = [await runtime.answer(dict(item.inputs)) for item in worlds.ITEMS for _ in "ab"]
    broken = [a for a in answers if a.trace[-1].error and a.samples > 1]
    assert broken
    assert all(a.ended == "answered" and a.trace[a.chosen].error is None for a in broken)


def test_the_policy_file_holds_the_turns_to_the_byte(tmp_path) -> None:
    file = worlds.policy_file(POLICIES["refined"])
    again = PolicyFile.loads(file.dumps())
    assert again == file
    assert again.prompts["plain"].turns == worlds.TURNS


def test_a_policy_whose_prompt_lacks_a_turn_is_refused_before_a_call() -> None:
    file = worlds.policy_file(POLICIES["refined"])
    bare = PolicyFile.loads(file.dumps().replace("refine:", "answer:"))
    with pytest.raises(InputError, match="self_refine needs the turn 'refine'"):
        PolicyRuntime(bare, worlds.model())


def test_a_turn_misspelt_in_a_policy_is_named_with_its_line() -> None:
    text = worlds.policy_file(POLICIES["refined"]).dumps().replace("critique:", "critic:")
    with pytest.raises(InputError, match=r"(?s):\d+: .*'critic'.*critique"):
        PolicyFile.loads(text, "p.yaml")
