"""The deployable file of one tier: a policy with the exact messages, modes, prices and evidence.

Readable and complete without tierwise, and safe to load from a stranger: plain data, no import
paths, no addresses, no keys. ``PolicyFile.loads(file.dumps()) == file``.

In memory a file holds a ``Tier`` and a ``Policy``, as everything else that uses them does; in YAML
their keys stand at the top level, and prompts and tiers are named by the keys of their mappings.
``_nested`` and ``_flat`` are that difference, and all of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from tierwise.errors import InputError, Loc, raise_any, unknown_name
from tierwise.schema import yaml_io
from tierwise.schema.fields import IF_ANY, IF_SET, LongName, Name, Strict
from tierwise.schema.files import write_whole
from tierwise.schema.job import GateMode
from tierwise.schema.judge import JudgeVerifier
from tierwise.schema.measured import (
    Bounds,
    ComputeGateEvidence,
    FailedItems,
    GateName,
    Measured,
    Split,
)
from tierwise.schema.policy import JUDGES, Policy, Variant, bucket_names
from tierwise.schema.prompt import PromptTemplate, undefined_fields
from tierwise.schema.result import JudgeSummary
from tierwise.schema.task_file import TaskRef
from tierwise.schema.tier import Tier
from tierwise.schema.turns import AnswerKeys, RetrieverSpec, TurnTemplate
from tierwise.tasks import AnswerSpec

SCHEMA = "tierwise/policy/v1"

_OF_TIER = ("model", "price", "takes_n", "logprobs", "rate_limits", "modes")
_OF_POLICY = ("difficulty", "buckets", "limits")
_ORDER = (
    *("schema", "name", "deployable", "notes", "tier", *_OF_TIER[:-1], "task", "inputs"),
    *("prompts", "modes", "other_tiers", "retriever", "judge", "difficulty", "buckets"),
    *("answer", "limits", "expected", "evidence", "provenance"),
)
"""Top-level keys in the order in which they are written."""


@dataclass(frozen=True)
class ExpectedBucket(Strict):
    """A bucket on the held-out items, easiest first; None where its file does not say."""

    items: int | None = None
    score: float | None = None
    score_ci95: Bounds = (None, None)


SomeBounds = Annotated[Bounds, Field(exclude_if=lambda ends: ends == (None, None))]


@dataclass(frozen=True)
class ExpectedFigures(Strict):
    """A policy on the held-out items, in a policy file; None where the file does not say.

    Attributes:
        policy: the policy in a line, where it is not that of the file.
        latency_s_per_item, latency_s_p95: seconds of a request, by the slowest sample of each
            round: the mean and the 95th percentile.
    """

    policy: Annotated[str, IF_ANY] = ""
    items: Annotated[int | None, IF_SET] = None
    score: Annotated[float | None, IF_SET] = None
    score_ci95: SomeBounds = (None, None)
    usd_per_item: Annotated[float | None, IF_SET] = None
    usd_per_item_ci95: SomeBounds = (None, None)
    samples_per_item: Annotated[float | None, IF_SET] = None
    rounds_per_item: Annotated[float | None, IF_SET] = None
    failed: Annotated[FailedItems | None, IF_SET] = None
    latency_s_per_item: Annotated[float | None, IF_SET] = None
    latency_s_p95: Annotated[float | None, IF_SET] = None
    buckets: Annotated[tuple[ExpectedBucket, ...], IF_ANY] = ()

    @classmethod
    def of(cls, measured: Measured, **more: Any) -> ExpectedFigures:
        """What was measured of a policy, without its line and the split, and ``more`` fields."""
        known = {f.name: getattr(measured, f.name) for f in fields(Measured)}
        del known["policy"], known["split"]
        return cls(**known, **more)


@dataclass(frozen=True)
class ComparedWith(Strict):
    """A policy against another, paired by item; see ``Paired``."""

    against: str
    score_difference: float | None = None
    score_difference_ci95: Bounds = (None, None)
    cost_ratio: float | None = None
    cost_ratio_ci95: Bounds = (None, None)
    p: float | None = None


@dataclass(frozen=True)
class PolicyEvidence(Strict):
    """Why a policy was chosen, in its file; what is not known is left out.

    Attributes:
        split: of whose items the figures are.
        gate: whether the policy was shown to be better than the baseline, or as good and cheaper.
        looks_at_test: how often the test split of the pool has been looked at.
        judge: who scored the answers, where the task's metric is a judge.
    """

    split: Annotated[Split | None, IF_SET] = None
    baseline: Annotated[ExpectedFigures | None, IF_SET] = None
    gate: Annotated[GateName | None, IF_SET] = None
    gate_mode: Annotated[GateMode | None, IF_SET] = None
    compute_gate: Annotated[Literal["open", "closed"] | None, IF_SET] = None
    compute_gate_evidence: Annotated[ComputeGateEvidence | None, IF_SET] = None
    operating_point: Annotated[str | None, IF_SET] = None
    comparisons: Annotated[tuple[ComparedWith, ...], IF_ANY] = ()
    looks_at_test: Annotated[int | None, IF_SET] = None
    judge: Annotated[JudgeSummary | None, IF_SET] = None


@dataclass(frozen=True)
class Provenance(Strict):
    """Where a policy came from, in its file; what is not known is left out.

    Attributes:
        tierwise: the version that tuned it.
        trial: of the study; -1 for the baseline.
        pool_sha256: over the samples that the search looked at.
        weights_sha256: model -> hash of its weights, of embedded models.
    """

    tierwise: Annotated[str, IF_ANY] = ""
    created: Annotated[str, IF_ANY] = ""
    study: Annotated[str, IF_ANY] = ""
    trial: Annotated[int | None, IF_SET] = None
    seed: Annotated[int | None, IF_SET] = None
    pool_sha256: Annotated[str, IF_ANY] = ""
    prices_as_of: Annotated[str | None, IF_SET] = None
    weights_sha256: Annotated[Mapping[str, str], IF_ANY] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyFile(Strict):
    """A policy and all that serving it needs.

    Only the prompts and modes that the policy uses are kept. ``expected`` and ``evidence`` are
    rounded to six digits, a number that is not finite becomes None; everything else is exact.

    Attributes:
        other_tiers: those that a variant names.
        retriever: a name, which the deployment binds to a corpus or an address.
        judge: what ``judged_best_of_n`` asks; served as the tier ``judge``.
        deployable: whether the exact messages are known; those of a recording are not.

    Raises:
        InputError: the policy uses a prompt, mode, tier or field that is not there.
    """

    FILE_KEYS: ClassVar[tuple[str, ...]] = _ORDER

    name: LongName
    tier: Tier
    task: TaskRef
    inputs: tuple[str, ...]
    prompts: Annotated[Mapping[LongName, PromptTemplate], Field(min_length=1)]
    policy: Policy
    answer: AnswerKeys = AnswerSpec()
    expected: ExpectedFigures = ExpectedFigures()
    evidence: PolicyEvidence = PolicyEvidence()
    provenance: Provenance = Provenance()
    deployable: Annotated[bool, Field(exclude_if=bool)] = True
    notes: Annotated[tuple[str, ...], IF_ANY] = ()
    other_tiers: Annotated[Mapping[Name, Tier], IF_ANY] = field(default_factory=dict)
    retriever: Annotated[RetrieverSpec | None, IF_SET] = None
    judge: Annotated[JudgeVerifier | None, IF_SET] = None

    def __post_init__(self) -> None:
        raise_any(list(self._faults()))
        policy = self.policy
        used = {variant.prompt for variant in policy.variants}
        names = bucket_names(len(policy.buckets))
        buckets = tuple(
            replace(bucket, name=name) for bucket, name in zip(policy.buckets, names, strict=True)
        )
        kept = {
            "policy": replace(policy, buckets=buckets),
            "prompts": {i: _bare(i, p) for i, p in sorted(self.prompts.items()) if i in used},
            "tier": self._with_used_modes(self.tier),
            "other_tiers": {
                name: self._with_used_modes(tier)
                for name, tier in sorted(self.other_tiers.items())
                if any(variant.tier == name for variant in policy.variants)
            },
            "expected": _rounded(self.expected),
            "evidence": _rounded(self.evidence),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of the requests that each bucket got on held-out items; empty: not known."""
        return tuple(b.share for b in self.policy.buckets if b.share is not None)

    def tier_of(self, variant: Variant) -> Tier:
        """The tier that ``variant`` samples from."""
        if variant.owner == JUDGES and self.judge is not None:
            return self.judge.tier
        return self.other_tiers.get(variant.tier or "", self.tier)

    @property
    def takes_history(self) -> bool:
        """Whether every prompt that may answer has a slot for the messages before the question."""
        answering = {
            variant.prompt for bucket in self.policy.buckets for variant in bucket.variants
        }
        return all(self.prompts[name].takes_history for name in answering)

    @property
    def chat(self) -> str | None:
        """The input that is a chat, whose messages its prompts send; None where none is."""
        return next((prompt.chat for prompt in self.prompts.values() if prompt.chat), None)

    def dumps(self) -> str:
        """The file's text; the same bytes for the same policy."""
        return yaml_io.dump(_flat(yaml_io.plain(self)))

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all; gives back its path."""
        path = Path(path)
        write_whole(path, self.dumps())
        return path

    @classmethod
    def loads(cls, text: str, path: Path | str | None = None) -> PolicyFile:
        """The policy in ``text``; ``path`` is for messages.

        Raises:
            InputError: every fault of the file, with its line.
        """
        return cls.of(yaml_io.parse(text, path))

    @classmethod
    def load(cls, path: Path | str) -> PolicyFile:
        """The policy in a file; see ``loads``."""
        return cls.of(yaml_io.read(path))

    @classmethod
    def of(cls, document: yaml_io.Document) -> PolicyFile:
        """The policy in a document; see ``loads``."""
        if document.data is not None and not isinstance(document.data, dict):
            raise document.fault(f"must be a mapping of {', '.join(_ORDER)}")
        _check_schema(document)
        faults = [
            document.fault(
                f"{key}.{name}: unknown key {own!r}: its name stands before it", (key, name)
            )
            for key, own in _NAMED_BY_KEY
            for name, inner in _items(document.data, key)
            if own in inner
        ]
        raise_any(faults)
        return yaml_io.read_as(cls, document, _nested(document.data or {}), _place)

    def _with_used_modes(self, tier: Tier) -> Tier:
        used = {
            variant.mode
            for variant in self.policy.variants
            if self.tier_of(variant).name == tier.name
        }
        modes = {name: _plain(sent) for name, sent in sorted(tier.modes.items()) if name in used}
        limits = dict(sorted(tier.limits.items()))
        return replace(
            tier, modes=modes, limits=limits, api_base="", api_key_env="", headers_env={}
        )

    def _faults(self) -> Iterator[InputError]:
        """Each name that the policy uses and nobody defines, with its place in the file."""
        policy, prompts = self.policy, self.prompts
        places: list[tuple[Loc, Variant]] = [
            (("buckets", b, "variants", a), variant)
            for b, bucket in enumerate(policy.buckets)
            for a, variant in enumerate(bucket.variants)
        ]
        if probe := policy.difficulty.probe:
            for a, variant in enumerate(probe.variants):
                # One variant is written in short, without a list.
                in_list = ("variants", a) if len(probe.variants) > 1 else ()
                places.append((("difficulty", "probe", *in_list), variant))
        for loc, variant in places:
            if variant.prompt not in prompts:
                yield unknown_name("prompt", variant.prompt, prompts, loc=(*loc, "prompt"))
            if variant.tier not in (None, self.tier.name, *self.other_tiers):
                yield unknown_name("tier", str(variant.tier), self.other_tiers, loc=(*loc, "tier"))
                continue
            tier = self.tier_of(variant)
            if variant.mode not in tier.modes:
                what = f"mode of tier {tier.name!r}"
                yield unknown_name(what, variant.mode, tier.modes, loc=(*loc, "mode"))
        for name in dict.fromkeys(variant.prompt for _, variant in places):
            if name in prompts and not prompts[name].messages:
                yield InputError(f"prompt {name!r} has no messages", loc=("prompts", name))
            for error in undefined_fields(prompts[name], self.inputs) if name in prompts else ():
                yield InputError(error.message, loc=("prompts", name, *error.loc))
        if len(self.shares) not in (0, len(policy.buckets)):
            yield InputError("give each bucket a share, or none", loc=("buckets",))


# --- the file's keys ---------------------------------------------------------------------------


def _nested(data: Mapping[str, Any]) -> dict[str, Any]:
    """A file's data with the keys of the class."""
    rest = {k: v for k, v in data.items() if k not in (*_OF_TIER, *_OF_POLICY, "schema")}
    rest["policy"] = {k: data[k] for k in _OF_POLICY if k in data}
    if "tier" in data:
        rest["tier"] = {"name": data["tier"], **{k: data[k] for k in _OF_TIER if k in data}}
    for key, own in _NAMED_BY_KEY:
        if isinstance(rest.get(key), dict):
            named = {name: {**inner, own: name} for name, inner in _items(rest, key)}
            rest[key] = {**rest[key], **named}
    return rest


_NAMED_BY_KEY = (("prompts", "id"), ("other_tiers", "name"))


def _items(data: Any, key: str) -> list[tuple[str, dict[str, Any]]]:
    """The mappings in the mapping ``key`` of ``data``; [] where there is none."""
    inner = data.get(key) if isinstance(data, dict) else None
    pairs = inner.items() if isinstance(inner, dict) else ()
    return [(name, value) for name, value in pairs if isinstance(value, dict)]


def _place(loc: Loc) -> Loc:
    """Where in the file a place in ``_nested`` is."""
    if loc[:2] == ("tier", "name"):
        return ("tier",)
    return loc[1:] if loc and loc[0] in ("tier", "policy") and len(loc) > 1 else loc


def _flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """The way back from ``_nested``, in the file's order."""
    tier = dict(data["tier"])
    flat = {**data, **data["policy"], "schema": SCHEMA, "tier": tier.pop("name"), **tier}
    flat["prompts"] = {
        name: _ordered(prompt, ("family", "turn", "origin", "messages", "turns"))
        for name, prompt in data["prompts"].items()
    }
    flat["other_tiers"] = {
        name: _ordered(other, _OF_TIER) for name, other in data.get("other_tiers", {}).items()
    }
    order = ("signal", "params", "probe", "weights", "thresholds")
    flat["difficulty"] = _ordered(flat["difficulty"], order)
    return _ordered({k: v for k, v in flat.items() if v or k != "other_tiers"}, _ORDER)


def _ordered(data: Mapping[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    return {key: data[key] for key in order if key in data}


def _check_schema(document: yaml_io.Document) -> None:
    if not isinstance(document.data, dict):
        return
    schema = document.data.get("schema")
    if schema is None:
        raise document.fault(f"'schema' is missing: a policy file begins with schema: {SCHEMA}")
    if isinstance(schema, str) and _newer_schema(schema):
        raise document.fault(
            f"this policy was written for {schema}, by a newer tierwise; this one reads {SCHEMA}: "
            "upgrade tierwise, or export the policy again",
            ("schema",),
        )
    if schema != SCHEMA:
        raise document.placed(unknown_name("schema", str(schema), [SCHEMA]), ("schema",))


def _newer_schema(schema: str) -> bool:
    """Whether this is a later version of the schema that we read."""
    base, _, ours = SCHEMA.rpartition("/v")
    match = re.fullmatch(re.escape(base) + r"/v([0-9]{1,6})", schema)
    return match is not None and int(match.group(1)) > int(ours)


def _bare(key: str, prompt: PromptTemplate) -> PromptTemplate:
    turns = {
        name: TurnTemplate(turn.text, _plain(turn.sends))
        for name, turn in sorted(prompt.turns.items())
    }
    return replace(prompt, id=key, modes=(), paraphrases=(), turns=turns)


def _plain(value: Any) -> Any:
    """``value`` as what YAML holds: dicts with text keys, lists, numbers, texts, None."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    raise InputError(f"a policy file holds plain data only, not {type(value).__name__}")


_T = TypeVar("_T", ExpectedFigures, PolicyEvidence)


def _rounded(figures: _T) -> _T:
    """``figures`` with six digits of each number; None for one that is not finite."""
    adapter = yaml_io.adapter(type(figures))
    data = _six_digits(adapter.dump_python(figures, mode="json"))
    found: _T = adapter.validate_json(json.dumps(data))
    return found


def _six_digits(data: Any) -> Any:
    match data:
        case dict():
            return {key: _six_digits(inner) for key, inner in data.items()}
        case list():
            return [_six_digits(inner) for inner in data]
        case float():
            return float(f"{data:.6g}") if math.isfinite(data) else None
    return data
