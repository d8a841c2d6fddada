"""A run's folder: what a job was, what it bought, and what came of it.

``job.yaml`` and ``run.json`` are written before anything is bought; the same command finds them
and goes on. ``summary.json`` says that a run is finished. One process at a time works in a folder
(``held``). Every file is written beside its place, made durable and then renamed, so that it is
there whole or not at all, after a power cut too.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TypeVar

from tierwise.errors import InputError
from tierwise.pool.owner import Owner
from tierwise.schema import Budget, Job, dump_job, load_job
from tierwise.schema.files import write_whole, writing
from tierwise.schema.job import MAX_OUTAGE_S
from tierwise.schema.result import CutShort, RunMark, Studied, from_json, to_json

_T = TypeVar("_T")

RUN = "run.json"
STUDIED = "studied.json"
CUT_SHORT = "cut_short.json"
LOCK = ".lock"


@dataclass(frozen=True)
class RunDir:
    """A folder with a job in it.

    ``run`` names the run in the pool, ``created`` is when it began: kept, so that a run that is
    resumed or replayed writes the same bytes. ``addresses`` says by tier where its calls were sent:
    a part of every stored request, which the environment of a replay may not know.
    """

    path: Path
    run: str
    created: str
    addresses: Mapping[str, str] = field(default_factory=dict)

    @property
    def pool(self) -> Path:
        """The stored completions."""
        return self.path / "pool.sqlite"

    @property
    def journal(self) -> Path:
        """The studies, as optuna-dashboard opens them."""
        return self.path / "study.journal"

    @property
    def summary(self) -> Path:
        """What came of the run."""
        return self.path / "summary.json"

    @property
    def plan(self) -> Path:
        """What was planned before the first purchase."""
        return self.path / "plan.json"

    @property
    def policies(self) -> Path:
        """Where ``TIER.yaml`` is."""
        return self.path / "policies"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary.exists()

    @property
    def studied(self) -> Studied:
        """What a finished search left for a later one, by tier; see ``runs.tiers``."""
        return self._read(STUDIED, Studied({}))

    @property
    def cut_short(self) -> CutShort:
        """Where its searches' purchases were cut short."""
        return self._read(CUT_SHORT, CutShort({}))

    def _read(self, name: str, otherwise: _T) -> _T:
        try:
            return from_json(self.path / name, type(otherwise))
        except FileNotFoundError:
            return otherwise

    def job(self) -> Job:
        """The job as resolved."""
        return load_job(self.path / "job.yaml")

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """A folder that a run wrote.

        Raises:
            InputError: it is not one.
        """
        try:
            return cls(path, **vars(from_json(path / RUN, RunMark)))
        except FileNotFoundError:
            raise InputError(
                f"{path} is not a run directory (no {RUN}): `tierwise tune --out {path}` makes one"
            ) from None

    @classmethod
    def of(cls, path: Path, job: Job) -> RunDir | None:
        """The folder, where ``start`` would go on with ``job`` in it."""
        if not (path / RUN).exists():
            return None
        known = cls.open(path)
        return known if _identity(known.job()) == _identity(job) else None

    @classmethod
    def start(cls, path: Path, job: Job, *, addresses: Mapping[str, str] = {}) -> RunDir:
        """The folder for ``job``: a new one, or the one where it was interrupted.

        The budget may have been raised since.

        Raises:
            InputError: the folder holds another job, or samples from another address, or cannot be
                written.
        """
        begun = cls.check(path, job, addresses)
        with _to_write(path):
            path.mkdir(parents=True, exist_ok=True)
            if begun is None:
                created = datetime.now(UTC).isoformat(timespec="seconds")
                begun = cls(path, uuid.uuid4().hex[:12], created, dict(addresses))
                begun.write("job.yaml", dump_job(job))
                begun.write_json(RUN, RunMark(begun.run, begun.created, begun.addresses))
            else:
                begun.write("job.yaml", dump_job(job))
        return begun

    @classmethod
    @contextmanager
    def started(
        cls, path: Path, job: Job, *, fresh: bool = False, addresses: Mapping[str, str] = {}
    ) -> Iterator[RunDir]:
        """``start``, and the folder held for as long as the context lasts.

        ``fresh`` begins anew beside it, in ``PATH-2`` …

        Raises:
            InputError: see ``start``, and where another process works in the folder.
        """
        if fresh:
            path = _unused(path)
        cls.check(path, job, addresses)
        with held(path):
            yield cls.start(path, job, addresses=addresses)

    @classmethod
    def check(cls, path: Path, job: Job, addresses: Mapping[str, str] = {}) -> RunDir | None:
        """The run of this job in a folder, None where it has none yet; nothing is written.

        Raises:
            InputError: see ``start``.
        """
        with _to_write(path):
            if not (path / RUN).exists():
                _check_free(path)
                return None
        known = cls.open(path)
        if _identity(known.job()) != _identity(job):
            raise InputError(
                f"{path} holds another job; give --out for a folder of its own, or --fresh to "
                f"begin anew in {_unused(path)}"
            )
        for tier, address in addresses.items():
            if (old := known.addresses.get(tier, address)) != address:
                raise InputError(
                    f"{path} holds samples of tier {tier!r} from {old or 'the provider'}, and "
                    f"the environment now names {address or 'the provider'}: set it back to go "
                    f"on, or --fresh to begin anew in {_unused(path)}"
                )
        return known

    def file(self, name: str) -> Path:
        """The path of a file of this folder.

        Raises:
            InputError: it would lie outside.
        """
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise InputError(f"{name!r} is no name of a file in {self.path}")
        return path

    def write(self, name: str, text: str) -> Path:
        """Write a file, whole or not at all."""
        path = self.file(name)
        write_whole(path, text)
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A path to write to; at the end of the context it becomes the file ``name``."""
        with writing(self.file(name)) as new:
            yield new

    def write_json(self, name: str, value: object) -> Path:
        """Write a value of ``schema.result``."""
        return self.write(name, to_json(value))

    def clear_results(self) -> None:
        """Forget what is derived from the pool, before it is derived anew."""
        self.summary.unlink(missing_ok=True)
        for file in (self.journal, *self.path.glob("*.npz")):
            file.unlink(missing_ok=True)
        for folder in (self.policies, self.path / "operating_points"):
            shutil.rmtree(folder, ignore_errors=True)


_HELD: ContextVar[frozenset[Path]] = ContextVar("_HELD", default=frozenset())
"""Folders that the caller holds already, or whoever called it."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""What a file system says that keeps no locks."""


UNKNOWN_OWNER_S, SHORT_WAIT_S = 1.0, 0.05
"""How long the owner of a folder may take to write who it is, and how often that is looked for."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Work in a folder alone; a process that died has let go of it.

    The system's lock on a file says so, and where the file system keeps none, the owner that is
    written there. Whoever holds the folder may hold it once more.

    Raises:
        InputError: another process works in it; says which.
    """
    folder = path.resolve()
    if folder in _HELD.get():
        yield
        return
    fd = _locked(path)
    token = _HELD.set(_HELD.get() | {folder})
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.truncate(fd, 0)
        os.pwrite(fd, f"{Owner.this_process()}\n{since}\n".encode(), 0)
        yield
    finally:
        _HELD.reset(token)
        with suppress(OSError):  # the folder may be gone, or no longer ours to write
            (path / LOCK).unlink()
        os.close(fd)


def _locked(path: Path) -> int:
    """The open and locked lock file of a folder, which is made where it is not there."""
    lock, patience = path / LOCK, UNKNOWN_OWNER_S
    while True:
        with _to_write(path):
            path.mkdir(parents=True, exist_ok=True)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        text = os.pread(fd, 1000, 0).decode(errors="replace")
        owner, since = Owner.read(text.partition("\n")[0]), text.partition("\n")[2].strip()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = False
        except OSError as error:
            taken = error.errno not in _NO_LOCKS or owner is not None
        if taken and owner is not None and owner.surely_gone:
            # A worker that outlived it, or a file server, keeps what it had locked.
            if _is_at(fd, lock):
                lock.unlink(missing_ok=True)
            os.close(fd)
            continue
        if taken and owner is None and patience > 0:  # it has yet to write who it is
            os.close(fd)
            sleep(SHORT_WAIT_S)
            patience -= SHORT_WAIT_S
            continue
        if taken:
            os.close(fd)
            who = "another process"
            if owner is not None:
                who = f"process {owner.pid} on {owner.host}, since {since}"
            raise InputError(
                f"{path} is in use by {who}: wait for it, stop it, or give --out for another "
                f"folder (if it is surely gone, delete {lock})"
            )
        if _is_at(fd, lock):
            return fd
        os.close(fd)  # its owner took the file away between our opening and locking it


@contextmanager
def _to_write(path: Path) -> Iterator[None]:
    """A context in which what the system refuses is said of the folder."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from None


def _check_free(path: Path) -> None:
    """Raise InputError where a run cannot begin in a folder."""
    # One that was killed before its first purchase left nothing but these.
    ours = {"job.yaml", ".job.yaml.new", f".{RUN}.new", LOCK}
    if path.exists() and not (path.is_dir() and {p.name for p in path.iterdir()} <= ours):
        raise InputError(f"{path} exists and is not a run directory; give another --out")
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {path}: {there} does not allow it")


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _identity(job: Job) -> Job:
    """What makes it the same job: budget, outages, concurrency, time-outs and rate limits are
    not."""
    tiers = {name: replace(spec, limits={}) for name, spec in job.tiers.items()}
    return replace(job, budget=Budget(), max_outage_s=MAX_OUTAGE_S, tiers=tiers)


def _unused(path: Path) -> Path:
    numbered = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return next(each for each in itertools.chain([path], numbered) if not each.exists())
