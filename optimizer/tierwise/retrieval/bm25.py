"""BM25 over a corpus in this process (bm25s, arXiv 2407.03618): no server, no key, no network.

A corpus is a file with one JSON object a line, ``{"id", "text"}``, with ``title`` where there is
one; ``index`` holds the words by which a document is found, where these are not its text.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.retrieval.base import Retrieved
from tierwise.schema import Passage
from tierwise.schema.files import json_lines
from tierwise.schema.task_file import K1, B

WORD = r"(?u)\b\w+\b"
"""Every word counts, of one letter too; no word is left out as too common."""


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
        if not path.is_file():
            raise InputError("there is no such corpus", path=path)
        for line, row in json_lines(path):
            passage = _passage(row, path, line)
            if passage.id in found:
                raise InputError(f"id {passage.id!r} is there twice", path=path, line=line)
            found[passage.id] = passage
            index.append(str(row.get("index") or passage.text))
            digest.update(repr((passage.id, passage.text, index[-1])).encode())
        if not found:
            raise InputError('no documents: a line is {"id": …, "text": …}', path=path)
        return cls(tuple(found.values()), tuple(index), digest.hexdigest())


def _passage(row: Mapping[str, Any], path: Path, line: int) -> Passage:
    if not isinstance(row.get("text"), str) or "id" not in row:
        raise InputError('a document is {"id": …, "text": …}', path=path, line=line)
    title = row.get("title")
    text = f"{title}\n{row['text']}" if isinstance(title, str) and title else row["text"]
    return Passage(str(row["id"]), text)


class Bm25Retriever:
    """Passages by words in common, a tie in the order of the corpus; one without any is not there.

    It takes no time that is counted: what it takes here, a request does not wait for elsewhere.
    """

    def __init__(self, name: str, corpus: Corpus, *, k1: float = K1, b: float = B) -> None:
        self.identity = identity(name, corpus, k1=k1, b=b)
        self._corpus = corpus
        self._index, self._words = _index(corpus, k1, b)

    @classmethod
    def open(cls, name: str, path: Path | str, *, k1: float = K1, b: float = B) -> Bm25Retriever:
        """The retriever ``name`` over the corpus at ``path``.

        Raises:
            InputError: the corpus cannot be read, or bm25s is not installed.
        """
        return cls(name, Corpus.load(path), k1=k1, b=b)

    def find(self, query: str, k: int) -> Retrieved:
        """The ``k`` best."""
        import numpy as np

        words = [w for w in _words(query) if w in self._words]
        if not words:
            return Retrieved(())
        scores = self._index.get_scores(words)
        best = np.argsort(-scores, kind="stable")[:k]
        documents = self._corpus.documents
        return Retrieved(
            tuple(
                Passage(documents[i].id, documents[i].text, round(float(scores[i]), 6))
                for i in best
                if scores[i] > 0
            )
        )

    def close(self) -> None:
        """Nothing to give back."""


def identity(name: str, corpus: Corpus, *, k1: float = K1, b: float = B) -> str:
    """What look-ups are stored under: another corpus, or other parameters, is another retriever."""
    return f"{name}/bm25/{corpus.sha256[:16]}/k1={k1:g},b={b:g}"


@functools.lru_cache(maxsize=4)
def _index(corpus: Corpus, k1: float, b: float) -> tuple[Any, frozenset[str]]:
    bm25s = _library()
    index = bm25s.BM25(k1=k1, b=b)
    texts = [_words(text) for text in corpus.index]
    index.index(texts, show_progress=False)
    return index, frozenset(word for words in texts for word in words)


def _words(text: str) -> list[str]:
    found: list[list[str]] = _library().tokenize(
        [text], token_pattern=WORD, stopwords=[], return_ids=False, show_progress=False
    )
    return found[0]


@functools.cache
def _library() -> Any:
    try:
        import bm25s
    except ImportError:
        raise InputError(
            "a corpus is searched by bm25s, which is not installed: "
            "pip install 'tierwise[search]', or bind the retriever to an address"
        ) from None
    return bm25s
