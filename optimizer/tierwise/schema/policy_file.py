"""The deployable file of one tier: a policy with the exact messages, modes, prices and evidence.

Readable and complete without tierwise, and safe to load from a stranger: plain data, no import
paths, no addresses, no keys. ``PolicyFile.loads(file.dumps()) == file``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from tierwise.errors import InputError, unknown_name
from tierwise.schema.policy import Policy, Variant
from tierwise.schema.prompt import PromptTemplate, undefined_fields
from tierwise.schema.tier import Tier
from tierwise.schema.turns import RetrieverSpec, TurnTemplate
from tierwise.tasks import AnswerSpec

SCHEMA = "tierwise/policy/v1"


class TaskRef(NamedTuple):
    """The task that a policy was tuned on."""

    name: str
    version: int
    metric: str
    items_sha256: str


@dataclass(frozen=True)
class PolicyFile:
    """A policy and all that serving it needs.

    Only the prompts and modes that the policy uses are kept. ``shares`` is the part of the requests
    that each bucket got on the held-out items (empty: not known). ``expected`` and ``evidence`` are
    rounded to six digits, a number that is not finite becomes None; everything else is exact.
    ``other_tiers`` are those that a variant names. ``retriever`` is a name, which the deployment binds
    to a corpus or an address.

    Raises:
        InputError: the policy uses a prompt, mode, tier or field that is not there.
    """

    name: str
    tier: Tier
    task: TaskRef
    inputs: tuple[str, ...]
    prompts: Mapping[str, PromptTemplate]
    policy: Policy
    shares: tuple[float, ...] = ()
    answer: AnswerSpec = AnswerSpec()
    expected: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    deployable: bool = True
    notes: tuple[str, ...] = ()
    other_tiers: Mapping[str, Tier] = field(default_factory=dict)
    retriever: RetrieverSpec | None = None

    def __post_init__(self) -> None:
        for _, error in dangling(
            self.policy, self.prompts, self.tier, self.other_tiers, self.inputs
        ):
            raise error
        if len(self.shares) not in (0, len(self.policy.buckets)):
            raise InputError(f"{len(self.policy.buckets)} buckets, but {len(self.shares)} shares")
        used = {variant.prompt for variant in self.policy.variants}
        kept = {
            "prompts": {i: _bare(i, p) for i, p in sorted(self.prompts.items()) if i in used},
            "tier": self._with_used_modes(self.tier),
            "other_tiers": {
                name: self._with_used_modes(tier)
                for name, tier in sorted(self.other_tiers.items())
                if any(variant.tier == name for variant in self.policy.variants)
            },
            "shares": tuple(float(share) for share in self.shares),
            "expected": _plain(self.expected, digits=6),
            "evidence": _plain(self.evidence, digits=6),
            "provenance": _plain(self.provenance),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def tier_of(self, variant: Variant) -> Tier:
        """The tier that ``variant`` samples from."""
        return self.other_tiers.get(variant.tier or "", self.tier)

    @property
    def takes_history(self) -> bool:
        """Whether every prompt that may answer has a slot for the messages before the question."""
        answering = {
            variant.prompt for bucket in self.policy.buckets for variant in bucket.variants
        }
        return all(self.prompts[name].takes_history for name in answering)

    def dumps(self) -> str:
        """The file's text; the same bytes for the same policy."""
        from tierwise.schema._policy_write import write

        return write(self)

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all; gives back its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(self.dumps())
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a server's user out
            os.replace(temporary, path)
        except BaseException:  # Ctrl-C too must leave no half a file; it goes on up
            Path(temporary).unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def loads(cls, text: str, path: Path | str | None = None) -> PolicyFile:
        """The policy in ``text``; ``path`` is for messages.

        Raises:
            InputError: every fault of the file, with its line.
        """
        from tierwise.schema import yaml_io
        from tierwise.schema._policy_read import read

        return read(yaml_io.parse(text, path))

    @classmethod
    def load(cls, path: Path | str) -> PolicyFile:
        """The policy in a file; see ``loads``."""
        from tierwise.schema import yaml_io
        from tierwise.schema._policy_read import read

        return read(yaml_io.read(path))

    def _with_used_modes(self, tier: Tier) -> Tier:
        used = {
            variant.mode
            for variant in self.policy.variants
            if self.tier_of(variant).name == tier.name
        }
        modes = {name: _plain(sent) for name, sent in sorted(tier.modes.items()) if name in used}
        return replace(tier, modes=modes, limits=dict(sorted(tier.limits.items())))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors and other languages."""
    from tierwise.schema._policy_read import PolicyModel

    return {"$id": SCHEMA, **PolicyModel.model_json_schema(by_alias=True)}


def dangling(
    policy: Policy,
    prompts: Mapping[str, PromptTemplate],
    tier: Tier,
    other_tiers: Mapping[str, Tier],
    inputs: tuple[str, ...],
) -> Iterator[tuple[tuple[str | int, ...], InputError]]:
    """Each name that a policy uses and nobody defines, with its place in the file."""
    places: list[tuple[tuple[str | int, ...], Variant]] = [
        (("buckets", b, "variants", a), variant)
        for b, bucket in enumerate(policy.buckets)
        for a, variant in enumerate(bucket.variants)
    ]
    if policy.difficulty.probe:
        probe = policy.difficulty.probe
        for a, variant in enumerate(probe.variants):
            # One variant is written in short, without a list.
            in_list = ("variants", a) if len(probe.variants) > 1 else ()
            places.append((("difficulty", "probe", *in_list), variant))
    for loc, variant in places:
        if variant.prompt not in prompts:
            yield (*loc, "prompt"), unknown_name("prompt", variant.prompt, prompts)
        if variant.tier not in (None, tier.name, *other_tiers):
            yield (*loc, "tier"), unknown_name("tier", str(variant.tier), other_tiers)
            continue
        of = other_tiers.get(variant.tier, tier) if variant.tier else tier
        if variant.mode not in of.modes:
            yield (*loc, "mode"), unknown_name(f"mode of tier {of.name!r}", variant.mode, of.modes)
    for prompt in {
        variant.prompt: prompts[variant.prompt]
        for _, variant in places
        if variant.prompt in prompts
    }.values():
        for where, error in undefined_fields(prompt, inputs):
            yield ("prompts", prompt.id, *where), error


def newer_schema(schema: str) -> bool:
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


def _plain(value: Any, digits: int | None = None) -> Any:
    """``value`` as what YAML holds: dicts with text keys, lists, numbers, texts, None."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, digits) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, digits) for inner in value]
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            return None
        return number if digits is None else float(f"{number:.{digits}g}")
    if hasattr(value, "tolist"):  # numpy's arrays and booleans
        return _plain(value.tolist(), digits)
    raise InputError(f"a policy file holds plain data only, not {type(value).__name__}")
