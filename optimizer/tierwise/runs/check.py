"""Every fault of a file, whatever it is: task, prompts, search space, job or policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tierwise.difficulty import difficulty_faults, parameter_settings, self_contained, signal
from tierwise.errors import InputError, Loc, faults_of, raise_any, unknown_name
from tierwise.llm.models import RECORDED, kind_of, resolve_tier, tier_of_spec
from tierwise.runs.inputs import known_turns, load_space, load_task, space_of
from tierwise.schema import (
    Job,
    PolicyFile,
    Price,
    SearchSpace,
    TaskFile,
    TierSpec,
    Variant,
    find_task,
    load_prompts,
)
from tierwise.schema.files import TASK_FILE
from tierwise.schema.job import job_of
from tierwise.schema.prompt import check_turns, load_turns
from tierwise.schema.tier import mode_fits
from tierwise.schema.turns import NAMES
from tierwise.schema.yaml_io import Document, keys_of, read
from tierwise.strategies import build, paths_of
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES, SCORES

_KINDS: dict[str, type[Any]] = {
    "task": TaskFile,
    "policy": PolicyFile,
    "job": Job,
    "space": SearchSpace,
}


def check(path: Path | str) -> list[InputError]:
    """All that is wrong with a file or a task's folder, in the order of lines; [] where nothing is.

    What a job names is looked at too. The kind of a file is told by its keys.
    """
    try:
        check_kind(Path(path))
    except InputError as error:
        return list(faults_of(error))
    return []


def check_kind(path: Path) -> str:
    """Check, and say what the file is: task, prompts, turns, policy, job or space.

    Raises:
        InputError: every fault.
    """
    if path.is_dir():
        path = find_task(path)
    document = read(path)
    kind = _kind_of(document, path)
    match kind:
        case "task":
            load_task(path)
        case "prompts":
            load_prompts(path, turns=known_turns())
        case "space":
            load_space(path)
        case "turns":
            load_turns(path)
        case "job":
            _check_job(document)
        case "policy":
            raise_any(
                [document.placed(e, loc) for loc, e in policy_faults(PolicyFile.of(document))]
            )
    return kind


def policy_faults(file: PolicyFile) -> Iterator[tuple[Loc, InputError]]:
    """What only the strategies and signals know to be wrong, each with its place in the file.

    A strategy that cannot be built, an unknown signal, and log-probabilities or a probe that are
    needed and not there.
    """
    yield from difficulty_faults(file)
    for i, recipe in enumerate(file.policy.buckets):
        loc: Loc = ("buckets", i, "strategy")
        try:
            strategy = build(recipe.strategy)
            for variant in recipe.variants:
                check_turns(file.prompts[variant.prompt], strategy.kind, paths_of(strategy))
        except InputError as error:
            yield loc, error
            continue
        verifier = getattr(strategy, "verifier", None)
        if verifier is not None and verifier not in SCORES:
            yield loc, unknown_name("score to rank by", str(verifier), SCORES)
        elif verifier in RECORDED_SCORES and file.deployable:
            message = f"only recorded samples have a {verifier}: the policy cannot be served"
            yield loc, InputError(message)
        elif verifier in LOGPROBS:
            yield from _needs_logprobs(file, f"verifier {verifier}", recipe.variants, loc)


def _needs_logprobs(
    file: PolicyFile, what: str, variants: tuple[Variant, ...], loc: Loc
) -> Iterator[tuple[Loc, InputError]]:
    for name in sorted({t.name for t in map(file.tier_of, variants) if not t.logprobs}):
        yield loc, InputError(f"{what} needs log-probabilities, which tier {name!r} does not offer")


def _kind_of(document: Document, path: Path) -> str:
    if path.name == TASK_FILE:
        return "task"
    data = document.data
    if isinstance(data, list):
        return "prompts"
    if not isinstance(data, dict):
        raise document.fault("neither a task, prompts, a search space, a job nor a policy")
    if "schema" in data:
        return "policy"
    if data and set(data) <= set(NAMES):
        return "turns"
    shared = {kind: len(set(keys_of(model)) & set(data)) for kind, model in _KINDS.items()}
    kind = max(shared, key=lambda k: shared[k])
    if not shared[kind]:
        raise document.fault("neither a task, prompts, a search space, a job nor a policy")
    return kind


def _check_job(document: Document) -> None:
    job = job_of(document)
    faults: list[InputError] = []
    space = None
    try:
        space = load_space(space_of(job))
    except InputError as error:
        if job.space:  # else it is the task that cannot be read, which is said below
            faults += [document.placed(e, ("space",)) for e in faults_of(error)]
    try:
        # A recording has prompts of its own, which are looked at where it is read.
        rendered = any(kind_of(tier.model) != RECORDED for tier in job.tiers.values())
        loaded = load_task(job.task, space, prompts_needed=rendered)
        known = {v.id for p in (*loaded.own, *loaded.prompts) for v in p.variants()}
        if rendered and job.baseline is not None and job.baseline not in known:
            unknown = unknown_name("prompt", job.baseline, known)
            faults.append(document.placed(unknown, ("baseline",)))
    except InputError as error:
        faults += [document.placed(e, ("task",)) for e in faults_of(error)]
    for name, tier in job.tiers.items():
        if space and tier.modes and not any(mode_fits(m, space.modes) for m in tier.modes):
            message = (
                f"tier {name!r} has none of the space's modes ({', '.join(space.modes)}); "
                f"it has {', '.join(tier.modes)}"
            )
            faults.append(document.fault(message, ("tiers", name, "modes")))
        elif kind_of(tier.model) != RECORDED:
            try:
                tier_of_spec(name, tier)
            except InputError as error:
                faults.append(document.placed(error, ("tiers", name)))
    raise_any(faults)


def job_notes(path: Path | str) -> list[str]:
    """A sentence for each tier and what it will do without, if a sound job is at ``path``; else [].

    Log-probabilities are looked up where the job does not say (LiteLLM's tables know): no call is
    made. Recorded tiers are left to their recordings.
    """
    path = Path(path)
    if path.is_dir() or check_kind(path) != "job":
        return []
    job = job_of(read(path))
    return [note for name in job.tiers for note in _of_tier(job, name)]


def _of_tier(job: Job, name: str) -> Iterator[str]:
    spec = job.tiers[name]
    if kind_of(spec.model) == RECORDED:
        return
    space = load_space(space_of(job))
    task = load_task(job.task, space).task
    needing = {
        kind: [signal(kind, params).scores for params in parameter_settings(kind)]
        for kind in space.signals
        if self_contained(kind)
    }
    ranked = {
        kind: dimensions["verifier"]
        for kind, dimensions in space.strategies.items()
        if "verifier" in dimensions
    }
    reads_logprobs = any(set(LOGPROBS).intersection(*s) for s in needing.values() if all(s))
    ranks_by_them = [
        kind
        for kind, names in ranked.items()
        if isinstance(names, tuple) and set(names) <= set(LOGPROBS)
    ]
    logprobs = _logprobs(name, spec) if reads_logprobs or ranks_by_them else False
    given = {*task.verifiers, *(LOGPROBS if logprobs else ())}
    lost = [k for k, ways in needing.items() if not any(given.issuperset(way) for way in ways)]
    without = [kind for kind in lost if any(set(LOGPROBS) & set(way) for way in needing[kind])]
    left_out = [*without, *ranks_by_them] if not logprobs else []
    if left_out:
        yield (
            f"tier {name!r}: {spec.model} gives no log-probabilities, so it is searched without "
            f"{', '.join(left_out)}"
        )
    for kind in lost:
        if kind not in without:
            yield (
                f"tier {name!r}: {kind} has nothing to read, since task {task.name!r} names no "
                f"verifier (verifiers: […] in task.yaml), so it is searched without"
            )


def _logprobs(name: str, spec: TierSpec) -> bool:
    if spec.logprobs is not None:
        return spec.logprobs
    price = spec.price or Price(0.0, 0.0)  # whether there is one is another question
    try:
        return resolve_tier(name, spec.model, price=price, modes=spec.modes).logprobs
    except InputError:
        return True  # what is wrong with the tier is said where it is opened
