"""Retriever down, nothing found, a query that loops, too much text: bounded and recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.turns import search_worlds as world
from tests.turns import worlds
from tierwise.errors import InputError
from tierwise.llm import Completion, Failure
from tierwise.llm.scripted import ScriptedModel
from tierwise.retrieval import Retrieved
from tierwise.schema import Passage, StrategySpec, Turn, uniform
from tierwise.search.samples import samples_needed
from tierwise.serving import PolicyRuntime

PLAIN = worlds.VARIANTS[0]
POLICY = uniform(PLAIN, StrategySpec.of("retrieval", rounds=4, samples=2))
QUESTION = {"question": "1 + 1", "notes": "One."}


def always_asking(request, seed):
    last = request.messages[-1].content
    text = "search: fact 1" if last.endswith("SEARCH? !") else "A: 2"
    return Completion(text, 10, 3)


def refusing_long(request, seed):
    if sum(len(m.content) for m in request.messages) > 200:
        return Failure("ContextWindowExceededError", "too long")
    return always_asking(request, seed)


class Nothing(world.Facts):
    def find(self, query, k):
        return Retrieved(())


class Long(world.Facts):
    def find(self, query, k):
        self.asked += 1
        return Retrieved((Passage(f"p{self.asked}", "long " * 10_000),))


def runtime(script, facts, policy=POLICY):
    file = world.policy_file(policy)
    return PolicyRuntime(file, ScriptedModel(script), retriever=facts)


async def test_a_retriever_that_is_down_costs_the_queries_and_is_answered_without() -> None:
    got = await runtime(always_asking, world.Facts(broken="fact")).answer(QUESTION)
    assert got.ended == "answered"
    assert got.answer == "2"
    assert [d.error is not None for d in got.trace] == [True, True, False, False]
    assert "the retriever is down" in got.trace[0].error
    assert got.trace[0].usd > 0, "the query's tokens were billed"


async def test_nothing_found_ends_the_search_with_a_forced_answer() -> None:
    got = await runtime(always_asking, Nothing()).answer(QUESTION)
    assert [d.variant.split()[-1] for d in got.trace] == ["query:2"] * 2 + ["query:2>answer"] * 2
    assert (got.answer, got.rounds) == ("2", 2)


@pytest.mark.parametrize(("stale", "rounds"), [(True, 3), (False, 5)])
async def test_a_query_that_loops_ends(stale, rounds) -> None:
    spec = StrategySpec.of("retrieval", rounds=4, stop_when_stale=stale)
    got = await runtime(always_asking, world.Facts(), uniform(PLAIN, spec)).answer(QUESTION)
    assert (got.ended, got.rounds, got.answer) == ("answered", rounds, "2")


async def test_a_passage_longer_than_the_context_is_cut_to_what_the_policy_allows() -> None:
    facts = Long()
    got = await runtime(always_asking, facts).answer(QUESTION)
    assert got.ended == "answered"
    handed = len("long " * 10_000)
    assert max(d.prompt_tokens for d in got.trace) < handed
    assert world.SPEC.shown(facts.find("x", 1).passages) == ("long " * 10_000)[:30]


async def test_a_context_that_is_full_ends_the_search_with_what_there_is() -> None:
    file = world.policy_file(POLICY)
    wide = replace(file, retriever=replace(world.SPEC, max_chars=150))
    got = await PolicyRuntime(wide, ScriptedModel(refusing_long), retriever=Long()).answer(QUESTION)
    assert got.ended in ("answered", "failed")
    assert len(got.trace) <= POLICY_MOST
    assert any("ContextWindowExceededError" in (d.error or "") for d in got.trace)


POLICY_MOST = 2 * 5


def test_a_lost_look_up_is_a_row_of_its_own_and_tried_again_by_the_next_run(tmp_path) -> None:
    needed = samples_needed([uniform(PLAIN, StrategySpec.of("retrieval", rounds=1))])
    model, up = ScriptedModel(world.script), world.Facts()
    with worlds.opened(tmp_path / "before") as pool:
        world.buyer(pool, model, world.library(up)).table(worlds.ITEMS, needed, "t")
    with worlds.opened(tmp_path) as pool:
        down = world.Facts(broken=min(up.queries, key=up.queries.count))
        table = world.buyer(pool, model, world.library(down)).table(worlds.ITEMS, needed, "t")
        assert pool.counts("lost_lookups") == 1
        assert table.n_items == 10
        assert table.failed_items([PLAIN]).unanswered > 0
        before = down.asked
        world.buyer(pool, model, world.library(down)).table(worlds.ITEMS, needed, "t")
        assert down.asked == before, "not tried again in the same run"
        up = world.Facts()
        whole = world.buyer(pool, model, world.library(up), run="next").table(
            worlds.ITEMS, needed, "t"
        )
        assert whole.failed_items([PLAIN]).unanswered == 0
        assert whole.nodes[PLAIN.begun(Turn("query", 2))].complete.all()


def test_a_policy_that_asks_and_names_no_retriever_is_refused() -> None:
    bare = replace(world.policy_file(POLICY), retriever=None)
    with pytest.raises(InputError, match="names no retriever"):
        PolicyRuntime(bare, ScriptedModel(always_asking))


def test_a_retriever_that_is_bound_to_nothing_is_named_with_what_to_do() -> None:
    with pytest.raises(InputError, match="--retriever facts="):
        PolicyRuntime(world.policy_file(POLICY), ScriptedModel(always_asking))
