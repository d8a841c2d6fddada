"""All bought draws: the store, buying what is missing, and loading it as arrays."""

from tierwise.pool.fill import Cap, Filled, Need, Progress, fill, plan
from tierwise.pool.load import load
from tierwise.pool.pooled import PooledModel
from tierwise.pool.spending import Billed, Limit, Spent
from tierwise.pool.store import SamplePool

__all__ = [
    "Billed", "Cap", "Filled", "Limit", "Need", "PooledModel", "Progress", "SamplePool", "Spent",
    "fill", "load", "plan",
]  # fmt: skip
