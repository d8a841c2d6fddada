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

from tierwise.content import Budget, Job, LoadedTask, TierSpec
from tierwise.dspy.examples import Examples, read_examples
from tierwise.dspy.pooled import SPENDER, PooledModel
from tierwise.dspy.proposing import Proposing, Setting, propose
from tierwise.dspy.ranks import ranks
from tierwise.dspy.rendering import (
    STUDENT,
    adapter_of,
    answer_spec,
    check_rendering,
    prompts_of,
    template,
)
from tierwise.dspy.tuned import only_predictor, tuned
from tierwise.errors import InputError, UnsupportedError
from tierwise.llm.models import EMBEDDED, RECORDED, kind_of, open_model, resolve_tier
from tierwise.pool import Cap, SamplePool
from tierwise.proposals import Registry
from tierwise.recipe import PromptTemplate, Tier
from tierwise.search import tune
from tierwise.search.effort import Effort
from tierwise.search.run_dir import RunDir
from tierwise.search.tune import TuneResult
from tierwise.task.task import DEFAULT_SHARES

PROPOSER_SHARE = 0.1
CHECKED_EXAMPLES = 8


class JointOptimizer(Teleprompter):  # type: ignore[misc]  # DSPy has no types
    """Tunes a program of one predictor for each of ``tiers``; the first answers in the module.

    Args:
        metric: DSPy's ``metric(example, prediction[, trace])``, from 0 to 1. It sees the last
            output field, which is what votes compare.
        tiers: name -> LiteLLM model string, ``embedded/NAME`` or ``TierSpec``; all embedded, or
            none.
        space: a search space's name or path.
        budget_usd: for everything, proposals among it; None for no cap.
        trials, seed, operating_point: as in a job.
        proposing: what is proposed, and by whom.
        normalise: how votes tell answers apart (a name of ``tierwise.task.NORMALISERS``); None:
            whole numbers for ``int`` fields, else the text as it is.
        out: the run directory; the same call goes on where it was interrupted. None: a new one in
            the system's temporary folder.

    Attributes:
        result: what the last ``compile`` came to: run directory, summary, policies.
        registry: its candidates, and what was refused and why.
    """

    def __init__(
        self, metric: Callable[..., Any], tiers: Mapping[str, str | TierSpec],
        space: str = "default", budget_usd: float | None = None, *, trials: int = 300,
        seed: int = 0, operating_point: str | Mapping[str, float] = "balanced",
        proposing: Proposing | None = None, normalise: str | None = None,
        out: Path | str | None = None, effort: Effort | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.metric, self.proposing, self.normalise = metric, proposing or Proposing(), normalise
        self.specs = {
            name: spec if isinstance(spec, TierSpec) else TierSpec(spec)
            for name, spec in tiers.items()
        }
        self.budget_usd, self.out, self.effort = budget_usd, out, effort
        self._cap = self._proposers_cap()
        rest = None if budget_usd is None else budget_usd - (self._cap.usd or 0.0)
        self.job = Job(
            space=space, tiers=self.specs, baseline=STUDENT, seed=seed, trials=trials,
            budget=Budget(usd=rest), operating_point=operating_point,
        )  # fmt: skip
        self.result: TuneResult | None = None
        self.registry: Registry | None = None
        kinds = {kind_of(spec.model) for spec in self.specs.values()}
        if RECORDED in kinds:
            raise UnsupportedError("a recording cannot answer prompts that a program lays out")
        if EMBEDDED in kinds and len(kinds) > 1:
            raise UnsupportedError(
                "embedded tiers read a layout of their own: tune them apart from the others"
            )

    def compile(
        self, student: Any, *, trainset: Sequence[Any], teacher: Any = None,
        valset: Sequence[Any] | None = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        """A module like ``student`` that runs the policy of the first tier.

        ``trainset`` is dealt to the splits train, tune, select and test by content; with a
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
            signature, self.metric, answer_spec(signature, adapter, self.normalise), trainset,
            valset, DEFAULT_SHARES,
        )  # fmt: skip
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
            signature, demos, self.registry.of_kind(demos=False),
            self.registry.of_kind(demos=True), adapter, self.proposing.most_prompts,
        )  # fmt: skip
        _write_proposals(run, prompts, self.registry)
        loaded = LoadedTask(examples.task, tuple(prompts), run.path, tuple(prompts))
        self.result = tune(job, out, loaded=loaded, effort=self.effort)
        table = {tier_name: ranks(found) for tier_name, found in self.result.found.items()}
        run.write_json("ranks.json", table)
        if name not in self.result.policies:
            raise self.result.failed[name]
        program = tuned(student, self.result.policies, name)
        if program is not only_predictor(program)[1]:
            program.policies = dict(self.result.policies)
        program._compiled = True
        return program

    def _proposers_cap(self) -> Cap:
        if self.budget_usd is None:
            return Cap(usd=self.proposing.usd)
        usd = self.proposing.usd
        if usd is None:
            usd = PROPOSER_SHARE * self.budget_usd
        if not 0 <= usd < self.budget_usd:
            raise InputError(f"proposing.usd ({usd:g}) must be below budget_usd")
        return Cap(usd=usd)

    def _proposed(self, setting: Setting, student: PromptTemplate, run: RunDir) -> Registry:
        spec = self.proposing.model
        with ExitStack() as stack:
            pool = stack.enter_context(SamplePool.open(run.pool))

            def pooled(tier: Tier, recordings: str | None = None) -> PooledModel:
                model = open_model(tier, recordings=recordings)
                stack.callback(model.close)
                return PooledModel(pool, model, tier, seed=setting.seed, run=run.run, cap=self._cap)

            proposer = None
            if spec is not None:
                spec = spec if isinstance(spec, TierSpec) else TierSpec(spec)
                proposer = pooled(_resolved(SPENDER, spec))
            registry = propose(setting, self.proposing, student, pooled(setting.tier), proposer)
            spent = pool.spent(run.run, SPENDER)
        run.write_json("proposer.json", {"calls": spent.calls, "usd": spent.usd})
        return registry

    def _fingerprint(self, student: PromptTemplate, examples: Examples) -> str:
        """What the run depends on beside its job: another prompt or proposer is another run."""
        content = [
            [list(m) for m in student.messages], examples.task.items_sha256, examples.task.metric,
            {k: [i.id for i in v] for k, v in examples.task.splits.items()},
            repr(examples.task.answer), repr(self.proposing),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _resolved(name: str, spec: TierSpec) -> Tier:
    return resolve_tier(
        name, spec.model, price=spec.price, modes=spec.modes, takes_n=spec.takes_n,
        logprobs=spec.logprobs, limits=spec.limits,
    )  # fmt: skip


def _write_proposals(run: RunDir, prompts: Sequence[PromptTemplate], registry: Registry) -> None:
    """Every prompt with id, origin and exact bytes, and every refusal with its reason."""
    run.write_json(
        "proposals.json",
        {
            "prompts": [
                {"id": p.id, "origin": p.origin, "messages": [m._asdict() for m in p.messages]}
                for p in prompts
            ],
            "refused": [refusal._asdict() for refusal in registry.refused],
        },
    )
