from __future__ import annotations

import numpy as np
import pytest

from tierwise.llm.embedded import Engine, vocabulary
from tierwise.llm.embedded.decoder import CACHE_GROWTH, RowGaps


def test_rows_that_stay_close_up_and_none_is_lost():
    rng = np.random.default_rng(0)
    for rows in (1, 2, 7, 40):
        for share in (0.0, 0.1, 0.5, 0.9, 1.0):
            gone = rng.random(rows) < share
            closed = RowGaps.of(gone).close(np.arange(rows))
            assert sorted(closed) == list(np.flatnonzero(~gone))


@pytest.fixture(scope="module")
def decoder():
    return Engine.load("small").decoder


def tokens(*shape):
    return np.random.default_rng(1).integers(len(vocabulary.WORDS), size=shape)


def test_padding_on_the_left_changes_nothing(decoder):
    text, pad = tokens(3, 11), 6
    padded = np.concatenate([tokens(3, pad), text], axis=1)
    plain, cache = decoder.read(text)
    shifted, behind = decoder.read(padded, np.full(3, pad))
    np.testing.assert_allclose(shifted[:, pad:], plain, atol=1e-4)
    rows, following = np.arange(3), tokens(3)
    cache, behind = cache.take(rows), behind.take(rows)
    np.testing.assert_allclose(
        decoder.step(following, behind), decoder.step(following, cache), atol=1e-4
    )


def test_token_by_token_is_what_a_whole_prompt_is_while_rows_go_and_the_cache_grows(decoder):
    text, read = tokens(5, 2 * CACHE_GROWTH + 9), 4
    whole, _ = decoder.read(text)
    expected = decoder.logits(whole)
    cache = decoder.read(text[:, :read])[1].take(np.arange(5))
    live = np.arange(5)
    for at in range(read, text.shape[1]):
        logits = decoder.step(text[live, at], cache)
        np.testing.assert_allclose(logits, expected[live, at], atol=2e-4)
        if at in (7, CACHE_GROWTH, 2 * CACHE_GROWTH):
            gaps = RowGaps.of(live == live[0])
            live = gaps.close(live)
            cache.close(gaps)
    assert len(live) == 2
