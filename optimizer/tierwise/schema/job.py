"""A job: what to tune, on which tiers, within which budget; and its YAML, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.schema._policy_write import shown_price
from tierwise.schema.find import resolved
from tierwise.schema.models import ModelString, Modes, PriceModel
from tierwise.schema.tier import Price
from tierwise.schema.validation import Count, Positive, Strict, Text, validate
from tierwise.schema.yaml_io import Document, Flow, dump, read


@dataclass(frozen=True)
class TierSpec:
    """A tier as a job describes it; what is None, ``llm.resolve_tier`` fills in."""

    model: str
    price: Price | None = None
    modes: Mapping[str, Mapping[str, object]] | None = None
    takes_n: bool | None = None
    logprobs: bool | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    recordings: str | None = None


SHARE = 0.1
"""Part of each cap of a budget that proposals may use, where ``usd`` does not say."""


@dataclass(frozen=True)
class ProposalSpec:
    """The job's key ``proposals``.

    The first round is made from the task's train items alone. Each further one reflects, tier by
    tier, on what the policy found so far gets wrong, as long as the round before it was a gain.

    Attributes:
        model: the proposer; None: no instructions are written.
        rounds: at most, the first among them.
        instructions: to ask for in each round.
        demonstrations: sets of demonstrations from a tier's own right answers.
        usd: the most that the proposer may cost, of the job's budget; None: a tenth of it.

    Raises:
        InputError: a value out of range.
    """

    model: TierSpec | None = None
    rounds: int = 2
    instructions: int = 6
    demonstrations: int = 0
    usd: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("instructions", 0), ("demonstrations", 0)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise InputError(f"proposals.{name} must be at least {least}, got {value}")
        if self.usd is not None and not self.usd > 0:
            raise InputError(f"proposals.usd must be above 0, got {self.usd:g}")


OPERATING_POINTS = ("economy", "balanced", "quality")
"""By name; the others are {max_usd_per_item: …}, {min_score: …} and {usd_per_point: …}."""

LEVEL = "level"
"""One more name, for tiers that may escalate: level with the stronger tier, as cheap as can be."""

CHOSEN_BY = ("max_usd_per_item", "min_score", "usd_per_point")

OperatingPoint = str | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a job may use at most, over all tiers; None: no such cap."""

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("usd", "calls", "tokens", "seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(
                    f"budget.{name} must be above 0, got {value:g}; leave it out for no cap"
                )

    def times(self, share: float) -> Budget:
        """A part of each cap; the time is everybody's."""
        return Budget(
            None if self.usd is None else self.usd * share,
            None if self.calls is None else max(1, int(self.calls * share)),
            None if self.tokens is None else max(1, int(self.tokens * share)),
            self.seconds,
        )


@dataclass(frozen=True)
class Job:
    """Everything that a study depends on, apart from the pool.

    ``space`` "" is what the task asks for (``space_of``). ``baseline`` names a prompt of the task
    (None: its first). ``gate_margin`` is the score that a
    cheaper policy may lose and still count as equal. ``tiers`` stand from the weakest to the
    strongest; those of ``escalate_to`` may be handed requests by any tier that stands before them.

    Raises:
        InputError: no tiers, a value out of range, or an escalation that no tier can make.
    """

    task: str = "arithmetic"
    space: str = ""
    tiers: Mapping[str, TierSpec] = field(default_factory=dict)
    baseline: str | None = None
    seed: int = 0
    budget: Budget = Budget()
    trials: int = 300
    operating_point: OperatingPoint = "balanced"
    gate_margin: float = 0.02
    proposals: ProposalSpec | None = None
    escalate_to: tuple[str, ...] = ()

    def above(self, tier: str) -> tuple[str, ...]:
        """The tiers that ``tier`` may hand requests to, the weakest first."""
        names = list(self.tiers)
        return tuple(n for n in names[names.index(tier) + 1 :] if n in self.escalate_to)

    def __post_init__(self) -> None:
        if not self.tiers:
            raise InputError(
                "tiers: a job needs at least one, such as small: {model: embedded/small}"
            )
        if self.trials < 1:
            raise InputError(f"trials must be at least 1, got {self.trials}")
        if self.seed < 0:
            raise InputError(f"seed must be at least 0, got {self.seed}")
        if not 0 <= self.gate_margin < 1:
            raise InputError(f"gate_margin must be in [0, 1), got {self.gate_margin:g}")
        check_operating_point(self.operating_point, escalates=bool(self.escalate_to))
        for _, error in escalation_faults(self.escalate_to, list(self.tiers)):
            raise error
        usd = self.proposals.usd if self.proposals else None
        if usd is not None and self.budget.usd is not None and usd >= self.budget.usd:
            raise InputError(
                f"proposals.usd ({usd:g}) must be below budget.usd ({self.budget.usd:g}), which "
                "it is a part of"
            )

    @property
    def proposers_budget(self) -> Budget:
        """The part of the budget that proposals may use."""
        if self.proposals is None:
            return Budget()
        usd, part = self.proposals.usd, self.budget.times(SHARE)
        return part if usd is None else replace(part, usd=usd)

    @property
    def tiers_budget(self) -> Budget:
        """What is left of the budget for the tiers."""
        if self.proposals is None:
            return self.budget
        rest, usd = self.budget.times(1 - SHARE), self.proposals.usd
        if usd is None or self.budget.usd is None:
            return rest
        return replace(rest, usd=self.budget.usd - usd)


def escalation_faults(
    escalate_to: Sequence[str], tiers: Sequence[str]
) -> Iterator[tuple[int, InputError]]:
    """What is wrong with ``escalate_to``, each with its place in it.

    Since requests go only to tiers further down the list, there are no circles.
    """
    for i, name in enumerate(escalate_to):
        if name not in tiers:
            yield i, unknown_name("tier of the job (escalate_to)", name, tiers)
        elif name in escalate_to[:i]:
            yield i, InputError(f"escalate_to names tier {name!r} twice")
        elif name == tiers[0]:
            yield (
                i,
                InputError(
                    f"escalate_to: no tier stands before {name!r}, so nobody can hand it a "
                    "request; list the tiers of a job from the weakest to the strongest"
                ),
            )


def check_operating_point(point: object, *, escalates: bool = False) -> None:
    """Raise an InputError unless ``point`` is one of the names, or one bound with its number."""
    if point == LEVEL:
        if not escalates:
            raise InputError(
                "operating point 'level' is the cheapest policy that is level with a stronger "
                "tier: it needs escalate_to, the tiers that may be handed requests"
            )
        return
    if isinstance(point, str):
        if point not in OPERATING_POINTS:
            raise unknown_name("operating point", point, (*OPERATING_POINTS, *CHOSEN_BY))
        return
    if not isinstance(point, Mapping) or len(point) != 1:
        raise InputError(
            f"operating_point must be {', '.join(OPERATING_POINTS)}, or one of "
            + ", ".join(f"{{{name}: …}}" for name in CHOSEN_BY)
        )
    ((name, value),) = point.items()
    if name not in CHOSEN_BY:
        raise unknown_name("operating point", str(name), (*OPERATING_POINTS, *CHOSEN_BY))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value > 0:
        raise InputError(f"operating_point.{name} must be a number above 0, got {value!r}")
    if name == "min_score" and value > 1:
        raise InputError(f"operating_point.min_score must be at most 1, got {value:g}")


def default_job() -> Job:
    """The embedded tiers on the shipped task: needs no key and no network."""
    names = ("small", "medium", "large")
    return Job(tiers={name: TierSpec(f"embedded/{name}") for name in names})


_PLAIN = {"task", "space", "baseline", "seed", "trials", "gate_margin"}
_BUDGET = {"budget_usd": "usd", "max_calls": "calls", "max_tokens": "tokens", "seconds": "seconds"}


def override(job: Job, **options: object) -> Job:
    """``job`` with what the command line says; an option that is None was not given.

    Options are the job's own fields, ``budget_usd``, ``max_calls``, ``max_tokens``, ``seconds``,
    ``operating_point`` or one of ``max_usd_per_item``, ``min_score`` and ``usd_per_point``,
    ``escalate_to``, ``proposer`` (a model; what else ``proposals`` says stays), and ``tiers``:
    name -> model, which replace the job's (one that keeps its model keeps the rest).

    Raises:
        InputError: no such option, a value out of range, or two operating points.
    """
    given = {name: value for name, value in options.items() if value is not None}
    changes: dict[str, object] = {}
    budget: dict[str, object] = {}
    points: list[object] = []
    for name, value in given.items():
        if name in ("task", "space"):
            changes[name] = resolved(str(value), Path())
        elif name in _PLAIN:
            changes[name] = value
        elif name in _BUDGET:
            budget[_BUDGET[name]] = value
        elif name in CHOSEN_BY:
            points.append({name: value})
        elif name == "operating_point":
            points.append(value)
        elif name == "proposer":
            asked = job.proposals or ProposalSpec()
            changes["proposals"] = replace(asked, model=TierSpec(str(value)))
        elif name == "tiers":
            changes[name] = _tiers(job, value)
        elif name == "escalate_to" and isinstance(value, Sequence):
            changes[name] = tuple(value)
        else:
            others = {"operating_point", "tiers", "escalate_to", "proposer"}
            known = {*_PLAIN, *_BUDGET, *CHOSEN_BY, *others}
            raise unknown_name("option", name, known)
    if len(points) > 1:
        raise InputError("give one operating point: a name, or one of " + ", ".join(CHOSEN_BY))
    if points:
        changes["operating_point"] = points[0]
    if budget:
        changes["budget"] = replace(job.budget, **budget)  # type: ignore[arg-type]  # by the table
    return replace(job, **changes)  # type: ignore[arg-type]  # fields by the set above


def _tiers(job: Job, tiers: object) -> dict[str, TierSpec]:
    if not isinstance(tiers, Mapping) or not tiers:
        raise InputError("a tier is NAME=MODEL, such as small=openai/gpt-4o-mini")
    found: dict[str, TierSpec] = {}
    for name, model in tiers.items():
        spec = model if isinstance(model, TierSpec) else TierSpec(str(model))
        same = job.tiers.get(str(name))
        found[str(name)] = same if same and spec == TierSpec(same.model) else spec
    return found


class LimitsModel(Strict):
    """What a provider allows, and how long a call may take."""

    rpm: Positive | None = None
    tpm: Positive | None = None
    concurrency: Count | None = None
    timeout_s: Positive | None = None


class JobTierModel(Strict):
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

    model: ModelString | JobTierModel | None = None
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
    tiers: Annotated[dict[Text, JobTierModel], Field(min_length=1)]
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
    named = JobTierModel(model=model.model) if isinstance(model.model, str) else model.model
    return ProposalSpec(
        None if named is None else _tier(named, folder),
        model.rounds,
        model.instructions,
        model.demonstrations,
        model.usd,
    )


def _tier(model: JobTierModel, folder: Path) -> TierSpec:
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
