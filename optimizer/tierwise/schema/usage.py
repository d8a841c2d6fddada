"""What calls used and what they may use: the one arithmetic for budgets, pool, plan, bill and
report.

``Usage`` adds up what happened, or is expected to. ``UsageLimits`` bounds it: ``limits - usage`` is
what is left, ``limits.fits(usage)`` says whether it is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from operator import add, attrgetter
from typing import Any


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls, samples, tokens, dollars and seconds, of one call or of many.

    Counts of what happened are whole numbers; expectations may have fractions of tokens. A call
    for several samples has its prompt once.

    Attributes:
        reasoning_tokens: those among ``completion_tokens`` that were spent on thinking.
        cached_tokens: those among ``prompt_tokens`` that the provider had cached.
        estimated_tokens: those among all tokens that were counted by us, not by the provider.
        seconds: latency, added up over calls; not the time on the clock.
    """

    calls: int = 0
    samples: int = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    reasoning_tokens: float = 0
    cached_tokens: float = 0
    estimated_tokens: float = 0
    usd: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> float:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def estimated_share(self) -> float:
        """Part of the tokens that the provider did not count; 0 where there are none."""
        return self.estimated_tokens / self.tokens if self.tokens else 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both together."""
        return Usage(*map(add, _values(self), _values(other)))

    def __sub__(self, other: Usage) -> Usage:
        """What ``self`` has beyond ``other``."""
        return self + other * -1

    def __mul__(self, factor: float) -> Usage:
        """``factor`` times as much; calls and samples are rounded up."""
        calls, samples, *others = (value * factor for value in _values(self))
        return Usage(math.ceil(calls), math.ceil(samples), *others)

    def totals(self) -> dict[str, Any]:
        """``usd``, ``calls`` and ``tokens``, which is what limits bound."""
        return {name: getattr(self, name) for name in _BOUNDED}


_FIELDS = tuple(each.name for each in fields(Usage))
_values = attrgetter(*_FIELDS)
_BOUNDED = ("usd", "calls", "tokens")


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """The most that may be used; None is no limit.

    ``seconds`` is time on the clock from the first purchase of a run: whoever buys keeps it as a
    deadline, and no ``Usage`` is held against it.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    @property
    def bounds_price(self) -> bool:
        """Whether dollars or tokens are limited: then every call needs a worst case."""
        return self.usd is not None or self.tokens is not None

    @property
    def unlimited(self) -> bool:
        """Whether any ``Usage`` fits."""
        return self.usd is None and self.calls is None and self.tokens is None

    def exceeded_by(self, usage: Usage) -> str:
        """The first limit (``usd``, ``calls``, ``tokens``) that ``usage`` exceeds; empty: none."""
        for name in _BOUNDED:
            limit = getattr(self, name)
            if limit is not None and getattr(usage, name) > limit:
                return name
        return ""

    def fits(self, usage: Usage) -> bool:
        """Whether ``usage`` stays within every limit."""
        return not self.exceeded_by(usage)

    def __sub__(self, usage: Usage) -> UsageLimits:
        """What is left after ``usage``, at least 0 of each."""
        return UsageLimits(
            None if self.usd is None else max(0.0, self.usd - usage.usd),
            None if self.calls is None else max(0, self.calls - usage.calls),
            None if self.tokens is None else max(0, self.tokens - int(usage.tokens)),
            self.seconds,
        )

    def __mul__(self, share: float) -> UsageLimits:
        """A part of each limit, at least one call and one token; the time is everybody's."""
        return UsageLimits(
            None if self.usd is None else self.usd * share,
            None if self.calls is None else max(1, int(self.calls * share)),
            None if self.tokens is None else max(1, int(self.tokens * share)),
            self.seconds,
        )

    def cut(self, usage: Usage) -> Usage:
        """``usage``, but no more than each limit; prompt and completion shrink alike."""
        share = 1.0
        if self.tokens is not None and usage.tokens > self.tokens:
            share = self.tokens / usage.tokens
        tokens = {name: getattr(usage, name) * share for name in _FIELDS if "tokens" in name}
        return replace(
            usage,
            **tokens,
            calls=usage.calls if self.calls is None else min(usage.calls, self.calls),
            usd=usage.usd if self.usd is None else min(usage.usd, self.usd),
        )


NO_LIMITS = UsageLimits()
