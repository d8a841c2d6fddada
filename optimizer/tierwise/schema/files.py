"""Where content is (a path, else ``./tasks/NAME``, else what is shipped), lines of JSON, and files
that are written whole or not at all, after a power cut too."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tierwise.errors import InputError, unknown_name

TASK_FILE = "task.yaml"

LONGEST_LINE = 8_000_000
"""Bytes of a line of JSON, at most: a file may come from anybody."""


def shipped(kind: str) -> Path:
    """The folder of shipped ``tasks`` or ``search_spaces``: in the wheel, else the checkout's."""
    packaged = Path(__file__).parent / kind
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / kind


def find_task(name: Path | str) -> Path:
    """The ``task.yaml`` of a task's name, folder or file.

    Raises:
        InputError: there is none; names the near ones.
    """
    return _find("task", "tasks", name)


def find_space(name: Path | str) -> Path:
    """The YAML file of a search space's name or path.

    Raises:
        InputError: there is none; names the near ones.
    """
    return _find("search space", "search_spaces", name)


def names_of(kind: str) -> list[str]:
    """Names of the ``tasks`` or ``search_spaces`` here and shipped; ``_template`` is none."""
    found: set[str] = set()
    for folder in (Path(kind), shipped(kind)):
        if kind == "tasks":
            found |= {path.parent.name for path in folder.glob(f"*/{TASK_FILE}")}
        else:
            found |= {path.stem for path in folder.glob("*.yaml")}
    return sorted(name for name in found if not name.startswith("_"))


def is_path(name: str) -> bool:
    """Whether ``name`` is written as a path rather than as a name to look up."""
    return "/" in name or "\\" in name or name.endswith((".yaml", ".yml"))


def resolved(name: str, folder: Path) -> str:
    """A name as it is; a path, or what lies in ``folder`` under that name, as an absolute path."""
    beside = folder / name
    if is_path(name) or beside.is_file() or (beside / TASK_FILE).is_file():
        return str(beside.resolve())
    return name


def _file_at(path: Path) -> Path | None:
    """``path`` if it is a file, the task in it if it is a folder with one."""
    if path.is_dir():
        path = path / TASK_FILE
    return path if path.is_file() else None


def _find(what: str, kind: str, name: Path | str) -> Path:
    if found := _file_at(Path(name)):
        return found
    if isinstance(name, Path) or is_path(name):
        raise InputError(f"no such {what}", path=name)
    for folder in (Path(kind), shipped(kind)):
        if found := _file_at(folder / (name if kind == "tasks" else f"{name}.yaml")):
            return found
    raise unknown_name(what, name, names_of(kind))


def json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(number, object) of each line of a JSONL file, gzipped where its name ends in .gz.

    Raises:
        InputError: the file cannot be read, or a line is no JSON object or longer than
            ``LONGEST_LINE`` bytes.
    """
    line = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while text := file.readline(LONGEST_LINE + 1):
                line += 1
                if len(text) > LONGEST_LINE:
                    raise InputError(
                        f"a line of more than {LONGEST_LINE:,} bytes", path=path, line=line
                    )
                if text.strip():
                    row = json.loads(text.decode("utf-8-sig"))
                    if not isinstance(row, dict):
                        raise InputError("a line must be a JSON object", path=path, line=line)
                    yield line, row
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", path=path, line=line) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8", path=path, line=line) from None
    except RecursionError:
        raise InputError("nested too deeply", path=path, line=line) from None
    except ValueError:  # json's own, of numbers with thousands of digits
        raise InputError("a number with too many digits", path=path, line=line) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None


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
