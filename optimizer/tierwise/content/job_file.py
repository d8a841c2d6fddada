"""A job's YAML, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tierwise.content.find import resolved
from tierwise.content.job import Budget, Job, check_operating_point, escalation_faults
from tierwise.content.proposal_spec import ProposalSpec
from tierwise.content.tier_spec import TierSpec
from tierwise.errors import InputError
from tierwise.schema._models import ModelString, Modes, PriceModel
from tierwise.schema._policy_write import shown_price
from tierwise.schema._schema import Count, Positive, Strict, Text, validate
from tierwise.schema._yaml import Document, Flow, dump, raise_any, read


class LimitsModel(Strict):
    """What a provider allows, and how long a call may take."""

    rpm: Positive | None = None
    tpm: Positive | None = None
    concurrency: Count | None = None
    timeout_s: Positive | None = None


class TierModel(Strict):
    """A tier."""

    model: ModelString
    price: PriceModel | None = None
    modes: Modes | None = None
    takes_n: bool | None = None
    logprobs: bool | None = None
    limits: LimitsModel = LimitsModel()
    recordings: Text | None = None


class BudgetModel(Strict):
    """Caps over all tiers."""

    usd: Positive | None = None
    calls: Count | None = None
    tokens: Count | None = None
    seconds: Positive | None = None


class ProposalsModel(Strict):
    """Who writes prompts for the task; ``model`` is a model string, or a tier with its price."""

    model: ModelString | TierModel | None = None
    rounds: Count = 2
    instructions: Annotated[int, Field(ge=0)] = 6
    demonstrations: Annotated[int, Field(ge=0)] = 0
    usd: Positive | None = None


class JobModel(Strict):
    """A job."""

    description: str = ""
    baseline: Text | None = None
    task: Text = "arithmetic"
    space: Text | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    tiers: Annotated[dict[Text, TierModel], Field(min_length=1)]
    escalate_to: list[Text] = Field(default_factory=list)
    budget: BudgetModel = BudgetModel()
    trials: Count = 300
    operating_point: Any = "balanced"
    storage: Text | None = None
    engine: Literal["local", "ray"] = "local"
    gate_margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    proposals: ProposalsModel | None = None


def load_job(path: Path | str) -> Job:
    """A job's file; relative paths in it are relative to it.

    Raises:
        InputError: every fault, with its line.
    """
    return job_of(read(path))


def job_of(document: Document) -> Job:
    """The job in a document; see ``load_job``."""
    model = validate(JobModel, document)
    folder = Path(str(document.path)).parent if document.path else Path()
    faults: list[InputError] = []
    try:
        check_operating_point(model.operating_point, escalates=bool(model.escalate_to))
    except InputError as error:
        faults.append(document.placed(error, ("operating_point",)))
    for i, fault in escalation_faults(model.escalate_to, list(model.tiers)):
        faults.append(document.placed(fault, ("escalate_to", i)))
    tiers = {name: _tier(tier, folder) for name, tier in model.tiers.items()}
    for name, tier in tiers.items():
        if tier.recordings and not Path(tier.recordings).is_file():
            message = f"no such file: {tier.recordings}"
            faults.append(document.fault(message, ("tiers", name, "recordings")))
    faults += [document.fault(message, (key,)) for key, message in _not_built(model)]
    raise_any(sorted(faults, key=lambda f: f.line or 0))
    point = model.operating_point
    if not isinstance(point, str):
        point = {name: float(bound) for name, bound in point.items()}
    try:
        return Job(
            task=resolved(model.task, folder),
            space="" if model.space is None else resolved(model.space, folder),
            tiers=tiers,
            baseline=model.baseline,
            seed=model.seed,
            budget=Budget(**model.budget.model_dump()),
            trials=model.trials,
            operating_point=point,
            gate_margin=float(model.gate_margin),
            proposals=_proposals(model.proposals, folder),
            escalate_to=tuple(model.escalate_to),
        )
    except InputError as error:  # what remains is a relation between two keys
        raise document.placed(error, ("proposals", "usd")) from None


def _not_built(model: JobModel) -> Iterator[tuple[str, str]]:
    """Keys of the format that ask for what there is not: better refused than passed over."""
    if model.storage is not None:
        yield "storage", "a pool shared by machines is not built; the run's folder holds it: null"
    if model.engine != "local":
        yield "engine", f"the engine {model.engine!r} is not built; the only one is 'local'"


def dump_job(job: Job) -> str:
    """The job as YAML, as resolved; ``load_job`` reads it back equal."""
    shown: dict[str, Any] = {} if job.baseline is None else {"baseline": job.baseline}
    budget = {name: value for name, value in asdict(job.budget).items() if value is not None}
    shown |= {
        "task": job.task,
        **({"space": job.space} if job.space else {}),
        "seed": job.seed,
        "tiers": {name: _shown(tier) for name, tier in job.tiers.items()},
    }
    if job.escalate_to:
        shown["escalate_to"] = list(job.escalate_to)
    if budget:
        shown["budget"] = budget
    shown["trials"] = job.trials
    point = job.operating_point
    shown["operating_point"] = point if isinstance(point, str) else Flow(point)
    shown["gate_margin"] = float(job.gate_margin)
    if job.proposals is not None:
        spec = job.proposals
        given = {k: v for k, v in vars(spec).items() if k != "model" and v is not None}
        shown["proposals"] = given | ({"model": _shown(spec.model)} if spec.model else {})
    return dump(shown)


def _proposals(model: ProposalsModel | None, folder: Path) -> ProposalSpec | None:
    if model is None:
        return None
    named = TierModel(model=model.model) if isinstance(model.model, str) else model.model
    return ProposalSpec(
        None if named is None else _tier(named, folder),
        model.rounds,
        model.instructions,
        model.demonstrations,
        model.usd,
    )


def _tier(model: TierModel, folder: Path) -> TierSpec:
    limits = {k: float(v) for k, v in model.limits.model_dump(exclude_none=True).items()}
    recordings = model.recordings
    return TierSpec(
        model.model,
        model.price.value() if model.price else None,
        model.modes,
        model.takes_n,
        model.logprobs,
        limits,
        None if recordings is None else _absolute(recordings, folder),
    )


def _shown(tier: TierSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {"model": tier.model}
    if tier.price is not None:
        shown["price"] = shown_price(tier.price)
    if tier.modes is not None:
        shown["modes"] = {name: Flow(sent) for name, sent in tier.modes.items()}
    for name in ("takes_n", "logprobs"):
        if getattr(tier, name) is not None:
            shown[name] = getattr(tier, name)
    if tier.limits:
        shown["limits"] = {k: int(v) if k == "concurrency" else v for k, v in tier.limits.items()}
    if tier.recordings is not None:
        shown["recordings"] = tier.recordings
    return shown


def _absolute(name: str, folder: Path) -> str:
    return str((folder / name).resolve())
