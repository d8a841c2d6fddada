"""Sampling from an embedded model, many samples at once.

A prompt is read once whatever the number of its samples; finished samples leave the batch. Random
numbers are a function of (model, prompt, seed, step) alone, so a sample does not depend on its
neighbours, beyond the float noise of a matrix product's blocking.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.chat import STOP, WORK, Prompt
from tierwise.llm.embedded.decoder import (
    POSITIONS,
    WEIGHTS,
    AnyArray,
    Checkpoint,
    Decoder,
    Ints,
    KeyValueCache,
    RowGaps,
    read_checkpoint,
)
from tierwise.llm.embedded.vocabulary import END, ID, WORDS, text

Words64 = NDArray[np.uint64]

BATCH = 256


class Generation(NamedTuple):
    """One sample.

    ``text`` starts with the forced cue; ``completion_tokens`` counts it, everything after it and
    the end mark. ``logprob_sum`` and ``logprob_min`` are natural logarithms over the
    ``n_own_tokens`` that the model chose itself (the end mark among them, forced tokens not), under
    its own distribution: before the temperature.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    logprob_sum: float
    logprob_min: float
    n_own_tokens: int
    finish_reason: str


class Engine:
    """One embedded model, ready to sample."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.name = checkpoint.name
        self.parameters = sum(a.size for a in checkpoint.arrays.values())
        self.decoder = Decoder(checkpoint)
        self._salt = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")

    @classmethod
    def load(cls, name: str, folder: Path = WEIGHTS) -> Engine:
        """The engine of ``name`` (small, medium, large), loaded once a process.

        Raises:
            InputError: an unknown name; weights that are missing or damaged.
        """
        return _load(name, folder)

    def generate(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], batch: int = BATCH
    ) -> list[Generation]:
        """One sample per pair of ``prompts[i]`` and ``seeds[i]``, in their order."""
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts need as many seeds, got {len(seeds)}")
        sampled: list[Generation | None] = [None] * len(prompts)
        keys = {p: p.key ^ self._salt for p in set(prompts)}
        stream = streams([keys[p] for p in prompts], seeds)
        for rows in _chunks(prompts, batch):
            chosen = [prompts[i] for i in rows]
            running = SampleBatch(self.decoder, chosen, stream[rows])
            while running.active:
                running.step()
            for i, generation in zip(rows, _generations(running, chosen), strict=True):
                sampled[i] = generation
        return [g for g in sampled if g is not None]


@functools.cache
def _load(name: str, folder: Path) -> Engine:
    return Engine(read_checkpoint(name, folder))


def _chunks(prompts: Sequence[Prompt], batch: int) -> Iterator[NDArray[np.int64]]:
    """Indices in chunks of like length, samples of one prompt side by side."""
    order = sorted(range(len(prompts)), key=lambda i: (_expected(prompts[i]), prompts[i].tokens))
    for first in range(0, len(order), batch):
        yield np.array(order[first : first + batch])


def _expected(prompt: Prompt) -> tuple[tuple[int, ...], int]:
    """What the length of a sample goes with: the mode, then the prompt's length."""
    return prompt.cue, len(prompt.tokens)


def _generations(batch: SampleBatch, prompts: Sequence[Prompt]) -> Iterator[Generation]:
    for row, prompt in enumerate(prompts):
        tokens = batch.tokens[row, : batch.lengths[row]]
        stopped = bool(batch.stopped[row])
        ended = bool(batch.ended[row]) or stopped
        yield Generation(
            text=text((*prompt.cue, *(tokens[:-1] if stopped else tokens))),
            prompt_tokens=len(prompt.tokens),
            completion_tokens=len(prompt.cue) + len(tokens),
            logprob_sum=float(batch.logprob_sum[row]),
            logprob_min=float(batch.logprob_min[row]),
            n_own_tokens=int(batch.own[row]),
            finish_reason="stop" if ended else "length",
        )


_END, _ANSWER = ID[END], ID["answer"]
_STOP = np.array(STOP)
_NO_BUDGET = 2**31 - 1


class SampleBatch:
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
            self._logits, stream_uniform(self._stream[live], self._step), self._temperature[live]
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

    def _record(self, live: Ints, token: Ints, own: NDArray[np.bool_], lp: AnyArray) -> None:
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
            gaps = RowGaps.of(done)
            self._live, token = gaps.close(self._live), gaps.close(token)
            if not gaps.left:
                return
            self._cache.close(gaps)
        self._logits = self._decoder.step(token, self._cache)


def _room(prompt: Prompt) -> int:
    """Tokens that may follow the cue: as asked, and as there are positions."""
    return min(prompt.max_tokens, POSITIONS - len(prompt.tokens)) - len(prompt.cue)


def _read(decoder: Decoder, prompts: Sequence[Prompt]) -> tuple[AnyArray, KeyValueCache]:
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
    logits: AnyArray, chance: NDArray[np.float64], temperature: AnyArray
) -> tuple[Ints, AnyArray]:
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


# Random numbers by counter: a pure function of (key, seed, step), whatever else is sampled.
# The mixing is SplitMix64's finaliser (Steele, Lea & Flood 2014).

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def _mix(x: Words64) -> Words64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def streams(keys: Sequence[int], seeds: Sequence[int]) -> Words64:
    """One stream per (key, seed) pair, shape ``(n,)``."""
    key = np.array([k & _MASK for k in keys], np.uint64)
    seed = np.array([(s * _GOLDEN + 1) & _MASK for s in seeds], np.uint64)
    return _mix(key ^ _mix(seed))


def stream_uniform(stream: Words64, step: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for ``step`` of each stream, shape ``(n,)``."""
    offset = np.uint64((step + 1) * _GOLDEN & _MASK)
    return (_mix(stream + offset) >> np.uint64(11)).astype(np.float64) * 2.0**-53
