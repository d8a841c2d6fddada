"""Trajectories that were bought are replayed, judged and served alike."""

from __future__ import annotations

import numpy as np
import pytest

from tests.turns import search_worlds as world
from tests.turns import worlds
from tests.turns.parity import assert_evaluated_as_replayed, assert_served_as_replayed
from tierwise.evaluation import SampleTable
from tierwise.llm.scripted import ScriptedModel
from tierwise.schema import Difficulty, Limits, Policy, Probe, Recipe, StrategySpec, Turn, uniform
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.samples import samples_needed
from tierwise.serving import PolicyRuntime

PLAIN, STEPS = worlds.VARIANTS


def searching(**params) -> StrategySpec:
    return StrategySpec.of("retrieval", params)


POLICIES = {
    "one round": uniform(PLAIN, searching(rounds=1)),
    "four rounds": uniform(PLAIN, searching(rounds=4, passages=1, stop_when_stale=False)),
    "stops when stale": uniform(STEPS, searching(rounds=4, samples=2)),
    "stops off the point": uniform(PLAIN, searching(rounds=4, passages=1, least_match=1.0)),
    "a vote that stops": uniform(PLAIN, searching(rounds=3, samples=4, least_match=0.6)),
    "a vote": uniform(PLAIN, searching(rounds=2, samples=5, threshold=0.8)),
    "two variants": Policy(
        (Recipe((PLAIN, STEPS), searching(rounds=3, samples=5, threshold=0.9)),)
    ),
    "no round": uniform(PLAIN, searching(rounds=0, samples=4, threshold=0.8)),
    "buckets": Policy(
        (Recipe((PLAIN,), searching(rounds=1, samples=2)), Recipe((STEPS,), searching(rounds=3))),
        Difficulty("length", (-5.5,)),
    ),
    "after a probe": Policy(
        (
            Recipe((PLAIN,), searching(rounds=2, samples=3)),
            Recipe((PLAIN, STEPS), searching(rounds=3)),
        ),
        Difficulty("probe_agreement", (0.9,), Probe((PLAIN,), 3)),
    ),
    "few samples": Policy(
        (Recipe((PLAIN,), searching(rounds=3, samples=3)),), limits=Limits(max_samples=5)
    ),
    "dear": Policy(
        (Recipe((PLAIN,), searching(rounds=3)),), limits=Limits(max_usd_per_request=1e-4)
    ),
    "in haste": Policy((Recipe((PLAIN,), searching(rounds=3)),), limits=Limits(timeout_s=1.1)),
}


def model() -> ScriptedModel:
    return ScriptedModel(world.script)


def bought(tmp_path, policy: Policy, of=None, library=None) -> SampleTable:
    with worlds.opened(tmp_path) as pool:
        buyer = world.buyer(pool, of or model(), library or world.library())
        return buyer.table(worlds.ITEMS, samples_needed([policy], 6), "test")


@pytest.mark.parametrize("name", POLICIES)
async def test_the_runtime_does_what_the_evaluation_said(tmp_path, name) -> None:
    policy = POLICIES[name]
    table = bought(tmp_path, policy)
    runtime = PolicyRuntime(
        world.policy_file(policy), model(), seed=worlds.SEED, retriever=world.Facts()
    )
    await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)


BROKEN = {
    "a turn fails": (worlds.later_turns_fail(world.script), ""),
    "a look-up fails": (world.script, "fact 3"),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "no round"])
async def test_a_chain_that_breaks_off_keeps_its_item(tmp_path, name, how) -> None:
    (script, broken), policy = BROKEN[how], POLICIES[name]
    library = world.library(world.Facts(broken=broken))
    table = bought(tmp_path, policy, ScriptedModel(script), library)
    assert table.item_ids == tuple(item.id for item in worlds.ITEMS)
    assert table.failed_items(policy.variants).unanswered > 0
    assert_evaluated_as_replayed(policy, table)
    if how == "a turn fails":  # a query that finds nothing is billed, and not in the table
        facts = world.Facts(broken=broken)
        runtime = PolicyRuntime(
            world.policy_file(policy), ScriptedModel(script), seed=worlds.SEED, retriever=facts
        )
        await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)


@pytest.mark.parametrize("name", POLICIES)
def test_the_vectorised_evaluation_equals_the_replay(tmp_path, name) -> None:
    assert_evaluated_as_replayed(POLICIES[name], bought(tmp_path, POLICIES[name]))


def test_a_chain_bought_to_the_end_says_what_every_depth_comes_to(tmp_path) -> None:
    table = bought(tmp_path, POLICIES["four rounds"])
    asked = Turn("query", 1)
    at = PLAIN.begun(asked)
    for _ in range(4):
        queries, answers = table.nodes[at], table.nodes[at.below(Turn())]
        silent = (queries.answers < 0) & ~queries.ended
        assert (~np.isnan(answers.score) == silent).all(), (
            "a forced answer where it asked, no other"
        )
        at = at.below(asked)
    assert table.complete.all()


def test_a_look_up_is_paid_for_and_made_once(tmp_path) -> None:
    needed = samples_needed([POLICIES["four rounds"]], 6)
    with worlds.opened(tmp_path) as pool:
        facts = world.Facts()
        table = world.buyer(pool, model(), world.library(facts)).table(worlds.ITEMS, needed, "t")
        spent = pool.spent("run")
        assert facts.asked == pool.counts("lookups") == 7
        again = world.Facts()
        world.buyer(pool, model(), world.library(again)).table(worlds.ITEMS, needed, "t")
        assert again.asked == 0
        assert pool.spent("run").usd == spent.usd
    first = table.nodes[PLAIN.begun(Turn("query", 1))]
    asked = first.fresh >= 0
    tokens_usd = first.completion_usd - np.where(asked, world.SPEC.usd_per_call, 0)
    assert tokens_usd[asked].min() == pytest.approx(
        worlds.TIER.price.completion_usd(3, prompt_tokens=0)
    )


def test_the_policy_names_its_retriever_and_says_no_address(tmp_path) -> None:
    file = world.policy_file(POLICIES["one round"])
    assert PolicyFile.loads(file.dumps()) == file
    assert "://" not in file.dumps()
