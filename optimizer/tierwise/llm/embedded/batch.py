"""Samples that run side by side: sampling, forced tokens, budgets, and leaving when done.

Arrays with a row for every sample hold what came out; ``_live`` are the rows that still run, and the
cache and the logits follow them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.cache import Cache, Gaps, Ints
from tierwise.llm.embedded.chance import Words64, uniform
from tierwise.llm.embedded.chat import STOP, WORK, Prompt
from tierwise.llm.embedded.checkpoint import Floats
from tierwise.llm.embedded.decoder import POSITIONS, Decoder
from tierwise.llm.embedded.vocabulary import END, ID, WORDS

_END, _ANSWER = ID[END], ID["answer"]
_STOP = np.array(STOP)
_NO_BUDGET = 2**31 - 1


class Batch:
    """The samples of ``prompts``, one a row, each with its own stream of chance."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Prompt], stream: Words64) -> None:
        n = len(prompts)
        self._decoder, self._stream = decoder, stream
        self._room = np.array([_room(p) for p in prompts])
        self._temperature = np.array([p.temperature for p in prompts], np.float32)
        self._budget = np.array(
            [_NO_BUDGET if p.budget_tokens is None else p.budget_tokens for p in prompts]
        )
        self._working = np.array([p.cue == WORK for p in prompts])
        self._forced = np.zeros(n, np.int64)
        """How many tokens of ``STOP`` are still to be forced."""
        self.tokens = np.zeros((n, int(self._room.max())), np.int64)
        self.lengths = np.zeros(n, np.int64)
        self.ended = np.zeros(n, np.bool_)
        self.stopped = np.zeros(n, np.bool_)
        """Which ended with one of their stops, which is no part of the text."""
        self._stops = np.zeros((n, len(WORDS)), np.bool_)
        for row, prompt in enumerate(prompts):
            self._stops[row, list(prompt.stop)] = True
        self.own = np.zeros(n, np.int64)
        self.logprob_sum = np.zeros(n)
        self.logprob_min = np.zeros(n)
        self._live = np.arange(n)
        self._step = 0
        self._logits, self._cache = _read(decoder, prompts)

    @property
    def active(self) -> bool:
        """Whether any row still runs."""
        return bool(len(self._live))

    def step(self) -> None:
        """One more token for every running row."""
        live = self._live
        over = self._working[live] & (self._step >= self._budget[live])
        self._forced[live[over]] = len(STOP)
        self._working[live[over]] = False
        chosen, logprob = _choose(
            self._logits, uniform(self._stream[live], self._step), self._temperature[live]
        )
        left = self._forced[live]
        own = left == 0
        token = np.where(own, chosen, _STOP[-left])
        self._forced[live] -= ~own
        self._record(live, token, own, np.where(own, logprob, 0.0))
        self._step += 1
        self.stopped[live] = own & self._stops[live, token]
        done = (own & (token == _END)) | self.stopped[live] | (self._step >= self._room[live])
        self._drop(done, token)

    def _record(self, live: Ints, token: Ints, own: NDArray[np.bool_], lp: Floats) -> None:
        self.tokens[live, self._step] = token
        self.lengths[live] += 1
        self.ended[live] = own & (token == _END)
        self.own[live] += own
        self.logprob_sum[live] += lp
        self.logprob_min[live] = np.minimum(self.logprob_min[live], lp)
        self._working[live] &= token != _ANSWER

    def _drop(self, done: NDArray[np.bool_], token: Ints) -> None:
        """Let finished rows go and run the model for the others."""
        if done.any():
            gaps = Gaps.of(done)
            self._live, token = gaps.close(self._live), gaps.close(token)
            if not gaps.left:
                return
            self._cache.close(gaps)
        self._logits = self._decoder.step(token, self._cache)


def _room(prompt: Prompt) -> int:
    """Tokens that may follow the cue: as asked, and as there are positions."""
    return min(prompt.max_tokens, POSITIONS - len(prompt.tokens)) - len(prompt.cue)


def _read(decoder: Decoder, prompts: Sequence[Prompt]) -> tuple[Floats, Cache]:
    """Logits and cache of each row, every distinct prompt read once."""
    texts = [(*p.tokens, *p.cue) for p in prompts]
    distinct = list(dict.fromkeys(texts))
    place = {t: i for i, t in enumerate(distinct)}
    time = max(map(len, distinct))
    padded = np.zeros((len(distinct), time), np.int64)
    for row, t in zip(padded, distinct, strict=True):
        row[time - len(t) :] = t
    hidden, cache = decoder.read(padded, np.array([time - len(t) for t in distinct]))
    rows = np.array([place[t] for t in texts])
    return decoder.logits(hidden[:, -1])[rows], cache.take(rows)


def _choose(
    logits: Floats, chance: NDArray[np.float64], temperature: Floats
) -> tuple[Ints, Floats]:
    """A token a row at its temperature, and its log-probability before the temperature."""
    shifted = logits - logits.max(-1, keepdims=True)
    warm = np.maximum(temperature, np.float32(1e-4))[:, None]
    edges = np.exp(shifted / warm).cumsum(-1, dtype=np.float64)
    chosen = (edges > (chance * edges[:, -1])[:, None]).argmax(-1)
    greedy = temperature <= 0
    if greedy.any():
        chosen[greedy] = shifted[greedy].argmax(-1)
    picked = shifted[np.arange(len(chosen)), chosen].astype(np.float64)
    return chosen, picked - np.log(np.exp(shifted).sum(-1, dtype=np.float64))
