"""All bought samples: the store, buying what is missing, and loading it as arrays."""

from tierwise.pool.buy import Account, Filled, PooledModel, Progress, fill
from tierwise.pool.buyer import (
    FEWEST_ITEMS,
    PROVIDER_ENDED,
    Bought,
    Buyer,
    CutShortError,
    Remarked,
    Supply,
)
from tierwise.pool.calls import Need, missing_calls
from tierwise.pool.load import TableOptions, load
from tierwise.pool.reading import Billed
from tierwise.pool.run_dir import RunDir
from tierwise.pool.store import Book, SamplePool
from tierwise.pool.trees import Library, Trees, even, parents_first
