"""All bought samples: the store, buying what is missing, and loading it as arrays."""

from tierwise.pool.fill import Cap, Filled, Progress, fill
from tierwise.pool.grid import Need, plan
from tierwise.pool.library import Library
from tierwise.pool.load import load
from tierwise.pool.pooled import PooledModel
from tierwise.pool.spending import Billed, Limit, Spent
from tierwise.pool.store import SamplePool
from tierwise.pool.trees import Buys, Trees, even, parents_first

__all__ = [
    "Billed",
    "Buys",
    "Cap",
    "Filled",
    "Library",
    "Limit",
    "Need",
    "PooledModel",
    "Progress",
    "SamplePool",
    "Spent",
    "Trees",
    "even",
    "fill",
    "load",
    "parents_first",
    "plan",
]
