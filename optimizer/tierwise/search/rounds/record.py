"""What a round came to, as a run reports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tierwise.proposals import RefusedCandidate
from tierwise.schema import Policy, PromptTemplate
from tierwise.search.gate import Comparison
from tierwise.search.rounds.acceptance import Tried
from tierwise.search.rounds.failures import Aimed
from tierwise.search.study import described


@dataclass(frozen=True)
class Round:
    """One round of a tier.

    Attributes:
        number: from 1, the round that nothing was tried before.
        prompts: that took part in the search after it.
        briefs: what the reflection was asked to mend.
        tried: candidates in the place of the prompts that they were written for.
        before, after: the policy by the study's own samples, before the round and with it.
        gain: ``after`` against ``before`` on ``items`` that no study saw; None: not judged.
        ended: why no further round was made; empty: one was, or it was the last that was asked for.
    """

    number: int
    prompts: Sequence[PromptTemplate] = ()
    refused: Sequence[RefusedCandidate] = ()
    briefs: Sequence[Aimed] = ()
    tried: Sequence[Tried] = ()
    before: Policy | None = None
    after: Policy | None = None
    gain: Comparison | None = None
    items: int = 0
    ended: str = ""

    def summary(self) -> dict[str, Any]:
        """Plain data for ``summary.json``."""
        return {
            "round": self.number,
            "prompts": [{"id": p.id, "origin": p.origin} for p in self.prompts],
            "refused": [{"origin": r.origin, "reason": r.reason} for r in self.refused],
            "briefs": [
                {
                    "bucket": a.bucket,
                    "prompt": a.brief.prompt,
                    "run_as": a.brief.run_as,
                    "failures": len(a.brief.failures),
                }
                for a in self.briefs
            ],
            "tried": [tried.summary() for tried in self.tried],
            "before": None if self.before is None else described(self.before),
            "after": None if self.after is None else described(self.after),
            "gain": None
            if self.gain is None
            else {
                "items": self.items,
                "score_difference": self.gain.difference.mean,
                "score_difference_ci95": [self.gain.difference.low, self.gain.difference.high],
                "cost_ratio": self.gain.cost_ratio.mean,
                "cost_ratio_ci95": [self.gain.cost_ratio.low, self.gain.cost_ratio.high],
            },
            "ended": self.ended,
        }
