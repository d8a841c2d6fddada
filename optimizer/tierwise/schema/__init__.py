"""Prompts, tiers, prices and policies: frozen values, no I/O."""

from tierwise.schema.find import find_space, find_task, names_of, shipped
from tierwise.schema.job import (
    CHOSEN_BY,
    LEVEL,
    OPERATING_POINTS,
    Budget,
    Job,
    ProposalSpec,
    TierSpec,
    default_job,
    dump_job,
    load_job,
    override,
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
    uniform,
)
from tierwise.schema.policy_file import PolicyFile, TaskRef, json_schema
from tierwise.schema.prompt import ANSWER, Message, PromptTemplate, substitute
from tierwise.schema.prompt_file import Setting, load_library, load_prompts, with_turns
from tierwise.schema.space import Constraints, Dimension, Range, SearchSpace
from tierwise.schema.task_file import LoadedTask, TaskRetriever, retriever_of
from tierwise.schema.tier import Price, SampleBill, Tier, price
from tierwise.schema.turns import Passage, Path, RetrieverSpec, Said, Turn, TurnTemplate, read_turn
from tierwise.schema.usage import NO_LIMITS, Usage, UsageLimits

__all__ = [
    "ANSWER",
    "CHOSEN_BY",
    "LEVEL",
    "NO_LIMITS",
    "OPERATING_POINTS",
    "Budget",
    "Constraints",
    "Difficulty",
    "Dimension",
    "Job",
    "Limits",
    "LoadedTask",
    "Message",
    "Passage",
    "Path",
    "Policy",
    "PolicyFile",
    "Price",
    "Probe",
    "PromptTemplate",
    "ProposalSpec",
    "Range",
    "Recipe",
    "RetrieverSpec",
    "Said",
    "SampleBill",
    "SearchSpace",
    "Setting",
    "StrategySpec",
    "TaskRef",
    "TaskRetriever",
    "Tier",
    "TierSpec",
    "Turn",
    "TurnTemplate",
    "Usage",
    "UsageLimits",
    "Variant",
    "Weight",
    "default_job",
    "dump_job",
    "find_space",
    "find_task",
    "json_schema",
    "load_job",
    "load_library",
    "load_prompts",
    "names_of",
    "override",
    "price",
    "read_turn",
    "retriever_of",
    "shipped",
    "substitute",
    "uniform",
    "with_turns",
]
