"""``JointOptimizer``: a DSPy optimizer that tunes a prompt together with its inference strategy.

::

    optimizer = JointOptimizer(metric=exact, tiers={"small": "embedded/small"}, space="quick")
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=examples)
    program.policies["small"].save("small.yaml")
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dspy.teleprompt import Teleprompter

import dspy
from tierwise.dspy.adapter import (
    STUDENT,
    adapter_of,
    check_rendering,
    prompts_of,
    signature_answer_spec,
    signature_template,
)
from tierwise.dspy.examples import Examples, assigned_examples, read_examples
from tierwise.dspy.module import TunedPredict, replaced, tuned
from tierwise.dspy.program import (
    ProgramCalls,
    ProgramMetric,
    ProgramResult,
    ProgramRun,
    example_id,
    items_of,
    only,
    order_of_calls,
    split_examples,
    tested,
)
from tierwise.errors import UnsupportedError
from tierwise.llm import Completion, build_request
from tierwise.llm.models import EMBEDDED, RECORDED, address_of, kind_of, open_model, tier_of_spec
from tierwise.pool import Account, PooledModel, SamplePool
from tierwise.pool.run_dir import RunDir
from tierwise.proposals import (
    CandidateRegistry,
    Demonstration,
    FailedItem,
    ReflectionBrief,
    bootstrap_demonstrations,
    propose_by_reflection,
    propose_from_catalogue,
    propose_grounded,
    proposer_context,
    seen_in,
)
from tierwise.proposals.dspy_lm import TierEngine, proposers_lm
from tierwise.proposals.proposers import demonstration_of
from tierwise.runs.run_proposals import FIRST, PROPOSER, first_cap, save_proposed
from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import (
    Budget,
    Job,
    LoadedTask,
    PolicyFile,
    PromptTemplate,
    ProposalSpec,
    Tier,
    TierSpec,
    Variant,
)
from tierwise.schema.fields import check_name
from tierwise.search.problem import SearchSize
from tierwise.search.proposal_rounds import Proposed

CHECKED_EXAMPLES = 8
"""Examples on which the filled-in prompt is compared with what DSPy would send."""
BRIEF_SAMPLES = 3
"""Samples an item that the reflection sees: enough for a disagreement to show."""


@dataclass(frozen=True)
class Proposing:
    """What to propose, and who.

    Attributes:
        model: the proposer, a model string or a ``TierSpec``; None: no instructions are written
            (embedded tiers take them from the catalogue of their paraphrases).
        grounded, reflected: instructions to ask for from each source, before the study.
        rounds: at most, that one among them; each further one asks for ``grounded`` instructions
            that mend what the policy found so far gets wrong, tier by tier.
        demo_sets: sizes of the sets to bootstrap.
        usd: the most that proposals and bootstrapping may cost, out of the job's budget; None: a
            tenth of it.
        most_prompts: of all combinations, how many prompts enter the study.
        train_items: train examples that bootstrapping and reflection look at, at most.
    """

    model: str | TierSpec | None = None
    grounded: int = 4
    reflected: int = 2
    rounds: int = 2
    demo_sets: tuple[int, ...] = (2, 4)
    usd: float | None = None
    most_prompts: int = 12
    train_items: int = 32
    longest_chars: int = 4000

    @property
    def spec(self) -> ProposalSpec:
        """As a job has it."""
        model = TierSpec(self.model) if isinstance(self.model, str) else self.model
        return ProposalSpec(model, self.rounds, instructions=self.grounded, usd=self.usd)


class JointOptimizer(Teleprompter):  # type: ignore[misc]  # DSPy has no types
    """Tunes a program for each of ``tiers``; the first answers in the module.

    Several predictors are tuned in turn (``tierwise.dspy.program``), within one budget.

    Args:
        metric: DSPy's ``metric(example, prediction[, trace])``, from 0 to 1. It sees the last
            output field, which is what votes compare.
        tiers: name -> LiteLLM model string, ``embedded/NAME`` or ``TierSpec``; all embedded, or
            none.
        space: a search space's name or path.
        budget_usd, max_calls: for everything, proposals among it; None for no cap.
        trials, seed, operating_point: as in a job.
        proposing: what is proposed, and by whom.
        normalise: how votes tell answers apart (a name of ``tierwise.tasks.NORMALISERS``); None:
            whole numbers for ``int`` fields, else the text as it is.
        out: the run directory; the same call goes on where it was interrupted. None: a new one in
            the system's temporary folder.

    Attributes:
        result: what the last ``compile`` came to: run directory, summary, policies; of several
            predictors that of the last.
        program_result: what tuning several predictors came to for the whole program.
        registry: its candidates, and what was refused and why.
    """

    def __init__(
        self,
        metric: Callable[..., Any],
        tiers: Mapping[str, str | TierSpec],
        space: str = "default",
        budget_usd: float | None = None,
        *,
        max_calls: int | None = None,
        trials: int = 300,
        seed: int = 0,
        operating_point: str | Mapping[str, float] = "balanced",
        proposing: Proposing | None = None,
        normalise: str | None = None,
        out: Path | str | None = None,
        search_size: SearchSize | None = None,
    ) -> None:
        super().__init__()
        self.metric, self.proposing, self.normalise = metric, proposing or Proposing(), normalise
        self.specs = {
            name: spec if isinstance(spec, TierSpec) else TierSpec(spec)
            for name, spec in tiers.items()
        }
        self.out, self.search_size = out, search_size
        self.job = Job(
            space=space,
            tiers=self.specs,
            baseline=STUDENT,
            seed=seed,
            trials=trials,
            budget=Budget(usd=budget_usd, calls=max_calls),
            operating_point=operating_point,
            proposals=self.proposing.spec,
        )
        self.result: TuneResult | None = None
        self.program_result: ProgramResult | None = None
        self.registry: CandidateRegistry | None = None
        kinds = {kind_of(spec.model) for spec in self.specs.values()}
        if RECORDED in kinds:
            raise UnsupportedError("a recording cannot answer prompts that a program lays out")
        if EMBEDDED in kinds and len(kinds) > 1:
            raise UnsupportedError(
                "embedded tiers read a layout of their own: tune them apart from the others"
            )

    def compile(
        self,
        student: Any,
        *,
        trainset: Sequence[Any],
        teacher: Any = None,
        valset: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """A module like ``student`` that runs the policy of the first tier.

        ``trainset`` is split into train, validation and test by content; with a
        ``valset`` that gives select and test. The student's own prompt is the baseline.

        Raises:
            UnsupportedError: a teacher, fields that are not text, or a program of several
                predictors that cannot be tuned in turn.
            TierwiseError: too few examples, a budget too small, a provider that failed for good.
        """
        if teacher is not None or kwargs:
            raise UnsupportedError(f"compile takes no {next(iter(kwargs), 'teacher')!r}")
        found = student.predictors()
        if len(found) > 1:
            return self._compile_program(student, split_examples(trainset, valset))
        if not found:
            raise UnsupportedError("the program has no predictor")
        signature, adapter = found[0].signature, adapter_of(self._first[1].model)
        answer = signature_answer_spec(signature, adapter, self.normalise)
        examples = read_examples(signature, self.metric, answer, trainset, valset)
        policies = self._tune(student, examples)
        program = tuned(student, policies, self._first[0])
        if program is not program.predictors()[0]:
            program.policies = policies
        program._compiled = True
        return program

    @property
    def _first(self) -> tuple[str, TierSpec]:
        """Name and description of the tier that answers in the module."""
        return next(iter(self.specs.items()))

    def _tune(self, student: Any, examples: Examples) -> dict[str, PolicyFile]:
        """The policies of a program of one predictor, by tier."""
        (predictor,) = student.predictors()
        signature, (name, spec) = predictor.signature, self._first
        adapter = adapter_of(spec.model)
        demos = [demonstration_of(signature, demo) for demo in predictor.demos]
        prompt = signature_template(STUDENT, STUDENT, signature, demos, adapter)
        check_rendering(
            prompt, signature, demos, adapter, examples.of("validation")[:CHECKED_EXAMPLES]
        )
        job = replace(self.job, task=f"dspy-{self._fingerprint(prompt, examples)}")
        out = Path(self.out or tempfile.mkdtemp(prefix="tierwise-dspy-"))
        with RunDir.started(out, job) as run:
            tier = tier_of_spec(name, spec)
            context = ProposalContext(
                student, signature, self.metric, examples, adapter, tier, job.seed
            )
            self.registry = self._proposed(context, prompt, run)
            prompts = prompts_of(
                signature,
                demos,
                self.registry.of_kind(demos=False),
                self.registry.of_kind(demos=True),
                adapter,
                self.proposing.most_prompts,
            )
            baseline, *others = prompts
            first = Proposed(
                tuple(others), tuple(self.registry.candidates), tuple(self.registry.refused)
            )
            save_proposed(run, FIRST, first)
            loaded = LoadedTask(examples.task, (baseline,), run.path, (baseline,))
            proposer = ProgramProposer(context, self.registry, tuple(demos))
            self.result = tune(
                job, out, loaded=loaded, search_size=self.search_size, proposer=proposer
            )
        if name not in self.result.policies:
            raise self.result.failed[name]
        return dict(self.result.policies)

    def _compile_program(self, student: Any, splits: Mapping[str, Sequence[Any]]) -> Any:
        """A program whose predictors were tuned in turn, in the order in which they are called."""
        name, spec = self._first
        budget = self.job.budget
        if budget.calls is None and budget.usd is None:
            raise UnsupportedError(
                "a program of several predictors needs a budget, which its predictors share: give "
                "budget_usd or max_calls"
            )
        adapter, out = adapter_of(spec.model), Path(self.out or tempfile.mkdtemp("-tierwise-dspy"))
        out.mkdir(parents=True, exist_ok=True)
        tier = tier_of_spec(name, spec)
        mode = next((m for m, sent in tier.modes.items() if "suffix" not in sent), None)
        engine = TierEngine(tier, mode, seed=self.job.seed)
        examples = [example for each in splits.values() for example in each]
        order = order_of_calls(student, examples[0], engine, adapter)
        run = ProgramRun(student, order, engine, adapter, most_usd=budget.usd or math.inf)
        parts = ProgramCalls.within(budget, engine, len(run.names), out / "calls.txt")
        spent, policies, items = 0, {}, {}
        by_id = {example_id(example): example for example in examples}
        for place, predictor in enumerate(run.names):
            folder = out / check_name("a predictor's name", predictor)
            folder.mkdir(exist_ok=True)
            each = parts.examples(run)
            own = items_of(run, predictor, splits, folder / "said.json", each)
            metric = ProgramMetric(run, predictor, self.metric, by_id, folder / "scored.jsonl")
            signature = run.signature(predictor)
            answer = signature_answer_spec(signature, adapter, self.normalise)
            task = assigned_examples(signature, metric, answer, own)
            n = parts.search(place)
            usd = None if budget.usd is None else budget.usd * n / parts.calls
            search = self._of_predictor(metric, Budget(usd=usd, calls=n), folder / "run")
            policies[predictor] = search._tune(only(student, predictor), task)
            assert search.result is not None
            found = search.result.summary
            totals = [tier.spending for tier in found.tiers.values()]
            for total in (*totals, *([found.proposals] if found.proposals else ())):
                spent, run.searched_usd = spent + total.calls, run.searched_usd + total.usd
            items[predictor] = len(task.task.items)
            run.tuned[predictor] = TunedPredict(signature, policies[predictor], name)
            self.result, self.registry = search.result, search.registry
        program = replaced(student, run.tuned)
        program.policies, program._compiled = policies, True
        test = splits["test"][: parts.tests(run)]
        scores = tested(student, program, self.metric, test, run)
        used = spent + run.calls, run.usd
        self.program_result = ProgramResult(run.names, items, *scores, *used)
        self.program_result.save(out / "program.json")
        return program

    def _of_predictor(self, metric: ProgramMetric, budget: Budget, out: Path) -> JointOptimizer:
        """An optimizer like this one for a predictor of the program."""
        return JointOptimizer(
            metric,
            self.specs,
            str(self.job.space),
            budget_usd=budget.usd,
            max_calls=budget.calls,
            trials=self.job.trials,
            seed=self.job.seed,
            operating_point=self.job.operating_point,
            proposing=self.proposing,
            normalise=self.normalise,
            out=out,
            search_size=self.search_size,
        )

    def _proposed(
        self, context: ProposalContext, student: PromptTemplate, run: RunDir
    ) -> CandidateRegistry:
        assert self.job.proposals is not None
        spec, cap = self.job.proposals.model, first_cap(self.job)
        with ExitStack() as stack:
            pool = stack.enter_context(SamplePool.open(run.pool))

            def pooled(tier: Tier) -> PooledModel:
                model = open_model(tier)
                stack.callback(model.close)
                return PooledModel(
                    pool, model, tier, Account(run.run, context.seed, cap, PROPOSER), "round 1"
                )

            proposer = None if spec is None else pooled(tier_of_spec(PROPOSER, spec))
            return first_round(context, self.proposing, student, pooled(context.tier), proposer)

    def _fingerprint(self, student: PromptTemplate, examples: Examples) -> str:
        """What the run depends on beside its job: another prompt or proposer is another run."""
        content = [
            [list(m) for m in student.messages],
            examples.task.items_sha256,
            examples.task.metric,
            {k: [i.id for i in v] for k, v in examples.task.splits.items()},
            repr(examples.task.answer),
            repr(self.proposing),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ProposalContext:
    """What proposals are made for."""

    program: Any
    signature: Any
    metric: Callable[..., Any]
    examples: Examples
    adapter: Any
    tier: Tier
    seed: int

    @property
    def embedded(self) -> bool:
        """Whether the tiers cannot write instructions, and choose from a catalogue instead."""
        return kind_of(self.tier.model) == EMBEDDED

    def registry(self, longest_chars: int) -> CandidateRegistry:
        """Knows the train examples and the student's instructions, which must not come back."""
        seen = seen_in(self.examples.task.splits["train"])
        return CandidateRegistry(seen, longest_chars, {STUDENT: str(self.signature.instructions)})


def first_round(
    context: ProposalContext,
    proposing: Proposing,
    student: PromptTemplate,
    tier_model: PooledModel,
    proposer: PooledModel | None,
) -> CandidateRegistry:
    """The first round's candidates; what fails or is refused is in the registry with its reason.

    ``tier_model`` and ``proposer`` buy within one cap, so that what does not fit is a failure.
    """
    registry = context.registry(proposing.longest_chars)
    examples = context.examples.of("train")[: proposing.train_items]
    if context.embedded:
        propose_from_catalogue(registry, n=proposing.grounded)
    elif proposer is not None:
        lm = proposers_lm(proposer.tier, proposer, context.seed)
        with proposer_context(lm):
            propose_grounded(
                registry, context.program, examples, lm, n=proposing.grounded, seed=context.seed
            )
            brief = _first_brief(context, proposing, student, tier_model)
            propose_by_reflection(registry, brief, lm, n=proposing.reflected, seed=context.seed)
    if proposing.demo_sets and examples:
        lm = proposers_lm(tier_model.tier, tier_model, context.seed)
        with dspy.context(lm=lm, adapter=context.adapter):
            bootstrap_demonstrations(
                registry,
                context.program,
                examples,
                context.metric,
                sizes=proposing.demo_sets,
                seed=context.seed,
            )
    return registry


def _first_brief(
    context: ProposalContext, proposing: Proposing, student: PromptTemplate, model: PooledModel
) -> ReflectionBrief:
    """Train items that a vote with the student's prompt gets wrong, with what its samples said."""
    task, tier = context.examples.task, context.tier
    variant = Variant(STUDENT, next(iter(tier.modes)), 0.8)
    found = []
    for item in task.splits["train"][: proposing.train_items]:
        request = build_request(tier, student, variant, item.inputs, address_of(tier))
        samples = [d for d in model.samples(request, BRIEF_SAMPLES) if isinstance(d, Completion)]
        read = task.answer.of(item.inputs).extract
        answers = [read(d.text) if d.finished else None for d in samples]
        said = [a for a in answers if a is not None]
        score = task.score(max(said, key=said.count, default=None), item)
        if samples and score < 1:
            found.append(FailedItem(item.inputs, answers, item.target, score))
    run_as = f"a plurality vote over several samples in mode {variant.mode!r}"
    return ReflectionBrief(STUDENT, str(context.signature.instructions), run_as, found)


@dataclass(frozen=True)
class ProgramProposer:
    """Goes on from the candidates of ``first``, the round that was made with the program itself.

    A prompt's id is that of its instructions, and after a ``+`` that of its demonstrations.
    """

    context: ProposalContext
    first: CandidateRegistry
    own_demos: tuple[Demonstration, ...]

    def registry(self) -> CandidateRegistry:
        """What the first round knows."""
        return replace(
            self.first,
            candidates=list(self.first.candidates),
            refused=[],
            existing=dict(self.first.existing),
        )

    def open(
        self, registry: CandidateRegistry, lm: Any, *, n: int, seed: int
    ) -> list[PromptTemplate]:
        """Nothing: the first round is made."""
        return []

    def instruction(self, registry: CandidateRegistry, prompt: PromptTemplate) -> str:
        """The instructions that it was laid out with."""
        instruction_id = prompt.id.partition("+")[0]
        if instruction_id == STUDENT:
            return str(self.context.signature.instructions)
        return next(c.text for c in registry.candidates if c.id == instruction_id)

    def revise(
        self,
        registry: CandidateRegistry,
        brief: ReflectionBrief,
        prompt: PromptTemplate,
        lm: Any,
        *,
        n: int,
        seed: int,
    ) -> list[PromptTemplate]:
        """Other instructions with the prompt's demonstrations.

        They are GEPA's, or, for an embedded tier, the next paraphrases of its catalogue.
        """
        before = len(registry.candidates)
        if self.context.embedded:
            propose_from_catalogue(registry, n=len(registry.of_kind(demos=False)) + n)
        elif lm is not None:
            with proposer_context(lm):
                propose_by_reflection(registry, brief, lm, n=n, seed=seed)
        _, _, shown = prompt.id.partition("+")
        demos = next((c.demos for c in registry.candidates if c.id == shown), self.own_demos)
        made = []
        for new in registry.candidates[before:]:
            signature = self.context.signature.with_instructions(new.text)
            prompt_id = f"{new.id}+{shown}" if shown else new.id
            made.append(
                signature_template(prompt_id, new.origin, signature, demos, self.context.adapter)
            )
        return made
