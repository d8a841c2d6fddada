from __future__ import annotations

from collections.abc import Iterator

import pytest

import dspy


@pytest.fixture(autouse=True)
def _own_cache() -> Iterator[None]:
    """DSPy's cache in memory, new for each test, and never on disk."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    yield
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
