"""A job: what to tune, on which tiers, within which budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tierwise.content.find import resolved
from tierwise.content.proposal_spec import SHARE, ProposalSpec
from tierwise.content.tier_spec import TierSpec
from tierwise.errors import InputError, unknown_name

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
