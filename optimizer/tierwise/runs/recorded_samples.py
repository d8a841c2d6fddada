"""Recorded answers in place of a provider: the samples of a search, and nothing is paid.

Plain answers are a table beside the pool. A trajectory is a tree of samples, whose answers depend
on what was found on the way: its steps go into the pool for nothing, and from there on it is read,
judged, replayed and served like samples that were bought.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tierwise.errors import BudgetError, InputError, ProviderError, UnsupportedError
from tierwise.evaluation import ABSTAINED, SampleTable, VariantTable
from tierwise.evaluation.table import Codes, ElectedScores, elected_scores, encode_answers
from tierwise.llm.recorded import RecordedModel, RecordedSample, Recording
from tierwise.pool import (
    FEWEST_ITEMS,
    Account,
    Buyer,
    CutShortError,
    Library,
    Need,
    SamplePool,
    Supply,
)
from tierwise.pool.buyer import TEST_STAGE
from tierwise.pool.first_answers import refused, with_refused
from tierwise.pool.judging import Judging
from tierwise.pool.load import Collecting, with_unjudged
from tierwise.retrieval import Retrieved
from tierwise.retrieval.base import RecordedRetriever
from tierwise.runs.recorded_depth import RecordedDepth, Targets
from tierwise.schema import Price, RetrieverSpec, Tier, Usage, UsageLimits, Variant
from tierwise.stats.intervals import Floats
from tierwise.tasks import RECORDED, VERIFIERS, AnswerSpec, Item, Metric, Task, parts_of, with_judge

INVALID = "[invalid]"
"""What published recordings write where no answer could be read: an abstention."""

_OWN_SCORES = ("verifier_score", "mean_logprob", "confidence")


# --- a recording as a table ----------------------------------------------------------------------


def recorded_table(
    recording: Recording,
    tier: Tier,
    items: Sequence[Item],
    answer: AnswerSpec,
    *,
    metric: Metric | None = None,
    variants: Sequence[Variant] | None = None,
    verifiers: Sequence[str] = (),
    others: Mapping[str, tuple[Recording, Tier]] | None = None,
) -> SampleTable:
    """The recorded samples of ``variants`` (all of them) on ``items``, at the tier's prices.

    A variant that names another tier is looked up in ``others``, at that tier's prices.

    Column d is the recorded sample d; one that is not recorded, or failed, has NaN for score,
    dollars and seconds. The recording's own answers are taken where it has them, else those in the
    text. ``metric`` None is the metric ``recorded``: the recording's own score. The verifiers
    ``verifier_score``, ``mean_logprob`` and ``confidence`` are there where some sample has them,
    and those of ``verifiers``, which score the recorded answers.

    Raises:
        UnsupportedError: the metric is ``recorded`` and a sample has no score, or a variant is not
            recorded at all.
    """
    chosen = tuple(recording.variants) if variants is None else tuple(variants)
    of = {variant: (others or {}).get(variant.tier or "", (recording, tier)) for variant in chosen}
    grids = {variant: _Grid(of[variant][0], variant, items, answer) for variant in chosen}
    objects = () if metric is None and not answer.calls else elected_scores(answer, metric, items)
    codes = [
        encode_answers([grids[variant].answers[i] for variant in chosen]) for i in range(len(items))
    ]

    def table_of(variant: Variant, coded: list[list[int]]) -> VariantTable:
        grid, price = grids[variant], of[variant][1].price
        scores = {name: grid.column(operator.attrgetter(name)) for name in _OWN_SCORES}
        scores |= {name: grid.verified(name) for name in verifiers if name in VERIFIERS}
        parts = [grid.judged(part.metric) for part in parts_of(metric)] if metric else []
        return VariantTable(
            answers=np.array(coded, dtype=np.int16).reshape(grid.shape),
            score=grid.own_scores(variant) if metric is None else grid.judged(metric),
            prompt_usd=grid.column(lambda sample: price.prompt_usd(sample.prompt_tokens)),
            completion_usd=grid.column(
                lambda sample: price.completion_usd(
                    sample.completion_tokens, prompt_tokens=sample.prompt_tokens
                )
            ),
            latency_s=grid.column(lambda sample: sample.latency_s),
            scores={name: of for name, of in scores.items() if not np.isnan(of).all()},
            takes_n=of[variant][1].takes_n,
            fields=grid.fields(objects) if objects else None,
            parts=np.stack(parts, axis=-1) if parts else None,
        )

    tables = {
        variant: table_of(variant, [row[k] for row in codes]) for k, variant in enumerate(chosen)
    }
    ids, inputs = tuple(i.id for i in items), tuple(i.inputs for i in items)
    return SampleTable(ids, inputs, tables, objects=objects)


class _Grid:
    """The samples of a variant on some items and their answers; None: not recorded, or failed."""

    def __init__(
        self, recording: Recording, variant: Variant, items: Sequence[Item], spec: AnswerSpec
    ) -> None:
        variant = variant._replace(tier=None)
        if variant not in recording.samples:
            known = ", ".join(a.label for a in recording.samples)
            raise UnsupportedError(f"{variant.label} is not recorded; recorded: {known}")
        of = [recording.samples[variant].get(item.id, {}) for item in items]
        n_samples = max((max(by_index) + 1 for by_index in of if by_index), default=0)
        self.items, self.shape = items, (len(items), n_samples)
        there = [{d: s for d, s in by_index.items() if s.error is None} for by_index in of]
        self.samples = [[by_index.get(d) for d in range(n_samples)] for by_index in there]
        self.specs = [spec.of(item.inputs) for item in items]
        rows = zip(self.samples, self.specs, strict=True)
        self.answers = [[_answer(s, own) for s in row] for row, own in rows]

    def column(self, value: Callable[[RecordedSample], float | None]) -> Floats:
        """(n_items, n_samples): a number of each sample, NaN where there is none."""
        found = [[None if s is None else value(s) for s in row] for row in self.samples]
        return np.array(found, dtype=np.float64).reshape(self.shape)

    def of_answers(self, score: Callable[[RecordedSample, str | None, Item], float]) -> Floats:
        """The same of a sample, its answer and item."""
        values = np.full(self.shape, np.nan)
        for i, (samples, answers) in enumerate(zip(self.samples, self.answers, strict=True)):
            for d, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
                if sample is not None:
                    values[i, d] = score(sample, answer, self.items[i])
        return values

    def judged(self, metric: Metric) -> Floats:
        return self.of_answers(lambda sample, answer, item: metric(answer, item))

    def own_scores(self, variant: Variant) -> Floats:
        def own(sample: RecordedSample, answer: str | None, item: Item) -> float:
            if sample.score is None:
                raise UnsupportedError(
                    f"the metric is 'recorded', but a sample of {variant.label} on item "
                    f"{item.id!r} carries no score"
                )
            return sample.score

        return self.of_answers(own)

    def verified(self, name: str) -> Floats:
        verifier = VERIFIERS[name]
        return self.of_answers(
            lambda sample, answer, item: verifier(item.inputs, sample.text, answer)
        )

    def fields(self, objects: Sequence[ElectedScores]) -> Codes:
        """(n_items, n_samples, n_fields): codes of the fields that are voted on."""
        none = (ABSTAINED,) * len(self.specs[0].ballots)
        codes = [
            [of.encode(values) if (values := spec.values(answer)) else none for answer in row]
            for row, of, spec in zip(self.answers, objects, self.specs, strict=True)
        ]
        return np.array(codes, dtype=np.int16).reshape(*self.shape, len(none))


def _answer(sample: RecordedSample | None, spec: AnswerSpec) -> str | None:
    if sample is None:
        return None
    if not sample.answered:
        return spec.extract(sample.text)
    if sample.answer is None or sample.answer == INVALID:
        return None
    return spec.read(sample.answer)


# --- the samples of a search ---------------------------------------------------------------------


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
        self._judged = False
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

    def judge(self, judging: Judging) -> None:
        """Have all recorded answers judged: their scores are the metric, or a part of it.

        Raises:
            BudgetError: the limits end before all are.
            ProviderError: next to none of the judge's replies can be read.
        """
        answers, metric = Collecting(), self.task.score
        short = judging.check_labels()
        self.task = replace(self.task, scorer=with_judge(metric, answers.score))
        variants = [*self.recording.variants]
        for name, (recording, _) in self.targets.items():
            variants += [variant._replace(tier=name) for variant in recording.variants]
        self._recorded([i for i in self.task.items if i.id in self.depth.kept], variants)
        short = short or judging.buy(answers.pairs)
        if short:
            raise BudgetError(
                f"the budget of tier {self.tier.name!r} ended ({short}) before its "
                f"{len(dict.fromkeys((i.id, a) for i, a in answers.pairs)):,} recorded answers "
                "were judged; raise the budget and run the same command: nothing is bought twice"
            )
        judging.check_answers(answers.pairs)
        self.task = replace(self.task, scorer=with_judge(metric, judging.score))
        self._judged = True

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
        self._none |= none
        self._some |= some
        return table

    def _recorded(self, items: Sequence[Item], variants: Sequence[Variant]) -> SampleTable:
        metric = None if self.task.metric == RECORDED else self.task.score
        table = recorded_table(
            self.recording,
            self.tier,
            items,
            self.task.answer,
            metric=metric,
            variants=variants,
            verifiers=self.task.verifiers,
            others=self.targets,
        )
        if not self._judged:
            return table
        unjudged = {
            v: np.isnan(r.score) & ~np.isnan(r.latency_s) for v, r in table.variants.items()
        }
        return replace(table, variants=with_unjudged(table.variants, unjudged))


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
            CutShortError: the limits leave some without their samples.
        """
        wanted = {variant: min(n, self.most(variant)) for variant, n in n_samples.items()}
        affordable, short = self._pay(items, [wanted] * len(items), stage)
        if not short:
            return super().table(items, n_samples, stage)
        error = BudgetError(
            f"the budget of tier {self.tier.name!r} ended ({short}) in stage {stage!r}, with "
            f"samples for {affordable} of {len(items)} items: too few to choose by"
        )
        raise CutShortError(error, short, self._paid_for(items, [wanted] * len(items), affordable))

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """See ``Samples``."""
        affordable, short = self._pay(items, n_samples, stage)
        return self._paid_for(items, n_samples, affordable), short

    def _paid_for(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], affordable: int
    ) -> SampleTable:
        """What the first ``affordable`` items ask for, and of the others what was paid before."""
        before = [
            {v: min(n, self._paid.get(v, {}).get(item.id, 0)) for v, n in wanted.items()}
            for item, wanted in zip(items[affordable:], n_samples[affordable:], strict=True)
        ]
        return super().asked(items, [*n_samples[:affordable], *before], "")[0]

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


def fingerprint(path: Path) -> str:
    """SHA-256 of a recording's file: what stands for the pool."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", path=path) from None
