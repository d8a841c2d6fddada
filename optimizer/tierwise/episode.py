"""One request answered under a policy: the pure part, driven twice.

``evaluation`` drives an episode with stored draws, ``serving`` with live calls. Probe, bucket,
dealing, strategy, limits and bill are all decided here, so the two cannot drift apart::

    rounds = episode(policy, strategies, inputs)
    round_ = next(rounds)                       # which arms to draw from, all at once
    round_ = rounds.send([Drawn(...), ...])     # one Drawn for each draw asked for, in order
    ...                                         # StopIteration carries the Outcome
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tierwise.difficulty import signal_of, turn_of
from tierwise.errors import UnsupportedError
from tierwise.recipe import ANSWER, Arm, DrawBill, Policy, Turn, price
from tierwise.strategies import Ask, Draw, Return, Seen, Strategy, build, deal

Ended = Literal["answered", "max_usd_per_request", "max_draws", "timeout", "failed"]


class Round(NamedTuple):
    """Draws to make at once: one arm a draw. What is not there after ``timeout_s`` has failed.

    ``parents`` are the draws that they follow, counted over the whole episode; None where a draw
    begins a tree. A child has its parent's index.
    """

    arms: tuple[Arm, ...]
    timeout_s: float | None
    parents: tuple[int | None, ...]


class Drawn(NamedTuple):
    """What came back for one draw. ``bill`` is None for a failure that nobody billed."""

    draw: Draw
    bill: DrawBill | None
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended.

    ``index`` points into ``draws`` (all of them, the probe's first), None where nothing arrived.
    ``rounds`` holds the number of draws of each round, ``parents`` what each draw followed.
    """

    index: int | None
    bucket: int
    signal: float
    draws: tuple[Drawn, ...]
    arms: tuple[Arm, ...]
    rounds: tuple[int, ...]
    usd: float
    latency_s: float
    ended: Ended
    parents: tuple[int | None, ...] = ()


def strategies_of(policy: Policy) -> tuple[Strategy, ...]:
    """The strategy of each bucket, built once."""
    return tuple(build(recipe.strategy) for recipe in policy.buckets)


def episode(
    policy: Policy, strategies: Sequence[Strategy], inputs: Mapping[str, str]
) -> Generator[Round, Sequence[Drawn], Outcome]:
    """Answer one request; see the module docstring for the protocol.

    Raises:
        UnsupportedError: a strategy asks for a turn after a draw that failed.
    """
    request = _Request(policy)
    probe = policy.difficulty.probe
    if probe:
        yield from request.round(probe.dealt)
    seen_by_probe = [
        d.draw._replace(arm=probe.arms.index(arm) if probe else 0)
        for d, arm in zip(request.drawn, request.arms, strict=True)
    ]
    value = signal_of(policy.difficulty).value(inputs, seen_by_probe)
    bucket = policy.bucket_of(value)
    arms, strategy = policy.buckets[bucket].arms, strategies[bucket]

    # Probe draws of an arm of this bucket are its first draws; others are paid for and not seen.
    known = [i for i, arm in enumerate(request.arms) if arm in arms]
    draws = [request.drawn[i].draw._replace(arm=arms.index(request.arms[i])) for i in known]
    while True:
        seen = Seen(tuple(draws), len(arms))
        if request.ended:
            break
        move = strategy.step(seen)
        if isinstance(move, Return):
            return request.outcome(known[move.index], bucket, value)
        before = len(request.drawn)
        dealt = _dealt(move, draws, len(arms))
        turn = Turn(move.turn, move.passages)
        parents = [known[p] for p in move.parents]
        if any(request.drawn[p].draw.failed for p in parents):
            raise UnsupportedError(f"{strategy.kind} asks for a {turn.label} after a failed draw")
        asked = [request.arms[p].below(turn) for p in parents] or [
            arms[a].begun(turn) for a in dealt
        ]
        yield from request.round(tuple(asked), tuple(parents) or (None,) * len(asked))
        for i in range(before, len(request.drawn)):
            known.append(i)
            parent = move.parents[i - before] if move.parents else None
            draws.append(
                request.drawn[i].draw._replace(arm=dealt[i - before], turn=turn.name, parent=parent)
            )
    answered = turn_of(policy.difficulty.signal) == ANSWER
    if not draws and answered:  # the probe ended it, with draws that this bucket's arms do not have
        known = list(range(len(request.drawn)))
        seen = Seen(tuple(d.draw for d in request.drawn), len(arms))
    index = known[strategy.choose(seen)] if known else None
    return request.outcome(index, bucket, value)


def _dealt(move: Ask, draws: Sequence[Draw], n_arms: int) -> list[int]:
    """The arm of each draw that is asked for."""
    if move.parents:
        return [draws[p].arm for p in move.parents]
    if move.arm is not None:
        return [move.arm] * move.n
    roots = [d.arm for d in draws if d.parent is None and d.turn == move.turn]
    return deal([roots.count(a) for a in range(n_arms)], move.n)


def _in_time(drawn: Drawn, timeout_s: float | None) -> Drawn:
    """``drawn``, or a failure where it took longer: it was sent and is billed, but is too late."""
    if timeout_s is None or drawn.latency_s <= timeout_s:
        return drawn
    return Drawn(Draw(None, failed=True), drawn.bill, timeout_s)


class _Request:
    """What an episode has drawn and spent so far, and which limit it has reached."""

    def __init__(self, policy: Policy) -> None:
        self.limits = policy.limits
        self.drawn: list[Drawn] = []
        self.arms: list[Arm] = []
        self.parents: list[int | None] = []
        self.rounds: list[list[DrawBill]] = []
        self.sizes: list[int] = []
        self.latency_s = 0.0
        self.ended: Ended | None = None

    @property
    def usd(self) -> float:
        return price(self.rounds)

    def round(
        self, arms: tuple[Arm, ...], parents: tuple[int | None, ...] = ()
    ) -> Generator[Round, Sequence[Drawn], None]:
        limits, parents = self.limits, parents or (None,) * len(arms)
        if limits.max_draws is not None:
            arms = arms[: limits.max_draws - len(self.drawn)]
            if not arms:
                self.ended = "max_draws"
                return
        parents = parents[: len(arms)]
        left = None if limits.timeout_s is None else limits.timeout_s - self.latency_s
        drawn = [_in_time(d, left) for d in (yield Round(arms, left, parents))]
        self.drawn += drawn
        self.arms += arms
        self.parents += parents
        self.rounds.append([d.bill for d in drawn if d.bill is not None])
        self.sizes.append(len(arms))
        self.latency_s += max(d.latency_s for d in drawn)
        if limits.on_error == "fail" and any(d.draw.failed for d in drawn):
            self.ended = "failed"
        elif limits.timeout_s is not None and self.latency_s >= limits.timeout_s:
            self.ended = "timeout"
        elif limits.max_usd_per_request is not None and self.usd >= limits.max_usd_per_request:
            self.ended = "max_usd_per_request"

    def outcome(self, index: int | None, bucket: int, value: float) -> Outcome:
        failed = index is None or self.ended == "failed" or self.drawn[index].draw.failed
        return Outcome(
            index=None if failed else index,
            bucket=bucket,
            signal=value,
            draws=tuple(self.drawn),
            arms=tuple(self.arms),
            rounds=tuple(self.sizes),
            usd=self.usd,
            latency_s=self.latency_s,
            ended="failed" if failed else self.ended or "answered",
            parents=tuple(self.parents),
        )
