"""The policies that a server offers: by name, by tier, and anew when their files change."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tierwise.errors import InputError, ProviderError, unknown_name
from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.chat import ApiError
from tierwise.serving.runtime import PolicyRuntime, checked_strategies

log = logging.getLogger("tierwise.serving")

OpenRuntime = Callable[[PolicyFile], PolicyRuntime]
"""Opens a policy's models; raises InputError or ProviderError where that cannot be."""


class _Content(NamedTuple):
    """A policy file as it was read and checked."""

    path: Path
    digest: str
    file: PolicyFile


class ServedPolicy:
    """One content of one policy file; closed once it is replaced and no request uses it any more.

    ``runtime`` is None where the policy's models cannot be opened, and ``fault`` says why.
    """

    def __init__(self, content: _Content, open_runtime: OpenRuntime) -> None:
        self.path, self.file, self.version = content.path, content.file, content.digest[:12]
        self.runtime: PolicyRuntime | None = None
        self._fault: str | None = None
        self._users, self._retired = 0, False
        try:
            self.runtime = open_runtime(content.file)
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


class PolicyRegistry:
    """Policy files, each as it was read last.

    A new content is read, checked and opened before it replaces the old one; where it has a fault,
    or its models cannot be opened, the old one stays and ``refused`` says why, by path.

    Raises:
        InputError: a file has a fault, or two policies have one name.
    """

    def __init__(self, paths: Sequence[Path], open_runtime: OpenRuntime = PolicyRuntime) -> None:
        self._open = open_runtime
        self._served: dict[Path, ServedPolicy] = {}
        self._seen: dict[Path, str] = {}
        self.refused: dict[Path, str] = {}
        for path in paths:
            raw = _read(path)
            content = self._checked(path, raw)
            self._served[path], self._seen[path] = self._opened(content), content.digest

    @property
    def policies(self) -> tuple[ServedPolicy, ...]:
        """The current policy of every file, in the order given."""
        return tuple(self._served.values())

    @property
    def names(self) -> Mapping[str, ServedPolicy]:
        """By policy name, and as ``tier/TIER`` where one policy alone has the tier."""
        policies = self.policies
        tiers = Counter(p.file.tier.name for p in policies)
        by_tier = {f"tier/{p.file.tier.name}": p for p in policies if tiers[p.file.tier.name] == 1}
        return {**by_tier, **{p.file.name: p for p in policies}}

    def find(self, name: str) -> ServedPolicy:
        """The policy that a client's ``model`` names.

        Raises:
            ApiError: 404, with the near names.
        """
        names = self.names
        if name not in names:
            message = unknown_name("model", name[:100], names).message
            raise ApiError(404, message, param="model", code="model_not_found")
        return names[name]

    async def reload(self) -> list[tuple[str, str]]:
        """Look at all files once; (policy, "loaded" or "refused") for each content not yet seen."""
        outcomes = []
        for path in list(self._served):
            found = self._new_content(path)
            if isinstance(found, _Content):
                found = self._replace(await asyncio.to_thread(self._opened, found), found.digest)
            if found is not None:
                outcomes.append((self._served[path].file.name, found))
        return outcomes

    def refresh(self, served: ServedPolicy) -> ServedPolicy:
        """The policy of the same file, read again where the file has changed."""
        found = self._new_content(served.path)
        if isinstance(found, _Content):
            self._replace(self._opened(found), found.digest)
        return self._served[served.path]

    def close(self) -> None:
        """Close all policies."""
        for served in self.policies:
            served.retire()

    def _opened(self, content: _Content) -> ServedPolicy:
        return ServedPolicy(content, self._open)

    def _new_content(self, path: Path) -> _Content | str | None:
        """A content not seen before, "refused" where it has a fault, None where nothing changed."""
        try:
            raw = _read(path)
        except InputError as error:
            return self._refuse(path, "", str(error))
        digest = _digest(raw)
        if digest == self._seen[path]:
            return None
        try:
            return self._checked(path, raw)
        except InputError as error:
            return self._refuse(path, digest, str(error))

    def _replace(self, new: ServedPolicy, digest: str) -> str | None:
        if new.runtime is None:
            return self._refuse(new.path, digest, str(new.fault))
        old, self._served[new.path], self._seen[new.path] = self._served[new.path], new, digest
        self.refused.pop(new.path, None)
        old.retire()
        log.info("policy %s: version %s replaced %s", new.file.name, new.version, old.version)
        return "loaded"

    def _refuse(self, path: Path, digest: str, why: str) -> str | None:
        if self._seen[path] == digest:
            return None
        self._seen[path] = digest
        self.refused[path] = why
        log.error("the old version stays, the new one is refused: %s", why)
        return "refused"

    def _checked(self, path: Path, raw: bytes) -> _Content:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError("is not text in UTF-8", path=path) from None
        file = PolicyFile.loads(text, path)
        checked_strategies(file, path)
        for other, served in self._served.items():
            if other != path and served.file.name == file.name:
                raise InputError(f"the name {file.name!r} is that of {other} already", path=path)
        return _Content(path, _digest(raw), file)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
