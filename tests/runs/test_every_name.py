"""Every signal, strategy and technique: named in a space, searched, in a policy file, served."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest

from tests.search.scripted_job import TINY, make_job
from tierwise.difficulty import SIGNALS
from tierwise.evaluation import replay_item
from tierwise.llm import Completion
from tierwise.llm.scripted import ScriptedModel, answering
from tierwise.pool import SamplePool
from tierwise.retrieval import open_for_task
from tierwise.runs.prepare import Prepared, prepare
from tierwise.runs.tiers import Searches, search_tier
from tierwise.schema import ANSWER, Policy, PolicyFile, Price, TaskRef, Tier, load_job, shipped
from tierwise.schema.prompt import load_prompts
from tierwise.search.tier import TierResult, escalation_target
from tierwise.serving import PolicyRuntime
from tierwise.strategies import STRATEGIES
from tierwise.tasks.verifiers import VERIFIERS

PREPARE = importlib.import_module("tierwise.runs.prepare")
OPENING = importlib.import_module("tierwise.runs.tiers")
TECHNIQUES = tuple(
    p.id
    for path in sorted((shipped("search_spaces") / "prompts").glob("*.yaml"))
    for p in load_prompts(path)
    if p.turn == ANSWER
)
SOME = {"int": "3", "float": "0.8", "bool": "true"}
"""A value for a parameter that has no default, by its type."""
ABOVE = "above"
"""A stronger tier, that requests may be handed to."""
NAMES = [
    *(("signal", name) for name in sorted(SIGNALS)),
    *(("strategy", name) for name in sorted(set(STRATEGIES.classes) - {"cascade"})),
    *(("technique", name) for name in TECHNIQUES),
    ("escalation", ABOVE),
]


SPACE = """prompts: {{{prompts}}}
temperature: [0.8]
modes: [direct, think]
strategies: {{{strategies}}}
difficulty: {{signals: [{signals}], buckets: [{buckets}], probe_samples: 2}}
"""
JOB = """task: task
space: space.yaml
seed: 3
trials: 60
tiers:
  only: {model: scripted/strong}
"""
ESCALATING = "  above: {model: scripted/above}\nescalate_to: [above]\n"
MODES = {"direct": {"max_tokens": 16}, "think": {"max_tokens": 64, "suffix": " Think."}}
TIERS = {
    name: Tier(name, f"scripted/{name}", Price(*usd, as_of="2026-01"), MODES, logprobs=True)
    for name, usd in (("only", (1.0, 5.0)), (ABOVE, (10.0, 50.0)), ("judge", (20.0, 90.0)))
}
EFFORT = dataclasses.replace(
    TINY,
    screen_items=16,
    race_items=16,
    study_items=16,
    test_items=16,
    fit_items=48,
    fit_samples=4,
    permutations=2,
)
BRINGS = {
    "verifier_score": "verifiers: [game24]",
    "retrieval": "corpus: corpus.jsonl",
    "judged_best_of_n": "judge: {model: scripted/judge, rubric: The right sum.}",
}
"""What a task must bring for a signal to have something to read, a strategy to search in."""


def said(request) -> dict[str, float]:
    """Answers that thinking makes better, and replies to what signals ask; above, nearly all."""
    text = " ".join(m.content for m in request.messages)
    if "You grade" in text:
        return {"Score: 2": 0.5, "Score: 4": 0.5}
    if "one digit" in text:
        return {"5": 0.4, "3": 0.4, "2": 0.2}
    if "yes or no" in text:
        return {"yes": 0.5, "no": 0.5}
    lines = request.messages[-1].content.splitlines()
    numbered = [line for line in lines if any(w.isdigit() for w in line.split())]
    asked = numbered[-1] if numbered else ""
    terms = [int(w) for w in asked.split() if w.isdigit()]
    p = 0.95 if text.endswith("Think.") else 0.9 if len(terms) < 3 else 0.2
    if request.model.endswith(ABOVE):
        p = 0.99
    return {f"A: {sum(terms)}": p, f"A: {sum(terms) + 1}": 1 - p}


def script(request, seed: int) -> Completion:
    """The same, each with log-probabilities."""
    sure = -0.1 - 0.05 * (seed % 7)
    return dataclasses.replace(
        answering(said)(request, seed), mean_logprob=sure, min_logprob=2 * sure
    )


def parameters_of(strategy: str) -> str:
    """What a strategy must be given."""
    needed = [
        f
        for f in dataclasses.fields(STRATEGIES.classes[strategy])
        if f.default is dataclasses.MISSING
    ]
    return ", ".join(f"{f.name}: {SOME[str(f.type)]}" for f in needed)


def space_of(kind: str, name: str) -> str:
    """A space that leaves no choice but ``name``; a signal has two strategies to tell apart."""
    strategy = name if kind == "strategy" else "single"
    signals = f"none, {name}" if kind == "signal" and name != "none" else "none"
    if kind == "escalation":
        signals = "none, length"
    ways = f"{strategy}: {{{parameters_of(strategy)}}}"
    if kind in ("signal", "escalation"):  # buckets that do the same are one, and need no signal
        ways += ", self_consistency: {samples: [2, 3]}"
    return SPACE.format(
        prompts=f"library: [{name}], families: [{name}]" if kind == "technique" else "",
        strategies=ways,
        signals=signals,
        buckets=1 if signals == "none" else 2,
    )


def found_with(kind: str, name: str, policy: Policy) -> bool:
    """Whether the policy is one by what was named."""
    match kind:
        case "signal":
            return policy.difficulty.signal == name
        case "strategy":
            return all(b.strategy.kind == name for b in policy.buckets)
        case "escalation":
            return {variant.tier for b in policy.buckets for variant in b.variants} == {None, name}
        case _:
            return all(variant.prompt == name for b in policy.buckets for variant in b.variants)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task whose train split is large enough for a router."""
    where = tmp_path_factory.mktemp("names")
    make_job(where, items=160, job=JOB)
    task = where / "task" / "task.yaml"
    (where / "task" / "corpus.jsonl").write_text('{"id": "a", "text": "Sums are added up."}\n')
    text = task.read_text().replace(
        "splits: {train: 0.05, validation: 0.55, test: 0.4}",
        "splits: {train: 0.4, validation: 0.4, test: 0.2}",
    )
    task.write_text(text + "instruction: Add up, and end with A and the sum.\n")
    return where


def searched(folder: Path, kind: str, name: str, pool: SamplePool) -> tuple[Prepared, TierResult]:
    """What a search in a space of its own finds; ``pool`` has its samples."""
    (folder / "space.yaml").write_text(space_of(kind, name))
    escalates = kind == "escalation"
    (folder / "job.yaml").write_text(JOB + (ESCALATING if escalates else ""))
    task = folder / "task" / "task.yaml"
    plain = task.read_text()
    try:
        task.write_text(plain + BRINGS.get(name, "") + "\n")
        prepared = prepare(load_job(folder / "job.yaml"))
    finally:
        task.write_text(plain)
    searches = Searches(prepared, pool, "run", lambda event: None, EFFORT, replaying=False)
    above = [escalation_target(search_tier(searches, ABOVE).found)] if escalates else []
    return prepared, search_tier(searches, "only", above).found


def test_nothing_that_has_a_name_is_left_out() -> None:
    kinds = {kind: {name for of, name in NAMES if of == kind} for kind, _ in NAMES}
    assert kinds["signal"] == set(SIGNALS) >= {"router", "control_question", "self_rating"}
    assert (
        kinds["strategy"]
        == set(STRATEGIES.classes) - {"cascade"}
        >= {"self_refine", "retrieval", "best_of_n"}
    )
    assert len(kinds["technique"]) == 21


@pytest.mark.parametrize(("kind", "name"), NAMES)
async def test_it_can_be_named_searched_saved_and_served(
    kind: str, name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel(script)
    monkeypatch.setitem(VERIFIERS, "game24", lambda inputs, text, answer: int(answer or 0) % 2)
    monkeypatch.setattr(PREPARE, "tier_of_spec", lambda tier, *_, **__: TIERS[tier])
    monkeypatch.setattr(OPENING, "open_model", lambda *_, **__: model)
    monkeypatch.setattr(OPENING, "address_of", lambda tier: "")
    with SamplePool.open(tmp_path / "pool.sqlite") as pool:
        prepared, found = searched(folder, kind, name, pool)
    q = found.problem
    rounds = found.study_rounds
    judged = [(p, g) for g in rounds for p in g.judged if found_with(kind, name, p)]
    assert judged, f"no policy of the search has the {kind} {name}"
    policy, study_round = judged[0]

    searched_in = prepared.loaded.retriever if name == "retrieval" else None
    others = {tier: TIERS[tier] for tier in q.tiers if tier != "only"}
    file = PolicyFile(
        name=name,
        tier=q.tier,
        task=TaskRef("sums", 1, "exact_match", ""),
        inputs=q.task.inputs,
        prompts=q.prompts,
        policy=policy,
        answer=q.task.answer,
        retriever=searched_in and searched_in.spec,
        other_tiers=others,
        judge=prepared.verifier,
    )
    path = file.save(tmp_path / "policy.yaml")
    assert PolicyFile.load(path) == file
    assert name in path.read_text()

    opened = searched_in and open_for_task(searched_in)
    models = dict.fromkeys([*q.tiers, "judge"], model)
    runtime = PolicyRuntime(PolicyFile.load(path), models, seed=prepared.job.seed, retriever=opened)
    table = study_round.evaluator.table
    for item in range(3):
        said_before = replay_item(policy, table, item)
        got = await runtime.answer(table.inputs[item])
        assert (got.samples, got.usd, got.signal) == (
            len(said_before.samples),
            said_before.usd,
            said_before.signal,
        )
        assert got.answer is not None
