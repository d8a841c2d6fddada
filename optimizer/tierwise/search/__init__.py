"""Finding policies: studies, racing, allocation, selection, gate."""

from tierwise.search.events import Best, Bought, Event, Finished, Listener, Started
from tierwise.search.prepared import Prepared
from tierwise.search.problem import SearchSize
from tierwise.search.run_dir import RunDir

__all__ = [
    "Best",
    "Bought",
    "Event",
    "Finished",
    "Listener",
    "Prepared",
    "RunDir",
    "SearchSize",
    "Started",
]
