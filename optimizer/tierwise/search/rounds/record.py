"""What a round came to, as a run reports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.proposals import RefusedCandidate
from tierwise.schema import Policy, PromptTemplate
from tierwise.schema.result import (
    BriefSummary,
    ProposalRound,
    ProposedPrompt,
    RefusedProposal,
    RoundGain,
    bounds,
    number,
)
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

    def summary(self) -> ProposalRound:
        """A row of a run's summary."""
        return ProposalRound(
            round=self.number,
            prompts=tuple(ProposedPrompt(p.id, p.origin) for p in self.prompts),
            refused=tuple(RefusedProposal(r.origin, r.reason) for r in self.refused),
            briefs=tuple(
                BriefSummary(a.bucket, a.brief.prompt, a.brief.run_as, len(a.brief.failures))
                for a in self.briefs
            ),
            tried=tuple(tried.summary() for tried in self.tried),
            before=None if self.before is None else described(self.before),
            after=None if self.after is None else described(self.after),
            gain=None if self.gain is None else _gain(self.gain, self.items),
            ended=self.ended,
        )


def _gain(gain: Comparison, items: int) -> RoundGain:
    return RoundGain(
        items=items,
        score_difference=number(gain.difference.mean),
        score_difference_ci95=bounds(gain.difference),
        cost_ratio=number(gain.cost_ratio.mean),
        cost_ratio_ci95=bounds(gain.cost_ratio),
    )
