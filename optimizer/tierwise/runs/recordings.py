"""Recorded answers in place of a provider: the space shrinks to them, and nothing is paid.

Plain answers are a table beside the pool. A trajectory is a tree of samples, whose answers depend
on what was found on the way: its steps go into the pool for nothing, and from there on it is read,
judged, replayed and served like samples that were bought.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.errors import BudgetError, InputError, ProviderError, UnsupportedError, unknown_name
from tierwise.evaluation import SampleTable
from tierwise.llm import build_request
from tierwise.llm.models import RECORDED as RECORDED_TIER
from tierwise.llm.models import kind_of
from tierwise.llm.recorded import RecordedModel, Recording
from tierwise.pool import FEWEST_ITEMS, Account, Buyer, Library, Need, RunDir, SamplePool, Supply
from tierwise.pool.buyer import TEST_STAGE
from tierwise.pool.first_answers import refused, with_refused
from tierwise.pool.maintenance import RequestName
from tierwise.pool.recorded import recorded_table
from tierwise.retrieval import Retrieved
from tierwise.retrieval.base import RecordedRetriever
from tierwise.runs.prepare import prepare
from tierwise.runs.proposing import FOLDER, load_proposed
from tierwise.schema import Price, RetrieverSpec, Tier, Turn, Usage, UsageLimits, Variant, read_turn
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.problem import SampleCost, SearchSize
from tierwise.search.space import within_depth
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

MOST_SHORT = 10
"""At most one of so many items may lack what the space is fitted to."""

SHOWN_IDS = 5


@dataclass(frozen=True)
class RecordedDepth:
    """What of a recording a search goes by: as many samples as nearly all items have.

    Attributes:
        depths: variant -> samples of every item, of plain answers and of where chains begin. A
            variant that is recorded on too few items is not there.
        kept: ids of the items that have all of them.
        nodes: the turns of trajectories that nearly all chains reach, or had ended before.
        remarks: what was left out, for people.
    """

    depths: Mapping[Variant, int]
    kept: frozenset[str]
    nodes: frozenset[Variant] = frozenset()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        counts: Mapping[Variant, Mapping[str, int]],
        items: Sequence[Item],
        required: Sequence[Variant] = (),
    ) -> RecordedDepth:
        """Clip samples, not items: the fewest samples that a tenth of the items may lack.

        The depth of a variant is a quantile over items; where variants lack samples of different
        items, depths are lowered, one by one, until all but a tenth of the items have all. Items
        that none, or one of ``required``, is recorded on are left out first.

        Args:
            counts: variant -> item id -> samples from the first without a gap.
            items: of the task.
            required: variants that stay, with the items that they have.

        Raises:
            UnsupportedError: no item has a sample of all of ``required``.
        """
        ids = np.array([item.id for item in items])
        variants = tuple(counts)
        have = np.array([[counts[v].get(i, 0) for i in ids] for v in variants]).reshape(
            len(variants), len(ids)
        )
        floor = np.array([int(variant in required) for variant in variants])
        begun = have.any(axis=0) & (have >= floor[:, None]).all(axis=0)
        if not begun.any():
            named = ", ".join(variant.label for variant in required) or "any variant"
            raise UnsupportedError(
                f"no item of the task has a recorded sample of {named}; are the task's items those "
                "of the recording?"
            )
        known = have[:, begun]
        few = known.shape[1] // MOST_SHORT
        depth = np.maximum(np.sort(known, axis=1)[:, few], floor)
        while (known < depth[:, None]).any(axis=0).sum() > few:
            depth = _lowered(known, depth, floor)
        whole = (known >= depth[:, None]).all(axis=0)
        remarks = [
            _left_out(ids[~begun], "no recorded sample to go by"),
            _left_out(ids[begun][~whole], "fewer recorded samples than nearly all others"),
            *(
                f"{variant.label} is left out: it is recorded on {int((row > 0).sum())} of "
                f"{len(row)} items only"
                for variant, row, n in zip(variants, known, depth, strict=True)
                if n == 0
            ),
        ]
        return cls(
            {v: int(n) for v, n in zip(variants, depth, strict=True) if n},
            frozenset(ids[begun][whole].tolist()),
            remarks=tuple(remark for remark in remarks if remark),
        )


def _lowered(
    have: npt.NDArray[np.int_], depth: npt.NDArray[np.int_], floor: npt.NDArray[np.int_]
) -> npt.NDArray[np.int_]:
    """``depth`` with that variant one level lower which this gives the most whole items."""
    options = []
    for v in np.flatnonzero(depth > floor):
        lower = depth.copy()
        lower[v] = max(int(have[v][have[v] < depth[v]].max(initial=0)), int(floor[v]))
        options.append(((have >= lower[:, None]).all(axis=0).sum(), depth[v], lower))
    return max(options, key=lambda option: option[:2])[2]


def _left_out(ids: npt.NDArray[np.str_], why: str) -> str:
    if not len(ids):
        return ""
    shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
    return f"{len(ids)} item{'s' * (len(ids) != 1)} left out ({why}): {shown}"


def recorded_depth(
    recording: Recording, task: Task, baseline: Variant | None, targets: Targets
) -> RecordedDepth:
    """How far the recordings of a tier and of its escalation targets go.

    ``targets`` and the baseline's variant stay whatever they lack. A turn of trajectories is one
    that the chains of all but few items reach, or had ended before.
    """
    counts: dict[Variant, Mapping[str, int]] = dict(recording.counts)
    required = [] if baseline is None else [baseline]
    for name, (other, _, variants) in targets.items():
        for variant in variants:
            required.append(variant._replace(tier=name))
            counts[required[-1]] = other.counts.get(variant._replace(tier=None), {})
    found = RecordedDepth.of(counts, task.items, required)
    nodes = set[Variant]()
    for node in sorted(recording.nodes, key=lambda node: len(node.path)):
        samples = found.depths.get(node.beginning, 0)
        if node.parent is not None and node.parent not in (*nodes, node.root):
            continue
        lacking = sum(recording.lacks(node, item, samples) for item in found.kept)
        if samples and lacking <= len(found.kept) // MOST_SHORT:
            nodes.add(node)
    remarks = list(found.remarks)
    for begun in (node for node in recording.nodes if node.parent is None):
        chain = [n for n in recording.nodes if n.beginning == begun and n.turn.name == "query"]
        deepest, rounds = max(len(node.path) for node in chain), rounds_of(begun, nodes)
        if rounds < deepest:
            remarks.append(
                f"{begun.root.label}: trajectories of up to {rounds} rounds count; round "
                f"{rounds + 1}, or the answer that it is made to give after it, is not recorded "
                "for all of the items that go on to it"
            )
    return replace(found, nodes=frozenset(nodes), remarks=tuple(remarks))


def rounds_of(begun: Variant, nodes: Collection[Variant]) -> int:
    """Rounds of the chain that begins with ``begun``, to which ``nodes`` has all turns."""
    rounds, at = 0, begun
    while at in nodes and at.below(Turn()) in nodes:
        rounds, at = rounds + 1, at.below(begun.turn)
    return rounds


Targets = Mapping[str, tuple[Recording, Tier, tuple[Variant, ...]]]
"""Escalation target -> its recording, its tier, and the variants that may be escalated to."""


class RecordedSamples:
    """The recorded samples of a tier, and of its escalation targets, as tables."""

    free = True

    def __init__(
        self,
        recording: Recording,
        task: Task,
        tier: Tier,
        depth: RecordedDepth,
        targets: Targets | None = None,
    ) -> None:
        self.recording, self.task, self.tier, self.depth = recording, task, tier, depth
        self.targets = {name: of[:2] for name, of in (targets or {}).items()}
        self._none: set[str] = set()
        self._some: set[str] = set()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out, and which samples failed."""
        failed = refused(self._none, self._some)
        return (*self.depth.remarks, *(remark.text for remark in failed))

    def most(self, variant: Variant) -> int:
        """Samples that every item that takes part has."""
        return self.depth.depths.get(variant, 0)

    def everything(self) -> SampleTable:
        """All that is recorded, on all items of the task: NaN where a sample is not recorded."""
        return self._recorded(self.task.items, tuple(self.recording.variants))

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """The items that take part, with at most the recorded depth.

        A recorded failure is an abstention, unless the item failed under every variant.

        Raises:
            UnsupportedError: fewer than ``FEWEST_ITEMS`` items are left.
        """
        taking_part = [item for item in items if item.id in self.depth.kept]
        table = self._recorded(taking_part, tuple(n_samples))
        variants = {
            variant: rows.columns(np.arange(min(n_samples[variant], self.most(variant))))
            for variant, rows in table.variants.items()
        }
        table = self._with_failed(replace(table, variants=variants))
        complete = table.complete
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
        kept = np.array([item.id in self.depth.kept for item in items])
        counts = {
            v: np.minimum([wanted.get(v, 0) for wanted in n_samples], kept * self.most(v))
            for v in variants
        }
        table = self._recorded(items, variants).first(counts)
        return self._with_failed(table, counts), ""

    def _with_failed(
        self, table: SampleTable, counts: Mapping[Variant, npt.NDArray[np.intp]] | None = None
    ) -> SampleTable:
        """Recorded failures as abstentions; of each item the first ``counts`` were asked for."""
        failed = {variant: rows.gaps for variant, rows in table.variants.items()}
        for variant, of in (counts or {}).items():
            failed[variant] &= np.arange(failed[variant].shape[1]) < of[:, None]
        table, none, some = with_refused(table, failed, counts)
        self._none |= {table.item_ids[i] for i in np.flatnonzero(none).tolist()}
        self._some |= {table.item_ids[i] for i in np.flatnonzero(some).tolist()}
        return table

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


class Meter(NamedTuple):
    """Limits of recorded samples, and how many of each variant and item are paid for."""

    limits: UsageLimits
    paid: Mapping[Variant, Mapping[str, int]]


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
        depth: RecordedDepth,
        targets: Targets,
        meter: Meter,
    ) -> None:
        super().__init__(recording, task, tier, depth, targets)
        self.limits, self.spent, self._kept = meter.limits, Usage(), Usage()
        self._paid = {variant: dict(of) for variant, of in meter.paid.items()}

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


def recorded_baseline(recording: Recording, tier: Tier, baseline: str | None) -> Variant | None:
    """The recorded variant of the prompt ``baseline``, of several the one on the most items.

    Raises:
        InputError: the prompt is not recorded.
    """
    if baseline is None:
        return None
    own = [variant for variant in recording.variants if variant.prompt == baseline]
    if not own:
        recorded = {variant.prompt for variant in recording.variants}
        raise unknown_name(f"baseline: recorded prompt of tier {tier.name!r}", baseline, recorded)
    return max(own, key=lambda variant: recording.variants[variant].items)


def recorded_variants(
    recording: Recording, depth: RecordedDepth, baseline: Variant | None
) -> Variants:
    """The recorded variants, in place of the space's prompts, modes and temperatures.

    Without a ``baseline`` it is the first.
    """
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    variants = tuple(variant for variant in recording.variants if variant in depth.depths)
    return Variants(prompts, variants, baseline or variants[0])


def recorded_cost(recording: Recording, tier: Tier) -> SampleCost:
    """The mean cost of the recorded samples, as a search may assume it before the first."""
    every = [d for of in recording.samples.values() for by in of.values() for d in by.values()]
    prompt = sum(d.prompt_tokens for d in every) / len(every)
    completion = sum(d.completion_tokens for d in every) / len(every)
    usd = tier.price.completion_usd(completion, prompt_tokens=prompt)
    return SampleCost(
        usd,
        completion,
        tier.takes_n,
        prompt_usd=tier.price.prompt_usd(prompt),
        prompt_tokens=prompt,
    )


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
        depth: RecordedDepth,
        account: Account,
        library: Library | None,
    ) -> None:
        prompts = {prompt.id: prompt for prompt in recording.prompts}
        supply = Supply(tier, RecordedModel(recording), prompts)
        super().__init__(pool, task, supply, account, library=library)
        self.recording, self.depth = recording, depth

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out, and which chains are broken off."""
        broken = f"{len(self._some)} of the items count as unanswered (score 0) where their chains "
        said = (f"{broken}go on and are not recorded, or failed",) if self._some else ()
        return (*self.depth.remarks, *said)

    def most(self, variant: Variant) -> int:
        """Samples that every item that takes part has, of plain answers or of chains."""
        return self.depth.depths.get(variant.beginning, 0)

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``; with at most the recorded samples, and the recorded turns.

        Raises:
            UnsupportedError: steps are not recorded for all but a few items.
        """
        recorded = {
            variant: min(n, self.most(variant))
            for variant, n in n_samples.items()
            if not variant.path or variant in self.depth.nodes
        }
        taking_part = [item for item in items if item.id in self.depth.kept]
        try:
            return super().table(taking_part, recorded, stage)
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


def recorded_space(space: SearchSpace, depth: RecordedDepth) -> SearchSpace:
    """``space`` within what is recorded: samples, rounds, passages and chains."""
    nodes = depth.nodes
    paths = {node.path for node in nodes}
    gets = {node.turn.passages for node in nodes if node.turn.name == "query"}
    begun = [node for node in nodes if node.parent is None and node.path]
    rounds = max((rounds_of(node, nodes) for node in begun), default=0)
    chains = max((depth.depths[node] for node in begun), default=0)
    plain = [n for variant, n in depth.depths.items() if not variant.path]
    space = within_depth(space, max(plain) * max(space.variants))
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
