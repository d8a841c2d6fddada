"""Recorded answers in place of a provider: the space shrinks to them, and nothing is paid.

Plain answers are a table beside the pool. A trajectory is a tree of samples, whose answers depend
on what was found on the way: its steps go into the pool for nothing, and from there on it is read,
judged, replayed and served like samples that were bought.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.errors import BudgetError, InputError, ProviderError, UnsupportedError, unknown_name
from tierwise.evaluation import SampleTable
from tierwise.llm import build_request
from tierwise.llm.models import RECORDED as RECORDED_TIER
from tierwise.llm.models import kind_of
from tierwise.llm.recorded import RecordedModel, Recording
from tierwise.pool import FEWEST_ITEMS, Account, Buyer, Library, Need, RunDir, SamplePool, Supply
from tierwise.pool.buyer import TEST_STAGE
from tierwise.pool.maintenance import RequestName
from tierwise.pool.recorded import recorded_table
from tierwise.retrieval import Retrieved
from tierwise.retrieval.base import RecordedRetriever
from tierwise.runs.prepare import prepare
from tierwise.runs.proposing import FOLDER, load_proposed
from tierwise.schema import Price, RetrieverSpec, Tier, Usage, UsageLimits, Variant, read_turn
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.problem import SampleCost, SearchSize
from tierwise.search.variants import Variants, with_mode_to_ask
from tierwise.strategies import paths_in
from tierwise.tasks import RECORDED, Item, Task
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

EVERYTHING = 10**6
FREE = SearchSize(
    fit_items=EVERYTHING,
    screen_items=EVERYTHING,
    race_items=EVERYTHING,
    study_items=EVERYTHING,
    test_items=EVERYTHING,
    screen_samples=EVERYTHING,
    race_samples=EVERYTHING,
    race_variants=12,
    study_variants=8,
)
"""Recorded samples cost nothing more: every stage looks at all of its items and their samples."""

MOSTLY = 0.9
"""A variant takes part that is recorded on this part of the items of the most recorded one."""


class RecordedSamples:
    """The recorded samples of a tier, and of its escalation targets, as tables."""

    free = True

    def __init__(
        self,
        recording: Recording,
        task: Task,
        tier: Tier,
        targets: Mapping[str, tuple[Recording, Tier]] | None = None,
    ) -> None:
        self.recording, self.task, self.tier = recording, task, tier
        self.targets = targets or {}

    def most(self, variant: Variant) -> int:
        """Samples that every item of the variant has."""
        recording, _ = self.targets.get(variant.tier or "", (self.recording, self.tier))
        return recording.variants[variant._replace(tier=None)].min_samples

    def everything(self) -> SampleTable:
        """All that is recorded, on all items of the task: NaN where a sample is not recorded."""
        return self._recorded(self.task.items, tuple(self.recording.variants))

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """The items whose samples are recorded for all variants, with at most the recorded depth.

        Raises:
            UnsupportedError: fewer than ``FEWEST_ITEMS`` items have them.
        """
        table = self._recorded(items, tuple(n_samples))
        variants = {
            variant: rows.columns(np.arange(min(n_samples[variant], self.most(variant))))
            for variant, rows in table.variants.items()
        }
        table = replace(table, variants=variants)
        complete = np.logical_and.reduce([rows.complete for rows in variants.values()])
        if complete.sum() < min(FEWEST_ITEMS, len(items)):
            raise UnsupportedError(
                f"tier {self.tier.name!r}: only {complete.sum()} of the {len(items)} items of "
                f"stage {stage!r} have recorded samples of all {len(variants)} variants; are the "
                "task's items those of the recording?"
            )
        return table.rows(np.flatnonzero(complete))

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """See ``Samples``."""
        variants = tuple(dict.fromkeys(v for wanted in n_samples for v in wanted))
        counts = {v: np.array([wanted.get(v, 0) for wanted in n_samples]) for v in variants}
        return self._recorded(items, variants).first(counts), ""

    def _recorded(self, items: Sequence[Item], variants: Sequence[Variant]) -> SampleTable:
        metric = None if self.task.metric == RECORDED else self.task.score
        return recorded_table(
            self.recording,
            self.tier,
            items,
            self.task.answer,
            metric=metric,
            variants=variants,
            verifiers=self.task.verifiers,
            others=self.targets,
        )


class MeteredSamples(RecordedSamples):
    """Recorded samples that count against the tier's limits as if they were bought.

    A call brings one sample, or all that a stage asks of a variant on an item where the tier takes
    ``n``. What was paid for once is there. Samples of escalation targets were paid for by their own
    search as far as it looked at them.
    """

    free = False

    def __init__(
        self,
        recording: Recording,
        task: Task,
        tier: Tier,
        limits: UsageLimits,
        targets: Mapping[str, tuple[Recording, Tier]] | None = None,
        paid: Mapping[Variant, Mapping[str, int]] | None = None,
    ) -> None:
        super().__init__(recording, task, tier, targets)
        self.limits, self.spent, self._kept = limits, Usage(), Usage()
        self._paid = {variant: dict(of) for variant, of in (paid or {}).items()}

    def set_aside(self, usage: Usage) -> None:
        """Keep so much for the stage ``test``."""
        self._kept = usage

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``RecordedSamples``; only items that the limits allow.

        Raises:
            BudgetError: the limits leave fewer than ``FEWEST_ITEMS`` items.
        """
        wanted = {variant: min(n, self.most(variant)) for variant, n in n_samples.items()}
        affordable, short = self._pay(items, [wanted] * len(items), stage)
        if short and affordable < min(FEWEST_ITEMS, len(items)):
            raise BudgetError(
                f"the budget of tier {self.tier.name!r} ended ({short}) in stage {stage!r}, with "
                f"samples for {affordable} of {len(items)} items"
            )
        return super().table(items[:affordable], n_samples, stage)

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """See ``Samples``."""
        affordable, short = self._pay(items, n_samples, stage)
        unpaid = [
            {variant: self._paid.get(variant, {}).get(item.id, 0) for variant in wanted}
            for item, wanted in zip(items[affordable:], n_samples[affordable:], strict=True)
        ]
        return super().asked(items, [*n_samples[:affordable], *unpaid], stage)[0], short

    def _pay(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[int, str]:
        """Items that are paid for in their order, and the limit that ended it, if one did."""
        limits = self.limits if stage == TEST_STAGE else self.limits - self._kept
        for k, (item, wanted) in enumerate(zip(items, n_samples, strict=True)):
            usage = sum((self._usage(v, item.id, n) for v, n in wanted.items()), Usage())
            if short := limits.exceeded_by(self.spent + usage):
                return k, short
            self.spent += usage
            for variant, n in wanted.items():
                paid = self._paid.setdefault(variant, {})
                paid[item.id] = max(paid.get(item.id, 0), n)
        return len(items), ""

    def _usage(self, variant: Variant, item: str, n: int) -> Usage:
        """What the samples cost that were not paid for yet."""
        recording, tier = self.targets.get(variant.tier or "", (self.recording, self.tier))
        recorded = recording.samples[variant._replace(tier=None)].get(item, {})
        first = self._paid.get(variant, {}).get(item, 0)
        new = [recorded[at] for at in range(first, n) if at in recorded]
        billed = new[:1] if tier.takes_n else new
        prompt = sum(one.prompt_tokens for one in billed)
        completion = sum(one.completion_tokens for one in new)
        usd = sum(tier.price.prompt_usd(one.prompt_tokens) for one in billed)
        usd += sum(
            tier.price.completion_usd(one.completion_tokens, prompt_tokens=one.prompt_tokens)
            for one in new
        )
        return Usage(len(billed), len(new), prompt, completion, usd=usd)


def recorded_variants(recording: Recording, tier: Tier, baseline: str | None) -> Variants:
    """The recorded variants, in place of the space's prompts, modes and temperatures.

    Raises:
        InputError: the baseline is not recorded.
    """
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    most = max(coverage.items for coverage in recording.variants.values())
    variants = tuple(
        variant for variant, c in recording.variants.items() if c.items >= MOSTLY * most
    )
    if baseline is None:
        return Variants(prompts, variants, variants[0])
    own = [variant for variant in variants if variant.prompt == baseline]
    if not own:
        recorded = {variant.prompt for variant in variants}
        raise unknown_name(f"baseline: recorded prompt of tier {tier.name!r}", baseline, recorded)
    return Variants(prompts, variants, own[0])


def recorded_cost(recording: Recording, tier: Tier) -> SampleCost:
    """The mean cost of the recorded samples, as a search may assume it before the first."""
    every = [d for of in recording.samples.values() for by in of.values() for d in by.values()]
    prompt = sum(d.prompt_tokens for d in every) / len(every)
    completion = sum(d.completion_tokens for d in every) / len(every)
    usd = tier.price.prompt_usd(prompt) + tier.price.completion_usd(
        completion, prompt_tokens=prompt
    )
    return SampleCost(usd, prompt + completion, tier.takes_n)


def fingerprint(path: Path) -> str:
    """SHA-256 of a recording's file: what stands for the pool."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", path=path) from None


def scores_of(task: Task, tier: Tier, recording: Recording | None = None) -> frozenset[str]:
    """Names of the scores that samples will have: log-probabilities, the task's verifiers, and what
    some sample of a recording carries."""
    found = set(task.verifiers)
    if recording is None:
        return frozenset(found | set(LOGPROBS if tier.logprobs else ()))
    names = ("mean_logprob", *RECORDED_SCORES)
    samples = [d for of in recording.samples.values() for by in of.values() for d in by.values()]
    found |= {name for name in names if any(getattr(d, name) is not None for d in samples)}
    return frozenset(found)


class Trajectories(Buyer):
    """The recorded samples of a tier, steps of trajectories among them; nothing is paid."""

    free = True

    def __init__(
        self,
        pool: SamplePool,
        task: Task,
        tier: Tier,
        recording: Recording,
        account: Account,
        library: Library | None,
    ) -> None:
        prompts = {prompt.id: prompt for prompt in recording.prompts}
        supply = Supply(tier, RecordedModel(recording), prompts)
        super().__init__(pool, task, supply, account, library=library)
        self.recording = recording

    def most(self, variant: Variant) -> int:
        """Samples of which every item has the root: plain answers, and where chains begin."""
        recorded = self.recording.nodes.items()
        begun = [of for node, of in recorded if node.parent is None and node.root == variant.root]
        roots = (self.recording.samples[variant.root], *begun)
        return min(len(samples) for of in roots for samples in of.values())

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``; with at most the recorded samples.

        Raises:
            UnsupportedError: steps are not recorded for all but a few items.
        """
        recorded = {variant: min(n, self.most(variant)) for variant, n in n_samples.items()}
        try:
            return super().table(items, recorded, stage)
        except ProviderError:
            raise UnsupportedError(
                f"tier {self.tier.name!r}: fewer than {FEWEST_ITEMS} of the {len(items)} items of "
                f"stage {stage!r} have all steps of their trajectories recorded: at every depth at "
                "which one goes on, the answer that it is made to give there (path "
                '["query:2", "answer"] …)'
            ) from None

    def _fill(self, of: Supply, needs: Sequence[Need], stage: str) -> str:
        given_away = replace(of, tier=replace(of.tier, price=Price(0.0, 0.0)))
        return super()._fill(given_away, needs, stage)


def library_from(recording: Recording, spec: RetrieverSpec, path: Path) -> Library:
    """The recorded look-ups; those of a file that changes are other ones."""
    looked_up = {q: Retrieved(up.passages, up.latency_s) for q, up in recording.look_ups.items()}
    identity = f"{spec.name}/recorded/{fingerprint(path)[:16]}"
    return Library(spec, identity, RecordedRetriever(identity, looked_up), free=True)


def check_queries(recording: Recording, task: Task, spec: RetrieverSpec) -> None:
    """Texts are read by the task's patterns, as live ones are.

    Raises:
        InputError: a recorded query is not what the pattern reads.
    """
    for variant, by_item in recording.nodes.items():
        for item, samples in by_item.items():
            for index, sample in samples.items():
                said = read_turn(variant.turn, sample.text, task.answer, spec.query).query
                if sample.look_up is not None and said != sample.look_up.query:
                    raise InputError(
                        f"sample {index} of {variant.label} on item {item!r} looked up "
                        f"{sample.look_up.query!r}; retriever.query of task {task.name!r} reads "
                        f"{said!r} in its text"
                    )


def recorded_space(space: SearchSpace, recording: Recording) -> SearchSpace:
    """``space`` with only such turns as are recorded: so many rounds, passages and chains."""
    paths = {variant.path for variant in recording.nodes}
    gets = {variant.turn.passages for variant in recording.nodes if variant.turn.name == "query"}
    rounds = max((len(p) for p in paths if p[-1].name == "query"), default=0)
    begun = [of for node, of in recording.nodes.items() if node.parent is None]
    chains = min((len(samples) for of in begun for samples in of.values()), default=0)
    strategies: dict[str, dict[str, Dimension]] = {}
    for kind, dims in space.strategies.items():
        if kind == "retrieval":
            within = {
                "rounds": _within(dims.get("rounds"), range(rounds + 1)),
                "passages": _within(dims.get("passages"), sorted(gets)),
                "samples": _within(dims.get("samples"), range(1, chains + 1)),
            }
            if not all(within.values()):
                continue
            dims = {**dims, **{name: choices for name, choices in within.items() if choices}}
        elif not paths.issuperset(paths_in(replace(space, strategies={kind: dims}))):
            continue
        strategies[kind] = dict(dims)
    return replace(space, strategies=strategies or {"single": {}})


def _within(dimension: Dimension | None, recorded: Sequence[int]) -> tuple[int, ...]:
    """The recorded values that the dimension has; all of them where it does not say."""
    if dimension is None:
        return tuple(recorded)
    if isinstance(dimension, Range):
        return tuple(n for n in recorded if dimension.low <= n <= dimension.high)
    return tuple(n for n in recorded if n in dimension)


def request_names(run: RunDir) -> dict[str, RequestName]:
    """What the run asked for, by request key: the first turns of its variants on all items.

    Raises:
        InputError: its task or space cannot be read any more.
    """
    prepared = prepare(run.job())
    task, names = prepared.loaded.task, dict[str, RequestName]()
    made = (load_proposed(run, file.stem) for file in sorted((run.path / FOLDER).glob("*.json")))
    proposed = [prompt for one in made if one is not None for prompt in one.prompts]
    for name, tier in prepared.tiers.items():
        if kind_of(tier.model) == RECORDED_TIER or prepared.baseline is None:
            continue
        tier = with_mode_to_ask(tier, prepared.space)
        prompts = (*prepared.loaded.prompts, *proposed)
        variants = prepared.variants(tier, prepared.baseline, prompts)
        for variant in variants.candidates:
            prompt = variants.prompts[variant.prompt]
            for item in task.items:
                address = run.addresses.get(name, "")
                asked = build_request(tier, prompt, variant, item.inputs, address)
                names.setdefault(asked.key, RequestName(item, variant))
    return names
