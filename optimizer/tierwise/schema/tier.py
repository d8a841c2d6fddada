"""A model tier: the model, what each mode sends, and what its calls cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.errors import unknown_name

PER_MTOK = 1e-6


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens, at a date. Nominal prices are nobody's bill."""

    prompt_usd_per_mtok: float
    completion_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    as_of: str = ""
    simulated: bool = False

    def prompt_usd(self, prompt_tokens: float, cached_tokens: float = 0.0) -> float:
        """Price of a call's prompt, its cached part at the cached rate."""
        cached = (
            self.prompt_usd_per_mtok
            if self.cached_usd_per_mtok is None
            else self.cached_usd_per_mtok
        )
        fresh = prompt_tokens - cached_tokens
        return (fresh * self.prompt_usd_per_mtok + cached_tokens * cached) * PER_MTOK

    def completion_usd(self, completion_tokens: float) -> float:
        """Price of completion tokens, reasoning tokens among them."""
        return completion_tokens * self.completion_usd_per_mtok * PER_MTOK


@dataclass(frozen=True, slots=True)
class Tier:
    """A model class of a job.

    ``takes_n``: one call may ask for several samples, whose prompt is billed once.
    ``logprobs``: completions carry token log-probabilities.
    ``api_base``: the address of the tier's server; empty: the provider's, as the environment says.
    ``api_key_env``: the variable of the environment that holds the key for it.
    ``takes_seed``, ``stream``: whether a seed is sent, and answers are streamed; None: as the
    provider's table says, or as its first answers show.
    """

    name: str
    model: str
    price: Price
    modes: Mapping[str, Mapping[str, object]] = field(
        default_factory=lambda: {"direct": {"max_tokens": 512}}
    )
    takes_n: bool = True
    logprobs: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)
    api_base: str = ""
    api_key_env: str = ""
    takes_seed: bool | None = None
    stream: bool | None = None

    def mode(self, name: str) -> Mapping[str, object]:
        """What ``name`` sends, as LiteLLM parameters."""
        if name not in self.modes:
            raise unknown_name(f"mode of tier {self.name!r}", name, self.modes)
        return self.modes[name]


class SampleBill(NamedTuple):
    """What one sample used; a query's look-up is part of ``completion_usd``.

    ``call`` names the variant, whose samples in one round share a call, and with it the parent of a sample
    that follows another: it is asked something of its own.
    """

    call: object
    prompt_usd: float
    completion_usd: float
    takes_n: bool


def price(rounds: Sequence[Sequence[SampleBill]]) -> float:
    """Dollars of a request, from its rounds: the one function that search and serving share.

    The samples of a variant in a round are one call where the tier takes ``n`` (the prompt is billed
    once, as the first of these samples was), else a call each. Failed samples without usage are not
    among the bills.
    """
    total = 0.0
    for bills in rounds:
        billed: set[object] = set()
        for bill in bills:
            if not (bill.takes_n and bill.call in billed):
                total += bill.prompt_usd
                billed.add(bill.call)
            total += bill.completion_usd
    return total
