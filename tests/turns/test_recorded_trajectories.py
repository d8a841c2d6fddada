"""Trajectories that somebody else recorded: judged, replayed and served like those bought here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.search import scripted_job
from tests.turns import search_job, worlds
from tests.turns import search_worlds as world
from tests.turns.parity import assert_evaluated_as_replayed, assert_served_as_replayed
from tierwise.errors import InputError
from tierwise.evaluation import Evaluator
from tierwise.llm.recorded import RecordedModel, Recording, recorded_tier
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.pool import Account, Buyer, Library, SamplePool, Supply, Trees
from tierwise.pool.trees import rows_of
from tierwise.retrieval import Retrieved, open_for_task
from tierwise.runs import load_space
from tierwise.runs.prepare import prepare
from tierwise.runs.recorded_depth import check_queries, recorded_depth, recorded_space
from tierwise.runs.recorded_samples import Trajectories, library_from
from tierwise.runs.tune import replay as replay_run
from tierwise.runs.tune import tune
from tierwise.schema import (
    Policy,
    Recipe,
    StrategySpec,
    Turn,
    UsageLimits,
    Variant,
    load_job,
    uniform,
)
from tierwise.schema.policy_file import PolicyFile
from tierwise.search.samples import samples_needed
from tierwise.serving import PolicyRuntime
from tierwise.tasks import Item

PLAIN, STEPS = worlds.VARIANTS
PRICE = worlds.TIER.price


def searching(**params) -> StrategySpec:
    return StrategySpec.of("retrieval", params)


POLICIES = {
    "every round": uniform(PLAIN, searching(rounds=3, stop_when_stale=False)),
    "cut short": uniform(STEPS, searching(rounds=1, samples=2)),
    "stops off the point": uniform(PLAIN, searching(rounds=3, least_match=1.0)),
    "a vote of two variants": Policy((Recipe((PLAIN, STEPS), searching(rounds=3, samples=4)),)),
    "no search": uniform(PLAIN, searching(rounds=0, samples=3)),
}
DEPTH = samples_needed(list(POLICIES.values()), 4)


def lines_of(
    buyer: Buyer, items: Sequence[Item], n_samples: Mapping[Variant, int], model: str = "agent"
) -> list[dict[str, Any]]:
    """Every item and every stored sample of ``n_samples``, with what its query brought."""
    trees = Trees(
        buyer.pool,
        items,
        buyer.task.answer,
        buyer.request,
        lambda variant: range(n_samples[variant]),
        buyer.library,
    )
    lines: list[dict[str, Any]] = [
        {"id": item.id, "inputs": dict(item.inputs), "target": item.target} for item in items
    ]
    for variant in n_samples:
        told = trees.told(variant)
        for (i, sample), row in rows_of(buyer.pool, trees.level(variant).requests):
            line = {
                "item_id": items[i].id,
                "model": model,
                "prompt_id": variant.prompt,
                "mode": variant.mode,
                "temperature": variant.temperature,
                "sample": sample,
                "text": row[0],
                "prompt_tokens": row[1],
                "completion_tokens": row[2],
                "mean_logprob": row[4],
                "latency_s": row[7],
            }
            if variant.path:
                line["path"] = [turn.label for turn in variant.path]
            known = told.get((i, sample))
            if known is not None and isinstance(known.found, Retrieved):
                line["query"], line["lookup_s"] = known.said.query, known.found.latency_s
                line["passages"] = [{"id": p.id, "text": p.text} for p in known.found.passages]
            lines.append(line)
    return lines


def written(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Trajectories of the world, forced answers at every depth among them."""
    folder = tmp_path_factory.mktemp("recorded")
    with worlds.opened(folder) as pool:
        buyer = world.buyer(pool, ScriptedModel(world.script), world.library())
        buyer.table(worlds.ITEMS, DEPTH, "test")
        return written(folder / "agent.jsonl", lines_of(buyer, worlds.ITEMS, DEPTH))


def bought(tmp_path: Path, file: Path):
    recording = Recording.load(file, "agent")
    library = library_from(recording, world.SPEC, file)
    tier = recorded_tier("small", recording, PRICE)
    with worlds.opened(tmp_path) as pool:
        account = Account("run", worlds.SEED, UsageLimits())
        depth = recorded_depth(recording, worlds.TASK, None, {})
        buyer = Trajectories(pool, worlds.TASK, tier, recording, depth, account, library)
        table = buyer.table(worlds.ITEMS, DEPTH, "test")
        assert pool.spent("run").usd == 0, "what was recorded was paid for elsewhere"
    return recording, library, tier, table


@pytest.mark.parametrize("name", POLICIES)
async def test_the_runtime_over_recorded_trajectories_is_the_offline_evaluation(
    tmp_path, file, name
) -> None:
    recording, library, tier, table = bought(tmp_path, file)
    policy = POLICIES[name]
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    served = replace(world.policy_file(policy, tier=tier), prompts=prompts)
    runtime = PolicyRuntime(served, RecordedModel(recording), retriever=library.retriever)
    await assert_served_as_replayed(runtime, policy, table, worlds.ITEMS)
    assert_evaluated_as_replayed(policy, table)


def test_what_was_recorded_is_what_was_bought(tmp_path, file) -> None:
    _, _, _, table = bought(tmp_path, file)
    with SamplePool.open(file.parent / "pool.sqlite") as pool:
        first = world.buyer(pool, None, world.library()).table(worlds.ITEMS, DEPTH, "test")
    assert set(table.everything) == set(first.everything)
    for variant, rows in first.everything.items():
        for name in ("score", "answers", "latency_s", "fresh", "match", "ended"):
            np.testing.assert_array_equal(
                getattr(table.everything[variant], name), getattr(rows, name), err_msg=name
            )


def test_a_chain_that_is_broken_off_counts_as_unanswered(tmp_path, file) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    deep = ["query:2", "query:2", "answer"]
    lost = next(i for i, row in enumerate(lines) if row.get("path") == deep)
    part = written(tmp_path / "part.jsonl", lines[:lost] + lines[lost + 1 :])
    _, _, _, table = bought(tmp_path, part)
    assert table.n_items == len(worlds.ITEMS), "an item is not dropped by what one policy lacks"
    node = Variant(
        *(lines[lost][k] for k in ("prompt_id", "mode", "temperature")),
        path=tuple(map(Turn.of, deep)),
    )
    at = table.item_ids.index(lines[lost]["item_id"]), lines[lost]["sample"]
    rows = table.of(node)
    assert (rows.score[at], rows.answers[at], rows.completion_usd[at]) == (0.0, -1, 0.0)
    assert not any(np.isnan(Evaluator(table).evaluate(p).score).any() for p in POLICIES.values())


def shrunk(file: Path) -> tuple[dict, tuple[str, ...]]:
    """The strategies that the space of searches keeps, and what is said of it."""
    depth = recorded_depth(Recording.load(file, "agent"), worlds.TASK, None, {})
    return recorded_space(load_space("search"), depth).strategies, depth.remarks


def test_rounds_without_the_answers_of_their_depth_are_left_out_and_said(tmp_path, file) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    whole = [row for row in lines if len(row.get("path", [])) != 2 or row["path"][1] != "answer"]
    strategies, said = shrunk(written(tmp_path / "part.jsonl", whole))
    assert strategies["retrieval"]["rounds"] == (0,)
    assert "trajectories of up to 0 rounds count; round 1, or the answer" in said[0]


def test_a_space_shrinks_to_the_rounds_and_passages_that_are_recorded(file) -> None:
    retrieval = shrunk(file)[0]["retrieval"]
    assert retrieval["rounds"] == (0, 1, 2, 3)
    assert (retrieval["passages"], retrieval["samples"]) == ((2,), (1, 3))
    plain = [json.loads(line) for line in file.read_text().splitlines() if "path" not in line]
    bare = written(file.parent / "bare.jsonl", [r for r in plain if "path" not in r])
    assert "retrieval" not in shrunk(bare)[0]


def without_plain(rows):
    return [r for r in rows if "id" in r or "path" in r]


def other_passages(rows):
    first = next(r for r in rows if r.get("passages"))
    again = next(r for r in reversed(rows) if r.get("query") == first["query"])
    again["passages"] = []
    return rows


def two_numbers(rows):
    first = next(r for r in rows if r.get("path") == ["query:2"])
    return [*rows, {**first, "path": ["query:3"]}]


def no_turn(rows):
    rows[-1]["path"] = ["query:none"]
    return rows


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (without_plain, "no plain answers"),
        (other_passages, r"f.jsonl:\d+: .*has brought other passages before"),
        (two_numbers, "two numbers of passages"),
        (no_turn, r"f.jsonl:\d+: a turn is a name, or query:2"),
    ],
)
def test_a_fault_of_a_recording_is_named(tmp_path, file, broken, says) -> None:
    rows = broken([json.loads(line) for line in file.read_text().splitlines()])
    with pytest.raises(InputError, match=says):
        Recording.load(written(tmp_path / "f.jsonl", rows), "agent")


def test_a_query_that_the_task_s_pattern_does_not_read_is_named(tmp_path, file) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows:
        if "query" in row:
            row["query"] = row["query"].upper()
    recording = Recording.load(written(tmp_path / "f.jsonl", rows), "agent")
    with pytest.raises(InputError, match=r"looked up 'FACT \d'; retriever.query .* 'fact \d'"):
        check_queries(recording, worlds.TASK, world.SPEC)


def test_a_job_is_tuned_on_recorded_trajectories_and_replayed(tmp_path) -> None:
    job = search_job.make_job(tmp_path, items=90)
    with pytest.MonkeyPatch.context() as patch:
        scripted_job.install(patch, says=search_job.says)
        lines = searched(tmp_path, load_job(job))
    (tmp_path / "recorded.yaml").write_text(
        "task: task\nspace: space.yaml\nseed: 3\ntrials: 30\noperating_point: quality\n"
        "tiers:\n  weak:\n    model: recorded/agent\n    recordings: agent.jsonl\n"
        "    price: {prompt_usd_per_mtok: 1.0, completion_usd_per_mtok: 4.0}\n"
    )
    written(tmp_path / "agent.jsonl", lines)
    tune(load_job(tmp_path / "recorded.yaml"), tmp_path / "out")
    path = tmp_path / "out" / "policies" / "weak.yaml"
    policy = PolicyFile.load(path)
    assert {b.strategy.kind for b in policy.policy.buckets} == {"retrieval"}
    assert policy.expected.score > 0.7
    assert not policy.deployable
    before = path.read_bytes()
    replay_run(tmp_path / "out")
    assert path.read_bytes() == before


def searched(folder: Path, job) -> list[dict]:
    """Trajectories of all items: three passages, to four rounds, three chains."""
    prepared = prepare(job)
    loaded, variant = prepared.loaded, Variant("plain", "direct", 0.8)
    retriever = open_for_task(loaded.retriever)
    library = Library(loaded.retriever.spec, retriever.identity, retriever)
    supply = Supply(
        prepared.tiers["weak"],
        ScriptedModel(answering(search_job.says)),
        {prompt.id: prompt for prompt in loaded.prompts},
    )
    n_samples = samples_needed([uniform(variant, searching(rounds=4, passages=3, samples=3))], 3)
    with SamplePool.open(folder / "made.sqlite") as pool:
        buyer = Buyer(pool, loaded.task, supply, Account("made", 1, UsageLimits()), library=library)
        buyer.table(loaded.task.items, n_samples, "made")
        return lines_of(buyer, loaded.task.items, n_samples)
