"""Files that are there whole or not at all, after a power cut too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its place when the context ends well.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    if path.exists() and not path.is_file():  # a pipe or a terminal
        yield path
        return
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new{path.suffix}")
    try:
        yield new
        with new.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(new, path)
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text, with its line ends as they are; raises as ``writing``."""
    with writing(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def sync_folder(path: Path) -> None:
    """Make what was created or renamed in a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
