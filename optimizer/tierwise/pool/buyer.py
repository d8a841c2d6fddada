"""One tier's samples: what a stage of the search needs is bought if missing, then read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tierwise.errors import BudgetError, InputError, ProviderError, TierwiseError
from tierwise.evaluation import SampleTable
from tierwise.llm import (
    UNFINISHED,
    LanguageModel,
    Parent,
    Request,
    build_request,
    cap_of,
    judge_request,
)
from tierwise.pool.buy import Account, Progress, fill
from tierwise.pool.calls import Need
from tierwise.pool.first_answers import (
    SAID_AT_ONCE,
    SAID_FROM,
    Remark,
    base_of,
    check_readable,
    cuts,
    estimated,
    first_needs,
    nothing_right,
    refused,
    with_refused,
)
from tierwise.pool.judging import JUDGE, Judging, remarks_on_judge
from tierwise.pool.load import Collecting, Scorer, TableOptions, load
from tierwise.pool.store import SamplePool
from tierwise.pool.trees import Library, Trees, even, parents_first
from tierwise.schema import ANSWER, JudgeVerifier, PromptTemplate, Tier, Usage, Variant
from tierwise.schema.policy import JUDGES
from tierwise.schema.result import CutPurchase
from tierwise.tasks import Item, Task, with_judge

MOST_SAMPLES = 4096
TEST_STAGE = "test"

FEWEST_ITEMS = 8
"""A stage with fewer complete items decides nothing."""

SCREEN_STAGE, LEADING_ITEMS = "screen", 16
"""The first items of the screening are bought variant by variant: where time or money ends early,
some variants have enough items to be compared, and not all of them a few."""

PROVIDER_ENDED = "provider"
"""What cut a purchase short where no limit did: the provider failed for good."""


class CutShortError(BudgetError):
    """A limit, or the end of a provider, cut a purchase short.

    Attributes:
        error: what to say where too little is there to go on.
        short: the limit, or ``PROVIDER_ENDED``.
        table: what is there: of each item the first samples, NaN beyond.
    """

    def __init__(self, error: TierwiseError, short: str, table: SampleTable) -> None:
        super().__init__(str(error))
        self.error, self.short, self.table = error, short, table
        self.exit_code = error.exit_code


@dataclass(frozen=True)
class Supply:
    """Where the samples of a tier come from; ``model`` is None in a replay: nothing is bought."""

    tier: Tier
    model: LanguageModel | None
    prompts: Mapping[str, PromptTemplate]
    address: str = ""
    verifier: JudgeVerifier | None = None
    """Of a supply of judgements."""


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase goes on; ``calls`` and ``usd`` are of the tier's whole run."""

    tier: str
    stage: str
    progress: Progress
    calls: int
    usd: float


@dataclass(frozen=True, slots=True)
class Remarked:
    """Something to know about a tier while it can still be changed; said once."""

    tier: str
    text: str


class Buyer:
    """Samples bought into a pool: of the tier that is searched, and of its escalation targets.

    Samples of a target are at its prices, and on the account of the tier that is searched. Most are
    there already, since a target is searched first.
    """

    free = False

    def __init__(
        self,
        pool: SamplePool,
        task: Task,
        supply: Supply,
        account: Account,
        *,
        targets: Sequence[Supply] = (),
        listener: Callable[[Bought | Remarked], None] = lambda event: None,
        library: Library | None = None,
        judging: Judging | None = None,
        verifier: Supply | None = None,
        replayed: Sequence[CutPurchase] = (),
    ) -> None:
        self.pool, self.task, self.tier = pool, task, supply.tier
        self.account = replace(account, tier=supply.tier.name)
        self.supplies: dict[str | None, Supply] = {None: supply}
        self.supplies |= {other.tier.name: other for other in targets}
        if verifier is not None:
            self.supplies[JUDGES] = verifier
        self.verifier = None if verifier is None else verifier.verifier
        self.prompts: dict[str, PromptTemplate] = {}
        """By id; more may be added."""
        for one in (*targets, supply):
            self.prompts |= one.prompts
        self.listener, self.library, self.judging = listener, library, judging
        self.used: dict[str, set[int]] = {}
        """Request key -> samples that the search has looked at."""
        self.cut_short: list[CutPurchase] = list(replayed)
        """Purchases that were cut short; in a replay those of the run."""
        self._purchases = 0
        self._ended: ProviderError | None = None
        """What the provider failed with for good; nothing more is bought then."""
        self._requests: dict[tuple[Variant, str], Request] = {}
        self._for_test = Usage()
        self._readable = False
        """Whether answers that were not cut could be read; not known before some were."""
        self._judge_checked = False
        self._wrong: tuple[Remark, ...] = ()
        self._said: set[str] = set()
        self._answered: set[str] = set()
        self._none: set[str] = set()
        self._some: set[str] = set()
        """Ids of items that some variant answered, that failed under every one, and under some."""

    def set_aside(self, usage: Usage) -> None:
        """Keep so much for the stage ``test``, whatever other stages turn out to cost."""
        self._for_test = usage

    def most(self, variant: Variant) -> int:
        """As many as a seed can tell apart."""
        return MOST_SAMPLES

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``; without items that failed under every variant.

        A sample that failed for good is an abstention of its variant.

        Raises:
            CutShortError: a limit, or the end of the provider, left items without their samples.
            InputError: the task's answer pattern reads next to none of the first answers.
            ProviderError: nothing is left of the items, or too little to go on.
        """
        n_samples = even(n_samples)
        short = self._begin_judging()
        trees = Trees(
            self.pool,
            items,
            self.task.answer,
            self.request,
            lambda variant: range(n_samples[variant]),
            self.library,
            self.account,
        )
        for level in parents_first(n_samples):
            for owner, supply in self.supplies.items():
                variants = [variant for variant in level if variant.owner == owner]
                if not variants:
                    continue
                if owner is None and not (short or self._readable):
                    short = self._begin(trees, variants, supply, stage)
                leading = LEADING_ITEMS if stage == SCREEN_STAGE else 0
                needs = in_turn(trees, variants, items, leading)
                short = short or self._fill(supply, needs, stage)
                for need in needs:
                    used = self.used.setdefault(need.request.key, set())
                    used.update(range(need.first, need.first + need.samples))
        if not self._readable:  # most of the first ones were cut
            answers = self._answers(trees, n_samples)
            if len({base_of(v.prompt) for v in answers}) >= min(2, len(self._answering)):
                self._look([n for needs in answers.values() for n in needs], self.supplies[None])
        table, unjudged = self._read(items, n_samples, stage, trees)
        table, short = self._as_cut(table, short or unjudged)
        complete = table.complete
        if complete.all():
            return table
        if short:
            budget = BudgetError(
                f"the budget of tier {self.tier.name!r} ended ({short}) in stage {stage!r}, with "
                f"all samples for {complete.sum()} of {len(items)} items: too few to choose by; "
                "raise the budget and run the same command: nothing is bought twice"
            )
            raise CutShortError(self._ended or budget, short, table)
        if complete.sum() < max(1, min(FEWEST_ITEMS, len(items) // 2)):
            raise ProviderError(
                f"tier {self.tier.name!r}: only {complete.sum()} of {len(items)} items have all "
                f"their samples in stage {stage!r}; the others failed for good"
                + (", or no answer to them was judged" if self.judging else "")
            )
        return table.rows(np.flatnonzero(complete))

    def asked(
        self, items: Sequence[Item], n_samples: Sequence[Mapping[Variant, int]], stage: str
    ) -> tuple[SampleTable, str]:
        """See ``Samples``."""
        short = ""
        for owner, supply in self.supplies.items():
            needs = [
                Need(self.request(variant, item), n)
                for item, wanted in zip(items, n_samples, strict=True)
                for variant, n in wanted.items()
                if variant.tier == owner
            ]
            if needs and not short:
                short = self._fill(supply, needs, stage)
            for need in needs:
                self.used.setdefault(need.request.key, set()).update(range(need.samples))
        counts = {
            variant: np.array([wanted.get(variant, 0) for wanted in n_samples])
            for variant in dict.fromkeys(v for wanted in n_samples for v in wanted)
        }
        most = {variant: int(of.max()) for variant, of in counts.items()}
        table, unjudged = self._read(items, most, stage, None, counts)
        return self._as_cut(table, short or unjudged)

    def _as_cut(self, table: SampleTable, short: str) -> tuple[SampleTable, str]:
        """What is there where a limit cut the purchase short, and the limit.

        It is noted; in a replay, it is what was noted.
        """
        number, self._purchases = self._purchases, self._purchases + 1
        if self.supplies[None].model is not None and short:
            there = np.array([rows.present for rows in table.everything.values()]).T.tolist()
            counts = dict(zip(table.item_ids, map(tuple, there), strict=True))
            said = str(self._ended or "")
            self.cut_short.append(CutPurchase(number, short, said, counts))
        cut = next((cut for cut in self.cut_short if cut.number == number), None)
        if cut is None:
            return table, ""
        if cut.said:
            self._ended = ProviderError(cut.said)
        nothing = (0,) * len(table.everything)
        there = np.array([cut.counts.get(item, nothing) for item in table.item_ids])
        there = there.reshape(table.n_items, len(nothing))
        return table.first(dict(zip(table.everything, there.T, strict=True))), cut.short

    def _read(
        self,
        items: Sequence[Item],
        n_samples: Mapping[Variant, int],
        stage: str,
        trees: Trees | None,
        counts: Mapping[Variant, npt.NDArray[np.intp]] | None = None,
    ) -> tuple[SampleTable, str]:
        """What is there, judged, with samples that failed for good as abstentions; of each item the
        first ``counts``. Also the cap that ended the judging, if one did."""
        requests = {a: [self.request(a, item) for item in items] for a in n_samples if not a.path}
        turns = {variant: self.prompts[variant.prompt].turn for variant in requests}
        others = {name: supply.tier for name, supply in self.supplies.items() if name}
        how = TableOptions(others, turns, trees, counts=counts, verifier=self.verifier)

        def read(scorer: Scorer | None) -> SampleTable:
            told = replace(how, scorer=scorer)
            return load(self.pool, self.task, self.tier, items, requests, n_samples, told)

        short = ""
        if self.judging is not None:
            answers = Collecting()
            read(answers)
            short = self._judge(self.judging, answers, stage)
        table = read(self.judging)
        if stage == "screen":
            self._say(self._cuts(self.used))
            variant = next(iter(table.variants), None)
            if variant is not None and items:
                rows = self.pool.samples([requests[variant][0].key], 0, 1)
                text = rows[0][2] if rows else ""
                self._wrong = nothing_right(table, self.task, items[0], text)
                self._say(self._wrong)
        return self._with_refused(table, requests, trees, counts), short

    def _begin_judging(self) -> str:
        """Measure the judge on people's labels, before anything else; the cap that ended it."""
        judging = self.judging
        if judging is None or self._judge_checked:
            return ""
        judging.progress = self._progress(JUDGE)
        account = self._account(self.supplies[None], JUDGE)
        return self._bought(lambda: judging.check_labels(account))

    def _judge(self, judging: Judging, answers: Collecting, stage: str) -> str:
        """Have a table's answers judged; the cap that ended it, if one did."""
        account = self._account(self.supplies[None], stage)
        judging.progress = self._progress(JUDGE)
        short = self._bought(lambda: judging.buy(answers.pairs, account))
        if not (self._judge_checked or short == PROVIDER_ENDED):
            self._judge_checked = True
            judging.check_answers(answers.pairs, account)
            for text in remarks_on_judge(judging.summary()):
                self.listener(Remarked(self.tier.name, text))
        return short

    def check_drift(self, judging: Judging) -> None:
        """Have the judge read the checked answers once more, where it can still be asked."""

        def read() -> str:
            judging.check_drift()
            return ""

        self._bought(read)

    def scored(self, text: str, item: Item) -> float:
        """The score of a text as an answer to ``item``; NaN where it is not judged."""
        answer = self.task.answer.of(item.inputs).extract(text)
        judging = self.judging
        score = with_judge(self.task.score, judging.score) if judging else self.task.score
        return score(answer, item)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the samples that were bought show beside their scores."""
        failed = refused(self._none, self._some)
        said = (*self._wrong, *self._cuts(self.used), *failed, *estimated(self.spent))
        return tuple(remark.text for remark in said)

    def _begin(self, trees: Trees, variants: Sequence[Variant], supply: Supply, stage: str) -> str:
        """Buy and read the first answers; the cap that ended it, if one did."""
        first = first_needs(self._answers(trees, variants), len(self._answering))
        short = self._fill(supply, first, stage)
        self._say(self._cuts({need.request.key for need in first}, SAID_AT_ONCE))
        self._look(first, supply)
        return short

    def _look(self, needs: Sequence[Need], supply: Supply) -> None:
        """Look whether the answers to ``needs`` can be read; a replay has been told already."""
        if needs:
            self._readable = supply.model is None or check_readable(
                self.pool, needs, self.task, self.tier.name
            )

    @property
    def _answering(self) -> set[str]:
        return {base_of(p.id) for p in self.prompts.values() if p.turn == ANSWER}

    def _answers(self, trees: Trees, variants: Iterable[Variant]) -> dict[Variant, list[Need]]:
        """What is asked of those ``variants`` of the tier itself whose samples are plain
        answers."""
        plain = (v for v in variants if v.tier is None and not v.path)
        plain = (v for v in plain if self.prompts[v.prompt].turn == ANSWER)
        return {variant: [need for _, need in trees.needs(variant)] for variant in plain}

    def _say(self, remarks: Iterable[Remark]) -> None:
        for remark in remarks:
            if remark.about not in self._said:
                self._said.add(remark.about)
                self.listener(Remarked(self.tier.name, remark.text))

    def _cuts(self, used: Iterable[str], said_from: float = SAID_FROM) -> tuple[Remark, ...]:
        modes = {
            request.key: (variant.mode, cap)
            for (variant, _), request in self._requests.items()
            if isinstance(cap := cap_of(request), int) and variant.tier is None
        }
        asked = [key for key in used if key in modes]
        reasons = self.pool.finish_reasons(asked)
        return cuts([(*modes[asked[i]], reason, n) for i, reason, n in reasons], said_from)

    def _with_refused(
        self,
        table: SampleTable,
        requests: Mapping[Variant, Sequence[Request]],
        trees: Trees | None,
        counts: Mapping[Variant, npt.NDArray[np.intp]] | None,
    ) -> SampleTable:
        """The table with failed samples as abstentions; items with no other sample keep none.

        What follows a failed sample of a chain has failed with it.
        """
        for rows in table.variants.values():
            there = np.flatnonzero((~np.isnan(rows.score)).any(axis=1))
            self._answered.update(table.item_ids[i] for i in there)
        failed: dict[Variant, npt.NDArray[np.bool_]] = {}
        everything = table.everything
        for variant in (variant for level in parents_first(everything) for variant in level):
            if not variant.path and variant not in table.variants:
                continue  # what a difficulty signal asked
            rows = everything[variant]
            gaps, lost = rows.gaps, np.zeros(rows.score.shape, np.bool_)
            if counts is not None:
                gaps &= np.arange(rows.n_samples) < counts[variant][:, None]
            places = [(int(i), int(d)) for i, d in np.argwhere(gaps)]
            if variant.path:
                asked = trees.level(variant).requests if trees else {}
                keys = {place: asked[place].key for place in places if place in asked}
            else:
                keys = {(i, d): requests[variant][i].key for i, d in places}
            by_key = self.pool.failed(set(keys.values()), self.account.run or None)
            for place, key in keys.items():
                lost[place] = place[1] in by_key.get(key, ())
            if variant.path and trees:
                for place in trees.without_passages(variant):
                    lost[place] = True
            if variant.parent in failed:
                lost |= failed[variant.parent] & gaps
            failed[variant] = lost
        if not any(lost.any() for lost in failed.values()):
            return table
        table, none, some = with_refused(table, failed, counts, self._answered)
        self._none |= none
        self._some |= some
        return table

    def why_failed(self, variants: Iterable[Variant], items: Sequence[Item]) -> str:
        """Why every sample of one of ``variants`` failed on all ``items``; empty where none did."""
        for variant in variants:
            keys = [self.request(variant, item).key for item in items]
            if not self.pool.present(keys) and self.pool.failed(keys):
                return ": ".join(self.pool.last_failure(keys[0]) or ("its calls failed",))
        return ""

    def texts(self, variant: Variant, items: Sequence[Item], samples: int) -> list[list[str]]:
        """What the first ``samples`` of a variant said on each item: those that are whole."""
        keys = [self.request(variant, item).key for item in items]
        said: list[list[str]] = [[] for _ in items]
        for place, _, text, *_, end in self.pool.samples(keys, 0, samples):
            if end not in UNFINISHED:
                said[place].append(text)
        return said

    @property
    def spent(self) -> Usage:
        """What the run has cost on this tier so far, over all of its starts."""
        return self.pool.spent(self.account.run, self.tier.name)

    def request(self, variant: Variant, item: Item, parent: Parent | None = None) -> Request:
        """The request of a variant for an item; one that follows nothing is built once."""
        key = (variant, item.id)
        if parent is None and key in self._requests:
            return self._requests[key]
        of, prompt = self._supply(variant), self.prompts[variant.prompt]
        if parent is not None and variant.owner == JUDGES and of.verifier is not None:
            messages = of.verifier.messages(item.inputs, parent.text)
            return judge_request(of.tier, messages, of.address)
        built = build_request(of.tier, prompt, variant, item.inputs, of.address, parent=parent)
        if parent is None:
            self._requests[key] = built
        return built

    def _supply(self, variant: Variant) -> Supply:
        """Where its samples come from.

        Raises:
            InputError: it is a judgement, and nobody judges.
        """
        if variant.owner == JUDGES and JUDGES not in self.supplies:
            raise InputError(
                "judged_best_of_n asks a judge, and the task names none: give it the key judge, "
                "such as judge: {model: openai/gpt-4o-mini, rubric: …}"
            )
        return self.supplies[variant.owner]

    def _fill(self, of: Supply, needs: Sequence[Need], stage: str) -> str:
        """Buy what is missing of a tier's samples; the cap that ended it, if one did."""
        if of.model is None:
            return ""
        model, account, progress = of.model, self._account(of, stage), self._progress(stage)
        return self._bought(
            lambda: (
                fill(
                    self.pool, model, of.tier, needs, account, stage=stage, progress=progress
                ).short
            )
        )

    def _bought(self, buy: Callable[[], str]) -> str:
        """The limit that ended a purchase, if one did; ``PROVIDER_ENDED`` where that did."""
        if self._ended is None:
            try:
                return buy()
            except ProviderError as error:
                self._ended = error
        return PROVIDER_ENDED

    def _account(self, of: Supply, stage: str) -> Account:
        """Who pays in a stage, without the money and time that are set aside for the test."""
        if stage == TEST_STAGE:
            return self.account
        account = self.account.before_test
        # Where chunks are reserved as a whole, what is kept back would leave room for none.
        if getattr(of.model, "one_by_one", False):
            return replace(account, limits=account.limits - self._for_test)
        return account

    def _progress(self, stage: str) -> Callable[[Progress], None]:
        before = self.spent

        def heard(done: Progress) -> None:
            calls, usd = before.calls + done.calls, before.usd + done.usd
            self.listener(Bought(self.tier.name, stage, done, calls, usd))

        return heard


def in_turn(
    trees: Trees, variants: Sequence[Variant], items: Sequence[Item], leading: int = 0
) -> list[Need]:
    """What ``variants`` need, item by item: an item that was begun is finished first.

    Before that the first ``leading`` items, variant by variant.
    """
    first: list[Need] = []
    by_item: list[list[Need]] = [[] for _ in items]
    for variant in variants:
        for at, need in trees.needs(variant):
            (first if at < leading else by_item[at]).append(need)
    return first + [need for needs in by_item for need in needs]
