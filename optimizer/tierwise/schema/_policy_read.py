"""From the YAML of a policy file to its value; every fault at once, with its line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tierwise.errors import InputError, raise_any, unknown_name
from tierwise.schema.models import (
    AnswerModel,
    MessageModel,
    ModelString,
    ModeParameters,
    PriceModel,
    RetrieverModel,
    Turns,
    answer_spec,
    messages_of,
)
from tierwise.schema.policy import (
    Difficulty,
    Limits,
    Policy,
    Probe,
    Recipe,
    StrategySpec,
    Variant,
    Weight,
)
from tierwise.schema.policy_file import SCHEMA, PolicyFile, TaskRef, dangling, newer_schema
from tierwise.schema.prompt import ANSWER, PromptTemplate
from tierwise.schema.tier import Tier
from tierwise.schema.validation import (
    Count,
    NotNegative,
    Positive,
    Strict,
    Text,
    custom,
    keys_of,
    validate,
)
from tierwise.schema.yaml_io import Document


def _scalar(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("must be a number, a text, true or false")
    return value


def _with_kind(strategy: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(strategy.get("kind"), str):
        raise ValueError("needs a 'kind', such as {kind: self_consistency, samples: 5}")
    return strategy


Scalar = Annotated[Any, AfterValidator(_scalar)]


class PromptModel(Strict):
    """The exact messages; ``{{ field }}`` is the only placeholder."""

    messages: Annotated[list[MessageModel], Field(min_length=1)]
    family: str = "baseline"
    origin: str = "library"
    turn: Text = ANSWER
    turns: Turns = Field(default_factory=dict)


class TaskModel(Strict):
    """The task that the policy was tuned on."""

    name: str
    version: int
    metric: str
    items_sha256: str


class VariantModel(Strict):
    """Prompt x mode x temperature, on the file's tier or one of ``other_tiers``."""

    prompt: str
    mode: str
    temperature: NotNegative
    tier: str | None = None

    def value(self) -> Variant:
        """As a variant."""
        return Variant(self.prompt, self.mode, float(self.temperature), self.tier)


class ProbeModel(Strict):
    """The samples that the signal looks at: of one variant, written out here, or interleaved over ``variants``."""

    prompt: str | None = None
    mode: str | None = None
    temperature: NotNegative | None = None
    tier: str | None = None
    variants: Annotated[list[VariantModel], Field(min_length=1)] | None = None
    samples: Count

    @model_validator(mode="after")
    def _one_variant_or_several(self) -> ProbeModel:
        variant = {name: getattr(self, name) for name in VariantModel.model_fields}
        if self.variants is None:
            for name in ("prompt", "mode", "temperature"):
                if variant[name] is None:
                    raise custom(f"{name!r} is missing (or give a list of 'variants')")
            self.variants = [VariantModel(**variant)]
        elif given := [name for name, value in variant.items() if value is not None]:
            raise custom(f"give {given[0]!r} or a list of 'variants', not both")
        if len(set(self.value().variants)) < len(self.variants):
            raise custom("a variant is here twice")
        if self.samples < len(self.variants):
            raise custom(
                f"{self.samples} samples reach only as many of its {len(self.variants)} variants"
            )
        return self

    def value(self) -> Probe:
        """As a probe."""
        return Probe(tuple(variant.value() for variant in self.variants or ()), self.samples)


class WeightModel(Strict):
    """What a feature counts for: weight * (it - mean) / scale."""

    weight: float
    mean: float = 0.0
    scale: Positive = 1.0


class DifficultyModel(Strict):
    """The signal, and where it is cut: ``>=`` goes to the easier bucket."""

    signal: str = "none"
    params: dict[str, Scalar] = Field(default_factory=dict)
    probe: ProbeModel | None = None
    weights: dict[str, WeightModel] = Field(default_factory=dict)
    thresholds: list[float] = Field(default_factory=list)


class BucketModel(Strict):
    """A bucket's variants, which vote together, and its strategy."""

    name: str = ""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    variants: Annotated[list[VariantModel], Field(min_length=1)]
    strategy: Annotated[dict[str, Scalar], AfterValidator(_with_kind)]


class LimitsModel(Strict):
    """What ends a request early."""

    max_usd_per_request: Positive | None = None
    max_samples: Count | None = None
    timeout_s: Positive | None = 60.0
    on_error: Literal["answer_with_what_arrived", "fail"] = "answer_with_what_arrived"


class TierModel(Strict):
    """A model, what it costs and what each mode sends."""

    model: ModelString
    price: PriceModel
    takes_n: bool = True
    logprobs: bool = False
    modes: dict[Text, ModeParameters]
    rate_limits: dict[str, float] = Field(default_factory=dict)

    def value(self, name: str) -> Tier:
        """As a tier."""
        return Tier(
            name,
            self.model,
            self.price.value(),
            dict(self.modes),
            self.takes_n,
            self.logprobs,
            dict(self.rate_limits),
        )


class PolicyModel(Strict):
    """A policy file, ``tierwise/policy/v1``."""

    schema_: Literal["tierwise/policy/v1"] = Field(alias="schema")
    name: Text
    deployable: bool = True
    notes: list[str] = Field(default_factory=list)
    tier: Text
    model: ModelString
    price: PriceModel
    takes_n: bool = True
    logprobs: bool = False
    rate_limits: dict[str, float] = Field(default_factory=dict)
    task: TaskModel
    inputs: list[str]
    prompts: Annotated[dict[str, PromptModel], Field(min_length=1)]
    modes: dict[Text, ModeParameters]
    other_tiers: dict[str, TierModel] = Field(default_factory=dict)
    retriever: RetrieverModel | None = None
    difficulty: DifficultyModel = DifficultyModel()
    buckets: Annotated[list[BucketModel], Field(min_length=1)]
    answer: AnswerModel = AnswerModel()
    limits: LimitsModel = LimitsModel()
    expected: dict[str, Any] = Field(default_factory=dict)
    evidence: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)


def read(document: Document) -> PolicyFile:
    """The policy of a document, or an InputError with every fault and its line."""
    _check_schema(document)
    model = validate(PolicyModel, document)
    faults: list[InputError] = []
    answer = answer_spec(model.answer, document, faults)
    tier = TierModel(**{k: getattr(model, k) for k in keys_of(TierModel)}).value(model.tier)
    others = {name: other.value(name) for name, other in model.other_tiers.items()}
    prompts = {}
    for name, prompt in model.prompts.items():
        try:
            messages = messages_of(prompt.messages)
        except InputError as fault:
            faults.append(document.placed(fault, ("prompts", name, "messages")))
            messages = ()  # so that what names this prompt is no fault too
        prompts[name] = PromptTemplate(
            name,
            messages,
            prompt.family,
            origin=prompt.origin,
            turn=prompt.turn,
            turns={turn: said.value() for turn, said in prompt.turns.items()},
        )
    inputs = tuple(model.inputs)
    policy = _policy(model, document, faults)
    if policy:
        for loc, error in dangling(policy, prompts, tier, others, inputs):
            faults.append(document.placed(error, loc))
    retriever = None
    try:
        retriever = model.retriever.value() if model.retriever else None
    except InputError as error:
        faults.append(document.placed(error, ("retriever", "query", "regex")))
    shares = tuple(float(b.share) for b in model.buckets if b.share is not None)
    if len(shares) not in (0, len(model.buckets)):
        faults.append(document.fault("give each bucket a share, or none", ("buckets",)))
    raise_any(sorted(faults, key=lambda f: f.line or 0))
    assert policy is not None  # else there was a fault
    return PolicyFile(
        name=model.name,
        tier=tier,
        task=TaskRef(**model.task.model_dump()),
        inputs=inputs,
        prompts=prompts,
        policy=policy,
        shares=shares,
        answer=answer,
        expected=model.expected,
        evidence=model.evidence,
        provenance=model.provenance,
        deployable=model.deployable,
        notes=tuple(model.notes),
        other_tiers=others,
        retriever=retriever,
    )


def _check_schema(document: Document) -> None:
    if not isinstance(document.data, dict):
        return
    schema = document.data.get("schema")
    if schema is None:
        raise document.fault(f"'schema' is missing: a policy file begins with schema: {SCHEMA}")
    if isinstance(schema, str) and newer_schema(schema):
        raise document.fault(
            f"this policy was written for {schema}, by a newer tierwise; this one reads {SCHEMA}: "
            "upgrade tierwise, or export the policy again",
            ("schema",),
        )
    if schema != SCHEMA:
        raise document.placed(unknown_name("schema", str(schema), [SCHEMA]), ("schema",))


def _policy(model: PolicyModel, document: Document, faults: list[InputError]) -> Policy | None:
    buckets = tuple(
        Recipe(
            tuple(variant.value() for variant in bucket.variants),
            StrategySpec.of(
                str(bucket.strategy["kind"]),
                {name: value for name, value in bucket.strategy.items() if name != "kind"},
            ),
        )
        for bucket in model.buckets
    )
    cut = model.difficulty
    probe = cut.probe.value() if cut.probe else None
    thresholds = tuple(float(t) for t in cut.thresholds)
    try:
        difficulty = Difficulty(
            cut.signal,
            thresholds,
            probe,
            tuple(sorted(cut.params.items())),
            tuple(Weight(n, w.weight, w.mean, w.scale) for n, w in cut.weights.items()),
        )
        return Policy(buckets, difficulty, Limits(**model.limits.model_dump()))
    except ValueError as error:
        faults.append(document.fault(str(error), ("difficulty", "thresholds")))
    return None
