"""The decoder in numpy: pre-norm, RoPE, QK-norm, ReLU² MLP of four widths, untied head, no biases.

Queries and keys have unit root mean square, so that a score is at most 1.5·sqrt(head width) and the
softmax needs no maximum. The torch twin that trained the weights is ``tools/embedded/model.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tierwise.llm.embedded.checkpoint import Checkpoint, Floats

Ints = NDArray[np.int64]

POSITIONS = 512
"""Of a prompt and its completion together; training knew 200."""
GROWTH = 32
"""Positions by which the cache grows."""


class Cache:
    """Keys and values: a layer's arrays are ``(rows, heads, capacity, head width)``."""

    def __init__(self, keys: list[Floats], values: list[Floats]) -> None:
        self.keys, self.values = keys, values

    def take(self, rows: NDArray[np.int64]) -> Cache:
        """The cache of ``rows``, which may repeat."""
        return Cache([k[rows] for k in self.keys], [v[rows] for v in self.values])

    def reserve(self, positions: int) -> None:
        """Make room for ``positions``."""
        short = positions - self.keys[0].shape[2]
        if short > 0:
            pad = ((0, 0), (0, 0), (0, max(short, GROWTH)), (0, 0))
            self.keys = [np.pad(k, pad) for k in self.keys]
            self.values = [np.pad(v, pad) for v in self.values]


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
            tuple(arrays[f"{i}.{m}"] for m in ("qkv", "o", "w1", "w2"))
            for i in range(config["layers"])
        ]
        half = self._head_width // 2
        angles = np.arange(POSITIONS)[:, None] * config["rope_base"] ** (-np.arange(half) / half)
        # Both halves of a head turn by the same angle, the second with the sign that (a, b) ->
        # (a cos - b sin, b cos + a sin) needs.
        self._cos = np.tile(np.cos(angles), 2).astype(np.float32)
        self._sin = np.concatenate([-np.sin(angles), np.sin(angles)], 1).astype(np.float32)
        self._scale = np.float32(config["attention_scale"] / np.sqrt(self._head_width))

    def _turned(self, x: Floats, cos: Floats, sin: Floats) -> Floats:
        x = _norm(x)
        half = self._head_width // 2
        swapped = np.concatenate([x[..., half:], x[..., :half]], -1)
        swapped *= sin
        x *= cos
        x += swapped
        return x

    def read(self, tokens: Ints) -> tuple[Floats, Cache]:
        """Right-padded prompts ``(rows, time)`` -> hidden ``(rows, time, width)`` and cache."""
        rows, time = tokens.shape
        x = self._embedded[tokens]
        seen = np.tri(time, dtype=np.float32)
        cos, sin = self._cos[:time, None, None], self._sin[:time, None, None]
        cache = Cache([], [])
        for qkv, o, w1, w2 in self._layers:
            mixed = (_norm(x) @ qkv).reshape(rows, time, 3, self.heads, self._head_width)
            turned = self._turned(mixed[:, :, :2], cos, sin).transpose(2, 0, 3, 1, 4)
            query, key = turned[0] * self._scale, np.ascontiguousarray(turned[1])
            value = np.ascontiguousarray(mixed[:, :, 2].transpose(0, 2, 1, 3))
            weight = np.exp(query @ key.transpose(0, 1, 3, 2)) * seen
            weight /= weight.sum(-1, keepdims=True)
            x += (weight @ value).transpose(0, 2, 1, 3).reshape(rows, time, self.width) @ o
            x += _squared_relu(_norm(x) @ w1) @ w2
            cache.keys.append(key)
            cache.values.append(value)
        return _norm(x), cache

    def step(self, tokens: Ints, position: Ints, cache: Cache) -> Floats:
        """One token ``(rows,)`` at ``position`` ``(rows,)`` -> logits ``(rows, words)``."""
        rows, time = np.arange(len(tokens)), int(position.max()) + 1
        cache.reserve(time)
        x = self._embedded[tokens]
        cos, sin = self._cos[position, None, None], self._sin[position, None, None]
        seen = (np.arange(time) <= position[:, None]).astype(np.float32)[:, None]
        for (qkv, o, w1, w2), keys, values in zip(
            self._layers, cache.keys, cache.values, strict=True
        ):
            mixed = (_norm(x) @ qkv).reshape(len(rows), 3, self.heads, self._head_width)
            turned = self._turned(mixed[:, :2], cos, sin)
            keys[rows, :, position] = turned[:, 1]
            values[rows, :, position] = mixed[:, 2]
            query = turned[:, 0, :, :, None] * self._scale
            weight = np.exp((keys[:, :, :time] @ query)[..., 0]) * seen
            weight /= weight.sum(-1, keepdims=True)
            read = weight[:, :, None] @ values[:, :, :time]
            x += read.reshape(len(rows), self.width) @ o
            x += _squared_relu(_norm(x) @ w1) @ w2
        return self.logits(_norm(x))

    def logits(self, hidden: Floats) -> Floats:
        """Hidden ``(…, width)`` -> logits ``(…, words)``."""
        logits: Floats = hidden @ self._head
        return logits


def _norm(x: Floats) -> Floats:
    mean = (x * x).sum(-1, keepdims=True) / np.float32(x.shape[-1])
    normed: Floats = x / np.sqrt(mean + np.float32(1e-6))
    return normed


def _squared_relu(x: Floats) -> Floats:
    np.maximum(x, 0, out=x)
    x *= x
    return x
