"""BM25 over a corpus in this process (bm25s, arXiv 2407.03618): no server, no key, no network."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.retrieval._base import Retrieved
from tierwise.retrieval.corpus import Corpus
from tierwise.schema import Passage

WORD = r"(?u)\b\w+\b"
"""Every word counts, of one letter too; no word is left out as too common."""

K1, B = 1.5, 0.75


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
