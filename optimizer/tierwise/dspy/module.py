"""The module that ``JointOptimizer.compile`` returns: a DSPy predictor that runs a policy.

::

    program = tuned(dspy.ChainOfThought("question -> answer"))
    program.load("program.json")             # what program.save("program.json") wrote
    program(question="3 + 4 + 5").answer
    program.predictors()[0].policies["small"].save("small.yaml")   # needs no DSPy to run
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from dspy.utils.exceptions import AdapterParseError, LMError

import dspy
from tierwise.dspy.adapter import adapter_of
from tierwise.dspy.examples import answer_field, inputs_of, value_of
from tierwise.errors import InputError, ProviderError, UnsupportedError, unknown_name
from tierwise.llm import Call, Failure, Result
from tierwise.llm.models import address_of
from tierwise.proposals.dspy_lm import TierEngine, completion_of, lm_of, run_coroutine, to_dspy
from tierwise.schema import PolicyFile, Usage
from tierwise.serving.answer import Answer
from tierwise.serving.runtime import PolicyRuntime


class TunedPredict(dspy.Predict):  # type: ignore[misc]  # DSPy has no types
    """Answers by the policy of ``tier``; the other tiers' policies are carried along.

    Samples go through ``lm`` (``set_lm``), else through a ``dspy.LM`` over the policy's own model.
    DSPy makes a call a sample, so a prompt is billed with each of them.

    Attributes:
        policies: tier -> policy file, for export.
        requests, usage: what the module has answered and used so far, as if DSPy's cache was not
            there: each sample is a call, and billed.
    """

    def __init__(
        self, signature: Any, policies: Mapping[str, PolicyFile] | None = None, tier: str = ""
    ) -> None:
        super().__init__(signature)
        self.policies = dict(policies or {})
        self.tier = tier or next(iter(self.policies), "")
        self.requests, self.usage = 0, Usage()
        self._forget()

    @property
    def policy(self) -> PolicyFile:
        """The policy that answers.

        Raises:
            InputError: there is none yet, or none of ``tier``.
        """
        if not self.policies:
            raise InputError("this module has no policy yet: compile it, or load a saved one")
        if self.tier not in self.policies:
            raise unknown_name("tier", self.tier, self.policies)
        return self.policies[self.tier]

    def forward(self, **kwargs: Any) -> Any:
        """The prediction; ``trace_of(prediction)`` says what it took."""
        runtime, given, kwargs = self._asked(kwargs)
        return self._predicted(run_coroutine(runtime.answer(given)), kwargs)

    async def aforward(self, **kwargs: Any) -> Any:
        """``forward`` for code with an event loop."""
        runtime, given, kwargs = self._asked(kwargs)
        return self._predicted(await runtime.answer(given), kwargs)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """DSPy's state of a predictor, and the policies as the YAML that serving reads."""
        state: dict[str, Any] = super().dump_state(json_mode=json_mode)
        texts = {name: file.dumps() for name, file in self.policies.items()}
        return {**state, "tier": self.tier, "policies": texts}

    def load_state(self, state: dict[str, Any], **kwargs: Any) -> Any:
        """Take over what ``dump_state`` gave.

        Raises:
            InputError: the state is not that of a tuned program, or a policy in it is at fault.
        """
        if "policies" not in state:
            raise InputError("this file was not saved by a tuned program: there is no policy in it")
        texts, plain = state["policies"], {k: v for k, v in state.items() if k != "policies"}
        super().load_state(plain, **kwargs)
        self.policies = {name: PolicyFile.loads(text) for name, text in texts.items()}
        self._forget()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: v for k, v in self.__dict__.items() if k not in ("_engines", "_runtime", "_lock")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __deepcopy__(self, memo: dict[int, Any]) -> TunedPredict:
        new = type(self).__new__(type(self))
        shared = ("lm", "signature")
        kept = {
            k: v if k in shared else copy.deepcopy(v, memo) for k, v in self.__getstate__().items()
        }
        new.__setstate__(kept)
        return new

    def close(self) -> None:
        """Close the models that this module opened; it opens them again when asked."""
        for engine in self._engines:
            engine.close()
        self._forget()

    def _forget(self) -> None:
        self._engines: list[TierEngine] = []
        self._runtime: tuple[Any, PolicyRuntime] | None = None
        self._lock = threading.Lock()

    def _asked(
        self, kwargs: dict[str, Any]
    ) -> tuple[PolicyRuntime, dict[str, str], dict[str, Any]]:
        for name in ("signature", "demos", "config"):
            if kwargs.pop(name, None):
                raise UnsupportedError(f"a policy's prompts and settings are fixed: no {name!r}")
        lm = kwargs.pop("lm", None) or self.lm
        return self._runtime_on(lm), inputs_of(self.signature, kwargs), kwargs

    def _runtime_on(self, lm: Any) -> PolicyRuntime:
        with self._lock:
            if self._runtime is None or self._runtime[0] is not lm:
                policy = self.policy
                policy = replace(policy, tier=replace(policy.tier, takes_n=False))
                models = {}
                for tier in {
                    t.name: t for t in map(policy.tier_of, policy.policy.variants)
                }.values():
                    own = lm if tier.name == policy.tier.name else None
                    if own is None:
                        engine = TierEngine(tier)
                        self._engines.append(engine)
                        own = lm_of(engine)
                    models[tier.name] = DSPyLanguageModel(
                        own, logprobs=tier.logprobs and own is lm, address=address_of(tier)
                    )
                self._runtime = lm, PolicyRuntime(policy, models)
            return self._runtime[1]

    def _predicted(self, answer: Answer, kwargs: dict[str, Any]) -> Any:
        with self._lock:
            self.requests += 1
            self.usage += answer.usage
        if answer.failed:
            raise ProviderError(f"no sample arrived: {answer.error}")
        prediction = self._forward_postprocess([self._fields(answer)], self.signature, **kwargs)
        prediction._tierwise = answer
        return prediction

    def _fields(self, answer: Answer) -> dict[str, Any]:
        """The output fields: the answer is what the votes compared, so that scores agree."""
        name, annotation = answer_field(self.signature)
        try:
            fields = dict(adapter_of(self.policy.tier.model).parse(self.signature, answer.text))
        except AdapterParseError:
            if answer.answer is None:
                raise
            fields = dict.fromkeys(self.signature.output_fields)
        if answer.answer is not None:
            fields[name] = value_of(answer.answer, annotation)
        return fields


def trace_of(prediction: Any) -> Answer | None:
    """What a tuned module's prediction took: its samples, bucket and dollars; None for others."""
    found: Answer | None = getattr(prediction, "_tierwise", None)
    return found


def tuned(student: Any, policies: Mapping[str, PolicyFile] | None = None, tier: str = "") -> Any:
    """A copy of ``student`` whose predictor runs policies; without any, ready for ``load``.

    Without policies a program may have several predictors.

    Raises:
        UnsupportedError: the program has no predictor, or several and there are policies for one.
    """
    found = dict(student.named_predictors())
    if not found or (policies and len(found) > 1):
        names = ", ".join(found) or "none"
        raise UnsupportedError(f"these policies are of one predictor; the program has {names}")
    modules = {
        name: TunedPredict(predictor.signature, policies, tier) for name, predictor in found.items()
    }
    return replaced(student, modules)


def replaced(program: Any, modules: Mapping[str, Any]) -> Any:
    """A copy of ``program`` with other modules in place of its predictors, by their names.

    Raises:
        UnsupportedError: a predictor is in a list or a dictionary.
    """
    if "self" in modules:
        return modules["self"]
    copied = program.deepcopy()
    for name, module in modules.items():
        if "[" in name:
            raise UnsupportedError(
                f"predictor {name!r} is in a list or a dictionary: give it an attribute of its own"
            )
        owner = copied
        *parts, last = name.split(".")
        for part in parts:
            owner = getattr(owner, part)
        setattr(owner, last, module)
    return copied


class DSPyLanguageModel:
    """A ``LanguageModel`` whose every sample is one call of a ``dspy.LM``.

    The LM's cache, history, callbacks and usage tracking apply. The seed of a sample is part of the
    request, so DSPy's cache keeps the samples of one request apart; a sample from the cache still
    carries its usage, so that a policy's cost is counted alike.
    """

    chunk = 1

    def __init__(self, lm: Any, *, logprobs: bool = False, address: str = "") -> None:
        self.lm, self.address, self._logprobs = lm, address, logprobs

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Not offered: searches buy from the tier's own model."""
        raise UnsupportedError("a dspy.LM serves policies; searches buy from the tier's own model")

    async def answer(self, call: Call) -> list[Result]:
        """One DSPy call for each of the samples."""
        return [await self._sample(call, call.seed + j) for j in range(call.n)]

    def close(self) -> None:
        """Nothing: the LM is its owner's."""

    async def _sample(self, call: Call, seed: int) -> Result:
        request = to_dspy(call.request, self.lm.model, seed, logprobs=self._logprobs)
        started_s = perf_counter()
        try:
            response = await self.lm.acall(request=request)
        except LMError as error:
            return Failure(type(error).__name__, str(error), perf_counter() - started_s)
        return completion_of(response, perf_counter() - started_s)
