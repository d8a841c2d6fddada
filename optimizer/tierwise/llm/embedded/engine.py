"""Sampling from an embedded model, many samples at once.

A prompt is read once whatever the number of its samples; finished samples leave the batch. Chance is a
function of (model, prompt, seed, step) alone, so a sample does not depend on its neighbours, beyond
the float noise of a matrix product's blocking.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.batch import Batch
from tierwise.llm.embedded.chance import streams
from tierwise.llm.embedded.chat import Prompt
from tierwise.llm.embedded.checkpoint import WEIGHTS, Checkpoint, read
from tierwise.llm.embedded.decoder import Decoder
from tierwise.llm.embedded.vocabulary import text

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
            running = Batch(self.decoder, chosen, stream[rows])
            while running.active:
                running.step()
            for i, generation in zip(rows, _generations(running, chosen), strict=True):
                sampled[i] = generation
        return [g for g in sampled if g is not None]


@functools.cache
def _load(name: str, folder: Path) -> Engine:
    return Engine(read(name, folder))


def _chunks(prompts: Sequence[Prompt], batch: int) -> Iterator[NDArray[np.int64]]:
    """Indices in chunks of like length, samples of one prompt side by side."""
    order = sorted(range(len(prompts)), key=lambda i: (_expected(prompts[i]), prompts[i].tokens))
    for first in range(0, len(order), batch):
        yield np.array(order[first : first + batch])


def _expected(prompt: Prompt) -> tuple[tuple[int, ...], int]:
    """What the length of a sample goes with: the mode, then the prompt's length."""
    return prompt.cue, len(prompt.tokens)


def _generations(batch: Batch, prompts: Sequence[Prompt]) -> Iterator[Generation]:
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
