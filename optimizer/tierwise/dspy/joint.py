"""``JointOptimizer``: a DSPy optimizer that tunes the prompt together with how it is run.

::

    optimizer = JointOptimizer(metric=exact, tiers={"small": "embedded/small"}, space="quick")
    program = optimizer.compile(dspy.Predict("question -> answer"), trainset=examples)
    program.policies["small"].save("small.yaml")
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from dspy.teleprompt import Teleprompter

from tierwise.dspy.author import ProgramProposer
from tierwise.dspy.examples import Examples, read_examples
from tierwise.dspy.proposing import Proposing, Setting, propose
from tierwise.dspy.rendering import (
    STUDENT,
    adapter_of,
    answer_spec,
    check_rendering,
    prompts_of,
    template,
)
from tierwise.dspy.tuned import only_predictor, tuned
from tierwise.errors import UnsupportedError
from tierwise.llm.models import EMBEDDED, RECORDED, kind_of, open_model, resolve_tier
from tierwise.pool import PooledModel, SamplePool
from tierwise.proposals import CandidateRegistry
from tierwise.schema import Budget, Job, LoadedTask, PromptTemplate, Tier, TierSpec
from tierwise.search import tune
from tierwise.search.rounds import FIRST, PROPOSER, Proposed, first_cap
from tierwise.search.run_dir import RunDir
from tierwise.search.search_size import SearchSize
from tierwise.search.tune import TuneResult
from tierwise.tasks.task import DEFAULT_SHARES

CHECKED_EXAMPLES = 8


class JointOptimizer(Teleprompter):  # type: ignore[misc]  # DSPy has no types
    """Tunes a program of one predictor for each of ``tiers``; the first answers in the module.

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
        result: what the last ``compile`` came to: run directory, summary, policies.
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

        ``trainset`` is interleaved to the splits train, tune, select and test by content; with a
        ``valset`` that gives select and test. The student's own prompt is the baseline.

        Raises:
            UnsupportedError: several predictors, a teacher, or fields that are not text.
            TierwiseError: too few examples, a budget too small, a provider that failed for good.
        """
        if teacher is not None or kwargs:
            raise UnsupportedError(f"compile takes no {next(iter(kwargs), 'teacher')!r}")
        _, predictor = only_predictor(student)
        signature = predictor.signature
        name, spec = next(iter(self.specs.items()))
        adapter = adapter_of(spec.model)
        examples = read_examples(
            signature,
            self.metric,
            answer_spec(signature, adapter, self.normalise),
            trainset,
            valset,
            DEFAULT_SHARES,
        )
        demos = [
            {n: str(demo[n]) for n in signature.fields if demo.get(n) is not None}
            for demo in predictor.demos
        ]
        prompt = template(STUDENT, STUDENT, signature, demos, adapter)
        check_rendering(prompt, signature, demos, adapter, examples.of("tune")[:CHECKED_EXAMPLES])
        job = replace(self.job, task=f"dspy-{self._fingerprint(prompt, examples)}")
        out = Path(self.out or tempfile.mkdtemp(prefix="tierwise-dspy-"))
        run = RunDir.start(out, job)
        tier = _resolved(name, spec)
        setting = Setting(student, signature, self.metric, examples, adapter, tier, job.seed)
        self.registry = self._proposed(setting, prompt, run)
        prompts = prompts_of(
            signature,
            demos,
            self.registry.of_kind(demos=False),
            self.registry.of_kind(demos=True),
            adapter,
            self.proposing.most_prompts,
        )
        today, *others = prompts
        first = Proposed(
            tuple(others), tuple(self.registry.candidates), tuple(self.registry.refused)
        )
        first.save(run, FIRST)
        loaded = LoadedTask(examples.task, (today,), run.path, (today,))
        proposer = ProgramProposer(setting, self.registry, tuple(demos))
        self.result = tune(job, out, loaded=loaded, search_size=self.search_size, proposer=proposer)
        if name not in self.result.policies:
            raise self.result.failed[name]
        program = tuned(student, self.result.policies, name)
        if program is not only_predictor(program)[1]:
            program.policies = dict(self.result.policies)
        program._compiled = True
        return program

    def _proposed(
        self, setting: Setting, student: PromptTemplate, run: RunDir
    ) -> CandidateRegistry:
        assert self.job.proposals is not None
        spec, cap = self.job.proposals.model, first_cap(self.job)
        with ExitStack() as stack:
            pool = stack.enter_context(SamplePool.open(run.pool))

            def pooled(tier: Tier) -> PooledModel:
                model = open_model(tier)
                stack.callback(model.close)
                return PooledModel(
                    pool,
                    model,
                    tier,
                    seed=setting.seed,
                    run=run.run,
                    cap=cap,
                    book=PROPOSER,
                    stage="round 1",
                )

            proposer = None if spec is None else pooled(_resolved(PROPOSER, spec))
            return propose(setting, self.proposing, student, pooled(setting.tier), proposer)

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


def _resolved(name: str, spec: TierSpec) -> Tier:
    return resolve_tier(
        name,
        spec.model,
        price=spec.price,
        modes=spec.modes,
        takes_n=spec.takes_n,
        logprobs=spec.logprobs,
        limits=spec.limits,
    )
