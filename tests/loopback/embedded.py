"""An embedded model behind the loopback server, which samples what the tier in process would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.loopback.server import Messages, Said
from tierwise.llm import Request, base_seed
from tierwise.llm.embedded import Engine, Generation, Prompt, encode
from tierwise.schema import Message

SENT_BESIDE = {"model", "messages", "n", "seed", "logprobs"}
MOST_SAMPLES = 4096


@dataclass
class EmbeddedTwin:
    """``Loopback.speak_all`` of ``embedded/NAME``, asked as ``openai/MODEL`` at ``address``.

    A seed is a hash of the job's seed and the exact request, plus the sample's index; and a request
    names the model and its address. So the twin reads the index off the seed that it is sent, and
    samples with the seed that the tier in process has for it. A seed that is not of that form is an
    error: the job would not be the one that the twin knows.

    What arrives while it samples is sampled together next, as a batch of the engine.
    """

    address: str
    model: str = "openai/embedded-small"
    name: str = "small"
    job_seed: int = 0
    _waiting: list[tuple[list[tuple[Prompt, int]], asyncio.Future[list[Generation]]]] = field(
        default_factory=list
    )
    _drawing: asyncio.Task[None] | None = None

    async def __call__(
        self, messages: Messages, seed: int, n: int, body: Mapping[str, Any]
    ) -> list[Said]:
        said = tuple(Message(m["role"], m["content"]) for m in messages)
        params = {name: value for name, value in body.items() if name not in SENT_BESIDE}
        asked = Request(self.model, said, params, self.address)
        index = seed - base_seed(self.job_seed, asked)
        assert 0 <= index < MOST_SAMPLES, f"no sample of this job has seed {seed}"
        first = base_seed(self.job_seed, Request(f"embedded/{self.name}", said, params)) + index
        prompt = encode(said, params)
        sampled = asyncio.get_running_loop().create_future()
        self._waiting.append(([(prompt, first + j) for j in range(n)], sampled))
        if self._drawing is None or self._drawing.done():
            self._drawing = asyncio.create_task(self._sample())
        return [
            Said(
                g.text,
                logprobs=_logprobs(g.logprob_sum, g.logprob_min, g.n_own_tokens),
                finish_reason=g.finish_reason,
                tokens=g.completion_tokens,
                prompt_tokens=g.prompt_tokens,
            )
            for g in await sampled
        ]

    async def _sample(self) -> None:
        engine = Engine.load(self.name)
        while self._waiting:
            batch, self._waiting = self._waiting, []
            prompts, seeds = zip(
                *(sample for samples, _ in batch for sample in samples), strict=True
            )
            sampled = iter(await asyncio.to_thread(engine.generate, prompts, seeds))
            for samples, future in batch:
                own = [next(sampled) for _ in samples]
                if not future.done():  # whoever asked is gone
                    future.set_result(own)


def _logprobs(total: float, least: float, n: int) -> tuple[float, ...]:
    """``n`` numbers with this sum and this least one: all that a sample keeps of them."""
    if n < 2:
        return (total,) * n
    return (least, *[(total - least) / (n - 1)] * (n - 1))
