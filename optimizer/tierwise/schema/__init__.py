"""Everything that is read from files and written to them: one frozen class for each concept."""

from tierwise.schema.files import find_task, names_of, shipped
from tierwise.schema.job import (
    LEVEL,
    Budget,
    Job,
    ProposalSpec,
    TierSpec,
    default_job,
    dump_job,
    load_job,
    override,
)
from tierwise.schema.judge import Judge, JudgeSpec, JudgeVerifier
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
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.prompt import (
    ANSWER,
    Message,
    PromptTemplate,
    Setting,
    choose,
    load_library,
    load_prompts,
    substitute,
    with_turns,
)
from tierwise.schema.space import Constraints, Dimension, Range, SearchSpace
from tierwise.schema.task_file import (
    LoadedTask,
    TaskFile,
    TaskRef,
    TaskRetriever,
    own_prompts,
    retriever_of,
)
from tierwise.schema.tier import Price, PriceStep, SampleBill, Tier, price
from tierwise.schema.turns import Passage, Path, RetrieverSpec, Said, Turn, TurnTemplate, read_turn
from tierwise.schema.usage import NO_LIMITS, Usage, UsageLimits
