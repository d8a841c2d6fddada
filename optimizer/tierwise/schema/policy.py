"""A policy's decisions: difficulty, and for each bucket the variants and the strategy.

Ids only; the deployable file (``policy_file``) adds the exact messages, modes and evidence.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required

from pydantic import Discriminator, Field, GetCoreSchemaHandler, Tag, WithJsonSchema, with_config
from pydantic_core import CoreSchema
from typing_extensions import TypedDict

from tierwise.errors import InputError
from tierwise.schema.fields import (
    IF_ANY,
    IF_SET,
    STRICT,
    Count,
    LongName,
    Mapped,
    Name,
    NotNegative,
    Number,
    Positive,
    Scalar,
    Share,
    Strict,
    as_mapping,
)
from tierwise.schema.turns import JUDGED_TURN, ROOT, Path, Turn, path_above, path_below
from tierwise.schema.yaml_io import plain

Param = int | float | str | bool | None
StrategyParam = Param | tuple[Any, ...]
"""Numbers and names; a cascade's stages are tuples of them."""


JUDGES = "(judge)"
"""Whose samples judgements are, where tiers are told apart: no tier has such a name."""


class Variant(NamedTuple):
    """What samples are bought for: prompt x mode x temperature, on this tier or a named one.

    A recipe's variants have the empty ``path``; below them a variant with a path stands for the
    samples of one node in each of the variant's trees. A NamedTuple, since variants are keys of
    many dictionaries and tuples hash fastest; in a file it is a mapping.
    """

    prompt: LongName
    mode: Name
    temperature: NotNegative
    tier: Name | None = None
    path: Path = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return as_mapping(cls, handler, ("path",))

    @property
    def label(self) -> str:
        """``prompt/mode/temperature``, with ``@tier`` where it is another one, and the path."""
        where = f"@{self.tier}" if self.tier else ""
        turns = " " + ">".join(turn.label for turn in self.path) if self.path else ""
        return f"{self.prompt}/{self.mode}/{self.temperature:g}{where}{turns}"

    @property
    def turn(self) -> Turn:
        """What its samples are asked for."""
        return self.path[-1] if self.path else ROOT

    @property
    def owner(self) -> str | None:
        """The tier that its samples come from, ``JUDGES`` of judgements; None: the policy's own."""
        return JUDGES if self.turn.name == JUDGED_TURN else self.tier

    @property
    def root(self) -> Variant:
        """The recipe's variant that this one lies below."""
        return self._replace(path=())

    @property
    def parent(self) -> Variant | None:
        """The variant of its samples' parents; None where its samples begin a request."""
        return self._replace(path=path_above(self.path)) if len(self.path) > 1 else None

    @property
    def beginning(self) -> Variant:
        """The variant that its chain begins with: it decides how many samples all of them have."""
        at = self
        while (above := at.parent) is not None:
            at = above
        return at

    def begun(self, turn: Turn) -> Variant:
        """This variant asked for ``turn`` at once."""
        return self._replace(path=() if turn == ROOT else (turn,))

    def below(self, turn: Turn) -> Variant:
        """This variant asked for ``turn`` after its sample."""
        return self._replace(path=path_below(self.path, turn))


MOST_SAMPLES_ASKED = 4096
"""Of a request, at most: a policy may come from a stranger."""


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """The kind of a strategy and its parameters, sorted: hashable, and plain data in a file."""

    kind: str
    params: tuple[tuple[str, StrategyParam], ...] = ()

    @classmethod
    def of(
        cls, kind: str, params: Mapping[str, StrategyParam] | None = None, /, **more: StrategyParam
    ) -> StrategySpec:
        """``StrategySpec.of("self_consistency", samples=5)``."""
        return cls(kind, tuple(sorted({**(params or {}), **more}.items())))

    def __str__(self) -> str:
        inside = ", ".join(
            f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.params
        )
        return f"{self.kind}({inside})"


def _strategy(keys: Mapping[str, Any]) -> StrategySpec:
    if not isinstance(keys.get("kind"), str):
        raise ValueError("needs a 'kind', such as {kind: self_consistency, samples: 5}")
    for name in ("samples", "max_samples", "window", "rounds"):
        value = keys.get(name)
        if isinstance(value, int) and value > MOST_SAMPLES_ASKED:
            raise ValueError(f"{name} must be at most {MOST_SAMPLES_ASKED:,}, got {value}")
    return StrategySpec.of(keys["kind"], {k: v for k, v in keys.items() if k != "kind"})


StrategyKeys = Annotated[
    StrategySpec,
    Mapped(
        Annotated[
            dict[str, Scalar],
            WithJsonSchema(
                {
                    "type": "object",
                    "properties": {"kind": {"type": "string"}},
                    "required": ["kind"],
                    "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
                }
            ),
        ],
        _strategy,
        lambda spec: {"kind": spec.kind, **dict(spec.params)},
    ),
]


@dataclass(frozen=True, slots=True)
class Recipe(Strict):
    """One bucket's way to an answer: variants, whose samples vote together, and a strategy.

    ``name`` and ``share``, the part of the requests that the bucket got on held-out items, are for
    readers of a file: two recipes that differ in them alone are equal.
    """

    name: Annotated[str, IF_ANY] = field(default="", kw_only=True, compare=False)
    share: Annotated[Share | None, IF_SET] = field(default=None, kw_only=True, compare=False)
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    strategy: StrategyKeys

    def __str__(self) -> str:
        return f"{' + '.join(variant.label for variant in self.variants)}: {self.strategy}"


@with_config(STRICT)
class _Stop(TypedDict, total=False):
    """How sure the leader of all votes so far must be."""

    share: Share
    confidence: Number | None


@with_config(STRICT)
class _WeightedVariant(TypedDict):
    """A variant of a cascade; ``weight`` is what its votes count."""

    prompt: LongName
    mode: Name
    temperature: NotNegative
    tier: NotRequired[Name | None]
    weight: NotRequired[Positive]


@with_config(STRICT)
class _StageKeys(TypedDict):
    """A stage of a cascade; ``stop`` says how sure its leader must be to end the request."""

    variants: Annotated[tuple[_WeightedVariant, ...], Field(min_length=1)]
    samples: Annotated[Count, Field(le=MOST_SAMPLES_ASKED)]
    stop: NotRequired[_Stop]


@with_config(STRICT)
class _CascadeKeys(TypedDict):
    """The strategy of a bucket whose variants stand in its stages."""

    kind: Literal["cascade"]
    stages: Annotated[tuple[_StageKeys, ...], Field(min_length=1)]


@with_config(STRICT)
class _CascadeBucket(TypedDict):
    """A bucket with a cascade: votes of earlier stages count on."""

    strategy: _CascadeKeys
    name: NotRequired[str]
    share: NotRequired[Share | None]


def _recipe(keys: Recipe | _CascadeBucket) -> Recipe:
    """A bucket as it is read: the variants of a cascade are those of its stages, each once."""
    if isinstance(keys, Recipe):
        return keys
    weights: dict[Variant, float | None] = {}
    stages = []
    for stage in keys["strategy"]["stages"]:
        places = []
        for given in stage["variants"]:
            weight = given.get("weight")
            variant = Variant(
                given["prompt"], given["mode"], given["temperature"], given.get("tier")
            )
            if weights.setdefault(variant, weight) != weight:
                raise ValueError(f"two weights for {variant.label}")
            places.append(list(weights).index(variant))
        stop = stage.get("stop", {})
        stages.append(
            (tuple(places), stage["samples"], stop.get("share", 1.0), stop.get("confidence"))
        )
    params: dict[str, StrategyParam] = {"stages": tuple(stages)}
    if any(weight is not None for weight in weights.values()):
        params["weights"] = tuple(1.0 if w is None else w for w in weights.values())
    spec = StrategySpec.of("cascade", params)
    name, share = keys.get("name", ""), keys.get("share")
    return Recipe(tuple(weights), spec, name=name, share=share)


def _recipe_keys(recipe: Recipe) -> dict[str, Any]:
    """A bucket as it is written."""
    keys: dict[str, Any] = plain(recipe)
    if recipe.strategy.kind != "cascade":
        return keys
    params = dict(recipe.strategy.params)
    weights, variants = params.get("weights", ()), keys.pop("variants")
    for variant, weight in zip(
        variants, weights if isinstance(weights, tuple) else (), strict=False
    ):
        variant["weight"] = float(weight)
    stages = []
    for places, samples, *stop in _tuple_of(params.get("stages")):
        named = zip(("share", "confidence"), stop, strict=False)
        stages.append(
            {
                "variants": [variants[place] for place in places],
                "samples": samples,
                "stop": {name: value for name, value in named if value is not None},
            }
        )
    return {**keys, "strategy": {"kind": "cascade", "stages": stages}}


def _tuple_of(value: StrategyParam) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _kind_of_bucket(bucket: Any) -> str:
    strategy = bucket.get("strategy") if isinstance(bucket, dict) else None
    return (
        "cascade" if isinstance(strategy, dict) and strategy.get("kind") == "cascade" else "votes"
    )


Bucket = Annotated[
    Recipe,
    Mapped(
        Annotated[
            Annotated[Recipe, Tag("votes")] | Annotated[_CascadeBucket, Tag("cascade")],
            Discriminator(_kind_of_bucket),
        ],
        _recipe,
        _recipe_keys,
    ),
]
"""A recipe in a file; that of a cascade has its variants in its stages."""


class Probe(NamedTuple):
    """The samples that a difficulty signal looks at before the bucket is known.

    ``samples`` of them in all, interleaved over ``variants`` in turn: two samples of two prompts
    are one of each.
    """

    variants: tuple[Variant, ...]
    samples: int

    @property
    def interleaved(self) -> tuple[Variant, ...]:
        """The variant of each sample, in the order in which they are asked for (at once)."""
        return (self.variants * self.samples)[: self.samples]

    def among(self, variants: Sequence[Variant]) -> Probe | None:
        """The part that a recipe of ``variants`` takes over as its first samples; None: nothing."""
        mine = tuple(variant for variant in self.variants if variant in variants)
        samples = sum(variant in variants for variant in self.interleaved)
        return Probe(mine, samples) if samples else None

    def __str__(self) -> str:
        many = "one sample" if self.samples == 1 else f"{self.samples} samples"
        return f"{many} of {' + '.join(variant.label for variant in self.variants)}"


@with_config(STRICT)
class _ProbeKeys(TypedDict, total=False):
    """A probe; its one variant may be written out in place of the list."""

    prompt: LongName
    mode: Name
    temperature: NotNegative
    tier: Name | None
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    samples: Required[Annotated[Count, Field(le=MOST_SAMPLES_ASKED)]]


def _probe(keys: dict[str, Any]) -> Probe:
    variants, samples = keys.pop("variants", None), keys.pop("samples")
    if variants is None:
        for name in ("prompt", "mode", "temperature"):
            if name not in keys:
                raise ValueError(f"{name!r} is missing (or give a list of 'variants')")
        variants = (Variant(**keys),)
    elif keys:
        raise ValueError(f"give {next(iter(keys))!r} or a list of 'variants', not both")
    if len(set(variants)) < len(variants):
        raise ValueError("a variant is here twice")
    if samples < len(variants):
        raise ValueError(f"{samples} samples reach only as many of its {len(variants)} variants")
    return Probe(variants, samples)


def _probe_keys(probe: Probe | None) -> dict[str, Any] | None:
    if probe is None:
        return None
    variants = [plain(variant) for variant in probe.variants]
    return {
        **(variants[0] if len(variants) == 1 else {"variants": variants}),
        "samples": probe.samples,
    }


class Weight(NamedTuple):
    """What a feature of the prompt counts for: ``weight`` * (it - ``mean``) / ``scale``."""

    feature: str
    weight: Number
    mean: Number = 0.0
    scale: Positive = 1.0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return as_mapping(cls, handler, ("feature",))


def _weights(keys: Mapping[str, Weight]) -> tuple[Weight, ...]:
    return tuple(weight._replace(feature=name) for name, weight in keys.items())


Weights = Annotated[
    tuple[Weight, ...],
    Mapped(dict[str, Weight], _weights, lambda weights: {w.feature: plain(w) for w in weights}),
    IF_ANY,
]
"""By feature; in a file a mapping."""

Params = Annotated[
    tuple[tuple[str, Param], ...],
    Mapped(dict[str, Scalar], lambda params: tuple(sorted(params.items())), dict),
    IF_ANY,
]
"""Parameters by name, sorted so that equal ones are equal."""


@dataclass(frozen=True, slots=True)
class Difficulty(Strict):
    """A signal (higher is easier) and where it is cut; ``>=`` goes to the easier side.

    ``thresholds`` are descending, one fewer than buckets. ``params`` are the signal's, sorted;
    ``weights`` those of a signal that was fitted (the router).
    """

    signal: str = "none"
    thresholds: tuple[Number, ...] = ()
    probe: Annotated[Probe | None, Mapped(_ProbeKeys | None, _probe, _probe_keys), IF_SET] = None
    params: Params = ()
    weights: Weights = ()

    @property
    def uncut(self) -> Difficulty:
        """How it is told, wherever it is cut."""
        return replace(self, thresholds=())

    def __str__(self) -> str:
        settings = "".join(f" ({value})" for _, value in self.params)
        return f"{self.signal}{settings}{f' of {self.probe}' if self.probe else ''}"


@dataclass(frozen=True, slots=True)
class Limits(Strict):
    """What ends a request early, in search as in serving."""

    max_usd_per_request: Annotated[Positive | None, IF_SET] = None
    max_samples: Annotated[Annotated[Count, Field(le=MOST_SAMPLES_ASKED)] | None, IF_SET] = None
    timeout_s: Positive | None = 60.0
    on_error: Literal["answer_with_what_arrived", "fail"] = "answer_with_what_arrived"


NO_POLICY_LIMITS = Limits(timeout_s=None)
_CUTS = ("difficulty", "thresholds")


@dataclass(frozen=True, slots=True)
class Policy(Strict):
    """Buckets, easiest first, and how a request finds its bucket.

    A search knows no limits: those of a file are chosen when it is written, so that they bound a
    request and do not steer it, whatever a provider's pace was while samples were bought.
    """

    buckets: Annotated[tuple[Bucket, ...], Field(min_length=1)]
    difficulty: Difficulty = Difficulty()
    limits: Limits = NO_POLICY_LIMITS

    def __post_init__(self) -> None:
        cuts, n = self.difficulty.thresholds, len(self.buckets)
        if len(cuts) != n - 1:
            raise InputError(f"{n} buckets need {n - 1} thresholds, got {len(cuts)}", loc=_CUTS)
        if any(variant.path for variant in self.variants):
            raise InputError("a recipe's variants have no path: the strategy asks for turns")
        if any(a <= b for a, b in itertools.pairwise(cuts)):
            message = f"thresholds must fall from the easiest bucket on, got {cuts}"
            raise InputError(message, loc=_CUTS)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Every variant that a request may sample from, the probe's first."""
        probe = self.difficulty.probe.variants if self.difficulty.probe else ()
        return tuple(dict.fromkeys((*probe, *(a for b in self.buckets for a in b.variants))))

    def __str__(self) -> str:
        """The policy in one line."""
        buckets = " | ".join(map(str, self.buckets))
        if len(self.buckets) == 1:
            return buckets
        cuts = ", ".join(f"{cut:.3g}" for cut in self.difficulty.thresholds)
        return f"{self.difficulty.signal} at {cuts}: {buckets}"

    def with_shares(self, shares: Sequence[float]) -> Policy:
        """It with the part of the requests that each bucket got.

        Raises:
            InputError: not one share for each bucket.
        """
        if len(shares) != len(self.buckets):
            raise InputError(f"{len(self.buckets)} buckets, but {len(shares)} shares")
        pairs = zip(self.buckets, shares, strict=True)
        return replace(self, buckets=tuple(replace(b, share=float(share)) for b, share in pairs))

    def bucket_of(self, signal: float) -> int:
        """Index of the bucket for a signal's value."""
        for i, cut in enumerate(self.difficulty.thresholds):
            if signal >= cut:
                return i
        return len(self.buckets) - 1


def bucket_names(n: int) -> tuple[str, ...]:
    """What ``n`` buckets are called, easiest first: easy, (medium,) hard; b1, b2 … of more."""
    named = {1: ("all",), 2: ("easy", "hard"), 3: ("easy", "medium", "hard")}
    return named.get(n, tuple(f"b{i + 1}" for i in range(n)))


def uniform(variant: Variant, strategy: StrategySpec) -> Policy:
    """The policy of one bucket and one variant."""
    return Policy(buckets=(Recipe((variant,), strategy),))
