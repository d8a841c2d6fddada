"""What is searched: one tier of a job, how much of it is looked at, and among which variants.

Also what a search tells whoever listens (``Event``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tierwise.difficulty import asking, fitted_kinds
from tierwise.errors import InputError
from tierwise.evaluation import Evaluator, Permutations, SampleTable
from tierwise.llm.models import temperatures_of
from tierwise.pool import Bought, Remarked
from tierwise.schema import (
    LEVEL,
    Difficulty,
    Policy,
    Probe,
    PromptTemplate,
    Recipe,
    Tier,
    UsageLimits,
    Variant,
    substitute,
)
from tierwise.schema.result import Proposal
from tierwise.schema.space import SearchSpace
from tierwise.schema.tier import mode_fits
from tierwise.search.samples import SampleCost, SampleLedger, Samples
from tierwise.search.selection import BOUNDED, Utility, price_aim
from tierwise.stats.rank import auroc
from tierwise.tasks import SPLITS, Item, Task

CACHE_BYTES = 12_000_000
"""Of each evaluator: tiers are searched side by side, and their tables are small."""

ACCEPT_PART = 3
"""At most this part of the validation split is kept for the acceptance of proposal rounds."""

ASK_MODE = "ask"
"""The mode in which self-report signals ask: it leaves room for one word."""

ASK_SAMPLES = 1

MOST_TOKENS = 16
"""Of a reply: one word or digit, and what a chat template puts around it."""

_REASONS = ("reasoning_effort", "thinking", "reasoning")


@dataclass(frozen=True, slots=True)
class SearchSize:
    """How much a search of one tier looks at, at most: counts of items, samples and variants.

    A search is bounded by counts, never by the clock, so that the same job gives the same policies
    on any machine. ``fit`` is the purchase of fitted signals on the train split. ``rounds`` are the
    proposal rounds after the first, ``proposed`` what each of them proposes; they look at
    ``reflect_items`` of the train split, and judge whether they were worth it on ``accept_items``
    of the validation split, which no study sees.
    """

    screen_items: int = 48
    screen_samples: int = 5
    fit_items: int = 240
    fit_samples: int = 8
    race_items: int = 120
    race_samples: int = 9
    study_items: int = 560
    study_variants: int = 5
    test_items: int = 600
    permutations: int = 16
    rounds: int = 0
    proposed: int = 0
    reflect_items: int = 48
    accept_items: int = 120

    def within(self, task: Task, signals: Sequence[str] = ()) -> SearchSize:
        """No more items than the splits of ``task`` have: a small task needs a small budget.

        None are fitted to where none of ``signals`` is fitted.
        """
        train, validation, test = (len(task.splits[name]) for name in SPLITS)
        accept = min(self.accept_items, validation // ACCEPT_PART) if self.rounds else 0
        validation -= accept
        return replace(
            self,
            fit_items=min(self.fit_items, train) if fitted_kinds(signals) else 0,
            reflect_items=min(self.reflect_items, train),
            accept_items=accept,
            screen_items=min(self.screen_items, validation),
            race_items=min(self.race_items, validation),
            study_items=min(self.study_items, validation),
            test_items=min(self.test_items, test),
        )


@dataclass(frozen=True)
class EarlierStudy:
    """What a tier's search begins from, where the folder holds an earlier one.

    Attributes:
        prompts: id -> hash of the messages, of the prompts that it may choose from.
        study_rounds: how many there were.
        proposals: the front of the last of them.
    """

    prompts: Mapping[str, str] = field(default_factory=dict)
    study_rounds: int = 0
    proposals: tuple[Proposal, ...] = ()


# Tiers that requests are escalated to


@dataclass(frozen=True)
class EscalationTarget:
    """A stronger tier that requests may be escalated to, known from its own search.

    A job's tiers stand from the weakest to the strongest, and those of ``escalate_to`` are searched
    before the tiers that may escalate to them. So a tier does not search a stronger one again: it
    takes over the variants that did well there, whose samples are in the pool, on the same items.

    Attributes:
        prompts: those of its variants.
        variants: named with the tier, with the samples of each that its study looked at.
        one_sample: its best prompt at one sample by balanced utility: "always the strong tier".
        tuned: the policy that its own search chose.
        cost: of its samples.
        paid: variant -> item -> samples that its own search paid for.
    """

    tier: Tier
    prompts: Mapping[str, PromptTemplate]
    variants: Mapping[Variant, int]
    one_sample: Policy
    tuned: Policy
    cost: SampleCost
    paid: Mapping[Variant, Mapping[str, int]] = field(default_factory=dict)


def paid_before(targets: Sequence[EscalationTarget]) -> dict[Variant, Mapping[str, int]]:
    """Variant -> item -> samples that the targets' own searches paid for."""
    return {variant: of for target in targets for variant, of in target.paid.items()}


def keeps_to_itself(policy: Policy) -> bool:
    """Whether a policy samples from its own tier alone."""
    return all(variant.tier is None for variant in policy.variants)


def escalated_share(policy: Policy, shares: Sequence[float]) -> float:
    """Share of the requests that fall into a bucket with variants of another tier."""
    pairs = zip(policy.buckets, shares, strict=True)
    return sum(share for recipe, share in pairs if any(variant.tier for variant in recipe.variants))


def of_tier(policy: Policy, tier: Tier) -> Policy:
    """``policy`` of ``tier`` as another tier's policy names it."""

    def variants(of: Iterable[Variant]) -> tuple[Variant, ...]:
        return tuple(variant._replace(tier=tier.name) for variant in of)

    difficulty, probe = policy.difficulty, policy.difficulty.probe
    buckets = tuple(Recipe(variants(recipe.variants), recipe.strategy) for recipe in policy.buckets)
    if probe is not None:
        probe = probe._replace(variants=variants(probe.variants))
    return replace(policy, buckets=buckets, difficulty=replace(difficulty, probe=probe))


def own_variants(table: SampleTable) -> SampleTable:
    """``table`` without the variants of other tiers."""
    own = {variant: rows for variant, rows in table.variants.items() if not variant.tier}
    return replace(table, variants=own)


# The variants that a study may choose from: prompts x modes x temperatures that fit a tier


@dataclass(frozen=True)
class Variants:
    """Candidate variants in a stable order, with the exact prompts behind them.

    ``baseline`` is the baseline prompt in its mode. ``asking``: signal -> the variants by which it
    asks the model about the task; no candidates, since their completions are no answers.
    """

    prompts: Mapping[str, PromptTemplate]
    candidates: tuple[Variant, ...]
    baseline: Variant
    asking: Mapping[str, tuple[Variant, ...]] = field(default_factory=dict)


def candidate_variants(
    task: Task,
    tier: Tier,
    space: SearchSpace,
    prompts: Sequence[PromptTemplate],
    baseline: PromptTemplate,
) -> Variants:
    """Every variant of ``space`` that ``tier`` has the mode for.

    Paraphrases become prompts ``id~1`` …, demonstrations ``id+2.mode``. The baseline is
    ``baseline`` in its first mode at the space's first temperature, whether or not the space has
    it.

    Raises:
        InputError: no prompt fits a mode that the tier and the space share.
    """
    modes = [mode for mode in tier.modes if mode_fits(mode, space.modes)]
    if not modes:
        raise InputError(
            f"tier {tier.name!r} has the modes {', '.join(tier.modes)}, and the space "
            f"{space.name!r} searches {', '.join(space.modes)}: none is in both"
        )
    found: dict[str, PromptTemplate] = {}
    variants: list[Variant] = []
    for prompt in prompts:
        for mode in modes:
            if prompt.modes and not mode_fits(mode, prompt.modes):
                continue
            for paraphrase in prompt.variants()[: 1 + space.prompts.paraphrases]:
                shown = _with_demonstrations(paraphrase, mode, task, space.prompts.demos)
                found |= {one.id: one for one in shown}
                at = temperatures_of(tier, mode, space.temperatures)
                variants += [Variant(one.id, mode, t) for one in shown for t in at]
    if not variants:
        raise InputError(f"no prompt fits the modes {', '.join(modes)} of tier {tier.name!r}")
    own_modes = [m for m in modes if not baseline.modes or mode_fits(m, baseline.modes)] or modes
    first = temperatures_of(tier, own_modes[0], space.temperatures[:1])[0]
    baseline_variant = Variant(baseline.id, own_modes[0], first)
    found.setdefault(baseline.id, baseline)
    return Variants(found, tuple(dict.fromkeys((baseline_variant, *variants))), baseline_variant)


def _with_demonstrations(
    prompt: PromptTemplate, mode: str, task: Task, counts: Sequence[int]
) -> list[PromptTemplate]:
    kind = mode if mode in task.demonstration else mode.partition("-")[0]
    shown = [prompt] if 0 in counts or kind not in task.demonstration else []
    if kind in task.demonstration:
        for k in counts:
            if k > 0 and len(_shown_items(task, k)) == k:
                pairs = [_demonstration(task, item, kind) for item in _shown_items(task, k)]
                shown.append(
                    replace(prompt.with_demonstrations(pairs), id=f"{prompt.id}+{k}.{kind}")
                )
    return shown


def _shown_items(task: Task, k: int) -> list[Item]:
    told = (item for item in task.splits["train"] if item.target)
    return sorted(told, key=lambda item: item.content_sha256)[:k]


def _demonstration(task: Task, item: Item, mode: str) -> tuple[Mapping[str, str], str]:
    fields = {**item.inputs, "target": item.target}
    return item.inputs, substitute(task.demonstration[mode], fields)


def token_cap(sends: Mapping[str, object]) -> float:
    """The most tokens of a completion that a mode allows; 1,024 where it does not say."""
    for name in ("max_tokens", "max_completion_tokens"):
        value = sends.get(name)
        if isinstance(value, int):
            return float(value)
    return 1024.0


# Self-report signals ask the model about the task with prompts that are no candidates for an
# answer: each paraphrase once an item, at temperature 0.


def with_mode_to_ask(tier: Tier, space: SearchSpace) -> Tier:
    """``tier`` with the mode ``ask``, where a signal of the space needs it: its shortest, cut."""
    shared = [mode for mode in tier.modes if mode_fits(mode, space.modes)]
    if not asking(space.signals) or not shared:
        return tier
    sends = dict(tier.modes[min(shared, key=lambda mode: token_cap(tier.modes[mode]))])
    sends.pop("suffix", None)
    thinks = any(sends.get(name) not in (None, "none") for name in _REASONS)
    for cap in ("max_tokens", "max_completion_tokens"):
        if cap in sends and not thinks:  # a model that reasons needs room for it
            sends[cap] = min(int(token_cap(sends)), MOST_TOKENS)
    return replace(tier, modes={**tier.modes, ASK_MODE: sends})


def asking_variants(
    prompts: Sequence[PromptTemplate], signals: Sequence[str]
) -> tuple[dict[str, PromptTemplate], dict[str, tuple[Variant, ...]]]:
    """Every paraphrase by id, and signal -> its variants."""
    paraphrases = {w.id: w for prompt in prompts for w in prompt.variants()}
    variants = {
        kind: tuple(Variant(w.id, ASK_MODE, 0.0) for w in paraphrases.values() if w.turn == turn)
        for kind, turn in asking(signals).items()
    }
    return paraphrases, variants


def best_way_to_ask(
    table: SampleTable, variants: Mapping[str, Sequence[Variant]]
) -> dict[str, tuple[Difficulty]]:
    """Signal -> how it is told by the paraphrase that orders the items best by their mean score.

    A signal that says the same of all items is left out. ``table`` has the answers too.
    """
    success = np.mean([rows.score.mean(axis=1) for rows in table.variants.values()], axis=0)
    easier = success >= np.median(success)
    if easier.all():
        easier = success > np.median(success)
    evaluator = Evaluator(table, Permutations(1, shuffled=False))
    found: dict[str, tuple[Difficulty]] = {}
    for kind, paraphrases in variants.items():
        ways = [Difficulty(kind, (), Probe((variant,), ASK_SAMPLES)) for variant in paraphrases]
        values = [np.nan_to_num(evaluator.signal(way), neginf=-1e9) for way in ways]
        tells = [
            (area if (area := auroc(v, easier)) == area else 0.5) if len(np.unique(v)) > 1 else 0.0
            for v in values
        ]
        if max(tells, default=0.0) > 0:
            found[kind] = (ways[int(np.argmax(tells))],)
    return found


def asked_of(ready: Mapping[str, Sequence[Difficulty]]) -> dict[Variant, int]:
    """Variant -> samples an item that these ways to tell ask for, beside any answers."""
    return dict(_probed(ready, asks=True))


def watched(ready: Mapping[str, Sequence[Difficulty]]) -> tuple[Variant, ...]:
    """Variants of answers whose first samples a fitted signal sees, which must stay in the race."""
    return tuple(dict(_probed(ready, asks=False)))


def _probed(
    ready: Mapping[str, Sequence[Difficulty]], *, asks: bool
) -> Iterator[tuple[Variant, int]]:
    for kind, ways in ready.items():
        for way in ways if bool(asking((kind,))) == asks else ():
            if way.probe:
                yield from ((variant, way.probe.samples) for variant in way.probe.variants)


# The question that a search answers


@dataclass(frozen=True)
class TierProblem:
    """One tier of a job. Stages pass it along with what they learned.

    Attributes:
        search_size: how much a search looks at; scaled to the budget by the first stage.
        assumed: what a sample costs, before the first is bought.
        study_rounds: those of earlier rounds, which these are counted on from.
        scores: names of the scores that samples have; None: log-probabilities, if there are any.
        ready_signals: self-report and fitted signals -> how a policy may use them, from the first
            stages.
        before: what the search begins from, where the folder holds an earlier one.
        targets: the tiers that requests may be escalated to, the weakest first.
    """

    task: Task
    tier: Tier
    space: SearchSpace
    variants: Variants
    seed: int
    trials: int
    margin: float
    operating_point: str | Mapping[str, float]
    search_size: SearchSize
    cap: UsageLimits
    assumed: SampleCost
    study_rounds: int = 0
    scores: frozenset[str] | None = None
    ready_signals: Mapping[str, tuple[Difficulty, ...]] = field(default_factory=dict)
    before: EarlierStudy = EarlierStudy()
    targets: tuple[EscalationTarget, ...] = ()

    @property
    def escalated_to(self) -> dict[Variant, int]:
        """The targets' variants, with the samples of each that a study may look at."""
        return {variant: n for target in self.targets for variant, n in target.variants.items()}

    @property
    def point(self) -> str:
        """Name of the job's operating point; ``level`` only with escalation targets."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return self.plain_point if not self.targets else self.operating_point

    @property
    def plain_point(self) -> str:
        """The same where nothing is escalated: in place of ``level`` it is ``balanced``."""
        if not isinstance(self.operating_point, str):
            return BOUNDED
        return "balanced" if self.operating_point == LEVEL else self.operating_point

    @property
    def tiers(self) -> dict[str, Tier]:
        """The tier and its escalation targets, by name."""
        return {tier.name: tier for tier in (self.tier, *(target.tier for target in self.targets))}

    @property
    def prompts(self) -> dict[str, PromptTemplate]:
        """The prompts of all variants, those of the escalation targets among them."""
        theirs = {name: p for target in self.targets for name, p in target.prompts.items()}
        return {**theirs, **self.variants.prompts}

    @property
    def families(self) -> dict[str, str]:
        """Prompt -> its family, which its other paraphrases share."""
        return {name: prompt.family for name, prompt in self.variants.prompts.items()}

    @property
    def aim(self) -> Utility:
        """What a gain of score may cost under the job's operating point."""
        return price_aim(self.operating_point)

    @cached_property
    def items(self) -> dict[str, list[Item]]:
        """Split -> its items, ``in_random_order``."""
        return {name: in_random_order(self.task.splits[name], self.seed) for name in SPLITS}

    @property
    def permutations(self) -> Permutations:
        """The permutations of samples that policies are judged on, common to all trials and
        seeds."""
        return Permutations(self.search_size.permutations)

    def ledger(self, samples: Samples) -> SampleLedger:
        """Counts what the search asks of ``samples``, but for what its targets' searches paid."""
        return SampleLedger(samples, self.tiers, paid_before(self.targets), self.assumed.judging)

    def evaluator(self, table: SampleTable, *, exact: bool = True) -> Evaluator:
        """Judges policies on ``table``; not ``exact``, all go through the permutations."""
        return Evaluator(table, self.permutations, exact=exact, cache_bytes=CACHE_BYTES)


def in_random_order(items: Sequence[Item], seed: int) -> list[Item]:
    """Items in a random order that does not depend on the order of the file."""
    by_content = sorted(items, key=lambda item: item.content_sha256)
    order = np.random.default_rng([seed, 17]).permutation(len(by_content))
    return [by_content[i] for i in order]


# What a search tells whoever listens


@dataclass(frozen=True, slots=True)
class Started:
    """A tier begins a stage."""

    tier: str
    stage: str


@dataclass(frozen=True, slots=True)
class Best:
    """The best policy so far, by the study's own samples."""

    tier: str
    trials: int
    score: float
    usd: float
    recipe: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A tier is done; ``ok`` False where it failed and the others go on."""

    tier: str
    ok: bool = True
    message: str = ""


Event = Started | Bought | Best | Remarked | Finished

Listener = Callable[[Event], None]
