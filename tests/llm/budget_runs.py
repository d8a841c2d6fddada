"""Simulated runs against a client that bills: what a budget must bear, and never pass.

The client stands where LiteLLM does, under the real queue, retries and pool. It keeps its own bill,
also of answers that get lost, and its prompts, answers and prices vary by two orders of magnitude.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tierwise.llm import Request, senders
from tierwise.llm.limits import Retry
from tierwise.llm.provider import ProviderModel
from tierwise.pool import Account, Need, Progress, SamplePool, fill
from tierwise.schema import Message, Price, Tier, UsageLimits

CONCURRENCY = 256


class Lost(Exception):
    """The connection broke; the answer was billed."""

    status_code = 500


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Client:
    """In place of ``litellm.acompletion``: every call is on its bill before anything else."""

    price: Price
    faults: float
    rng: random.Random
    calls: int = 0
    usd: float = 0.0
    tokens: int = 0
    open: int = 0
    peak: int = 0

    async def __call__(self, **call: Any) -> Any:
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            return await self._answer(**call)
        finally:
            self.open -= 1

    async def _answer(self, **call: Any) -> Any:
        n, cap = int(call.get("n", 1)), int(call["max_tokens"])
        prompt = max(
            1, round(sum(len(m["content"]) for m in call["messages"]) * self.rng.uniform(0.25, 1.0))
        )
        said = [max(1, round(cap ** self.rng.random())) for _ in range(n)]
        self.calls += 1
        self.usd += self.price.prompt_usd(prompt) + self.price.completion_usd(
            sum(said), prompt_tokens=prompt
        )
        self.tokens += prompt + sum(said)
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.rng.random() < self.faults:
            raise Lost("cut")
        return {
            "choices": [
                {"index": j, "message": {"content": "x" * t}, "finish_reason": "stop"}
                for j, t in enumerate(said)
            ],
            "usage": {"prompt_tokens": prompt, "completion_tokens": sum(said)},
        }


class Ended(NamedTuple):
    """A run: what the client billed, of what it might, and how it went."""

    billed_usd: float
    cap_usd: float
    billed_calls: int
    cap_calls: int | None
    confirmed_usd: float
    most_usd: float
    killed: bool
    lost: int
    peak: int


def simulate(seed: int, folder: Path, *, requests: int = 300) -> Ended:
    """One run with a cap that most runs meet; one in three is killed on the way and goes on."""
    rng = random.Random(seed)
    scale = 10 ** rng.uniform(-1, 1)  # prices of runs vary a hundredfold, and so do answers
    price = Price(0.5 * scale, 2.0 * scale)
    tier = Tier(
        "small",
        "openai/gpt-4o-mini",
        price,
        modes={"direct": {"max_tokens": 100}},
        takes_n=rng.random() < 0.5,
        limits={"concurrency": CONCURRENCY, "timeout_s": 60},
    )
    needs = [
        Need(
            Request(
                tier.model,
                (Message("user", "word " * rng.randint(1, 100)),),
                {"max_tokens": round(100 ** rng.random())},
            ),
            rng.randint(1, 6),
        )
        for _ in range(requests)
    ]
    client = Client(price, rng.choice([0.0, 0.2]), random.Random(seed + 1))
    whole = requests * 3.5 * (price.prompt_usd(250) + price.completion_usd(25, prompt_tokens=250))
    cap = UsageLimits(
        usd=whole * 10 ** rng.uniform(-1.0, 0.3),
        calls=rng.choice([None, rng.randint(requests // 4, 4 * requests)]),
    )
    killed = _fill(folder / "pool", tier, needs, cap, client, kill=rng.random() < 1 / 3)
    if killed:
        _fill(folder / "pool", tier, needs, cap, client, kill=False)
    with SamplePool.open(folder / "pool", read_only=True) as pool:
        billed, lost = pool.billed("run", "small"), pool.counts("losses")
    assert cap.usd is not None
    return Ended(
        client.usd,
        cap.usd,
        client.calls,
        cap.calls,
        billed.confirmed.usd,
        billed.most.usd,
        killed,
        lost,
        client.peak,
    )


async def _at_once(seconds: float) -> None:
    await asyncio.sleep(0)


def _fill(
    path: Path, tier: Tier, needs: list[Need], cap: UsageLimits, client: Client, *, kill: bool
) -> bool:
    """Whether it was killed: at a chunk's end, with all others in flight and their calls made."""
    left = client.rng.randint(1, 3)

    def progress(so_far: Progress) -> None:
        nonlocal left
        left -= 1
        if kill and left == 0:
            raise Killed

    model = ProviderModel(tier, retry=Retry(sleep=_at_once))
    with mock.patch.object(senders, "_send", client), SamplePool.open(path) as pool:
        try:
            fill(pool, model, tier, needs, Account("run", 0, cap), progress=progress)
        except Killed:
            return True
        finally:
            model.close()
    return False
