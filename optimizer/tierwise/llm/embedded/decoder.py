"""The embedded decoder in numpy: weights on disk, the cache of keys and values, the forward pass.

Pre-norm, RoPE, QK-norm, ReLU² MLP of four widths, untied head, no biases. Queries and keys have
unit root mean square, so a score is at most 1.5·sqrt(head width) and the softmax needs no maximum.
The torch model that trained the weights is ``tools/embedded/model.py``.

Rows are padded on the left: RoPE depends on differences of positions alone, so all rows of a batch
write their next key into the same place of the cache.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tierwise.errors import InputError, unknown_name
from tierwise.llm.embedded.vocabulary import WORDS

AnyArray = NDArray[Any]
Ints = NDArray[np.int64]

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST = "SHA256.json"


@dataclass(frozen=True)
class Checkpoint:
    """One model: its configuration (width, layers, heads, …) and its arrays by name, float32."""

    name: str
    config: dict[str, Any]
    arrays: dict[str, AnyArray]


def read_checkpoint(name: str, folder: Path = WEIGHTS) -> Checkpoint:
    """The weights ``name`` of ``folder``.

    Raises:
        InputError: an unknown name, a file that is missing or whose SHA-256 is not the manifest's.
    """
    wanted = sha256_of(name, folder)
    path = folder / f"{name}.npz"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the weights are missing ({error.strerror})", path=path) from error
    if hashlib.sha256(content).hexdigest() != wanted:
        raise InputError("the weights are damaged: their SHA-256 is not the manifest's", path=path)
    return _parsed(name, content, path)


def sha256_of(name: str, folder: Path = WEIGHTS) -> str:
    """The manifest's hash of the weights ``name``: what tells one version of a model from another.

    Raises:
        InputError: an unknown name, or no manifest.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the weights' manifest: {error}", path=folder) from error
    if name not in manifest:
        raise unknown_name("embedded model", name, manifest)
    return str(manifest[name])


def _parsed(name: str, content: bytes, path: Path) -> Checkpoint:
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        config = json.loads(str(stored["config"]))
        arrays = {key: stored[key].astype(np.float32) for key in stored.files if key != "config"}
    if config.pop("words") != list(WORDS):
        raise InputError("the weights were trained with another vocabulary", path=path)
    return Checkpoint(name, config, arrays)


CACHE_GROWTH = 32
"""Places by which the cache grows. Most samples end within as many, and rows that have ended are
not
copied: room for the longest sample would be memory that most batches clear for nothing."""


class RowGaps(NamedTuple):
    """How rows close up when some of them go: the last of those that stay take their places.

    So what is copied is as much as goes, not as much as stays.
    """

    left: int
    holes: Ints
    tails: Ints

    @classmethod
    def of(cls, gone: NDArray[np.bool_]) -> RowGaps:
        """The gaps that the rows ``gone`` leave."""
        left = len(gone) - int(gone.sum())
        return cls(left, np.flatnonzero(gone[:left]), left + np.flatnonzero(~gone[left:]))

    def close(self, rows: Ints) -> Ints:
        """An array of one entry a row, closed up."""
        closed = rows[: self.left].copy()
        closed[self.holes] = rows[self.tails]
        return closed


class KeyValueCache:
    """Keys and values of each layer, ``(rows, heads, capacity, head width)``.

    The first ``filled`` places are in use, in all rows alike; a row's own text begins at its
    ``first``, and padding stands before it.
    """

    def __init__(self, array: AnyArray, first: Ints, filled: int = 0) -> None:
        self._array = array
        """``(layers, keys and values, rows, heads, capacity, head width)``."""
        self.first, self.filled = first, filled

    @classmethod
    def empty(
        cls, layers: int, rows: int, heads: int, capacity: int, head_width: int, first: Ints
    ) -> KeyValueCache:
        """Room for ``capacity`` places a row."""
        return cls(np.empty((layers, 2, rows, heads, capacity, head_width), np.float32), first)

    @property
    def layers(self) -> AnyArray:
        """Keys and values, a layer after the other; what is written to them is kept."""
        return self._array[:, :, : len(self.first)]

    def next_place(self) -> int:
        """A further place, in use from now on; :attr:`layers` are to be asked for afterwards."""
        if self.filled == self._array.shape[-2]:
            self._array = self.take(np.arange(len(self.first)))._array
        self.filled += 1
        return self.filled - 1

    def take(self, rows: Ints) -> KeyValueCache:
        """The cache of ``rows``, which may repeat, with room to grow."""
        layers, _, _, heads, _, width = self._array.shape
        capacity = self.filled + CACHE_GROWTH
        wide = KeyValueCache.empty(layers, len(rows), heads, capacity, width, self.first[rows])
        wide.filled = self.filled
        for mine, its in zip(self.layers, wide.layers, strict=True):
            for old, new in zip(mine, its, strict=True):
                new[:, :, : self.filled] = old[rows, :, : self.filled]
        return wide

    def close(self, gaps: RowGaps) -> None:
        """Let rows go."""
        self.first = gaps.close(self.first)
        if len(gaps.holes):
            for layer in self._array:
                for each in layer:
                    each[gaps.holes, :, : self.filled] = each[gaps.tails, :, : self.filled]


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

    def _paired(self, qkv: AnyArray) -> AnyArray:
        """The weights with the two numbers of a head that turn together side by side, so that they
        are a complex number; queries and keys alike, and so no product of theirs changes."""
        split = qkv.reshape(self.width, 3, self.heads, 2, self._head_width // 2)
        paired = split.copy().reshape(self.width, 3, self.heads, self._head_width)
        paired[:, :2] = split[:, :2].swapaxes(-1, -2).reshape(paired[:, :2].shape)
        return paired.reshape(self.width, 3 * self.width)

    def _turned(self, x: AnyArray, turn: NDArray[np.complex64]) -> AnyArray:
        pairs = _norm(x).view(np.complex64)
        pairs *= turn
        return pairs.view(np.float32)

    def read(self, tokens: Ints, first: Ints | None = None) -> tuple[AnyArray, KeyValueCache]:
        """Prompts ``(rows, time)`` -> hidden ``(rows, time, width)`` and cache.

        ``first`` ``(rows,)`` is where each prompt begins; what stands before it is padding, and its
        hidden states mean nothing.
        """
        rows, time = tokens.shape
        first = np.zeros(rows, np.int64) if first is None else first
        cache = KeyValueCache.empty(
            len(self._layers), rows, self.heads, time, self._head_width, first
        )
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

    def step(self, tokens: Ints, cache: KeyValueCache) -> AnyArray:
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

    def logits(self, hidden: AnyArray) -> AnyArray:
        """Hidden ``(…, width)`` -> logits ``(…, words)``."""
        logits: AnyArray = hidden @ self._head
        return logits


def _norm(x: AnyArray) -> AnyArray:
    mean = np.vecdot(x, x)
    mean /= np.float32(x.shape[-1])
    mean += np.float32(1e-6)
    np.sqrt(mean, out=mean)
    normed: AnyArray = x / mean[..., None]
    return normed


def _squared_relu(x: AnyArray) -> AnyArray:
    np.maximum(x, 0, out=x)
    x *= x
    return x
