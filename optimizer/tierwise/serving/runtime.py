"""A policy answers live requests, exactly as it was tuned.

::

    answer = PolicyRuntime.load("small.yaml").answer_sync(question="What is 2 + 2?")

Every decision is ``tierwise.episode``'s, which the offline evaluation drives too; this module only
makes the calls. Over the samples of a pool that was bought with the same seed, the runtime gives
the answer, the samples and the cost that the evaluation computed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

from tierwise.difficulty import difficulty_faults, signal_of
from tierwise.episode import Outcome, episode, strategies_of
from tierwise.errors import InputError, ProviderError, unknown_name
from tierwise.llm import Call, LanguageModel, Parent, Result, build_request, judge_request
from tierwise.llm.limits import Traffic
from tierwise.llm.models import open_model
from tierwise.retrieval import Retriever, open_for_task, open_retriever, target_of
from tierwise.schema import Message, Tier, Variant, retriever_of
from tierwise.schema.policy import JUDGES
from tierwise.schema.policy_file import PolicyFile
from tierwise.schema.prompt import check_turns
from tierwise.schema.turns import JUDGED_TURN
from tierwise.serving.answer import Answer, answer_of
from tierwise.serving.live import BoundRetriever, LiveSamples, SampleSource
from tierwise.strategies import Strategy, asks, paths_of
from tierwise.tasks.conversation import chat_text, conversation
from tierwise.tasks.items import input_text

Models = Mapping[str, LanguageModel]

REOPEN_AFTER_S = 10.0


class PolicyRuntime:
    """Runs one policy file.

    ``model`` is the policy's model, or one for each tier by name; what is not given is opened from
    the policy file's model strings and closed with the runtime. ``seed`` is that of all samples.
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
        policy.answer.check_usable()
        self._scores = (
            *(getattr(s, "verifier", "") for s in self._strategies),
            *signal_of(policy.policy.difficulty).scores,
        )
        given = model if isinstance(model, Mapping) else {policy.tier.name: model}
        self._models = {name: given for name, given in given.items() if given is not None}
        self._opened: list[ReopeningModel] = []
        self.retriever: BoundRetriever | None = None
        tiers = {tier.name: tier for tier in map(policy.tier_of, policy.policy.variants)}
        if policy.judge is not None and any(asks(s, JUDGED_TURN) for s in self._strategies):
            tiers[policy.judge.tier.name] = policy.judge.tier
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
            self.retriever = retriever_of_policy(policy, self._strategies, retriever)
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
            self.file.answer.of(given),
            self.seed if seed is None else seed,
            policy.limits.timeout_s,
            self._scores,
            self.retriever,
            self.file.judge,
        )
        rounds = episode(policy, self._strategies, given)
        try:
            round_ = next(rounds)
            while True:
                round_ = rounds.send(await live.sample(round_))
        except StopIteration as end:
            outcome: Outcome = end.value
        latency_s = monotonic() - started_s
        return answer_of(self.file, outcome, live.results, live.calls, latency_s)

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

        A chat may be a list of messages, or the text of the user's only one.

        Raises:
            InputError: they are not.
        """
        wanted = self.file.inputs
        for name in inputs:
            if name not in wanted:
                raise unknown_name("input", name, wanted)
        chat = self.file.chat
        if chat is not None and chat in inputs:
            said = inputs[chat]
            if not isinstance(said, str):
                inputs = {**inputs, chat: chat_text(said, chat)}
            elif conversation(said) is None:
                inputs = {**inputs, chat: chat_text([{"role": "user", "content": said}], chat)}
        for name in wanted:
            if name not in inputs:
                raise InputError(f"input {name!r} is missing; the policy takes {', '.join(wanted)}")
            if isinstance(inputs[name], list | dict):  # options, documents: as in a task's items
                inputs = {**inputs, name: input_text(inputs[name], name, self.file.answer)}
            if not isinstance(inputs[name], str):
                raise InputError(f"input {name!r} must be text")
        return {name: str(inputs[name]) for name in wanted}

    def source(
        self,
        variant: Variant,
        inputs: Mapping[str, str],
        history: Sequence[Message] = (),
        parent: Parent | None = None,
    ) -> SampleSource:
        """Where the samples of ``variant`` come from, for these inputs and after ``parent``."""
        tier = self.file.tier_of(variant)
        model = self._models[tier.name]
        address = str(getattr(model, "address", ""))  # part of what a sample's seed depends on
        prompt, judge = self.file.prompts[variant.prompt], self.file.judge
        if judge is not None and parent is not None and variant.owner == JUDGES:
            request = judge_request(tier, judge.messages(inputs, parent.text), address)
            return SampleSource(model, tier, request)
        request = build_request(tier, prompt, variant, inputs, address, history, parent)
        return SampleSource(model, tier, request, prompt.turn)

    def close(self) -> None:
        """Close the models that this runtime opened."""
        while self._opened:
            self._opened.pop().close()
        if self.retriever is not None and self._owns_retriever:
            self.retriever.retriever.close()

    def __enter__(self) -> PolicyRuntime:
        return self

    def __exit__(self, *error: object) -> None:
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
            if asks(strategy, JUDGED_TURN) and file.judge is None:
                raise InputError(
                    f"{strategy.kind} asks a judge, and the policy names none under judge"
                )
        return strategies
    except InputError as error:
        raise InputError(f"policy {file.name!r}: {error.message}", path=path) from None


def retriever_of_policy(
    file: PolicyFile, strategies: tuple[Strategy, ...], retriever: Retriever | None = None
) -> BoundRetriever | None:
    """What answers the policy's queries: given, bound by name, or that of the task at hand.

    None where the policy asks none.

    Raises:
        InputError: it asks queries and names no retriever, or its name is bound to nothing.
    """
    if not any(asks(strategy, "query") for strategy in strategies):
        return None
    spec = file.retriever
    if spec is None:
        raise InputError(f"policy {file.name!r} asks queries and names no retriever")
    if retriever is None:
        retriever = _retriever_of_task(file) or open_retriever(spec.name, target_of(spec.name))
    return BoundRetriever(spec, retriever)


def _retriever_of_task(file: PolicyFile) -> Retriever | None:
    """The retriever of the policy's task, if that is here and brings it, and nothing is bound."""
    assert file.retriever is not None
    if target_of(file.retriever.name) is not None:
        return None
    try:
        found = retriever_of(file.task.name)
    except InputError:
        return None
    if found is None or found.corpus is None or found.spec.name != file.retriever.name:
        return None
    return open_for_task(found)


class ReopeningModel:
    """The model of ``tier``, for servers that stay up: given up for a pause, then opened anew.

    A job may end with the first ``ProviderError`` (wrong key, no quota, host not reachable); a
    server must not stay broken once that is mended. So for ``pause_s`` seconds all calls fail with
    the same reason and nothing is sent, then the next call opens the model again. What the provider
    refuses of one client's request is that request's failure alone.

    Attributes:
        fault: why calls fail at present, None where they do not.

    Raises:
        InputError: there is no such model, or it does not take what a mode sends.
        ProviderError: there is no key for it.
    """

    def __init__(self, tier: Tier, *, pause_s: float = REOPEN_AFTER_S) -> None:
        self.tier = tier
        self.fault: str | None = None
        self._pause_s, self._again_at_s = pause_s, 0.0
        self._model: LanguageModel = open_model(tier, serving=True)
        self.chunk = self._model.chunk

    @property
    def address(self) -> str:
        """What ``Request.address`` must be for this model."""
        return str(getattr(self._model, "address", ""))

    @property
    def traffic(self) -> Traffic | None:
        """What the model sent since it was opened; None where nothing is sent."""
        return getattr(self._model, "traffic", None)

    async def answer(self, call: Call) -> list[Result]:
        """Answer one live call; raises ProviderError while the provider is given up."""
        if self.fault is not None:
            if monotonic() < self._again_at_s:
                raise ProviderError(self.fault)
            self._reopen()
        try:
            return await self._model.answer(call)
        except ProviderError as error:
            self.fault, self._again_at_s = str(error), monotonic() + self._pause_s
            raise

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        """Answer whole chunks, as the model does."""
        return self._model.complete(chunks)

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def _reopen(self) -> None:
        dead = self._model  # calls on it still return
        self._model = open_model(self.tier, serving=True)
        self.fault = None
        dead.close()
