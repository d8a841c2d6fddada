"""Stored samples as arrays: rows of the pool -> the table that trials are judged on."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tierwise.difficulty import read_reply
from tierwise.errors import unknown_name
from tierwise.evaluation.table import ABSTAINED, NO_QUERY, SampleTable, VariantTable, elected_scores
from tierwise.llm import UNFINISHED, Request
from tierwise.pool.store import SamplePool
from tierwise.pool.trees import Trees, rows_of
from tierwise.schema import ANSWER, JudgeVerifier, Tier, Turn, Variant, read_turn
from tierwise.schema.judge import number_of
from tierwise.schema.turns import JUDGED_TURN, ROOT, SELECTING
from tierwise.stats.intervals import Floats
from tierwise.tasks import VERIFIERS, AnswerSpec, Item, Task, parts_of, with_judge

_Mask = npt.NDArray[np.bool_]

REMEMBERED_TEXTS = 2**18
"""Texts whose answer stays in memory: a table grows, and is read again every study round."""


@dataclass(frozen=True)
class TableOptions:
    """How stored samples are read, beside the task and the tier.

    Attributes:
        others: tiers that variants name, at whose prices they are.
        turns: the variants that are asked something else than the task: their replies are read by
            the difficulty signal of that turn, and are among the table's ``nodes``.
        trees: where variants with a path are read from. Their price includes what their look-ups
            cost, and where a chain had ended before, that is said and is no gap.
        scorer: scores in place of the task's metric, where scores are bought after the samples. An
            answer that it leaves unjudged has the mean score of the variant's other answers to the
            item; where there is none, of all variants' (so that it speaks for none of them), else
            NaN.
        counts: of item i only the first ``counts[variant][i]`` samples are there.
        verifier: reads the judgements below samples, at the price of the tier ``JUDGES``.
    """

    others: Mapping[str, Tier] = field(default_factory=dict)
    turns: Mapping[Variant, str] = field(default_factory=dict)
    trees: Trees | None = None
    scorer: Scorer | None = None
    counts: Mapping[Variant, npt.NDArray[np.intp]] | None = None
    verifier: JudgeVerifier | None = None


def load(
    pool: SamplePool,
    task: Task,
    tier: Tier,
    items: Sequence[Item],
    requests: Mapping[Variant, Sequence[Request]],
    n_samples: Mapping[Variant, int],
    how: TableOptions | None = None,
) -> SampleTable:
    """The table of ``items``, in their order, for the variants of ``requests`` (a request an item).

    Samples ``0 … n_samples[variant] - 1`` are its columns. A sample that is not there has no
    answer, and NaN for score, dollars and seconds. An abstention is there: it has no answer, and
    the score that the metric gives to none. Log-probabilities are there as verifiers where the tier
    gives them, NaN for a sample that has none, and so are the task's verifiers. Codes of answers
    count up within an item in order of first sight, over variants in their order and samples in
    theirs.

    Raises:
        InputError: a variant names a tier that is not among the others.
    """
    how = how or TableOptions()
    tiers = {**how.others, tier.name: tier}
    reading = _Reading(task, items, how)
    variants, nodes = dict[Variant, VariantTable](), dict[Variant, VariantTable]()
    unjudged: dict[Variant, _Mask] = {}
    for variant, of_items in requests.items():
        if len(of_items) != len(items):
            raise ValueError(f"{variant.label}: {len(of_items)} requests for {len(items)} items")
        rows = pool.samples([request.key for request in of_items], 0, n_samples[variant])
        if how.counts is not None:
            rows = [row for row in rows if row[1] < how.counts[variant][row[0]]]
        shape, kind = (len(items), n_samples[variant]), how.turns.get(variant, ANSWER)
        owner = _owner(variant, tier, tiers)
        if kind != ANSWER:
            nodes[variant] = _variant_table(rows, shape, owner, reading, kind)
            continue
        table = variants[variant] = _variant_table(rows, shape, owner, reading, variant.turn)
        if how.scorer and (np.isnan(table.score) > np.isnan(table.completion_usd)).any():
            unjudged[variant] = reading.unjudged(rows, shape)
    for variant in n_samples:
        if variant.path and how.trees is not None:
            shape, owner = (len(items), n_samples[variant]), _owner(variant, tier, tiers)
            nodes[variant] = _node_table(how.trees, variant, shape, owner, reading)
    if unjudged:
        variants = with_unjudged(variants, unjudged)
    ids, inputs = tuple(i.id for i in items), tuple(i.inputs for i in items)
    return SampleTable(ids, inputs, variants, nodes, objects=reading.objects)


def _owner(variant: Variant, tier: Tier, tiers: Mapping[str, Tier]) -> Tier:
    owner = variant.owner or tier.name
    if owner not in tiers:
        raise unknown_name("tier", owner, tiers)
    return tiers[owner]


class Scorer(Protocol):
    """Scores answers; see ``pool.judging``."""

    def score(self, answer: str | None, item: Item) -> float:
        """The score in [0, 1], NaN where there is none."""
        ...

    def unjudged(self, answer: str | None, item: Item) -> bool:
        """Whether a score was asked for, and there is none."""
        ...


@dataclass
class Collecting:
    """A scorer that knows no scores: what a table asks of one, in order of first sight."""

    pairs: list[tuple[Item, str]] = field(default_factory=list)

    def score(self, answer: str | None, item: Item) -> float:
        """0; the answer is noted."""
        if answer is not None:
            self.pairs.append((item, answer))
        return 0.0

    def unjudged(self, answer: str | None, item: Item) -> bool:
        """False."""
        return False


class _Read(NamedTuple):
    """Code and score of an answer, the codes of its fields where these are voted on, and the parts
    of the score."""

    code: int
    score: float
    fields: tuple[int, ...]
    parts: tuple[float, ...] = ()


class _Reading:
    """Codes and scores of the answers of each item, the same over all variants."""

    def __init__(self, task: Task, items: Sequence[Item], how: TableOptions) -> None:
        self._task, self._items, self._verifier = task, items, how.verifier
        library = how.trees.library if how.trees else None
        self._query = library.spec.query if library else None
        self._scorer = scorer = how.scorer
        self._score = with_judge(task.score, scorer.score) if scorer else task.score
        self._seen: list[dict[str | None, _Read]] = [{} for _ in items]
        self._codes = [0] * len(items)
        self.n_ballots = len(task.answer.ballots)
        self.parts = parts_of(self._score)
        self.objects = elected_scores(task.answer, task.score, items)
        self._answers = [task.answer.of(item.inputs) for item in items]

    def read(self, position: int, text: str, turn: Turn, end: str) -> _Read:
        """What a text says; ``end`` is why it ended: a cut one has no answer."""
        answer = self._answer(position, text, turn, end)
        seen = self._seen[position]
        if answer not in seen:
            code, fields = ABSTAINED, (ABSTAINED,) * self.n_ballots
            if answer is not None:
                code = self._codes[position]
                self._codes[position] += 1
                if self.objects:
                    values = self._answers[position].values(answer)
                    fields = self.objects[position].encode(values)
            item = self._items[position]
            parts = tuple(part.metric(answer, item) for part in self.parts)
            seen[answer] = _Read(code, self._score(answer, item), fields, parts)
        return seen[answer]

    def _answer(self, position: int, text: str, turn: Turn, end: str) -> str | None:
        return _answer(self._answers[position], self._query, turn, text, end not in UNFINISHED)

    def unjudged(self, rows: Sequence[tuple[Any, ...]], shape: tuple[int, int]) -> _Mask:
        """(n_items, n_samples): the plain answers that have no judgement."""
        mask = np.zeros(shape, dtype=np.bool_)
        for position, sample, text, *_, end in rows:
            answer = self._answer(position, text, ROOT, end)
            if self._scorer is not None and self._scorer.unjudged(answer, self._items[position]):
                mask[position, sample] = True
        return mask

    def number(self, turn: Turn, text: str, end: str) -> float:
        """What the reply to a turn says whose replies are numbers; NaN where it says none."""
        found = number_of(turn, text, self._verifier, end not in UNFINISHED)
        return np.nan if found is None else found

    def verify(self, name: str, position: int, text: str, turn: Turn, end: str) -> float:
        answer = self._answer(position, text, turn, end)
        return VERIFIERS[name](self._items[position].inputs, text, answer)

    @property
    def verifiers(self) -> tuple[str, ...]:
        return self._task.verifiers


@functools.lru_cache(maxsize=REMEMBERED_TEXTS)
def _answer(
    spec: AnswerSpec, query: AnswerSpec | None, turn: Turn, text: str, finished: bool
) -> str | None:
    return read_turn(turn, text, spec, query, finished).answer


def _node_table(
    trees: Trees, variant: Variant, shape: tuple[int, int], tier: Tier, reading: _Reading
) -> VariantTable:
    """The samples of a variant with a path; a query costs what its look-up does beside."""
    level, told = trees.level(variant), trees.told(variant)
    rows = [(i, d, *row) for (i, d), row in rows_of(trees.pool, level.requests) if (i, d) in told]
    table = _variant_table(rows, shape, tier, reading, variant.turn)
    ended = np.zeros(shape, dtype=np.bool_)
    for i, d in level.ended:
        if d < shape[1]:
            ended[i, d] = True
    table = replace(table, ended=ended)
    if trees.library is None or variant.turn.name != "query":
        return table
    fresh, match = np.full(shape, NO_QUERY, dtype=np.int16), np.zeros(shape)
    for at, known in told.items():
        if known.found is not None and known.news is not None:
            fresh[at], match[at] = known.news
            table.completion_usd[at] += trees.library.spec.usd_per_call
            table.latency_s[at] += known.found.latency_s
    return replace(table, fresh=fresh, match=match)


def _variant_table(
    rows: Sequence[tuple[Any, ...]],
    shape: tuple[int, int],
    tier: Tier,
    reading: _Reading,
    turn: Turn | str,
) -> VariantTable:
    answers = np.full(shape, ABSTAINED, dtype=np.int16)
    fields = np.full((*shape, reading.n_ballots), ABSTAINED, dtype=np.int16)
    parts = np.full((*shape, len(reading.parts)), np.nan)
    score, *columns = (np.full(shape, np.nan) for _ in range(8))
    names = reading.verifiers if isinstance(turn, Turn) else (turn,)
    if isinstance(turn, Turn) and turn.name in (JUDGED_TURN, SELECTING):
        names = (turn.name,)
    verified = {name: np.full(shape, np.nan) for name in names}
    if rows:
        position, sample, text, *numbers, ends = zip(*rows, strict=True)
        at = (np.array(position), np.array(sample))
        for column, values in zip(columns, numbers, strict=True):
            column[at] = values
        if isinstance(turn, Turn) and turn.name in verified:
            score[at] = 0.0
            replies = zip(text, ends, strict=True)
            verified[turn.name][at] = [reading.number(turn, t, end) for t, end in replies]
        elif isinstance(turn, Turn):
            said = list(zip(position, text, ends, strict=True))
            # Samples repeat each other: what is equal is read once, in order of first sight.
            read_ = {one: reading.read(one[0], one[1], turn, one[2]) for one in dict.fromkeys(said)}
            answers[at], score[at], fields[at], parts[at] = zip(
                *(read_[one] for one in said), strict=True
            )
            for name, scores in verified.items():
                scores[at] = [reading.verify(name, p, t, turn, end) for p, t, end in said]
        else:
            score[at] = 0.0
            least_sure = numbers[5]
            verified[turn][at] = [
                read_reply(turn, t, p)[turn] for t, p in zip(text, least_sure, strict=True)
            ]
    prompt, completion, reasoning, cached, mean_logprob, min_logprob, latency_s = columns
    logprobs = {"mean_logprob": mean_logprob, "min_logprob": min_logprob}
    given = {
        name: values
        for name, values in logprobs.items()
        if isinstance(turn, Turn) and (tier.logprobs or not np.isnan(values).all())
    }
    return VariantTable(
        answers=answers,
        score=score,
        prompt_usd=_usd(tier.price.prompt_usd, prompt, cached),
        completion_usd=_usd(tier.price.completion_usd, completion, reasoning, prompt_tokens=prompt),
        latency_s=latency_s,
        scores=given | verified,
        takes_n=tier.takes_n,
        fields=fields if reading.n_ballots else None,
        parts=parts if reading.parts else None,
    )


def with_unjudged(
    variants: Mapping[Variant, VariantTable], unjudged: Mapping[Variant, _Mask]
) -> dict[Variant, VariantTable]:
    """``variants`` with the samples that are ``unjudged`` at a mean of others of their item."""
    spoken = {variant: rows.answers != ABSTAINED for variant, rows in variants.items()}

    def filled(scores: Mapping[Variant, Floats]) -> dict[Variant, Floats]:
        known = {v: np.where(spoken[v], of, np.nan) for v, of in scores.items()}
        of_item = _row_means(np.concatenate(list(known.values()), axis=1))
        made = dict(scores)
        for variant, mask in unjudged.items():
            own = _row_means(known[variant])
            mean = np.where(np.isnan(own), of_item, own)[:, None]
            made[variant] = np.where(mask & np.isnan(scores[variant]), mean, scores[variant])
        return made

    score = filled({variant: rows.score for variant, rows in variants.items()})
    parts = {v: rows.parts for v, rows in variants.items() if rows.parts is not None}
    n_parts = max((of.shape[2] for of in parts.values()), default=0)
    columns = [filled({v: of[..., k] for v, of in parts.items()}) for k in range(n_parts)]
    return {
        variant: replace(
            rows,
            score=score[variant],
            parts=np.stack([of[variant] for of in columns], axis=-1) if columns else None,
        )
        for variant, rows in variants.items()
    }


def _row_means(values: Floats) -> Floats:
    """(n_items,): of what is there; NaN where nothing is."""
    count = (~np.isnan(values)).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def _usd(price: Callable[..., Any], *tokens: Floats, **of: Floats) -> Floats:
    """Prices are plain arithmetic: on arrays they give the bits that the runtime's numbers have."""
    usd: Floats = price(*tokens, **of)
    return usd
