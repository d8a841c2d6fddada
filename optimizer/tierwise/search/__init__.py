"""Finding policies: studies, racing, allocation, selection, gate."""

from tierwise.pool import Bought, Remarked
from tierwise.pool.run_dir import RunDir
from tierwise.search.problem import Best, Event, Finished, Listener, SearchSize, Started
