"""All bought samples: the store, buying what is missing, and loading it as arrays."""

from tierwise.pool.fill import Filled, Progress, fill
from tierwise.pool.grid import Need, plan
from tierwise.pool.library import Library
from tierwise.pool.load import load
from tierwise.pool.pooled import PooledModel
from tierwise.pool.spending import Billed
from tierwise.pool.store import SamplePool
from tierwise.pool.trees import Buys, Trees, even, parents_first
from tierwise.schema import Usage, UsageLimits

__all__ = [
    "Billed",
    "Buys",
    "Filled",
    "Library",
    "Need",
    "PooledModel",
    "Progress",
    "SamplePool",
    "Trees",
    "Usage",
    "UsageLimits",
    "even",
    "fill",
    "load",
    "parents_first",
    "plan",
]
