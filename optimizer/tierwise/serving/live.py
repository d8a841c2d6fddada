"""The rounds of one request, drawn live: calls out at once, and back by the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from time import monotonic
from typing import NamedTuple

from tierwise.difficulty import read
from tierwise.episode import Drawn, Round
from tierwise.errors import ProviderError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, Result, base_seed
from tierwise.recipe import ANSWER, Arm, DrawBill, Tier
from tierwise.strategies import Draw
from tierwise.task import AnswerSpec, verified

_CANCEL_GRACE_S = 0.5
"""How long a call that was given up may take to stop before it is left to itself."""


class Source(NamedTuple):
    """Where an arm's draws come from, for the inputs of one request, and in which turn."""

    model: LanguageModel
    tier: Tier
    request: Request
    turn: str = ANSWER


SourceOf = Callable[[Arm], Source]
"""The model, tier and request of an arm, for the inputs of one request."""


class LiveDraws:
    """The draws of one request. Draw i of an arm is draw i of the arm's pool, seed and all."""

    def __init__(
        self,
        source_of: SourceOf,
        inputs: Mapping[str, str],
        answer: AnswerSpec,
        seed: int,
        timeout_s: float | None,
        verifiers: Sequence[str] = (),
    ) -> None:
        self.results: list[Result] = []
        self.calls = 0
        self._source_of, self._inputs, self._answer, self._seed = source_of, inputs, answer, seed
        self._verifiers = verifiers
        self._deadline = None if timeout_s is None else monotonic() + timeout_s
        self._source: dict[Arm, Source] = {}
        self._taken: dict[Arm, int] = {}

    async def draw(self, round_: Round) -> list[Drawn]:
        """The round's draws, in its order; what is not there in time has failed.

        The deadline is on the clock too, so that what a round does beside its draws counts.
        """
        tasks = {
            asyncio.ensure_future(_answer(self._of(arm).model, call)): (arm, call)
            for arm, call in self._calls(round_.arms)
        }
        self.calls += len(tasks)
        timeout_s = round_.timeout_s
        if timeout_s is not None and self._deadline is not None:
            timeout_s = max(0.0, min(timeout_s, self._deadline - monotonic()))
        try:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
        finally:  # also where the request itself is cancelled
            for task in tasks:
                task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_GRACE_S)
        faults = [t.exception() for t in tasks if t.done() and not t.cancelled()]
        for fault in faults:
            if fault is not None:
                raise fault
        arrived: dict[Arm, list[Result]] = {}
        for task, (arm, call) in tasks.items():
            results = [_late(round_)] * call.n if task in late else task.result()
            arrived.setdefault(arm, []).extend(results)
        drawn = []
        for arm in round_.arms:
            result = arrived[arm].pop(0)
            self.results.append(result)
            drawn.append(self._drawn(arm, result))
        return drawn

    def _of(self, arm: Arm) -> Source:
        if arm not in self._source:
            self._source[arm] = self._source_of(arm)
        return self._source[arm]

    def _calls(self, arms: Sequence[Arm]) -> list[tuple[Arm, Call]]:
        """One call an arm where the tier takes ``n``, else one a draw: it may arrive alone."""
        calls = []
        for arm, group in groupby(sorted(arms, key=arms.index)):
            source, n = self._of(arm), len(list(group))
            first = self._taken.get(arm, 0)
            self._taken[arm] = first + n
            seed = base_seed(self._seed, source.request)
            sizes = [n] if source.tier.takes_n else [1] * n
            for i, size in enumerate(sizes):
                calls.append((arm, Call(source.request, first + i, size, seed + first + i)))
        return calls

    def _drawn(self, arm: Arm, result: Result) -> Drawn:
        if isinstance(result, Failure):
            return Drawn(Draw(None, failed=True), None, result.latency_s)
        _, tier, _, turn = self._of(arm)
        bill = DrawBill(
            arm,
            tier.price.prompt_usd(result.prompt_tokens, result.cached_tokens),
            tier.price.completion_usd(result.completion_tokens),
            tier.takes_n,
        )
        if turn != ANSWER:
            said = read(turn, result.text, result.min_logprob)
            return Drawn(Draw(None, said, turn=turn, text=result.text), bill, result.latency_s)
        answer = self._answer.extract(result.text)
        scores = _scores(result)
        scores |= verified(self._verifiers, self._inputs, result.text, answer)
        draw = Draw(answer, scores, text=result.text)
        return Drawn(draw, bill, result.latency_s)


async def _answer(model: LanguageModel, call: Call) -> list[Result]:
    """The call's ``n`` results; a provider that failed for good has failed these draws only."""
    try:
        results = list(await model.answer(call))
    except ProviderError as error:
        return [Failure(type(error).__name__, str(error))] * call.n
    missing = Failure("missing_choice", f"{len(results)} of {call.n} draws came back")
    return (results + [missing] * (call.n - len(results)))[: call.n]


def _late(round_: Round) -> Failure:
    seconds = round_.timeout_s or 0.0
    return Failure("timeout", f"not there {seconds:.3g} s after it was asked for", seconds)


def _scores(completion: Completion) -> dict[str, float]:
    scores = {"mean_logprob": completion.mean_logprob, "min_logprob": completion.min_logprob}
    return {name: value for name, value in scores.items() if value is not None}
