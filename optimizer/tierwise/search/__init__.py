"""Finding policies: studies, racing, allocation, selection, gate."""

from tierwise.pool import Bought, Remarked
from tierwise.pool.run_dir import RunDir
from tierwise.search.events import Best, Event, Finished, Listener, Started
from tierwise.search.problem import SearchSize

__all__ = [
    "Best",
    "Bought",
    "Event",
    "Finished",
    "Listener",
    "Remarked",
    "RunDir",
    "SearchSize",
    "Started",
]
