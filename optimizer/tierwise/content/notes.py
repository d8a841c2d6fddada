"""What a job will go without, said before a call: signals that read what a tier does not give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tierwise.content.check import check_kind
from tierwise.content.job import Job
from tierwise.content.job_file import job_of
from tierwise.content.job_space import space_of
from tierwise.content.space_file import load_space
from tierwise.content.task_file import load_task
from tierwise.content.tier_spec import TierSpec
from tierwise.difficulty import parameter_settings, self_contained, signal
from tierwise.errors import InputError
from tierwise.llm.models import RECORDED, kind_of, resolve_tier
from tierwise.schema import Price
from tierwise.schema._yaml import read
from tierwise.tasks.verifiers import LOGPROBS


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
