"""A job with everything that it names, loaded and checked before the first call; and what judging
its answers would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tierwise.difficulty import asking, fitted_kinds
from tierwise.errors import InputError, unknown_name
from tierwise.llm.models import LITELLM, RECORDED, address_of, kind_of, tier_of_spec
from tierwise.llm.recorded import Recording, same_items
from tierwise.pool.judging import JUDGE
from tierwise.runs.inputs import load_space, load_task, space_of
from tierwise.schema import (
    Job,
    JudgeSpec,
    JudgeVerifier,
    LoadedTask,
    PromptTemplate,
    Tier,
    TierSpec,
    UsageLimits,
)
from tierwise.schema.space import SearchSpace
from tierwise.schema.turns import JUDGED_TURN
from tierwise.search.problem import Variants, asking_variants, candidate_variants
from tierwise.search.space import without_search, without_votes
from tierwise.strategies import paths_in
from tierwise.tasks import DEFAULT_SHARES, METRICS, SPLITS, Task, parts_of
from tierwise.tasks import RECORDED as RECORDED_METRIC

JUDGE_TOKENS = 256
"""Cap of a judge's reply where its modes do not say: a line, with room for some words around it."""
JUDGE_ADDRESS, VERIFIER_ADDRESS = "metric/judge", "verifier/judge"
"""The judges among a run's addresses: no tier has such a name."""


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` made of a job.

    ``baseline`` is None where all tiers are recorded: a recording has prompts of its own.
    ``remarks`` say what of the space was left out, and why.
    ``judge_tier`` is who judges, where the metric is a judge; ``verifier`` whom
    ``judged_best_of_n`` asks, with its tier.
    """

    job: Job
    loaded: LoadedTask
    space: SearchSpace
    tiers: Mapping[str, Tier]
    baseline: PromptTemplate | None
    judge_tier: Tier | None = None
    verifier: JudgeVerifier | None = None
    verifier_tier: Tier | None = None
    remarks: tuple[str, ...] = ()

    def variants(
        self, tier: Tier, baseline: PromptTemplate, prompts: Sequence[PromptTemplate]
    ) -> Variants:
        """All variants that may be sampled from; ``tier`` has the mode that signals ask in.

        Raises:
            InputError: no prompt fits a mode that the tier and the space share.
        """
        space, loaded = self.space, self.loaded
        variants = candidate_variants(loaded.task, tier, space, prompts, baseline)
        paraphrases, asking = asking_variants(loaded.asking, space.signals)
        return replace(variants, prompts={**variants.prompts, **paraphrases}, asking=asking)


def _without_idle_train(task: Task, job: Job, space: SearchSpace) -> Task:
    """``task`` with its train items in validation, where nothing is fitted or shown from them.

    Only where the task does not say its splits; the test items stay the same.
    """
    needed = (
        max(space.prompts.demos) > 0 or job.proposals is not None or fitted_kinds(space.signals)
    )
    if needed or dict(task.shares) != dict(DEFAULT_SHARES):
        return task
    joined = DEFAULT_SHARES["train"] + DEFAULT_SHARES["validation"]
    return replace(task, shares={"validation": joined, "test": DEFAULT_SHARES["test"]})


def prepare(job: Job, task: LoadedTask | None = None) -> Prepared:
    """Load and check what a job names; ``task`` in place of its task, where that lives in Python.

    Raises:
        InputError: whatever is wrong with task, space, prompts or tiers.
    """
    job = replace(job, space=space_of(job, task))
    space = load_space(job.space)
    rendered = any(kind_of(spec.model) != RECORDED for spec in job.tiers.values())
    loaded = task or load_task(job.task, space, prompts_needed=rendered)
    if rendered and not loaded.prompts:
        raise InputError(f"task {loaded.task.name!r} has no prompts")
    loaded = replace(loaded, task=_without_idle_train(loaded.task, job, space))
    _check_task(loaded.task, rendered=rendered)
    tiers = {name: tier_of_spec(name, spec) for name, spec in job.tiers.items()}
    _check_tiers(job, tiers)
    if rendered:
        _check_signals(loaded, space)
    elif job.proposals is not None:
        raise InputError(
            "proposals: a recording holds no answers to prompts that are yet to be written; leave "
            "the key out, or name a tier that is not recorded/MODEL"
        )
    baseline = _baseline(job, loaded) if rendered else None
    if loaded.retriever is None:
        space = without_search(space)
    left_out = ""
    if loaded.task.free_text:
        space, left_out = without_votes(space, judged=rendered and loaded.verifier is not None)
    judge_tier = None if loaded.judge is None else _judge_tier(loaded.judge.spec, job)
    remarks: tuple[str, ...] = (left_out,) if left_out else ()
    several = sum(bool(item.also) for item in loaded.task.items)
    if several and loaded.task.metric not in METRICS and not parts_of(loaded.task.score):
        remarks += (
            f"{several} items have several right answers, from a list as the target: a metric of "
            "your own finds the first as item.target and all as item.targets",
        )
    prepared = Prepared(job, loaded, space, tiers, baseline, judge_tier, remarks=remarks)
    if loaded.verifier is not None:
        tier = judge_as_tier(loaded.verifier.model)
        verifier = JudgeVerifier.of(loaded.verifier, tier)
        return replace(prepared, verifier=verifier, verifier_tier=tier)
    if rendered and _asks_a_judge(space):
        raise InputError(
            f"the space {space.name!r} has judged_best_of_n, which asks a judge, and the task "
            "names none: give it the key judge, such as judge: {model: openai/gpt-4o-mini, "
            "rubric: …}"
        )
    return prepared


def _check_task(task: Task, *, rendered: bool) -> None:
    """Raise InputError where a split is empty, or nothing can score what tiers would answer."""
    for split in SPLITS[1:]:
        if not task.splits[split]:
            raise InputError(
                f"task {task.name!r} has no item in split {split!r}: a study needs some in "
                "validation and test"
            )
    if task.metric == RECORDED_METRIC and rendered:
        raise InputError(
            f"the metric of task {task.name!r} is 'recorded', the score that a recording carries: "
            "it cannot score the new answers of a tier that is not recorded/MODEL"
        )


def _check_tiers(job: Job, tiers: Mapping[str, Tier]) -> None:
    """Raise InputError where a recorded tier meets a live one, or recordings disagree on an
    item."""
    for name in tiers:
        for other in job.escalation_targets(name):
            recorded = [kind_of(tiers[tier].model) == RECORDED for tier in (name, other)]
            if recorded[0] != recorded[1]:
                raise InputError(
                    f"escalate_to: tiers {name!r} and {other!r} are a recorded one and one that is "
                    "not; a request can escalate only between two of a kind"
                )
    specs = [spec for spec in job.tiers.values() if kind_of(spec.model) == RECORDED]
    same_items([Recording.load(spec.recordings or "", spec.model) for spec in specs])


def _check_signals(loaded: LoadedTask, space: SearchSpace) -> None:
    """Raise InputError where a signal asks the model, and no prompt says how."""
    for kind, turn in asking(space.signals).items():
        if all(prompt.turn != turn for prompt in loaded.asking):
            raise InputError(
                f"the signal {kind} asks the model about the task, and no prompt says how: give "
                f"one the turn {turn!r}, or leave the signal out of the space {space.name!r}"
            )


def _asks_a_judge(space: SearchSpace) -> bool:
    return any(turn.name == JUDGED_TURN for path in paths_in(space) for turn in path)


def _judge_tier(spec: JudgeSpec, job: Job) -> Tier:
    """The judge as a tier.

    Raises:
        InputError: it is a model that the job tunes.
    """
    for name, tier in job.tiers.items():
        same = (tier.model, tier.api_base) == (spec.model.model, spec.model.api_base)
        if same and not spec.allow_tuned_model:
            raise InputError(
                f"the judge {spec.model.model} is the model of tier {name!r}, and a model favours "
                "its own answers: name another one, or allow_tuned_model: true in metric.judge"
            )
    return judge_as_tier(spec.model)


def judge_as_tier(model: TierSpec) -> Tier:
    """A judge's model as a tier of that name; its reply is a line, where its modes do not say."""
    if model.modes is None and kind_of(model.model) == LITELLM:
        model = replace(model, modes={JUDGE: {"max_tokens": JUDGE_TOKENS}})
    if model.logprobs is None:
        model = replace(model, logprobs=False)
    return tier_of_spec(JUDGE, model)


def _baseline(job: Job, loaded: LoadedTask) -> PromptTemplate:
    own = {prompt.id: prompt for prompt in (*loaded.own, *loaded.prompts)}
    if job.baseline is None:
        return next(iter(own.values()))
    if job.baseline not in own:
        raise unknown_name("prompt of the task (baseline)", job.baseline, own)
    return own[job.baseline]


def share_of(job: Job, tier: Tier, tiers: Mapping[str, Tier]) -> UsageLimits:
    """A tier's part of the budget: calls and tokens alike, dollars by price.

    Parts are fixed before the first call: were they what the others leave, a result would depend on
    which tier was faster.

    A tier that may escalate pays for what it buys of its targets, and so counts with their prices
    beside its own.
    """
    budget, n = job.tiers_budget, len(tiers)

    def price(name: str) -> float:
        of = (name, *job.escalation_targets(name))
        return sum(tiers[one].price.completion_usd_per_mtok or 1.0 for one in of)

    part = price(tier.name) / sum(price(name) for name in tiers)
    return UsageLimits(
        usd=None if budget.usd is None else budget.usd * part,
        calls=None if budget.calls is None else max(1, budget.calls // n),
        tokens=None if budget.tokens is None else max(1, budget.tokens // n),
        seconds=budget.seconds,
    )


def addresses_of(prepared: Prepared) -> dict[str, str]:
    """Where the environment sends the calls of the job's tiers, of those that are sent anywhere."""
    tiers = dict(prepared.tiers)
    if prepared.judge_tier is not None:
        tiers[JUDGE_ADDRESS] = prepared.judge_tier
    if prepared.verifier_tier is not None:
        tiers[VERIFIER_ADDRESS] = prepared.verifier_tier
    return {
        name: address_of(tier) for name, tier in tiers.items() if kind_of(tier.model) == LITELLM
    }
