"""One request answered under a policy: the pure part, driven twice.

``evaluation`` drives an episode with stored samples, ``serving`` with live calls. Probe, bucket,
dealing, strategy, limits and bill are all decided here, so the two cannot drift apart::

    rounds = episode(policy, strategies, inputs)
    round_ = next(rounds)                       # which variants to sample from, all at once
    round_ = rounds.send([Sampled(...), ...])     # one Sampled for each sample asked for, in order
    ...                                         # StopIteration carries the Outcome
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tierwise.difficulty import signal_of, turn_of
from tierwise.errors import UnsupportedError
from tierwise.schema import ANSWER, Policy, SampleBill, Turn, Variant, price
from tierwise.strategies import (
    Ask,
    Elected,
    Sample,
    Seen,
    Strategy,
    build,
    elect,
    interleave,
    next_move,
)

Ended = Literal["answered", "max_usd_per_request", "max_samples", "timeout", "failed"]


class Round(NamedTuple):
    """Samples to make at once: one variant a sample. What is not there after ``timeout_s`` has
    failed.

    ``parents`` are the samples that they follow, counted over the whole episode; None where a
    sample begins a tree. A child has its parent's index.
    """

    variants: tuple[Variant, ...]
    timeout_s: float | None
    parents: tuple[int | None, ...]


class Sampled(NamedTuple):
    """What came back for one sample. ``bill`` is None for a failure that nobody billed."""

    sample: Sample
    bill: SampleBill | None
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended.

    ``index`` points into ``samples`` (all of them, the probe's first), None where nothing arrived.
    ``rounds`` holds the number of samples of each round, ``parents`` what each sample followed.
    ``fields`` says for each field which sample its value is from, where the answer is an object
    that votes put together; ``index`` is then the sample that has most of these values.
    """

    index: int | None
    bucket: int
    signal: float
    samples: tuple[Sampled, ...]
    variants: tuple[Variant, ...]
    rounds: tuple[int, ...]
    usd: float
    latency_s: float
    ended: Ended
    parents: tuple[int | None, ...] = ()
    fields: tuple[int, ...] = ()

    @property
    def elected(self) -> tuple[str, ...]:
        """The values of the fields of an object that votes put together."""
        return tuple(self.samples[i].sample.fields[f] for f, i in enumerate(self.fields))


def strategies_of(policy: Policy) -> tuple[Strategy, ...]:
    """The strategy of each bucket, built once."""
    return tuple(build(recipe.strategy) for recipe in policy.buckets)


def episode(
    policy: Policy, strategies: Sequence[Strategy], inputs: Mapping[str, str]
) -> Generator[Round, Sequence[Sampled], Outcome]:
    """Answer one request; see the module docstring for the protocol.

    Raises:
        UnsupportedError: a strategy asks for a turn after a sample that failed.
    """
    request = _Request(policy)
    probe = policy.difficulty.probe
    if probe:
        yield from request.round(probe.interleaved)
    seen_by_probe = [
        d.sample._replace(variant=probe.variants.index(variant) if probe else 0)
        for d, variant in zip(request.sampled, request.variants, strict=True)
    ]
    value = signal_of(policy.difficulty).value(inputs, seen_by_probe)
    bucket = policy.bucket_of(value)
    variants, strategy = policy.buckets[bucket].variants, strategies[bucket]

    # Probe samples of a variant of this bucket are its first samples; others are paid for and not
    # seen.
    known = [i for i, variant in enumerate(request.variants) if variant in variants]
    samples = [
        request.sampled[i].sample._replace(variant=variants.index(request.variants[i]))
        for i in known
    ]
    while True:
        seen = Seen(tuple(samples), len(variants))
        if request.ended:
            break
        move = next_move(strategy, seen)
        if isinstance(move, Elected):
            return request.outcome(move, known, bucket, value)
        before = len(request.sampled)
        interleaved = _interleaved(move, samples, len(variants))
        turn = Turn(move.turn, move.passages)
        parents = [known[p] for p in move.parents]
        if any(request.sampled[p].sample.failed for p in parents):
            raise UnsupportedError(f"{strategy.kind} asks for a {turn.label} after a failed sample")
        asked = [request.variants[p].below(turn) for p in parents] or [
            variants[a].begun(turn) for a in interleaved
        ]
        yield from request.round(tuple(asked), tuple(parents) or (None,) * len(asked))
        for i in range(before, len(request.sampled)):
            known.append(i)
            parent = move.parents[i - before] if move.parents else None
            samples.append(
                request.sampled[i].sample._replace(
                    variant=interleaved[i - before], turn=turn.name, parent=parent
                )
            )
    answered = turn_of(policy.difficulty.signal) == ANSWER
    if (
        not samples and answered
    ):  # the probe ended it, with samples that this bucket's variants do not have
        known = list(range(len(request.sampled)))
        seen = Seen(tuple(d.sample for d in request.sampled), len(variants))
    return request.outcome(elect(strategy, seen) if known else None, known, bucket, value)


def _interleaved(move: Ask, samples: Sequence[Sample], n_variants: int) -> list[int]:
    """The variant of each sample that is asked for."""
    if move.parents:
        return [samples[p].variant for p in move.parents]
    if move.variants:
        return list(move.variants)
    roots = [d.variant for d in samples if d.parent is None and d.turn == move.turn]
    return interleave([roots.count(a) for a in range(n_variants)], move.n)


def _in_time(sampled: Sampled, timeout_s: float | None) -> Sampled:
    """``sampled``, or a failure where it took longer: it was sent and is billed, but late."""
    if timeout_s is None or sampled.latency_s <= timeout_s:
        return sampled
    return Sampled(Sample(None, failed=True), sampled.bill, timeout_s)


class _Request:
    """What an episode has sampled and spent so far, and which limit it has reached."""

    def __init__(self, policy: Policy) -> None:
        self.limits = policy.limits
        self.sampled: list[Sampled] = []
        self.variants: list[Variant] = []
        self.parents: list[int | None] = []
        self.rounds: list[list[SampleBill]] = []
        self.sizes: list[int] = []
        self.latency_s = 0.0
        self.ended: Ended | None = None

    @property
    def usd(self) -> float:
        return price(self.rounds)

    def round(
        self, variants: tuple[Variant, ...], parents: tuple[int | None, ...] = ()
    ) -> Generator[Round, Sequence[Sampled], None]:
        limits, parents = self.limits, parents or (None,) * len(variants)
        if limits.max_samples is not None:
            variants = variants[: limits.max_samples - len(self.sampled)]
            if not variants:
                self.ended = "max_samples"
                return
        parents = parents[: len(variants)]
        left = None if limits.timeout_s is None else limits.timeout_s - self.latency_s
        sampled = [_in_time(d, left) for d in (yield Round(variants, left, parents))]
        self.sampled += sampled
        self.variants += variants
        self.parents += parents
        self.rounds.append([d.bill for d in sampled if d.bill is not None])
        self.sizes.append(len(variants))
        self.latency_s += max(d.latency_s for d in sampled)
        if limits.on_error == "fail" and any(d.sample.failed for d in sampled):
            self.ended = "failed"
        elif limits.timeout_s is not None and self.latency_s >= limits.timeout_s:
            self.ended = "timeout"
        elif limits.max_usd_per_request is not None and self.usd >= limits.max_usd_per_request:
            self.ended = "max_usd_per_request"

    def outcome(
        self, elected: Elected | None, known: Sequence[int], bucket: int, value: float
    ) -> Outcome:
        """How it ended; ``known`` are the places of the samples that the strategy saw."""
        index = None if elected is None else known[elected.sample]
        failed = index is None or self.ended == "failed" or self.sampled[index].sample.failed
        return Outcome(
            index=None if failed else index,
            bucket=bucket,
            signal=value,
            samples=tuple(self.sampled),
            variants=tuple(self.variants),
            rounds=tuple(self.sizes),
            usd=self.usd,
            latency_s=self.latency_s,
            ended="failed" if failed else self.ended or "answered",
            parents=tuple(self.parents),
            fields=() if failed or elected is None else tuple(known[i] for i in elected.fields),
        )
