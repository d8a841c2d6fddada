"""A job: what to tune, on which tiers, within which budget."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.schema.fields import (
    IF_ANY,
    IF_SET,
    Count,
    FromZero,
    Mapped,
    Name,
    NotNegative,
    Positive,
    Strict,
    Text,
    check_name,
)
from tierwise.schema.files import resolved
from tierwise.schema.tier import ModelString, Modes, Price, RateLimits
from tierwise.schema.usage import UsageLimits
from tierwise.schema.yaml_io import Document, dump, plain, read, read_as


def _address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s@?#]+", value):
        raise ValueError(
            "must be an address such as http://localhost:8001/v1, without a key or a password"
        )
    return value.rstrip("/")


def _variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "must be the name of a variable of the environment, such as LARGE_KEY; a key itself "
            "never stands in a file"
        )
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value) or value.lower() in OF_THE_CALL:
        raise ValueError(
            f"{value[:40]!r} is no header that can be added, such as X-Team; what every call has "
            "(Host, Content-Type …) is not among them"
        )
    return value


OF_THE_CALL = frozenset(
    {
        *("host", "content-type", "content-length", "content-encoding", "transfer-encoding"),
        *("connection", "accept", "accept-encoding", "te", "upgrade", "expect"),
    }
)
"""Headers, in lower case, that belong to how a call is sent."""

Address = Annotated[str, AfterValidator(_address)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
VariableName = Annotated[str, AfterValidator(_variable_name)]


@dataclass(frozen=True)
class TierSpec(Strict):
    """A tier as a job describes it; what is None, ``llm.tier_of_spec`` fills in.

    ``metered``: recorded samples count against the budget as if they were bought.

    Raises:
        InputError: a tier without recordings is metered.
    """

    model: ModelString
    price: Annotated[Price | None, IF_SET] = None
    modes: Annotated[Annotated[Modes, Field(min_length=1)] | None, IF_SET] = None
    takes_n: Annotated[bool | None, IF_SET] = None
    logprobs: Annotated[bool | None, IF_SET] = None
    limits: RateLimits = field(default_factory=dict)
    recordings: Annotated[Text | None, IF_SET] = None
    metered: Annotated[bool, IF_ANY] = False
    api_base: Annotated[Address | None, IF_SET] = None
    api_key_env: Annotated[VariableName | None, IF_SET] = None
    headers_env: Annotated[Mapping[HeaderName, VariableName], IF_ANY] = field(default_factory=dict)
    takes_seed: Annotated[bool | None, IF_SET] = None
    stream: Annotated[bool | None, IF_SET] = None

    def __post_init__(self) -> None:
        if self.metered and self.recordings is None:
            raise InputError(
                "metered: true says that recorded samples count against the budget; this tier has "
                "no recordings, and its calls count anyway"
            )

    def beside(self, folder: Path) -> TierSpec:
        """It with the path of its recordings, which is relative to ``folder``, made absolute."""
        if self.recordings is None:
            return self
        return replace(self, recordings=str((folder / self.recordings).resolve()))


SHARE = 0.1
"""Part of each cap of a budget that proposals may use, where ``usd`` does not say."""


@dataclass(frozen=True)
class ProposalSpec(Strict):
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

    model: Annotated[
        TierSpec | None,
        Mapped(
            TierSpec | ModelString | None,
            lambda model: TierSpec(model) if isinstance(model, str) else model,
            lambda tier: tier and plain(tier),
        ),
        IF_SET,
    ] = None
    rounds: Count = 2
    instructions: FromZero = 6
    demonstrations: FromZero = 0
    usd: Annotated[Positive | None, IF_SET] = None

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("instructions", 0), ("demonstrations", 0)):
            if getattr(self, name) < least:
                value = getattr(self, name)
                raise InputError(f"proposals.{name} must be at least {least}, got {value}")
        if self.usd is not None and not self.usd > 0:
            raise InputError(f"proposals.usd must be above 0, got {self.usd:g}")


GateMode = Literal["require", "advise"]

OPERATING_POINTS = ("economy", "balanced", "quality")
"""By name; the others are {max_usd_per_item: …}, {min_score: …} and {usd_per_point: …}."""

LEVEL = "level"
"""One more name, for tiers that may escalate: level with the stronger tier, as cheap as can be."""

CHOSEN_BY = ("max_usd_per_item", "min_score", "usd_per_point")

OperatingPoint = str | Mapping[str, float]

_POINT_SCHEMA = {
    "anyOf": [
        {"enum": [*OPERATING_POINTS, LEVEL]},
        {
            "type": "object",
            "properties": {name: {"type": "number", "exclusiveMinimum": 0} for name in CHOSEN_BY},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
    ]
}
PointKeys = Annotated[OperatingPoint, Mapped(Annotated[Any, WithJsonSchema(_POINT_SCHEMA)])]


@dataclass(frozen=True, slots=True)
class Budget(UsageLimits, Strict):
    """What a job may use at most, over all tiers; None: no such limit.

    Raises:
        InputError: a limit that is not above 0.
    """

    usd: Annotated[Positive | None, IF_SET] = None
    calls: Annotated[Count | None, IF_SET] = None
    tokens: Annotated[Count | None, IF_SET] = None
    seconds: Annotated[Positive | None, IF_SET] = None

    def __post_init__(self) -> None:
        for name in ("usd", "calls", "tokens", "seconds"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool | str) or not value > 0):
                shown = f"{value:g}" if isinstance(value, float) else repr(value)
                raise InputError(
                    f"budget.{name} must be above 0, got {shown}; leave it out for no cap"
                )


MAX_OUTAGE_S = 600.0
"""How long a provider that answers nobody is waited for, in seconds, where a job does not say."""


def _not_built(storage: str | None) -> str | None:
    if storage is not None:
        raise InputError("a pool shared by machines is not built; the run's folder holds it: null")
    return storage


def _local(engine: str) -> str:
    if engine == "ray":
        raise InputError("the engine 'ray' is not built; the only one is 'local'")
    if engine != "local":
        raise InputError(unknown_name("engine", engine, ("local",)).message)
    return engine


@dataclass(frozen=True)
class Job(Strict):
    """Everything that a study depends on, apart from the pool.

    Attributes:
        baseline: a prompt of the task, the one in use today; None: its first.
        space: "" is what the task asks for (``runs.space_of``).
        tiers: from the weakest to the strongest.
        escalate_to: tiers that any tier before them may escalate to.
        gate: what is exported where nothing is proven: the baseline (``require``), or the chosen
            policy with the verdict beside it (``advise``).
        gate_margin: score that a cheaper policy may lose and still count as equal.
        max_outage_s: how long a provider that answers nobody is waited for; 0: not at all.
        storage: refused, as every ``engine`` but ``local``, until there is more than one.

    Raises:
        InputError: no tiers, a value out of range, or an escalation that no tier can make.
    """

    description: Annotated[str, IF_ANY] = ""
    baseline: Annotated[Text | None, IF_SET] = None
    task: Text = "arithmetic"
    space: Annotated[str, IF_ANY] = ""
    seed: FromZero = 0
    tiers: Mapping[Name, TierSpec] = field(default_factory=dict)
    escalate_to: Annotated[tuple[Text, ...], IF_ANY] = ()
    budget: Annotated[Budget, Field(exclude_if=lambda budget: budget == Budget())] = Budget()
    max_outage_s: Annotated[NotNegative, Field(exclude_if=lambda s: s == MAX_OUTAGE_S)] = (
        MAX_OUTAGE_S
    )
    trials: Count = 300
    operating_point: PointKeys = "balanced"
    gate: GateMode = "require"
    gate_margin: Annotated[float, Field(ge=0, lt=1), PlainSerializer(float)] = 0.02
    proposals: Annotated[ProposalSpec | None, IF_SET] = None
    storage: Annotated[str | None, AfterValidator(_not_built), Field(exclude=True)] = None
    engine: Annotated[str, AfterValidator(_local), Field(exclude=True)] = "local"

    def __post_init__(self) -> None:
        raise_any(list(self._faults()))

    def _faults(self) -> Iterator[InputError]:
        if not self.tiers:
            yield InputError(
                "tiers: a job needs at least one, such as small: {model: embedded/small}",
                loc=("tiers",),
            )
        for name in self.tiers:
            try:
                check_name("tier", name)
            except InputError as error:
                yield InputError(error.message, loc=("tiers", name))
        if self.trials < 1:
            yield InputError(f"trials must be at least 1, got {self.trials}")
        if self.seed < 0:
            yield InputError(f"seed must be at least 0, got {self.seed}")
        if not 0 <= self.max_outage_s < math.inf:
            yield InputError(f"max_outage_s must be at least 0, got {self.max_outage_s:g}")
        if self.gate not in get_args(GateMode):
            yield InputError(f"gate must be require or advise, got {self.gate!r}")
        if not 0 <= self.gate_margin < 1:
            yield InputError(f"gate_margin must be in [0, 1), got {self.gate_margin:g}")
        try:
            check_operating_point(self.operating_point, escalates=bool(self.escalate_to))
        except InputError as error:
            yield InputError(error.message, loc=("operating_point",))
        if self.tiers:
            yield from escalation_faults(self.escalate_to, list(self.tiers))
        usd = self.proposals.usd if self.proposals else None
        if usd is not None and self.budget.usd is not None and usd >= self.budget.usd:
            yield InputError(
                f"proposals.usd ({usd:g}) must be below budget.usd ({self.budget.usd:g}), which "
                "it is a part of",
                loc=("proposals", "usd"),
            )

    def escalation_targets(self, tier: str) -> tuple[str, ...]:
        """The tiers that ``tier`` may escalate to, the weakest first."""
        names = list(self.tiers)
        return tuple(n for n in names[names.index(tier) + 1 :] if n in self.escalate_to)

    @property
    def proposers_budget(self) -> UsageLimits:
        """The part of the budget that proposals may use."""
        if self.proposals is None:
            return UsageLimits()
        usd, part = self.proposals.usd, self.budget * SHARE
        return part if usd is None else replace(part, usd=usd)

    @property
    def tiers_budget(self) -> UsageLimits:
        """What is left of the budget for the tiers."""
        if self.proposals is None:
            return self.budget
        rest, usd = self.budget * (1 - SHARE), self.proposals.usd
        if usd is None or self.budget.usd is None:
            return rest
        return replace(rest, usd=self.budget.usd - usd)


def escalation_faults(escalate_to: Sequence[str], tiers: Sequence[str]) -> Iterator[InputError]:
    """What is wrong with ``escalate_to``, each with its place in a job.

    Since requests go only to tiers further down the list, there are no circles.
    """
    for i, name in enumerate(escalate_to):
        loc = ("escalate_to", i)
        if name not in tiers:
            yield unknown_name("tier of the job (escalate_to)", name, tiers, loc=loc)
        elif name in escalate_to[:i]:
            yield InputError(f"escalate_to names tier {name!r} twice", loc=loc)
        elif name == tiers[0]:
            yield InputError(
                f"escalate_to: no tier stands before {name!r}, so none can escalate to it; list "
                "the tiers of a job from the weakest to the strongest",
                loc=loc,
            )


def check_operating_point(point: object, *, escalates: bool = False) -> None:
    """Raise an InputError unless ``point`` is one of the names, or one bound with its number."""
    if point == LEVEL:
        if not escalates:
            raise InputError(
                "operating point 'level' is the cheapest policy that is level with a stronger "
                "tier: it needs escalate_to, the tiers that may be escalated to"
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


_PLAIN = {"task", "space", "baseline", "seed", "trials", "gate", "gate_margin", "max_outage_s"}
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


def load_job(path: Path | str) -> Job:
    """A job's file; relative paths in it are relative to it.

    Raises:
        InputError: every fault, with its line.
    """
    return job_of(read(path))


def job_of(document: Document) -> Job:
    """The job in a document; see ``load_job``."""
    job = read_as(Job, document)
    folder = document.folder
    tiers = {name: tier.beside(folder) for name, tier in job.tiers.items()}
    raise_any(
        [
            document.fault(f"no such file: {tier.recordings}", ("tiers", name, "recordings"))
            for name, tier in tiers.items()
            if tier.recordings and not Path(tier.recordings).is_file()
        ]
    )
    proposals = job.proposals
    if proposals and proposals.model:
        proposals = replace(proposals, model=proposals.model.beside(folder))
    return replace(
        job,
        task=resolved(job.task, folder),
        space=resolved(job.space, folder) if job.space else "",
        tiers=tiers,
        proposals=proposals,
    )


def dump_job(job: Job) -> str:
    """The job as YAML, as resolved; ``load_job`` reads it back equal."""
    return dump(plain(job))
