"""A corpus: one JSON object a line, ``{"id", "text"}``, and ``title`` where there is one.

``index`` are the words by which a document is found, where these are not its text.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.schema import Passage


@dataclass(frozen=True)
class Corpus:
    """Documents in the order of the file, what each is found by, and a hash of both."""

    documents: tuple[Passage, ...]
    index: tuple[str, ...]
    sha256: str

    @classmethod
    def load(cls, path: Path | str) -> Corpus:
        """The documents of a file, which may be gzipped.

        Raises:
            InputError: no such file, a line that is no document, an id that is there twice, or
                there is nothing in it; with file and line.
        """
        path, found = Path(path), dict[str, Passage]()
        index: list[str] = []
        digest = hashlib.sha256()
        for line, row in _rows(path):
            passage = _passage(row, path, line)
            if passage.id in found:
                raise InputError(f"id {passage.id!r} is there twice", path=path, line=line)
            found[passage.id] = passage
            index.append(str(row.get("index") or passage.text))
            digest.update(repr((passage.id, passage.text, index[-1])).encode())
        if not found:
            raise InputError('no documents: a line is {"id": …, "text": …}', path=path)
        return cls(tuple(found.values()), tuple(index), digest.hexdigest())


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    line = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                if text.strip():
                    yield line, json.loads(text.decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError("there is no such corpus", path=path) from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error.msg}", path=path, line=line) from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8", path=path, line=line) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None


def _passage(row: Any, path: Path, line: int) -> Passage:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "id" not in row:
        raise InputError('a document is {"id": …, "text": …}', path=path, line=line)
    title = row.get("title")
    text = f"{title}\n{row['text']}" if isinstance(title, str) and title else row["text"]
    return Passage(str(row["id"]), text)
