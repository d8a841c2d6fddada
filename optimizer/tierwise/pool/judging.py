"""Judgements: the scores of a judge, bought like samples and at most once an exact text.

Samples come first, then the judge is asked about each answer that has no score yet. A reply that
failed or cannot be read is asked for again, as the request's next sample, up to the judge's
``attempts``; where none can be read the answer stays unjudged, which is neither a score of 0 nor a
sample that is not there: it is counted, and ``pool.load`` says what becomes of it.

A judge is measured before it is used: against the scores of people, against itself on repeated
readings, with the reference in another place, and on answers made longer by nothing new. At the end
of a search the same answers are read once more, which shows drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tierwise.errors import ProviderError
from tierwise.llm import UNFINISHED, LanguageModel, Request, judge_request
from tierwise.pool.buy import Account, Progress, fill
from tierwise.pool.calls import Need
from tierwise.pool.store import SamplePool
from tierwise.schema import Judge, Tier, Usage
from tierwise.schema.judge import padded_answer
from tierwise.schema.measured import Bounds, interval_ends, number
from tierwise.schema.result import JudgeShift, JudgeSummary, UsageTotals
from tierwise.stats import student_quantile
from tierwise.stats.intervals import UNSUPPORTED, Floats
from tierwise.stats.rank import FEWEST_RATED, intraclass_correlation, quadratic_kappa
from tierwise.tasks import Item

JUDGE = "judge"
"""Name of the judge as a tier, and the stage under which judgements are entered."""

MOST_UNANSWERED = 0.05
"""Part of the answers without a readable judgement from which on a judge is not relied on."""
SAID_LOST = 0.05
"""Part of the judge's calls without a readable reply that is said."""
LEAST_SHIFT = 0.05
"""Of scores in [0, 1]: a smaller bias is not acted on, however surely it is there."""
CHANCE, SHIFTS = 0.05, 3
"""How often a sound judge is suspected of one of the three shifts, at most."""
HOPELESS, FIRST = 0.5, 8
"""From the first ``FIRST`` answers on, a judge that reads fewer than this part ends the run."""

Pair = tuple[Item, str]
"""An item, and a canonical answer to it."""


@dataclass
class Judging:
    """The judgements of one tier's answers.

    Attributes:
        tier: the judge's model and price; ``model`` None is a replay: nothing is bought.
        account: who pays: the tier whose answers are judged.
        progress: hears how far a purchase is.
    """

    pool: SamplePool
    judge: Judge
    tier: Tier
    model: LanguageModel | None
    address: str
    account: Account
    progress: Callable[[Progress], None] = lambda done: None
    used: dict[str, set[int]] = field(default_factory=dict)
    """Request key -> samples that were looked at."""

    def __post_init__(self) -> None:
        self._scores: dict[str, float] = {}
        """Request key -> score; NaN where no reply can be read."""
        self._requests: dict[tuple[str, str], Request] = {}
        self._replies = self._lost = 0
        self._labelled: list[float] = []
        self._readings: Floats = np.empty((0, 0))
        self._shifts: dict[str, Floats] = {}
        self._checked: list[Pair] = []

    # What a table asks

    def score(self, answer: str | None, item: Item) -> float:
        """The score in [0, 1]; an abstention has 0. NaN: unjudged, or not bought."""
        if answer is None:
            return 0.0
        return self._scores.get(self._request(item, answer).key, math.nan)

    def unjudged(self, answer: str | None, item: Item) -> bool:
        """Whether the judge was asked about the answer, and no reply can be read."""
        if answer is None:
            return False
        return math.isnan(self._scores.get(self._request(item, answer).key, 0.0))

    def buy(self, pairs: Iterable[Pair], account: Account | None = None) -> str:
        """Have answers judged that are not; the limit that ended it, if one did."""
        requests = [self._request(item, answer) for item, answer in pairs]
        open_ = [request for request in requests if request.key not in self._scores]
        found, short = self._read(open_, 0, account)
        self._scores |= found
        return short

    # How good the judge is

    def check_labels(self, account: Account | None = None) -> str:
        """Judge the answers that people have scored; the limit that ended it, if one did.

        Raises:
            ProviderError: next to none of the replies can be read.
        """
        labels = self.judge.labels
        short = self.buy([(label.item, label.answer) for label in labels], account)
        self._labelled = [self.score(label.answer, label.item) for label in labels]
        self._stop_if_hopeless()
        return short

    def check_answers(self, pairs: Sequence[Pair], account: Account | None = None) -> None:
        """Read some of ``pairs``, which are judged, again: repeated, swapped and padded.

        Raises:
            ProviderError: next to none of the replies can be read.
        """
        self._stop_if_hopeless()
        spec, distinct = self.judge.spec, list({(p[0].id, p[1]): p for p in pairs}.values())
        n = min(spec.checked, len(distinct))
        self._checked = [distinct[i * len(distinct) // n] for i in range(n)] if n else []
        plain = [self._request(item, answer) for item, answer in self._checked]
        readings = [self._values(plain, reading, account) for reading in range(spec.repeats)]
        self._readings = np.array(readings).T.reshape(n, spec.repeats)
        before = self._before()
        if spec.reference:
            swapped = [self._built(i, a, swapped=True) for i, a in self._checked]
            self._shifts["position"] = self._values(swapped, 0, account) - before
        longer = [self._built(item, padded_answer(answer)) for item, answer in self._checked]
        self._shifts["length"] = self._values(longer, 0, account) - before

    def check_drift(self) -> None:
        """Read the checked answers once more: at the end of the search."""
        plain = [self._request(item, answer) for item, answer in self._checked]
        last = self._values(plain, self.judge.spec.repeats)
        if len(last):
            self._shifts["drift"] = last - self._before()

    def _before(self) -> Floats:
        """(n_checked,): the mean of an answer's readings at the beginning."""
        before: Floats = self._readings.mean(axis=1)
        return before

    def summary(self, spent: Usage | None = None) -> JudgeSummary:
        """What was measured so far; ``spent`` is what the judgements cost."""
        spec, scores = self.judge.spec, list(self._scores.values())
        labels = np.array([label.score for label in self.judge.labels])
        judged = np.array(self._labelled)
        known = ~np.isnan(judged)
        kappa = quadratic_kappa(labels[known], judged[known]) if len(judged) else UNSUPPORTED
        whole = self._readings[~np.isnan(self._readings).any(axis=1)]
        repeated = len(whole) > 0 and whole.shape[1] > 1
        consistent = intraclass_correlation(whole) if repeated else UNSUPPORTED
        noise = float(np.sqrt(whole.var(axis=1, ddof=1).mean())) if repeated else math.nan
        shifts = {name: _shift(values) for name, values in self._shifts.items()}
        found = JudgeSummary(
            model=self.tier.model,
            rubric_sha256=spec.rubric_sha256,
            scale=spec.shown_scale,
            reference=spec.reference,
            judged_answers=len(scores),
            unanswered=int(np.isnan(scores).sum()),
            replies=self._replies,
            lost_replies=self._lost,
            spending=UsageTotals.of(spent or Usage()),
            labelled=int(known.sum()),
            agreement=number(kappa.mean),
            agreement_ci95=interval_ends(kappa),
            checked=len(whole),
            noise=number(noise),
            reliability=number(consistent.mean),
            reliability_ci95=interval_ends(consistent),
            position=shifts.get("position"),
            length=shifts.get("length"),
            drift=shifts.get("drift"),
        )
        return replace(found, faults=tuple(faults_of_judge(found)))

    def _stop_if_hopeless(self) -> None:
        scores = list(self._scores.values())
        read = len(scores) - int(np.isnan(scores).sum())
        if len(scores) < FIRST or read >= HOPELESS * len(scores):
            return
        key = next(key for key, score in self._scores.items() if math.isnan(score))
        rows = self.pool.samples([key], 0, self.judge.spec.attempts)
        said = f"it said {rows[0][2][:160]!r}" if rows else "its calls failed"
        if not rows and (failure := self.pool.last_failure(key)):
            said = f"its calls failed: {': '.join(failure)[:200]}"
        raise ProviderError(
            f"the judge {self.tier.model} gave {read} of the first {len(scores)} answers a score "
            f"that can be read; for instance, {said}. Mend metric.judge in the task and run the "
            "same command again: nothing is bought twice"
        )

    # Buying and reading

    def _request(self, item: Item, answer: str) -> Request:
        key = item.id, answer
        if key not in self._requests:
            self._requests[key] = self._built(item, answer)
        return self._requests[key]

    def _built(self, item: Item, answer: str, *, swapped: bool = False) -> Request:
        messages = self.judge.messages(item, answer, swapped=swapped)
        return judge_request(self.tier, messages, self.address)

    def _values(
        self, requests: Sequence[Request], reading: int, account: Account | None = None
    ) -> Floats:
        found, _ = self._read(requests, reading, account)
        return np.array([found.get(request.key, math.nan) for request in requests])

    def _read(
        self, requests: Sequence[Request], reading: int, account: Account | None
    ) -> tuple[dict[str, float], str]:
        """Score by request key, NaN where no reply can be read; what was not bought is left out.

        Reading r of a request takes its samples r * attempts to (r + 1) * attempts - 1, as far as
        it must. Also the limit that ended it.
        """
        account, spec = account or self.account, self.judge.spec
        open_ = list({request.key: request for request in requests}.values())
        found: dict[str, float] = {}
        short = ""
        for attempt in range(spec.attempts):
            if not open_ or short:
                break
            at = reading * spec.attempts + attempt
            if self.model is not None:
                needs = [Need(request, 1, at) for request in open_]
                bought = fill(
                    self.pool,
                    self.model,
                    self.tier,
                    needs,
                    account,
                    stage=JUDGE,
                    progress=self.progress,
                )
                short = bought.short
            keys = [request.key for request in open_]
            failed = self.pool.failed(keys, account.run or None)
            again = {key for key in keys if at in failed.get(key, ())}
            for place, _, text, *_, end in self.pool.samples(keys, at, 1):
                score = spec.read(text, end not in UNFINISHED)
                if score is None:
                    again.add(keys[place])
                else:
                    again.discard(keys[place])
                    found[keys[place]] = score
                self.used.setdefault(keys[place], set()).add(at)
            self._replies += len(again) + sum(key in found for key in keys)
            self._lost += len(again)
            open_ = [request for request in open_ if request.key in again]
            if attempt == spec.attempts - 1:
                found |= dict.fromkeys((request.key for request in open_), math.nan)
        return found, short


def _shift(values: Floats) -> JudgeShift | None:
    known = values[~np.isnan(values)]
    if len(known) < FEWEST_RATED:
        return None
    n, mean = len(known), float(known.mean())
    error = float(known.std(ddof=1)) / math.sqrt(n)
    reach = student_quantile(0.975, n - 1) * error
    sure = abs(mean) > student_quantile(1 - CHANCE / (2 * SHIFTS), n - 1) * error
    return JudgeShift(n, mean, (mean - reach, mean + reach), sure)


def faults_of_judge(found: JudgeSummary) -> list[str]:
    """Why a judge's scores may not decide, in sentences; none where they may.

    Of a sound judge's measures, agreement and the three shifts are each wrong in at most 5% of
    runs. Where labels show that it follows what people say, noise alone is no fault.
    """
    faults = []
    if found.judged_answers and found.unanswered > MOST_UNANSWERED * found.judged_answers:
        part = found.unanswered / found.judged_answers
        faults.append(
            f"{found.unanswered} of {found.judged_answers} answers ({part:.0%}) have no judgement "
            "that can be read"
        )
    low = found.agreement_ci95[0]
    if low is not None and low <= 0:
        faults.append(
            f"its agreement with {found.labelled} labels is not above chance: kappa "
            f"{found.agreement:.2f} {_ends(found.agreement_ci95)}"
        )
    low = found.reliability_ci95[0]
    if found.agreement is None and low is not None and low <= 0:
        faults.append(
            "repeated judgements of an answer differ as much as those of different answers: "
            f"reliability {found.reliability:.2f} {_ends(found.reliability_ci95)}"
        )
    for shift, what in (
        (found.position, "with the reference after the answer, not before it, its scores move by"),
        (found.length, "an answer made longer by nothing new gains"),
        (found.drift, "at the end of the run the same answers score differently by"),
    ):
        if shift is None or not shift.sure:
            continue
        # A shorter answer may well be the better one: what counts is a gain by length.
        moved = shift.mean if shift is found.length else abs(shift.mean)
        if moved >= LEAST_SHIFT:
            faults.append(f"{what} {shift.mean:+.2f} {_ends(shift.mean_ci95)}")
    return faults


def _ends(ends: Bounds) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def remarks_on_judge(found: JudgeSummary) -> list[str]:
    """What a run says of its judge, in sentences."""
    who = f"the judge {found.model}"
    said = [f"{who} may not decide, so the baseline is kept: {fault}" for fault in found.faults]
    if found.agreement is None:
        few = f"only {found.labelled} of its scores" if found.labelled else "none of its scores"
        said.append(
            f"{who}: its agreement with people was not measured, since {few} can be held against "
            f"labels (metric.judge.labels, {FEWEST_RATED} or more)"
        )
    elif not found.faults:
        said.append(
            f"{who} agrees with {found.labelled} labels at a weighted kappa of "
            f"{found.agreement:.2f} {_ends(found.agreement_ci95)}"
        )
    if found.lost_replies > SAID_LOST * found.replies:
        said.append(
            f"{who}: {found.lost_replies} of {found.replies} calls "
            f"({found.lost_replies / found.replies:.0%}) failed or gave no score, and were made "
            "again"
        )
    if found.unanswered:
        said.append(
            f"{who}: {found.unanswered} of {found.judged_answers} answers have no judgement; their "
            "samples count at the mean of the same prompt's other answers to the item"
        )
    return said
