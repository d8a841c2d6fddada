"""The training documents: nothing held out, and only the model's own words carry loss."""

from __future__ import annotations

import itertools
import sys
import zlib
from pathlib import Path

import pytest

from tierwise.llm.embedded import vocabulary

TOOLS = Path(__file__).parents[3] / "tools" / "embedded"


TIERS = ("small", "medium", "large")


@pytest.fixture(scope="module")
def documents():
    """Documents of each tier."""
    if not TOOLS.exists():
        pytest.skip("the training tools are not part of this installation")
    sys.path.insert(0, str(TOOLS))
    try:
        from documents import stream
    finally:
        sys.path.remove(str(TOOLS))
    return {tier: list(itertools.islice(stream(tier, 5), 1600)) for tier in TIERS}


def lookups(documents):
    found = [d for tier in documents.values() for d in tier if "search" in d.words]
    assert len(found) > 150
    return found


def rounds(document):
    """(query, passages) of each search of a look-up."""
    text = " ".join(document.words)
    parts = text.split("search : ")[1:]
    pairs = (part.split(" ;")[:2] for part in parts if "->" in part)
    return [(query, reply.removeprefix(" -> ").split(" , ")) for query, reply in pairs]


def test_every_word_is_known_and_tiers_have_mixtures_of_their_own(documents):
    for some in documents.values():
        for document in some:
            assert len(document.words) == len(document.own)
            vocabulary.ids(document.words[:-1])
            assert document.words[-1] == vocabulary.END
            assert document.own[-1] == 1
    first = {tier: [d.words for d in some[:20]] for tier, some in documents.items()}
    assert first["small"] != first["medium"] != first["large"]


def test_no_question_of_the_held_out_part_is_in_a_document(documents):
    numbers = set(map(str, range(31)))
    for document in itertools.chain(*documents.values()):
        if "?" in document.words and document.words[0] != "think":
            continue
        said = document.words
        ends = [i for i in range(1, len(said)) if said[i] in ("work", "answer")]
        end = next(i for i in ends if said[i - 1] in numbers)
        start = end
        while start and said[start - 1] in {*numbers, "+", "-"}:
            start -= 1
        assert zlib.crc32(" ".join(said[start:end]).encode()) % 8


def test_passages_carry_no_loss_and_queries_do(documents):
    for document in lookups(documents):
        replying = False
        for word, own in zip(document.words, document.own, strict=True):
            replying = replying or word == "->"
            assert not (replying and own)
            replying = replying and word != ";"
        searched = [i for i, w in enumerate(document.words) if w == "search"]
        assert all(document.own[i] for i in searched)


def test_a_search_is_repeated_until_a_passage_answers_it_or_three_missed(documents):
    for document in lookups(documents):
        searched = rounds(document)
        misses = 0
        for (query, reply), after in itertools.zip_longest(searched, searched[1:]):
            hits = [p.split()[-1] for p in reply if p.startswith(f"{query} is ")]
            assert len(hits) <= 1
            assert reply == ["none"] or 1 <= len(reply) <= 3
            misses = 0 if hits else misses + 1
            if after is not None:
                assert after[0].split()[-1] == (hits[0] if hits else query.split()[-1])
        if document.words[-2] == "unknown":
            assert misses == 3


def test_the_fact_wanted_stands_first(documents):
    found = 0
    for document in lookups(documents):
        for query, reply in rounds(document):
            told = [p.startswith(f"{query} is ") for p in reply]
            assert not any(told[1:])
            found += told[0]
    assert found > 200
