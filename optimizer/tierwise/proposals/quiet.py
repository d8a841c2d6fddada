"""DSPy's proposers print and log each step; what is worth saying is in the registry."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
from collections.abc import Iterator

_ONE = threading.RLock()
"""Streams and levels belong to the process: tiers that propose side by side take turns."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither prints nor logs of DSPy."""
    logger = logging.getLogger("dspy")
    with _ONE:
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        nowhere = io.StringIO()
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            logger.setLevel(level)
