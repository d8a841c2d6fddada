"""A policy answers live requests, exactly as it was tuned.

::

    answer = PolicyRuntime.load("small.yaml").answer_sync(question="What is 2 + 2?")

Every decision is ``tierwise.episode``'s, which the offline evaluation drives too; what is here only
makes the calls. Over the samples of a pool that was bought with the same seed, the runtime gives the
answer, the samples and the cost that the evaluation said.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType

from tierwise.difficulty import difficulty_faults, signal_of
from tierwise.episode import Outcome, episode, strategies_of
from tierwise.errors import InputError, unknown_name
from tierwise.llm import LanguageModel, Parent, build_request
from tierwise.retrieval import Retriever
from tierwise.schema import Message, Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.prompt import check_turns
from tierwise.serving.answer import Answer, answer_of
from tierwise.serving.library import library_of
from tierwise.serving.live import Library, LiveSamples, Source
from tierwise.serving.reopening import ReopeningModel
from tierwise.strategies import Strategy, paths_of

Models = Mapping[str, LanguageModel]


class PolicyRuntime:
    """Runs one policy file.

    ``model`` is the policy's model, or one for each tier by name; what is not given is opened from
    the policy file's model strings and closed with the runtime. ``seed`` is the seed of all samples.
    ``retriever`` answers queries, in place of what the policy's name for one is bound to.

    Raises:
        InputError: the policy names a strategy, a signal or a model that there is not, or a
            retriever that is bound to nothing.
        ProviderError: there is no key for the model.
    """

    def __init__(
        self,
        policy: PolicyFile,
        model: LanguageModel | Models | None = None,
        *,
        seed: int = 0,
        retriever: Retriever | None = None,
    ) -> None:
        self.file, self.seed = policy, seed
        self._strategies = checked_strategies(policy)
        self._scores = (
            *(getattr(s, "verifier", "") for s in self._strategies),
            *signal_of(policy.policy.difficulty).scores,
        )
        given = model if isinstance(model, Mapping) else {policy.tier.name: model}
        self._models = {name: given for name, given in given.items() if given is not None}
        self._opened: list[ReopeningModel] = []
        self.library: Library | None = None
        tiers = {tier.name: tier for tier in map(policy.tier_of, policy.policy.variants)}
        try:
            for tier in tiers.values():
                if tier.name not in self._models:
                    if not policy.deployable:
                        raise InputError(
                            f"policy {policy.name!r} says deployable: false: the prompts' bytes "
                            "are not known, so it can be replayed but not served"
                        )
                    self._opened.append(ReopeningModel(tier))
                    self._models[tier.name] = self._opened[-1]
            self._owns_retriever = retriever is None
            self.library = library_of(policy, self._strategies, retriever)
        except BaseException:  # what was opened is closed, whatever it was; it goes on up
            self.close()
            raise

    @property
    def fault(self) -> str | None:
        """Why a provider is given up at present; None where all can be called."""
        return next((model.fault for model in self._opened if model.fault), None)

    @property
    def attempts(self) -> int:
        """Calls sent to providers so far, retries among them; embedded tiers send none."""
        traffics = [getattr(model, "traffic", None) for model in self._models.values()]
        return sum(traffic.attempts for traffic in traffics if traffic is not None)

    @classmethod
    def load(
        cls, path: Path | str, model: LanguageModel | Models | None = None, *, seed: int = 0
    ) -> PolicyRuntime:
        """The runtime of a policy file.

        Raises:
            InputError: every fault of the file, with its line.
        """
        file = PolicyFile.load(path)
        checked_strategies(file, path)
        return cls(file, model, seed=seed)

    async def answer(
        self,
        inputs: Mapping[str, str] | None = None,
        /,
        *,
        seed: int | None = None,
        history: Sequence[Message] = (),
        **fields: str,
    ) -> Answer:
        """Answer one request; ``inputs`` as a mapping, as keywords, or both.

        ``history`` are the conversation's earlier messages, for a policy whose prompts have a slot
        for them (``file.takes_history``). The tuning judged requests without one.

        A request that a limit ends is answered with what arrived (or has failed, where the policy
        says so); cancelling this cancels the calls that are out.

        Raises:
            InputError: an input is missing, unknown or not text; or there is a history, and the
                policy has no slot for it.
        """
        given = self.checked({**(inputs or {}), **fields})
        if history and not self.file.takes_history:
            raise InputError(
                f"policy {self.file.name!r} takes no earlier messages: its prompts have no "
                "{role: history}"
            )
        started_s = monotonic()
        policy = self.file.policy
        source_of = functools.partial(self.source, inputs=given, history=history)
        live = LiveSamples(
            source_of,
            given,
            self.file.answer,
            self.seed if seed is None else seed,
            policy.limits.timeout_s,
            self._scores,
            self.library,
        )
        rounds = episode(policy, self._strategies, given)
        try:
            round_ = next(rounds)
            while True:
                round_ = rounds.send(await live.sample(round_))
        except StopIteration as end:
            outcome: Outcome = end.value
        latency_s = monotonic() - started_s
        return answer_of(self.file, outcome, live.came, live.calls, latency_s)

    def answer_sync(
        self,
        inputs: Mapping[str, str] | None = None,
        /,
        *,
        seed: int | None = None,
        history: Sequence[Message] = (),
        **fields: str,
    ) -> Answer:
        """``answer`` for code without an event loop; in a notebook it waits in a thread."""
        answer = self.answer(inputs, seed=seed, history=history, **fields)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(answer)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, answer).result()

    def checked(self, inputs: Mapping[str, object]) -> dict[str, str]:
        """``inputs``, if they are the policy's inputs, all of them and as text.

        Raises:
            InputError: they are not.
        """
        wanted = self.file.inputs
        for name in inputs:
            if name not in wanted:
                raise unknown_name("input", name, wanted)
        for name in wanted:
            if name not in inputs:
                raise InputError(f"input {name!r} is missing; the policy takes {', '.join(wanted)}")
            if not isinstance(inputs[name], str):
                raise InputError(f"input {name!r} must be text")
        return {name: str(inputs[name]) for name in wanted}

    def source(
        self,
        variant: Variant,
        inputs: Mapping[str, str],
        history: Sequence[Message] = (),
        parent: Parent | None = None,
    ) -> Source:
        """Where the samples of ``variant`` come from, for these inputs and after ``parent``."""
        tier = self.file.tier_of(variant)
        model = self._models[tier.name]
        address = str(getattr(model, "address", ""))  # part of what a sample's seed depends on
        prompt = self.file.prompts[variant.prompt]
        request = build_request(tier, prompt, variant, inputs, address, history, parent)
        return Source(model, tier, request, prompt.turn)

    def close(self) -> None:
        """Close the models that this runtime opened."""
        while self._opened:
            self._opened.pop().close()
        if self.library is not None and self._owns_retriever:
            self.library.retriever.close()

    def __enter__(self) -> PolicyRuntime:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def checked_strategies(file: PolicyFile, path: Path | str | None = None) -> tuple[Strategy, ...]:
    """The strategy of each bucket; ``path`` is for messages.

    Raises:
        InputError: there is no such strategy, a fault of the signal (``difficulty_faults``), or a
            strategy asks for a turn that a prompt does not have.
    """
    try:
        for _, fault in difficulty_faults(file):
            raise fault
        strategies = strategies_of(file.policy)
        for recipe, strategy in zip(file.policy.buckets, strategies, strict=True):
            for variant in recipe.variants:
                check_turns(file.prompts[variant.prompt], strategy.kind, paths_of(strategy))
        return strategies
    except InputError as error:
        raise InputError(f"policy {file.name!r}: {error.message}", path=path) from None
