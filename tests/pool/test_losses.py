"""Attempts that brought nothing and may be billed: stored, counted by limits, never scored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from tierwise.llm import Call, Completion, Failure, Result
from tierwise.llm.limits import supervising
from tierwise.pool import Account, Book, Need, SamplePool, fill
from tierwise.pool.calls import worst_case
from tierwise.pool.store import Settlement
from tierwise.schema import Usage, UsageLimits
from tierwise.schema.result import UsageTotals

from .conftest import World

BOOK = Book("r", "small")
WORST = Usage(calls=1, completion_tokens=20, usd=2.0)


class Forgetful:
    """Every call is lost ``losses`` times before it is answered; bills what it may."""

    chunk = 4
    one_by_one = True

    def __init__(self, losses: int) -> None:
        self.losses, self.billed_calls, self.refused = losses, 0, 0

    def complete(self, chunks: Iterable[Sequence[Call]]) -> Iterator[list[list[Result]]]:
        raise NotImplementedError

    def close(self) -> None:
        pass

    async def answer(self, call: Call) -> list[Result]:
        for _ in range(self.losses):
            self.billed_calls += 1
            if not supervising().lost(call, "timeout"):
                self.refused += 1
                return [Failure("timeout", "no money for another")] * call.n
        self.billed_calls += 1
        return [Completion("A: 1", 3, 1)] * call.n


def test_a_loss_counts_until_the_file_ends(tmp_path: Path) -> None:
    with SamplePool.open(tmp_path / "p") as pool:
        reserved = pool.reserve(BOOK, WORST, UsageLimits(calls=2))
        assert isinstance(reserved, int)
        assert pool.lose(reserved, WORST, "timeout", BOOK, UsageLimits(calls=2)) == ""
        assert pool.spent("r") == WORST + WORST
        assert pool.lose(reserved, WORST, "timeout", BOOK, UsageLimits(calls=2)) == "calls"
        assert pool.spent("r") == WORST + WORST, "that it was set aside for is counted once"
        pool.exchange(
            BOOK, [Settlement(reserved, (), Usage(calls=1, completion_tokens=5, usd=0.5))]
        )
    with SamplePool.open(tmp_path / "p", read_only=True) as pool:
        billed = pool.billed("r", "small")
        assert billed.confirmed == Usage(calls=1, completion_tokens=5, usd=0.5)
        assert billed.possibly == WORST + WORST
        assert pool.spent("r") == billed.most
        assert pool.billed("other").most == Usage()
        assert pool.overview().possibly_billed == UsageTotals(4.0, 2, 40)


def test_losses_are_kept_as_they_are(tmp_path: Path) -> None:
    with SamplePool.open(tmp_path / "p") as pool:
        reserved = pool.reserve(BOOK, WORST, UsageLimits())
        assert isinstance(reserved, int)
        pool.lose(reserved, WORST, "timeout", BOOK, UsageLimits())
        for change in ("UPDATE losses SET usd = 0", "DELETE FROM losses"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                pool._db.execute(change)


@pytest.mark.parametrize("losses", [0, 1, 3])
def test_a_fill_stores_what_its_model_lost(losses: int, world: World, pool: SamplePool) -> None:
    model = Forgetful(losses)
    needs = [Need(r, 2) for r in world.requests()]
    filled = fill(pool, model, world.tier, needs, Account("r", 0))
    worst = worst_case([Call(needs[0].request, 0, 2, 0)], world.tier)
    assert (filled.usage.samples, filled.failures) == (12, 0)
    assert pool.counts("losses") == 6 * losses
    billed = pool.billed("r")
    assert billed.possibly.calls == 6 * losses
    assert billed.possibly.usd == pytest.approx(6 * losses * worst.usd)
    assert billed.confirmed == filled.usage


@pytest.mark.parametrize("calls", [1, 2, 5, 9, 17, 18, 24])
def test_no_attempt_is_made_that_a_cap_could_not_bear(
    calls: int, world: World, pool: SamplePool
) -> None:
    model = Forgetful(2)
    needs = [Need(r, 2) for r in world.requests()]
    filled = fill(pool, model, world.tier, needs, Account("r", 0, UsageLimits(calls=calls)))
    assert model.billed_calls <= calls
    assert pool.spent("r").calls <= calls
    assert filled.usage.samples == 2 * (model.billed_calls - pool.counts("losses"))
    assert filled.complete == (calls >= 18) or model.refused
