"""Rounds of proposed prompts on one tier: reflect, try what is proposed, search jointly again.

A round reflects on what the best policy so far still gets wrong, tries each proposed prompt in the
place of the one that it was written for, and searches again with those that are not surely worse.
It is worth it where its policy is surely better than the one before it, or surely as good and
cheaper, paired on items of the validation split that no study saw; after one that is not, none
follows. Its prompts stay in the search: the validation split decides about them like about all
others.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from tierwise.errors import BudgetError, ProviderError
from tierwise.evaluation import SampleTable
from tierwise.llm.models import temperatures_of
from tierwise.pool import CutShortError
from tierwise.proposals import (
    CandidateRegistry,
    Demonstration,
    FailedItem,
    PromptCandidate,
    PromptProposer,
    ReflectionBrief,
    RefusedCandidate,
)
from tierwise.schema import Policy, PromptTemplate, ProposalSpec, Recipe, Tier, Usage, Variant
from tierwise.schema.measured import interval_ends, number
from tierwise.schema.result import (
    BriefSummary,
    ProposalRound,
    ProposedPrompt,
    RefusedProposal,
    RoundGain,
    TriedCandidate,
)
from tierwise.schema.space import SearchSpace
from tierwise.schema.tier import mode_fits
from tierwise.search.held_out import LEAST_SAMPLES, Comparison, best_of, compare
from tierwise.search.problem import Listener, Started, TierProblem
from tierwise.search.samples import SampleLedger, Samples, samples_needed
from tierwise.search.space import in_order
from tierwise.search.stages import Explored
from tierwise.search.tier import TierResult, concluded, explore
from tierwise.stats.comparisons import PairedBootstrap
from tierwise.tasks import Item, Task

STAGE = "rounds"
"""What rounds look at beside the search's own stages: train items, tries and acceptance."""

CLOSED = "the compute gate is closed: nothing more is bought on this tier"
NO_ROOM = "the budget leaves no room for another round"
NOTHING_FAILS = "the policy gets all train items right that it was tried on"
NOTHING_NEW = "nothing new was proposed"
ALL_REFUSED = "no candidate was worth a study"
NO_GAIN = "the gain is not above noise"


# What rounds are handed: a source of proposals, and samples whose texts can be read


@dataclass(frozen=True)
class Asked:
    """A brief, the prompt that it is about, and how many instructions are wanted."""

    brief: ReflectionBrief
    prompt: PromptTemplate
    n: int


@dataclass(frozen=True)
class Proposed:
    """What came of a round before any of it was tried.

    Attributes:
        prompts: with id, origin and exact bytes.
        candidates: what of them is new, as the registry has it.
        refused: what led to nothing, and why.
    """

    prompts: tuple[PromptTemplate, ...]
    candidates: tuple[PromptCandidate, ...] = ()
    refused: tuple[RefusedCandidate, ...] = ()

    @classmethod
    def of(
        cls, prompts: list[PromptTemplate], registry: CandidateRegistry, before: CandidateRegistry
    ) -> Proposed:
        """What ``registry`` got beyond what it held ``before``."""
        return cls(
            tuple(prompts),
            tuple(registry.candidates[len(before.candidates) :]),
            tuple(registry.refused[len(before.refused) :]),
        )

    def added_to(self, registry: CandidateRegistry) -> None:
        """Have ``registry`` know these too."""
        registry.candidates += self.candidates
        registry.refused += self.refused


class ProposalSource(Protocol):
    """Where a run's prompts are proposed; each proposal is made once."""

    @property
    def proposer(self) -> PromptProposer:
        """Makes prompts of what the proposer model says."""
        ...

    @property
    def spec(self) -> ProposalSpec:
        """The job's key."""
        ...

    def first(self) -> Proposed:
        """The round that the task alone gives, the same for all tiers."""
        ...

    def later(self, tier: str, round_: str, registry: CandidateRegistry, asked: Asked) -> Proposed:
        """The answer to one brief of a tier's round; the registry knows its outcome after."""
        ...

    def demonstrations(
        self, tier: str, make: Callable[[CandidateRegistry], list[PromptTemplate]]
    ) -> Proposed:
        """A tier's sets, from ``make`` where they were not made before."""
        ...


class TextSamples(Samples, Protocol):
    """Samples of one tier whose texts can be read, of prompts that may be added."""

    task: Task
    tier: Tier
    prompts: dict[str, PromptTemplate]

    def why_failed(self, variants: Iterable[Variant], items: Sequence[Item]) -> str:
        """Why calls of ``variants`` failed for good; empty where they did not."""
        ...

    def scored(self, text: str, item: Item) -> float:
        """The score of a text as an answer to ``item``; NaN where it is not judged."""
        ...

    def texts(self, variant: Variant, items: Sequence[Item], samples: int) -> list[list[str]]:
        """What the first ``samples`` of a variant said on each item, as far as they are there."""
        ...


class TextLedger(SampleLedger):
    """A ``SampleLedger`` over samples whose texts can be read: what rounds look at counts too."""

    def __init__(
        self,
        samples: TextSamples,
        tiers: Mapping[str, Tier],
        there: Mapping[Variant, Mapping[str, int]],
        judging: Usage,
    ) -> None:
        super().__init__(samples, tiers, there, judging)
        self.task, self.tier, self.prompts = samples.task, samples.tier, samples.prompts
        self.why_failed, self.scored, self.texts = samples.why_failed, samples.scored, samples.texts


# The first round: proposed instructions, and demonstrations from the tier's own answers


BOOTSTRAP = "bootstrap"
SIZES = (2, 4)
"""Demonstrations of a set, by turns."""
PROBED_ITEMS = 16
"""Validation items that a proposed prompt must answer, or fail to, before it may take part."""


@dataclass(frozen=True)
class Start:
    """Begins the rounds of a tier.

    ``baseline`` is the prompt that sets of demonstrations are shown with; ``train_items`` are tried
    for them at most.
    """

    source: ProposalSource
    samples: TextLedger
    space: SearchSpace
    baseline: PromptTemplate
    train_items: int
    seed: int

    def rounds(self) -> Rounds:
        """With the prompts of the first round; those whose calls fail are refused."""
        registry = self.source.proposer.registry()
        proposed = self.source.first()
        proposed.added_to(registry)
        prompts = list(proposed.prompts)
        if self.source.spec.demonstrations:
            # Looked at in a replay too, which is told the sets: what was paid for them counts.
            right = {mode: self._right(mode) for mode in self._modes(self.baseline)}
            sets = self.source.demonstrations(
                self.samples.tier.name, lambda registry: self._bootstrapped(registry, right)
            )
            sets.added_to(registry)
            prompts += sets.prompts
        kept = [prompt for prompt in prompts if self._answers(prompt, registry)]
        named = tuple(ProposedPrompt(prompt.id, prompt.origin) for prompt in kept)
        first = replace(_made(1), prompts=named, refused=_refused(registry.refused))
        return Rounds(self.source, self.samples, registry, kept, [first])

    def _modes(self, prompt: PromptTemplate) -> list[str]:
        modes = [mode for mode in self.samples.tier.modes if mode_fits(mode, self.space.modes)]
        return [mode for mode in modes if not prompt.modes or mode_fits(mode, prompt.modes)]

    def _variant(self, prompt: PromptTemplate, mode: str) -> Variant:
        (at,) = temperatures_of(self.samples.tier, mode, self.space.temperatures[:1])
        return Variant(prompt.id, mode, at)

    def _answers(self, prompt: PromptTemplate, registry: CandidateRegistry) -> bool:
        """Whether samples arrive: a prompt that exceeds the context would end the whole search."""
        self.samples.prompts[prompt.id] = prompt
        items = self.samples.task.splits["validation"][:PROBED_ITEMS]
        variants = {self._variant(prompt, mode): 1 for mode in self._modes(prompt)[:1]}
        try:
            self.samples.table(items, variants, "screen")
        except ProviderError as error:
            registry.refuse(prompt.origin, f"its calls failed: {error}")
            return False
        except CutShortError:  # nothing is known of it: the search says what is to be done
            pass
        return True

    def _bootstrapped(
        self, registry: CandidateRegistry, right: Mapping[str, Sequence[tuple[Demonstration, str]]]
    ) -> list[PromptTemplate]:
        """Sets of demonstrations in each mode, from answers that the metric likes."""
        made = []
        for mode, answers in right.items():
            for i in range(self.source.spec.demonstrations):
                size, origin = SIZES[i % len(SIZES)], f"{BOOTSTRAP}/{mode}/{i}"
                shown = list(answers)
                random.Random(f"{self.seed}/{mode}/{i}").shuffle(shown)
                demos = shown[:size]
                said = [{**inputs, "answer": text} for inputs, text in demos]
                candidate = registry.admit_demos(origin, said)
                if candidate is not None:
                    made.append(
                        replace(
                            self.baseline.with_demonstrations(demos),
                            modes=(mode,),
                            origin=origin,
                            id=f"{self.baseline.id}+{candidate.id}",
                        )
                    )
        return made

    def _right(self, mode: str) -> list[tuple[Demonstration, str]]:
        """Inputs and answer of train items that the tier itself gets right, with a word each."""
        task = self.samples.task
        items = task.splits["train"][: self.train_items]
        variant = self._variant(self.baseline, mode)
        # Too few calls arrived, or the budget ended: what is there is there.
        with contextlib.suppress(ProviderError, CutShortError):
            self.samples.table(items, {variant: 1}, STAGE)
        texts: Sequence[list[str]] = self.samples.texts(variant, items, 1)
        return [
            (item.inputs, text)
            for item, said in zip(items, texts, strict=True)
            for text in said
            if self.samples.scored(text, item) >= 1
        ]


# Later rounds


@dataclass
class Rounds:
    """The rounds of one tier.

    Attributes:
        registry: knows what was proposed before.
        prompts: of the first round, which nothing was tried before.
        made: what came of each round, the first among them.
    """

    source: ProposalSource
    samples: TextLedger
    registry: CandidateRegistry
    prompts: Sequence[PromptTemplate]
    made: list[ProposalRound]

    def search(self, problem: TierProblem, listener: Listener) -> TierResult:
        """Find the tier's policies, with what is proposed. Raises: see ``tier.search``."""
        first = explore(problem, self.samples, listener, problem.before.proposals)
        searched = [first, *self.after(first, listener)]
        found = concluded(searched, listener)
        return replace(found, rounds=tuple(self.made))

    def after(self, explored: Explored, listener: Listener) -> list[Explored]:
        """The searches of the rounds after ``explored``, as far as they were worth making.

        A round that the budget ends changes nothing.
        """
        searched: list[Explored] = []
        for round_ in range(2, self.source.spec.rounds + 1):
            listener(Started(self.samples.tier.name, f"round {round_}"))
            explored.study.evaluator.forget()
            self.samples.short = ""
            try:
                made, again = self._round(round_, explored, listener)
            except BudgetError as error:
                made, again = _made(round_, ended=f"{NO_ROOM}: {error}"), None
            if again is not None and made.ended != CLOSED:
                explored = again
                searched.append(again)
            self.made.append(made)
            if made.ended:
                break
        return searched

    def _round(
        self, round_: int, explored: Explored, listener: Listener
    ) -> tuple[ProposalRound, Explored | None]:
        """What came of a round, and its search; None: nothing that was proposed is worth one."""
        q, plan = explored.problem, explored.plan
        if not explored.compute_gate.open:
            return _made(round_, ended=CLOSED), None
        if not (plan.planned - self.samples.spent).fits(plan.least):
            return _made(round_, ended=NO_ROOM), None
        before = best_of(explored)
        aimed = briefs(q, self.samples, before, round_, self._instruction)
        made = replace(
            _made(round_),
            briefs=tuple(
                BriefSummary(a.bucket, a.brief.prompt, a.brief.run_as, len(a.brief.failures))
                for a in aimed
            ),
            before=str(before),
        )
        if not aimed:
            return replace(made, ended=NOTHING_FAILS), None
        known = len(self.registry.refused)
        tries = self._tried(q, before, round_, aimed)
        accepted = [(row, variants) for row, variants in tries if not row.refused]
        made = replace(
            made,
            tried=tuple(row for row, _ in tries),
            refused=_refused(self.registry.refused[known:]),
            prompts=tuple(ProposedPrompt(row.prompt, row.origin) for row, _ in accepted),
        )
        if not accepted:
            return replace(made, ended=ALL_REFUSED if tries else NOTHING_NEW), None
        new = {row.prompt: self.samples.prompts[row.prompt] for row, _ in accepted}
        candidates = (*q.variants.candidates, *(v for _, variants in accepted for v in variants))
        left = self.source.spec.rounds - round_  # rounds, which have as much of the budget each
        wider = replace(
            q,
            variants=replace(
                q.variants,
                prompts={**q.variants.prompts, **new},
                candidates=tuple(dict.fromkeys(candidates)),
            ),
            study_rounds=q.study_rounds + 2,
            search_size=replace(q.search_size, rounds=left),
        )
        front = [judged.proposal for judged in explored.study.front()]
        again = explore(wider, self.samples, listener, front)
        if short := self.samples.short:
            raise BudgetError(f"it ended ({short}) in round {round_}")
        return self._judged(made, before, again), again

    def _instruction(self, prompt_id: str) -> str:
        return self.source.proposer.instruction(self.registry, self.samples.prompts[prompt_id])

    def _tried(
        self, q: TierProblem, policy: Policy, round_: int, aimed: Sequence[Aimed]
    ) -> list[tuple[TriedCandidate, tuple[Variant, ...]]]:
        """What is proposed for each brief, tried in its place."""
        found = []
        counts = [
            len(range(i, self.source.spec.instructions, len(aimed))) for i in range(len(aimed))
        ]
        for i, (one, n) in enumerate(zip(aimed, counts, strict=True), start=1):
            instead_of = one.brief.prompt
            asked = Asked(one.brief, self.samples.prompts[instead_of], n)
            proposed = self.source.later(q.tier.name, f"{round_}.{i}", self.registry, asked)
            found += [
                tried(q, self.samples, policy, prompt, instead_of, one.bucket)
                for prompt in proposed.prompts
            ]
        return found

    def _judged(self, made: ProposalRound, before: Policy, again: Explored) -> ProposalRound:
        """Whether the round was worth it; equal policies need no samples."""
        if not again.compute_gate.open:
            return replace(made, ended=CLOSED)
        after, q = best_of(again), again.problem
        made = replace(made, after=str(after))
        if after == before:
            return replace(made, ended=NO_GAIN)
        items = q.items["validation"][-q.search_size.accept_items :]
        table = _answered(self.samples, items, [before, after], LEAST_SAMPLES)
        judge = q.evaluator(table, exact=False)
        new, old = judge.evaluate(after), judge.evaluate(before)
        gain = compare(new, old, margin=q.margin, seed=q.seed)
        row = RoundGain(
            items=table.n_items,
            score_difference=number(gain.difference.mean),
            score_difference_ci95=interval_ends(gain.difference),
            cost_ratio=number(gain.cost_ratio.mean),
            cost_ratio_ci95=interval_ends(gain.cost_ratio),
        )
        return replace(made, gain=row, ended="" if above_noise(gain, q.margin) else NO_GAIN)


def _answered(
    samples: TextSamples, items: Sequence[Item], policies: Sequence[Policy], least: int = 1
) -> SampleTable:
    """``items`` with all samples that the policies may ask for, at least ``least`` of each."""
    return samples.table(items, samples_needed(policies, least), STAGE)


def _made(round_: int, ended: str = "") -> ProposalRound:
    """A round of which nothing has come yet."""
    return ProposalRound(round_, (), (), (), (), None, None, None, ended)


def _refused(refused: Iterable[RefusedCandidate]) -> tuple[RefusedProposal, ...]:
    return tuple(RefusedProposal(one.origin, one.reason) for one in refused)


def above_noise(gain: Comparison, margin: float) -> bool:
    """Surely better; or surely as good, within the margin, and cheaper."""
    cheaper = gain.difference.low > -margin and gain.cost_ratio.high < 1
    return gain.difference.low > 0 or cheaper


# What a policy still gets wrong, bucket by bucket: what a reflection is shown


MOST_SHOWN = 24
"""Failures of a brief; a reflection samples from them."""
FAILS = 0.95
"""An item is right where the policy scores this on it at least, over permutations of samples."""


class Aimed(NamedTuple):
    """A brief about a prompt of one bucket."""

    bucket: int
    brief: ReflectionBrief


def briefs(
    q: TierProblem,
    samples: TextSamples,
    policy: Policy,
    number: int,
    instruction: Callable[[str], str],
) -> list[Aimed]:
    """A brief a bucket and prompt of ``policy``, those first that cost the most score.

    The train items are answered as the policy would: their buckets, votes and disagreements are its
    own. ``instruction`` says what a prompt of the policy tells the model.
    """
    items = q.items["train"][: q.search_size.reflect_items]
    table = _answered(samples, items, [policy])
    place = {item.id: item for item in items}
    items = [place[item_id] for item_id in table.item_ids]  # those that have all their samples
    evaluator = q.evaluator(table, exact=False)
    score = evaluator.rows(policy).score.reshape(table.n_items, -1)
    bucket = evaluator.bucket_rows(policy.difficulty).reshape(table.n_items, -1)
    found: list[tuple[float, Aimed]] = []
    for b, recipe in enumerate(policy.buckets):
        here = bucket == b
        weight = here.sum(axis=1)
        got = np.where(here, score, 0.0).sum(axis=1) / np.maximum(weight, 1)
        failing = [int(i) for i in np.argsort(got, kind="stable") if weight[i] and got[i] < FAILS]
        lost = float(((1 - got) * weight)[failing].sum()) / here.shape[1]
        for prompt in dict.fromkeys(variant.prompt for variant in recipe.variants):
            variants = [variant for variant in recipe.variants if variant.prompt == prompt]
            shown = _failings(
                samples,
                [items[i] for i in failing[:MOST_SHOWN]],
                {variant: table.of(variant).n_samples for variant in variants},
                [float(got[i]) for i in failing[:MOST_SHOWN]],
            )
            run_as = run_as_of(policy, b, float(weight.sum()) / here.size)
            origin = f"reflection/{number}.{b + 1}"
            brief = ReflectionBrief(prompt, instruction(prompt), run_as, shown, origin)
            found.append((-lost, Aimed(b, brief)))
    return [aimed for _, aimed in sorted(found, key=lambda pair: pair[0]) if aimed.brief.failures]


def run_as_of(policy: Policy, bucket: int, share: float) -> str:
    """In words: the strategy, its modes, and which requests come here."""
    recipe = policy.buckets[bucket]
    variants, strategy = recipe.variants, recipe.strategy
    modes = " and ".join(dict.fromkeys(variant.mode for variant in variants))
    prompts = list(dict.fromkeys(variant.prompt for variant in variants))
    said = f"{strategy}, in mode {modes}"
    if len(prompts) > 1:
        said += f", its samples voting together with those of {len(prompts) - 1} other prompt(s)"
    if len(policy.buckets) > 1:
        said += (
            f", for bucket {bucket + 1} of {len(policy.buckets)} (1 is the easiest) by "
            f"{policy.difficulty.signal}, {share:.0%} of the requests"
        )
    return said


def _failings(
    samples: TextSamples,
    items: Sequence[Item],
    n_samples: Mapping[Variant, int],
    scores: Sequence[float],
) -> list[FailedItem]:
    extract = samples.task.answer.extract
    said: list[list[str | None]] = [[] for _ in items]
    for variant, n in n_samples.items():
        for answers, texts in zip(said, samples.texts(variant, items, n), strict=True):
            answers += [extract(text) for text in texts]
    return [
        FailedItem(item.inputs, answers, item.target, score)
        for item, answers, score in zip(items, said, scores, strict=True)
    ]


# Is a candidate worth a study? Judged in the place of the prompt that it was written for, under the
# strategy that would run it: the best instruction at one sample and under votes may be two.


def tried(
    q: TierProblem,
    samples: TextSamples,
    policy: Policy,
    prompt: PromptTemplate,
    instead_of: str,
    bucket: int,
) -> tuple[TriedCandidate, tuple[Variant, ...]]:
    """Try ``prompt`` in the place of ``instead_of`` in one bucket, on the screening items.

    It is refused where it is surely worse there, or where its calls fail. What it is as a variant,
    a mode and temperature of the prompt in whose place it is, is returned too.
    """
    samples.prompts[prompt.id] = prompt
    changed, variants = in_place(policy, bucket, instead_of, prompt.id)
    items = q.items["validation"][: q.search_size.screen_items]
    row = TriedCandidate(prompt.id, prompt.origin, instead_of, 0, None, None, "")
    try:
        table = _answered(samples, items, [policy, changed])
    except ProviderError as error:
        return replace(row, refused=f"its calls failed: {error}"), variants
    if why := samples.why_failed((v for v in variants if not v.path), items):
        return replace(row, refused=f"its calls failed: {why}"), variants
    judge = q.evaluator(table, exact=False)
    new, old = judge.evaluate(changed), judge.evaluate(policy)
    difference = PairedBootstrap(table.n_items, q.seed).difference(new.score, old.score)
    row = replace(
        row,
        items=table.n_items,
        score_difference=number(difference.mean),
        score_difference_ci95=interval_ends(difference),
    )
    if difference.high < 0:
        reason = (
            f"surely worse than {instead_of} in its place: {difference.mean:+.3f} "
            f"[{difference.low:+.3f}, {difference.high:+.3f}] on {table.n_items} items"
        )
        row = replace(row, refused=reason)
    return row, variants


def in_place(
    policy: Policy, bucket: int, prompt: str, candidate: str
) -> tuple[Policy, tuple[Variant, ...]]:
    """``policy`` with one prompt of a bucket's variants exchanged, and what variants are new."""
    variants, strategy = policy.buckets[bucket].variants, policy.buckets[bucket].strategy
    new = tuple(v._replace(prompt=candidate) for v in variants if v.prompt == prompt)
    exchanged = [v._replace(prompt=candidate) if v.prompt == prompt else v for v in variants]
    buckets = list(policy.buckets)
    # A cascade's stages name its variants by their place.
    placed = tuple(exchanged) if strategy.kind == "cascade" else in_order(exchanged)
    buckets[bucket] = Recipe(placed, strategy)
    return replace(policy, buckets=tuple(buckets)), new
