"""The policies that a gateway serves: by name, by tier, and anew when their files change."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tierwise.errors import InputError, ProviderError, unknown_name
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.api_error import ApiError
from tierwise.serving.runtime import PolicyRuntime, checked_strategies

log = logging.getLogger("tierwise.serving")

OpenRuntime = Callable[[PolicyFile], PolicyRuntime]
"""Opens a policy's models; raises InputError or ProviderError where that cannot be."""


class Edition:
    """One content of one policy file; closed once it is replaced and nobody uses it any more.

    ``runtime`` is None where the policy's models cannot be opened, and ``fault`` says why.
    """

    def __init__(self, file: PolicyFile, digest: str, open_runtime: OpenRuntime) -> None:
        self.file, self.version = file, digest[:12]
        self.runtime: PolicyRuntime | None = None
        self._fault: str | None = None
        self._users, self._retired = 0, False
        try:
            self.runtime = open_runtime(file)
        except (InputError, ProviderError) as error:
            self._fault = str(error)

    @property
    def fault(self) -> str | None:
        """Why it cannot answer at present; None where it can."""
        return self.runtime.fault if self.runtime is not None else self._fault

    @contextlib.contextmanager
    def use(self) -> Iterator[PolicyRuntime]:
        """The runtime, kept open for the duration.

        Raises:
            ApiError: 503, with the reason.
        """
        if self.runtime is None:
            raise ApiError(503, f"policy {self.file.name!r} is not ready: {self._fault}")
        self._users += 1
        try:
            yield self.runtime
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close it as soon as its last request is answered."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and not self._users and self.runtime is not None:
            self.runtime.close()


class Shelf:
    """Policy files, each with its current edition.

    Raises:
        InputError: a file has a fault, or two policies have one name.
    """

    def __init__(self, paths: Sequence[Path], open_runtime: OpenRuntime = PolicyRuntime) -> None:
        self._open = open_runtime
        self._editions: dict[Path, Edition] = {}
        self._seen: dict[Path, str] = {}
        self.refused: dict[Path, str] = {}
        for path in paths:
            content = _read(path)
            digest = _digest(content)
            file = self._checked(path, content)
            self._editions[path] = Edition(file, digest, open_runtime)
            self._seen[path] = digest

    @property
    def editions(self) -> tuple[Edition, ...]:
        """The current edition of every file, in the order given."""
        return tuple(self._editions.values())

    @property
    def names(self) -> Mapping[str, Edition]:
        """Editions by policy name, and as ``tier/TIER`` where one policy alone has the tier."""
        editions = self.editions
        tiers = Counter(e.file.tier.name for e in editions)
        by_tier = {f"tier/{e.file.tier.name}": e for e in editions if tiers[e.file.tier.name] == 1}
        return {**by_tier, **{e.file.name: e for e in editions}}

    def find(self, name: str) -> Edition:
        """The edition that a client's ``model`` names.

        Raises:
            ApiError: 404, with the near names.
        """
        names = self.names
        if name not in names:
            message = unknown_name("model", name[:100], names).message
            raise ApiError(404, message, param="model", code="model_not_found")
        return names[name]

    async def reload(self) -> list[tuple[str, str]]:
        """Look at all files once; (policy, "loaded" or "refused") for each content not yet seen.

        A new content is read, checked and opened before it replaces the old one; where it has a
        fault, or its models cannot be opened, the old one stays.
        """
        return [
            (self._editions[path].file.name, outcome)
            for path in list(self._editions)
            if (outcome := await self._reload(path))
        ]

    def close(self) -> None:
        """Close all editions."""
        for edition in self.editions:
            edition.retire()

    async def _reload(self, path: Path) -> str | None:
        try:
            content = _read(path)
        except InputError as error:
            return self._refuse(path, "", str(error))
        digest = _digest(content)
        if digest == self._seen[path]:
            return None
        try:
            file = self._checked(path, content)
        except InputError as error:
            return self._refuse(path, digest, str(error))
        edition = await asyncio.to_thread(Edition, file, digest, self._open)
        if edition.runtime is None:
            return self._refuse(path, digest, str(edition.fault))
        old, self._editions[path], self._seen[path] = self._editions[path], edition, digest
        self.refused.pop(path, None)
        old.retire()
        log.info("policy %s: version %s replaced %s", file.name, edition.version, old.version)
        return "loaded"

    def _refuse(self, path: Path, digest: str, why: str) -> str | None:
        if self._seen[path] == digest:
            return None
        self._seen[path] = digest
        self.refused[path] = why
        log.error("the old version stays, the new one is refused: %s", why)
        return "refused"

    def _checked(self, path: Path, content: bytes) -> PolicyFile:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("is not text in UTF-8", path=path) from None
        file = PolicyFile.loads(text, path)
        checked_strategies(file, path)
        for other, edition in self._editions.items():
            if other != path and edition.file.name == file.name:
                raise InputError(f"the name {file.name!r} is that of {other} already", path=path)
        return file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
