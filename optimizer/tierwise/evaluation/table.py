"""Stored samples as arrays: what every trial of a study is judged on.

Where votes are taken field by field they may elect an object that no sample is. How many there are
is the product of the fields' values, so they are not laid out: ``ElectedScores`` judges one when a
vote elects it, by the task's metric, and remembers it.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tierwise.errors import UnsupportedError
from tierwise.schema import Turn, Variant
from tierwise.schema.measured import FailedItems
from tierwise.stats.intervals import Floats
from tierwise.strategies import Sample
from tierwise.tasks import AnswerSpec, Item, Metric, parts_of

Codes = npt.NDArray[np.int16]

ABSTAINED = -1
NO_QUERY = -1
MOST_JUDGED = 256
"""Objects of an item that are judged when its table is stored."""
_NOT_ALL = ("fields", "parts", "fresh", "match", "ended", "failed")
_COLUMNS = ("answers", "score", "prompt_usd", "completion_usd", "latency_s")


@dataclass(frozen=True)
class VariantTable:
    """Samples of one variant; every array is (n_items, n_samples), column d is sample d.

    A sample that is not there (not bought, not recorded) has ``score`` NaN.

    Attributes:
        answers: the canonical answer's code within its item, the same code over all variants of the
            table; ``ABSTAINED`` where none could be extracted.
        score: the metric, in [0, 1].
        prompt_usd: dollars for the prompt of the sample's call.
        completion_usd: dollars for the sample's own tokens.
        latency_s: seconds.
        scores: verifier scores by name (``mean_logprob`` …), NaN where there is none.
        takes_n: samples of one round share one call.
        fields: (n_items, n_samples, n_fields), codes of the values of each field within its item,
            the same over all variants; ``ABSTAINED`` where the sample is. None where answers are
            voted on whole.
        parts: (n_items, n_samples, n_parts), the parts of a weighted metric. None of another.
        fresh: of queries, how many passages each brought that its chain did not have; ``NO_QUERY``
            where it asked none. None for other turns.
        match: of queries, the largest share of its words that one of these passages has.
        ended: of turns that follow another, where there is no such sample because the chain had
            ended before: that is no gap. None where there is no such sample.
        failed: samples that failed for good: abstentions of score 0. None where none did.
    """

    answers: Codes
    score: Floats
    prompt_usd: Floats
    completion_usd: Floats
    latency_s: Floats
    scores: Mapping[str, Floats] = field(default_factory=dict)
    takes_n: bool = True
    fields: Codes | None = None
    parts: Floats | None = None
    fresh: Codes | None = None
    match: Floats | None = None
    ended: npt.NDArray[np.bool_] | None = None
    failed: npt.NDArray[np.bool_] | None = None

    @property
    def n_samples(self) -> int:
        """Samples that some item has."""
        return int(self.answers.shape[1])

    @functools.cached_property
    def slowest_s(self) -> float:
        """The longest latency; 0 where none was recorded."""
        known = self.latency_s[~np.isnan(self.latency_s)]
        return float(known.max(initial=0.0))

    @property
    def gaps(self) -> npt.NDArray[np.bool_]:
        """(n_items, n_samples): where a sample is not there, and no chain had ended before."""
        missing = np.isnan(self.score)
        return missing if self.ended is None else missing & ~self.ended

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n_items,): items that have all ``n_samples`` samples; others are unsupported."""
        return np.logical_not(self.gaps.any(axis=1))

    @property
    def present(self) -> npt.NDArray[np.intp]:
        """(n_items,): samples from the first on that are there without a gap."""
        there: npt.NDArray[np.intp] = np.logical_and.accumulate(~self.gaps, axis=1).sum(axis=1)
        return there

    def rows(self, keep: npt.NDArray[np.intp]) -> VariantTable:
        """The samples of some items."""
        return self._map(lambda values: values[keep])

    def columns(self, keep: npt.NDArray[np.intp]) -> VariantTable:
        """Some samples of all items."""
        return self._map(lambda values: values[:, keep])

    def first(self, counts: npt.NDArray[np.intp]) -> VariantTable:
        """Of item i the first ``counts[i]`` samples; the others are not there."""
        beyond = np.arange(self.n_samples) >= counts[:, None]

        def kept(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            nothing = {"f": np.nan, "b": False}.get(values.dtype.kind, ABSTAINED)
            mask = beyond.reshape(beyond.shape + (1,) * (values.ndim - 2))
            return np.where(mask, values.dtype.type(nothing), values)

        return self._map(kept)

    def _map(self, cut: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> VariantTable:
        arrays: dict[str, Any] = {name: cut(getattr(self, name)) for name in _COLUMNS}
        scores = {name: cut(values) for name, values in self.scores.items()}
        return VariantTable(**arrays, **self._if_any(cut), scores=scores, takes_n=self.takes_n)

    def _if_any(
        self, cut: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = lambda values: values
    ) -> dict[str, npt.NDArray[Any]]:
        """The arrays that not every variant has."""
        return {n: cut(v) for n in _NOT_ALL if (v := getattr(self, n)) is not None}

    def sample(self, item: int, column: int) -> Sample:
        """One sample as strategies see it; answers and values are their codes."""
        at = item, column
        scores = {name: float(values[at]) for name, values in self.scores.items()}
        answer = None if self.answers[at] == ABSTAINED else str(self.answers[at])
        voted = self.fields if answer is not None else None
        fields = () if voted is None else tuple(map(str, voted[at]))
        fresh = None if self.fresh is None or self.fresh[at] < 0 else int(self.fresh[at])
        match = 0.0 if self.match is None else float(self.match[at])
        return Sample(answer, scores, fresh=fresh, match=match, fields=fields)


class ElectedScores:
    """Of one item: the values that its answers' fields have, and what objects of them score.

    Args:
        judge: the metric of an object with these values, one a field, and its parts; None: it is
            not at hand, as in a stored table, which knows the objects that were elected before.
        known: scores and parts by codes of values.
    """

    def __init__(
        self,
        judge: Callable[[Sequence[str]], Sequence[float]] | None = None,
        values: Sequence[Sequence[str]] = (),
        known: Mapping[tuple[int, ...], Sequence[float]] | None = None,
    ) -> None:
        self._judge, self.known = judge, dict(known or {})
        self._codes = [{value: code for code, value in enumerate(of)} for of in values]

    def encode(self, values: Sequence[str]) -> tuple[int, ...]:
        """The codes of an answer's values; one seen first gets the next code of its field."""
        while len(self._codes) < len(values):
            self._codes.append({})
        pairs = zip(self._codes, values, strict=True)
        return tuple(codes.setdefault(value, len(codes)) for codes, value in pairs)

    @property
    def values(self) -> list[list[str]]:
        """For each field its values, by code."""
        return [list(codes) for codes in self._codes]

    def judge_all(self) -> None:
        """Judge every object that could be elected, where these are few."""
        sizes = [len(codes) for codes in self._codes]
        if self._judge is not None and math.prod(sizes) <= MOST_JUDGED:
            for codes in itertools.product(*map(range, sizes)):
                self.scores(codes)

    def score(self, codes: tuple[int, ...]) -> float:
        """The score of the object with these values; NaN where nobody can say."""
        return self.scores(codes)[0]

    def scores(self, codes: tuple[int, ...]) -> Sequence[float]:
        """The score and its parts."""
        if codes not in self.known:
            if self._judge is None:
                return (math.nan,)
            values = (list(of)[code] for of, code in zip(self._codes, codes, strict=True))
            self.known[codes] = self._judge(list(values))
        return self.known[codes]


def elected_scores(
    answer: AnswerSpec, metric: Metric | None, items: Sequence[Item]
) -> tuple[ElectedScores, ...]:
    """One an item, judged by its metric; nothing where answers are voted on whole.

    Of code each is some sample's, whose score counts.
    """
    if not answer.ballots:
        return ()
    if metric is None or answer.calls:
        return tuple(ElectedScores() for _ in items)

    def judge(item: Item, values: Sequence[str]) -> Sequence[float]:
        elected = answer.elected(values)
        return [m(elected, item) for m in (metric, *(part.metric for part in parts_of(metric)))]

    return tuple(ElectedScores(functools.partial(judge, item)) for item in items)


@dataclass(frozen=True)
class SampleTable:
    """Variants over the same items, in the same order.

    ``variants`` are the recipes' variants with their plain answers. ``nodes`` are all others: those
    with a path, whose samples follow others or begin with a query, and those by which a difficulty
    signal asks the model about the task. Nobody votes by a reply to the latter: it has ``scores``,
    no answer, and the score 0. ``left_out`` are ids of items that are not here, since they failed
    under every variant. ``objects`` has an entry an item where answers are voted on field by
    field, else it is empty.
    """

    item_ids: tuple[str, ...]
    inputs: tuple[Mapping[str, str], ...]
    variants: Mapping[Variant, VariantTable]
    nodes: Mapping[Variant, VariantTable] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    objects: tuple[ElectedScores, ...] = ()

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    @property
    def n_parts(self) -> int:
        """Parts of the metric; 0 where it has none."""
        of = next((rows.parts for rows in self.variants.values() if rows.parts is not None), None)
        return 0 if of is None else int(of.shape[2])

    @property
    def everything(self) -> dict[Variant, VariantTable]:
        """Both kinds of variants."""
        return {**self.variants, **self.nodes}

    @functools.cached_property
    def slowest_s(self) -> float:
        """The longest latency of all samples; 0 where none was recorded."""
        return max((rows.slowest_s for rows in self.everything.values()), default=0.0)

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(n_items,): items that have every sample of every variant."""
        whole = np.ones(self.n_items, dtype=np.bool_)
        for rows in self.everything.values():
            whole &= rows.complete
        return whole

    def of(self, variant: Variant) -> VariantTable:
        """The samples of ``variant``.

        Raises:
            UnsupportedError: there are none.
        """
        found = self.variants.get(variant) or self.nodes.get(variant)
        if found is None:
            raise UnsupportedError(f"no samples of {variant.label} are stored")
        return found

    def rows(self, keep: npt.NDArray[np.intp]) -> SampleTable:
        """The table of some items."""
        return SampleTable(
            item_ids=tuple(self.item_ids[i] for i in keep),
            inputs=tuple(self.inputs[i] for i in keep),
            variants={variant: table.rows(keep) for variant, table in self.variants.items()},
            nodes={variant: table.rows(keep) for variant, table in self.nodes.items()},
            left_out=self.left_out,
            objects=tuple(self.objects[i] for i in keep) if self.objects else (),
        )

    def unanswered(self, variants: Iterable[Variant]) -> npt.NDArray[np.bool_]:
        """(n_items,): items of which a sample of ``variants``, or of one below them, failed."""
        roots, found = {variant.root for variant in variants}, np.zeros(self.n_items, np.bool_)
        for variant, rows in self.everything.items():
            if rows.failed is not None and variant.root in roots:
                found |= rows.failed.any(axis=1)
        return found

    def failed_items(self, variants: Iterable[Variant]) -> FailedItems:
        """What stands beside a score of ``variants`` on these items."""
        return FailedItems(len(self.left_out), int(self.unanswered(variants).sum()))

    def first(self, counts: Mapping[Variant, npt.NDArray[np.intp]]) -> SampleTable:
        """The first ``counts[variant][i]`` samples of each item."""
        return replace(
            self,
            variants={v: rows.first(counts[v]) for v, rows in self.variants.items()},
            nodes={v: rows.first(counts[v]) for v, rows in self.nodes.items()},
        )

    def save(self, path: Path) -> None:
        """Write as compressed ``.npz`` without pickles.

        A stored table has no metric. It knows the objects that were elected, and where an item has
        few values, all that could be: what is not known is NaN to whoever reads the table.
        """
        for of in self.objects:
            of.judge_all()
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        index = []
        for i, (variant, table) in enumerate(self.everything.items()):
            if_any = table._if_any()
            index.append(
                {
                    "variant": [*variant[:4], [turn.label for turn in variant.path]],
                    "node": variant in self.nodes,
                    "scores": list(table.scores),
                    "takes_n": table.takes_n,
                    "arrays": list(if_any),
                }
            )
            arrays |= {f"{i}.{name}": getattr(table, name) for name in _COLUMNS}
            arrays |= {f"{i}.{name}": values for name, values in if_any.items()}
            arrays |= {f"{i}.scores.{name}": v for name, v in table.scores.items()}
        meta = {
            "item_ids": list(self.item_ids),
            "inputs": [dict(i) for i in self.inputs],
            "variants": index,
            "left_out": list(self.left_out),
            "objects": [
                {
                    "values": of.values,
                    "known": sorted([codes, list(s)] for codes, s in of.known.items()),
                }
                for of in self.objects
            ],
        }
        # The stub takes the arrays' names for its own parameter ``allow_pickle``.
        np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]  # arrays by name

    @classmethod
    def load(cls, path: Path) -> SampleTable:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as data:
            meta = json.loads(str(data["meta"]))
            variants, nodes = dict[Variant, VariantTable](), dict[Variant, VariantTable]()
            for i, entry in enumerate(meta["variants"]):
                variant = _variant(*entry["variant"])
                part = nodes if entry["node"] else variants
                part[variant] = VariantTable(
                    **{name: data[f"{i}.{name}"] for name in (*_COLUMNS, *entry.get("arrays", ()))},
                    scores={name: data[f"{i}.scores.{name}"] for name in entry["scores"]},
                    takes_n=entry["takes_n"],
                )
            objects = tuple(
                ElectedScores(
                    values=of["values"],
                    known={tuple(codes): scores for codes, scores in of["known"]},
                )
                for of in meta.get("objects", ())
            )
        ids, inputs, left_out = (tuple(meta[k]) for k in ("item_ids", "inputs", "left_out"))
        return cls(ids, inputs, variants, nodes, left_out, objects)


def _variant(
    prompt: str, mode: str, temperature: float, tier: str | None, path: Sequence[str] = ()
) -> Variant:
    return Variant(prompt, mode, temperature, tier, tuple(Turn.of(label) for label in path))


def encode_answers(answers: Sequence[Sequence[str | None]]) -> list[list[int]]:
    """Codes of one item's answers over all its variants: 0, 1, 2 … in order of first sight."""
    seen: dict[str, int] = {}
    return [
        [ABSTAINED if a is None else seen.setdefault(a, len(seen)) for a in row] for row in answers
    ]
