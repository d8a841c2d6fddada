"""Where a run's prompts are proposed: within the proposer's caps, and once.

A round that was made is read back from the run, so that a replay, or a run that is resumed, asks no
proposer again. What was bought for a round that was interrupted is in the pool. Caps are fixed
parts of the job's budget, a part a round, and then a tier: were they what others leave, a result
would depend on which tier was faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tierwise.errors import UnsupportedError
from tierwise.llm.models import open_model, tier_of_spec
from tierwise.pool import Account, PooledModel, SamplePool
from tierwise.pool.run_dir import RunDir
from tierwise.proposals import CandidateRegistry, PromptProposer
from tierwise.schema import Job, PromptTemplate, ProposalSpec, Tier, TierSpec, Usage, UsageLimits
from tierwise.schema.result import ProposerUsage, from_json
from tierwise.search.problem import SearchSize
from tierwise.search.proposal_rounds import Asked, Proposed

PROPOSER = "proposer"
"""The book of a run's pool for the first round; ``proposer/TIER`` is that of a tier's others."""

FOLDER = "proposals"
FIRST = "first"


@dataclass(frozen=True)
class RunProposals:
    """The proposals of one run.

    Attributes:
        proposer: makes prompts of what the proposer model says.
        replaying: nothing may be asked.
        deadline_s: on the monotonic clock, after which nothing is asked.
    """

    run: RunDir
    pool: SamplePool
    job: Job
    proposer: PromptProposer
    replaying: bool = False
    deadline_s: float | None = None

    @property
    def spec(self) -> ProposalSpec:
        """The job's key."""
        assert self.job.proposals is not None
        return self.job.proposals

    def search_size(self, search_size: SearchSize) -> SearchSize:
        """``search_size`` with the rounds after the first, which a budget must have room for."""
        return replace(search_size, rounds=self.spec.rounds - 1, proposed=self.spec.instructions)

    def first(self) -> Proposed:
        """The round that the task alone gives, the same for all tiers."""
        there = self._there(FIRST)
        if there is not None:
            return there
        registry = self.proposer.registry()
        with self._proposer(PROPOSER, first_cap(self.job), "round 1") as lm:
            prompts = self.proposer.open(registry, lm, n=self.spec.instructions, seed=self.job.seed)
        made = Proposed.of(prompts, registry, self.proposer.registry())
        save_proposed(self.run, FIRST, made)
        return made

    def later(self, tier: str, round_: str, registry: CandidateRegistry, asked: Asked) -> Proposed:
        """The answer to one brief of a tier's round; the registry knows its outcome after."""
        name = f"{tier}.{round_}"
        there = self._there(name)
        if there is not None:
            there.added_to(registry)
            return there
        before = replace(
            registry, candidates=list(registry.candidates), refused=list(registry.refused)
        )
        stage = f"round {round_.partition('.')[0]}"
        with self._proposer(book_of(tier), tier_cap(self.job), stage) as lm:
            prompts = self.proposer.revise(
                registry, asked.brief, asked.prompt, lm, n=asked.n, seed=self.job.seed
            )
        made = Proposed.of(prompts, registry, before)
        save_proposed(self.run, name, made)
        return made

    def demonstrations(
        self, tier: str, make: Callable[[CandidateRegistry], list[PromptTemplate]]
    ) -> Proposed:
        """A tier's sets, from ``make`` where they were not made before."""
        name = f"{tier}.demonstrations"
        there = self._there(name)
        if there is not None:
            return there
        registry = self.proposer.registry()
        made = Proposed.of(make(registry), registry, self.proposer.registry())
        save_proposed(self.run, name, made)
        return made

    def summary(self) -> ProposerUsage:
        """Who proposed, and what that cost in calls, tokens and dollars."""
        books = [PROPOSER, *(book_of(tier) for tier in self.job.tiers)]
        spent = Usage()
        for book in books:
            spent = spent + self.pool.spent(self.run.run, book)
        model = self.spec.model
        return ProposerUsage(**spent.totals(), model=None if model is None else model.model)

    def _there(self, name: str) -> Proposed | None:
        there = load_proposed(self.run, name)
        if there is None and self.replaying:
            raise UnsupportedError(
                f"{self.run.path} lacks proposals/{name}.json, and a replay asks no proposer"
            )
        return there

    @contextmanager
    def _proposer(self, book: str, cap: UsageLimits, stage: str) -> Iterator[Any]:
        if self.spec.model is None or self.spec.instructions == 0:
            yield None
            return
        from tierwise.proposals.dspy_lm import proposers_lm

        tier = proposer_of(self.spec.model)
        model = open_model(tier, recordings=self.spec.model.recordings)
        try:
            kept = PooledModel(
                self.pool,
                model,
                tier,
                Account(
                    self.run.run,
                    self.job.seed,
                    cap,
                    book,
                    self.deadline_s,
                    max_outage_s=self.job.max_outage_s,
                ),
                stage,
            )
            yield proposers_lm(kept.tier, kept, self.job.seed)
        finally:
            model.close()


def save_proposed(run: RunDir, name: str, made: Proposed) -> None:
    """Write ``proposals/NAME.json``, whole or not at all."""
    run.write_json(f"{FOLDER}/{name}.json", made)


def load_proposed(run: RunDir, name: str) -> Proposed | None:
    """What ``save_proposed`` wrote; None where the round was not made.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return from_json(run.path / FOLDER / f"{name}.json", Proposed)
    except FileNotFoundError:
        return None


def proposer_of(spec: TierSpec) -> Tier:
    """The proposer as a tier.

    Raises:
        InputError: see ``tier_of_spec``.
    """
    return tier_of_spec(PROPOSER, spec)


def book_of(tier: str) -> str:
    """The book of a tier's rounds."""
    return f"{PROPOSER}/{tier}"


def first_cap(job: Job) -> UsageLimits:
    """Of the first round, which is the same for all tiers."""
    return job.proposers_budget * (1 / _rounds(job))


def tier_cap(job: Job) -> UsageLimits:
    """Of one tier's later rounds."""
    rounds = _rounds(job)
    return job.proposers_budget * ((rounds - 1) / rounds / len(job.tiers))


def _rounds(job: Job) -> int:
    return job.proposals.rounds if job.proposals else 1
