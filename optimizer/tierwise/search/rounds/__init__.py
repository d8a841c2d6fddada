"""Rounds of proposals: who is asked, within what, what is tried, and whether it was a gain."""

from tierwise.search.rounds.caps import PROPOSER, first_cap
from tierwise.search.rounds.desk import Desk, proposer_of
from tierwise.search.rounds.loop import Rounds
from tierwise.search.rounds.proposed import FIRST, Proposed
from tierwise.search.rounds.record import Round
from tierwise.search.rounds.start import Start

__all__ = [
    "FIRST",
    "PROPOSER",
    "Desk",
    "Proposed",
    "Round",
    "Rounds",
    "Start",
    "first_cap",
    "proposer_of",
]
