"""Where content is: a path; else ``./tasks/NAME``; else what is shipped."""

from __future__ import annotations

from pathlib import Path

from tierwise.errors import InputError, unknown_name

TASK_FILE = "task.yaml"


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
