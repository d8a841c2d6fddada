"""Rounds of one tier: reflect on the policy so far, try what is proposed, search jointly again.

A round is worth it where its policy is surely better than the one before it, or surely as good and
cheaper, paired on items of the tune split that no study saw; after one that is not, none follows.
Its prompts stay in the search: the select split decides about them like about all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tierwise.errors import BudgetError, UnsupportedError
from tierwise.pool import Buyer
from tierwise.proposals import CandidateRegistry
from tierwise.schema import Policy, PromptTemplate, StrategySpec, Variant, uniform
from tierwise.search.budget import room_for_a_round
from tierwise.search.events import Listener, Started
from tierwise.search.gate import Comparison, compare
from tierwise.search.problem import TierProblem
from tierwise.search.rounds.acceptance import Tried, tried
from tierwise.search.rounds.caps import STAGE
from tierwise.search.rounds.desk import Asked, Desk
from tierwise.search.rounds.failures import Aimed, briefs
from tierwise.search.rounds.record import Round
from tierwise.search.samples import SampleCounts, samples_needed
from tierwise.search.selection import candidate, finalists_of, select_points
from tierwise.search.stages import LEAST_SAMPLES, Explored, explore
from tierwise.search.variants import Variants

CLOSED = "the compute gate is closed: nothing more is bought on this tier"
NO_ROOM = "the budget leaves no room for another round"
NOTHING_FAILS = "the policy gets all train items right that it was tried on"
NOTHING_NEW = "nothing new was proposed"
ALL_REFUSED = "no candidate was worth a study"
NO_GAIN = "the gain is not above noise"


@dataclass
class Rounds:
    """The rounds of one tier.

    Attributes:
        registry: knows what was proposed before.
        made: what came of each round, the first among them.
    """

    desk: Desk
    buyer: Buyer
    registry: CandidateRegistry
    made: list[Round]

    def after(self, explored: Explored, listener: Listener) -> list[Explored]:
        """The searches of the rounds after ``explored``, as far as they were worth making.

        A round that the budget ends changes nothing.
        """
        searched: list[Explored] = []
        for number in range(2, self.desk.spec.rounds + 1):
            listener(Started(self.buyer.tier.name, f"round {number}"))
            explored.study.evaluator.forget()
            try:
                wider, made = self._asked(number, explored)
                if wider is not None:
                    front = [judged.proposal for judged in explored.study.front()]
                    again = explore(wider, self.buyer, listener, front)
                    made = self._judged(made, again)
                    if made.ended != CLOSED:
                        explored = again
                        searched.append(again)
            except BudgetError as error:
                made = Round(number, ended=f"{NO_ROOM}: {error}")
            self.made.append(made)
            if made.ended:
                break
        return searched

    def _asked(self, number: int, explored: Explored) -> tuple[TierProblem | None, Round]:
        """The question with what was proposed and is worth a study; None: there is nothing."""
        q = explored.problem
        if not explored.gate.open:
            return None, Round(number, ended=CLOSED)
        if not self._affordable(explored):
            return None, Round(number, ended=NO_ROOM)
        before = best_of(explored)
        aimed = briefs(q, self.buyer, before, number, self._instruction)
        made = Round(number, briefs=aimed, before=before)
        if not aimed:
            return None, replace(made, ended=NOTHING_FAILS)
        refused = len(self.registry.refused)
        tries = self._tried(q, before, number, aimed)
        accepted = [one for one in tries if not one.reason]
        made = replace(
            made,
            tried=tries,
            refused=self.registry.refused[refused:],
            prompts=[one.prompt for one in accepted],
        )
        if not accepted:
            return None, replace(made, ended=ALL_REFUSED if tries else NOTHING_NEW)
        return replace(_with(q, accepted), study_rounds=q.study_rounds + 2), made

    def _affordable(self, explored: Explored) -> bool:
        q = explored.problem
        counts = SampleCounts.of(q.space, len(q.variants.candidates), explored.n_samples)
        return room_for_a_round(q.search_size, counts, explored.cost, q.cap, self.buyer.spent)

    def _instruction(self, prompt_id: str) -> str:
        return self.desk.proposer.instruction(self.registry, self.buyer.prompts[prompt_id])

    def _tried(
        self, q: TierProblem, policy: Policy, number: int, aimed: Sequence[Aimed]
    ) -> list[Tried]:
        """What is proposed for each brief, tried in its place."""
        found: list[Tried] = []
        counts = [len(range(i, self.desk.spec.instructions, len(aimed))) for i in range(len(aimed))]
        for i, (one, n) in enumerate(zip(aimed, counts, strict=True), start=1):
            instead_of = one.brief.prompt
            asked = Asked(one.brief, self.buyer.prompts[instead_of], n)
            proposed = self.desk.later(q.tier.name, f"{number}.{i}", self.registry, asked)
            found += [
                tried(q, self.buyer, policy, prompt, instead_of, one.bucket)
                for prompt in proposed.prompts
            ]
        return found

    def _judged(self, made: Round, again: Explored) -> Round:
        """Whether the round was worth it; equal policies need no samples."""
        if not again.gate.open:
            return replace(made, ended=CLOSED)
        before, after, q = made.before, best_of(again), again.problem
        assert before is not None
        if after == before:
            return replace(made, after=after, ended=NO_GAIN)
        gain, items = self._gain(q, after, before, made.number)
        return replace(
            made,
            after=after,
            gain=gain,
            items=items,
            ended="" if above_noise(gain, q.margin) else NO_GAIN,
        )

    def _gain(
        self, q: TierProblem, after: Policy, before: Policy, number: int
    ) -> tuple[Comparison, int]:
        items = q.items("tune")[-q.search_size.accept_items :]
        n_samples = samples_needed([before, after], LEAST_SAMPLES)
        table = self.buyer.table(items, n_samples, STAGE)
        judge = q.evaluator(table, exact=False)
        new, old = judge.evaluate(after), judge.evaluate(before)
        return compare(new, old, margin=q.margin, seed=q.seed), table.n_items


def above_noise(gain: Comparison, margin: float) -> bool:
    """Surely better; or surely as good, within the margin, and cheaper."""
    cheaper = gain.difference.low > -margin and gain.cost_ratio.high < 1
    return gain.difference.low > 0 or cheaper


def best_of(explored: Explored) -> Policy:
    """The policy at the job's operating point, by the study's own samples."""
    q, study_round = explored.problem, explored.study
    judge = study_round.evaluator
    candidates = [
        candidate(judge, j.policy, j.trial)
        for j in finalists_of(study_round, q.search_size.finalists)
    ]
    baseline = candidate(judge, uniform(q.variants.baseline, StrategySpec.of("single")))
    try:
        points = select_points(candidates, baseline, q.operating_point, margin=q.margin)
    except UnsupportedError:  # no policy keeps the bound yet: the best is what to improve on
        return select_points(candidates, baseline, "quality", margin=q.margin)["quality"].policy
    return points[q.plain_point].policy


def _with(q: TierProblem, accepted: Sequence[Tried]) -> TierProblem:
    """The question with the accepted prompts' variants."""
    prompts: dict[str, PromptTemplate] = {one.prompt.id: one.prompt for one in accepted}
    variants: list[Variant] = [variant for one in accepted for variant in one.variants]
    wider = Variants(
        {**q.variants.prompts, **prompts},
        tuple(dict.fromkeys((*q.variants.candidates, *variants))),
        q.variants.baseline,
        q.variants.asking,
    )
    return replace(q, variants=wider)
