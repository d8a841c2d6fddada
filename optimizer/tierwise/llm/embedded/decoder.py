"""The decoder in numpy: pre-norm, RoPE, QK-norm, ReLU² MLP of four widths, untied head, no biases.

Queries and keys have unit root mean square, so that a score is at most 1.5·sqrt(head width) and the
softmax needs no maximum. The torch twin that trained the weights is ``tools/embedded/model.py``.

Rows are padded on the left: RoPE sees differences of positions alone, and so all rows of a batch
write their next key into one and the same place of the cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.cache import Cache, Ints
from tierwise.llm.embedded.checkpoint import Checkpoint, Floats

POSITIONS = 512
"""Of a prompt and its completion together; training knew 200."""


class Decoder:
    """The forward pass over whole prompts (:meth:`read`) and over one more token a row."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        config, arrays = checkpoint.config, checkpoint.arrays
        self.width: int = config["width"]
        self.heads: int = config["heads"]
        self._head_width = self.width // self.heads
        self._embedded = _norm(arrays["emb"])
        self._head = np.ascontiguousarray(arrays["head"].T)
        self._layers = [
            (self._paired(arrays[f"{i}.qkv"]), *(arrays[f"{i}.{m}"] for m in ("o", "w1", "w2")))
            for i in range(config["layers"])
        ]
        half = self._head_width // 2
        frequencies = config["rope_base"] ** (-np.arange(half) / half)
        # Twice the positions: a short prompt may stand behind as many places of padding.
        angles = np.arange(2 * POSITIONS)[:, None] * frequencies
        turn = np.exp(1j * angles)[:, None, None]
        scale = config["attention_scale"] / np.sqrt(self._head_width)
        self._turn = np.concatenate([turn * scale, turn], 1).astype(np.complex64)
        """How queries (with their scale) and keys turn: ``(places, 2, 1, head width / 2)``."""

    def _paired(self, qkv: Floats) -> Floats:
        """The weights with the two numbers of a head that turn together side by side, so that they
        are a complex number; queries and keys alike, and so no product of theirs changes."""
        split = qkv.reshape(self.width, 3, self.heads, 2, self._head_width // 2)
        paired = split.copy().reshape(self.width, 3, self.heads, self._head_width)
        paired[:, :2] = split[:, :2].swapaxes(-1, -2).reshape(paired[:, :2].shape)
        return paired.reshape(self.width, 3 * self.width)

    def _turned(self, x: Floats, turn: NDArray[np.complex64]) -> Floats:
        pairs = _norm(x).view(np.complex64)
        pairs *= turn
        return pairs.view(np.float32)

    def read(self, tokens: Ints, first: Ints | None = None) -> tuple[Floats, Cache]:
        """Prompts ``(rows, time)`` -> hidden ``(rows, time, width)`` and cache.

        ``first`` ``(rows,)`` is where each prompt begins; what stands before it is padding, and its
        hidden states mean nothing.
        """
        rows, time = tokens.shape
        first = np.zeros(rows, np.int64) if first is None else first
        cache = Cache.empty(len(self._layers), rows, self.heads, time, self._head_width, first)
        cache.filled = time
        x = self._embedded[tokens]
        # Padding sees itself: what sees nothing would be no number, and spread.
        seen = np.tri(time, dtype=np.bool_) & (np.arange(time) >= first[:, None, None])
        seen = (seen | np.eye(time, dtype=np.bool_))[:, None].astype(np.float32)
        for (qkv, o, w1, w2), (keys, values) in zip(self._layers, cache.layers, strict=True):
            mixed = (_norm(x) @ qkv).reshape(rows, time, 3, self.heads, self._head_width)
            turned = self._turned(mixed[:, :, :2], self._turn[:time]).transpose(2, 0, 3, 1, 4)
            keys[:], values[:] = turned[1], mixed[:, :, 2].transpose(0, 2, 1, 3)
            weight = np.exp(turned[0] @ keys.transpose(0, 1, 3, 2))
            weight *= seen
            weight /= weight.sum(-1, keepdims=True)
            x += (weight @ values).transpose(0, 2, 1, 3).reshape(rows, time, self.width) @ o
            x += _squared_relu(_norm(x) @ w1) @ w2
        return _norm(x), cache

    def step(self, tokens: Ints, cache: Cache) -> Floats:
        """One more token ``(rows,)`` for each row of the cache -> logits ``(rows, words)``."""
        rows, at = len(tokens), cache.next_place()
        time = at + 1
        x = self._embedded[tokens]
        padded = int(cache.first.max())
        seen = (np.arange(padded)[:, None] >= np.repeat(cache.first, self.heads)).astype(np.float32)
        ones = np.ones(time, np.float32)
        for (qkv, o, w1, w2), (keys, values) in zip(self._layers, cache.layers, strict=True):
            mixed = (_norm(x) @ qkv).reshape(rows, 3, self.heads, self._head_width)
            turned = self._turned(mixed[:, :2], self._turn[at])
            keys[:, :, at], values[:, :, at] = turned[:, 1], mixed[:, 2]
            weight = (keys[:, :, :time] @ turned[:, 0, :, :, None]).reshape(-1, time)
            np.exp(weight, out=weight)
            for place in range(padded):  # a column at once: a row's few would be a loop each
                weight[:, place] *= seen[place]
            read = weight.reshape(rows, self.heads, 1, time) @ values[:, :, :time]
            read /= (weight @ ones).reshape(rows, self.heads, 1, 1)
            x += read.reshape(rows, self.width) @ o
            x += _squared_relu(_norm(x) @ w1) @ w2
        return self.logits(_norm(x))

    def logits(self, hidden: Floats) -> Floats:
        """Hidden ``(…, width)`` -> logits ``(…, words)``."""
        logits: Floats = hidden @ self._head
        return logits


def _norm(x: Floats) -> Floats:
    mean = np.vecdot(x, x)
    mean /= np.float32(x.shape[-1])
    mean += np.float32(1e-6)
    np.sqrt(mean, out=mean)
    normed: Floats = x / mean[..., None]
    return normed


def _squared_relu(x: Floats) -> Floats:
    np.maximum(x, 0, out=x)
    x *= x
    return x
