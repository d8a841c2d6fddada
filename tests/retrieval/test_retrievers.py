"""A corpus in this process and an address answer alike; what goes wrong is bounded and said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.retrieval.server import serving
from tierwise.errors import InputError, ProviderError
from tierwise.retrieval import Lost, Retrieved, Retriever, bind, look_up, open_retriever, target_of
from tierwise.retrieval.bm25 import Bm25Retriever, Corpus, _library
from tierwise.retrieval.http import HttpRetriever
from tierwise.schema import Passage, RetrieverSpec

FACTS = ("friend of ann is bob", "friend of dan is ann", "boss of bob is eve", "boss of eve is al")


@pytest.fixture
def corpus(tmp_path) -> Path:
    path = tmp_path / "corpus.jsonl"
    rows = [{"id": f"d{i}", "text": text} for i, text in enumerate(FACTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(found: Retrieved) -> list[str]:
    return [p.text for p in found.passages]


def test_words_in_common_rank_and_a_tie_goes_to_the_earlier(corpus) -> None:
    bm25 = Bm25Retriever.open("facts", corpus)
    assert texts(bm25.find("friend of ann", 2)) == list(FACTS[:2])
    assert texts(bm25.find("boss of bob", 1)) == [FACTS[2]]
    assert isinstance(bm25, Retriever)


def test_no_word_in_common_is_nothing_and_not_an_error(corpus) -> None:
    bm25 = Bm25Retriever.open("facts", corpus)
    assert bm25.find("xyz ???", 3) == Retrieved(()) == bm25.find("", 3)


def test_more_passages_than_there_are_documents_are_all_that_match(corpus) -> None:
    assert len(Bm25Retriever.open("facts", corpus).find("boss", 99).passages) == 2


def test_another_corpus_is_another_retriever(corpus) -> None:
    before = Bm25Retriever.open("facts", corpus).identity
    corpus.write_text(corpus.read_text().replace("eve is al", "eve is cy"))
    assert Bm25Retriever.open("facts", corpus).identity != before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"id": "a"}\n', r"corpus.jsonl:1: a document is"),
        ('{"id": "a", "text": "x"}\n\n{"id": "a", "text": "y"}\n', r":3: id 'a' is there twice"),
        ('{"id": "a", "text": "x"}\nnot json\n', r":2: not JSON"),
        ("\n", "no documents"),
    ],
)
def test_a_broken_corpus_is_named_by_its_line(tmp_path, text, says) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        Corpus.load(path)


def test_where_bm25s_is_missing_it_says_what_to_install(corpus, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    _library.cache_clear()
    corpus.write_text(corpus.read_text().replace("al", "zed"))
    with pytest.raises(InputError, match=r"tierwise\[search\]"):
        Bm25Retriever.open("facts", corpus)


def test_an_address_gives_what_the_corpus_behind_it_gives(corpus) -> None:
    bm25 = Bm25Retriever.open("facts", corpus)
    with serving(bm25) as server:
        http = open_retriever("facts", server.address)
        assert http.find("friend of ann", 2).passages == bm25.find("friend of ann", 2).passages
        assert server.asked == [("friend of ann", 2)]
        assert server.address not in http.identity
        http.close()


@pytest.mark.parametrize(
    ("behaviour", "says", "tries"),
    [
        ("error", "status 500", 2),
        ("busy", "status 429", 2),
        ("refuse", "status 403", 1),
        ("slow", "did not answer in time", 2),
        ("nonsense", "its answer is not", 1),
        ("huge", "too long", 1),
    ],
)
def test_a_server_s_fault_is_a_lost_look_up_after_a_second_try(
    corpus, behaviour, says, tries
) -> None:
    with serving(Bm25Retriever.open("facts", corpus)) as server:
        server.behaviour = behaviour
        http = HttpRetriever("facts", server.address, timeout_s=0.2)
        lost = look_up(http, "friend", 1)
        http.close()
        assert isinstance(lost, Lost)
        assert says in lost.message
        assert "127.0.0.1" not in lost.message
        assert len(server.asked) == tries


def test_nobody_there_is_a_lost_look_up_without_the_address() -> None:
    http = HttpRetriever("facts", "http://127.0.0.1:9/find", token="secret")
    with pytest.raises(ProviderError, match="cannot be reached") as raised:
        http.find("x", 1)
    http.close()
    assert "127" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_empty_results_are_an_answer(corpus) -> None:
    with serving(Bm25Retriever.open("facts", corpus)) as server:
        server.behaviour = "empty"
        http = HttpRetriever("facts", server.address)
        found = look_up(http, "friend", 1)
        http.close()
    assert isinstance(found, Retrieved)
    assert found.passages == ()
    assert RetrieverSpec("facts").shown(found.passages) == "(nothing was found)"


def test_a_name_is_bound_by_an_option_or_the_environment(corpus, monkeypatch) -> None:
    monkeypatch.setenv("TIERWISE_RETRIEVER_MY_WIKI", str(corpus))
    assert target_of("my-wiki") == str(corpus)
    bind("my-wiki=http://127.0.0.1:1/")
    assert target_of("my-wiki") == "http://127.0.0.1:1/"
    with pytest.raises(InputError, match="NAME=CORPUS"):
        bind("my-wiki")
    with pytest.raises(InputError, match="TIERWISE_RETRIEVER_OTHER"):
        open_retriever("other", target_of("other"))


def test_a_passage_longer_than_it_may_be_is_cut() -> None:
    spec = RetrieverSpec("facts", join=" | ", max_chars=5)
    assert spec.shown([Passage("a", "123456789"), Passage("b", "xyz")]) == "12345 | xyz"
