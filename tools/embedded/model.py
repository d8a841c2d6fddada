"""The decoder, in torch: pre-norm without gains, RoPE, QK-norm, ReLU² MLP, untied head, no biases.

The numpy ``decoder.py`` of the package is its twin; ``compare.py`` beside this file checks that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tierwise.llm.embedded.vocabulary import ID, LARGEST_NUMBER, WORDS

ROPE_BASE = 1000.0
ATTENTION_SCALE = 1.5
"""Over 1/sqrt(head width): unit-norm queries and keys need a sharper softmax."""
MATRICES = ("qkv", "o", "w1", "w2")


@dataclass(frozen=True)
class Size:
    width: int
    layers: int
    heads: int


SIZES = {"small": Size(32, 3, 2), "medium": Size(48, 3, 4), "large": Size(64, 3, 4)}


def norm(x: Tensor) -> Tensor:
    return functional.rms_norm(x, (x.shape[-1],), eps=1e-6)


class Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        d = size.width
        self.heads = size.heads
        self.qkv = nn.Parameter(torch.randn(d, 3 * d) * 0.6 * d**-0.5)
        self.o = nn.Parameter(torch.zeros(d, d))
        self.w1 = nn.Parameter(torch.randn(d, 4 * d) * 0.6 * d**-0.5)
        self.w2 = nn.Parameter(torch.zeros(4 * d, d))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (norm(x) @ self.qkv).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = rotate(norm(q), cos, sin), rotate(norm(k), cos, sin)
        scale = ATTENTION_SCALE / math.sqrt(d // self.heads)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        x = x + y.transpose(1, 2).reshape(b, t, d) @ self.o
        return x + functional.relu(norm(x) @ self.w1).square() @ self.w2


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Decoder(nn.Module):
    def __init__(self, size: Size, context: int = 256) -> None:
        super().__init__()
        self.size = size
        self.emb = nn.Parameter(torch.randn(len(WORDS), size.width) * 0.5)
        self.head = nn.Parameter(torch.randn(len(WORDS), size.width) * 0.02)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        half = size.width // size.heads // 2
        angles = torch.arange(context)[:, None] * ROPE_BASE ** (-torch.arange(half) / half)[None]
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self._seed_numbers()

    @torch.no_grad()
    def _seed_numbers(self) -> None:
        """Start the numbers on waves of periods 2 … 40: a sum is then a rotation, found sooner."""
        n = torch.arange(LARGEST_NUMBER + 1).float()
        waves = [(n - n.mean()) / 10]
        for period in (2, 3, 5, 10, 20, 40):
            waves += [(2 * math.pi * n / period).cos(), (2 * math.pi * n / period).sin()]
        features = torch.stack(waves, 1)
        rows, columns = slice(ID["0"], ID["0"] + len(n)), slice(0, features.shape[1])
        self.emb[rows] *= 0.5
        self.emb[rows, columns] = features * 0.7
        self.head[rows, columns] = features * 0.15

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) ids -> (batch, time, width), normed: times ``head.T`` they are logits."""
        t = tokens.shape[1]
        x = norm(self.emb[tokens])
        for block in self.blocks:
            x = block(x, self.cos[:t], self.sin[:t])
        return norm(x)

    @property
    def matrices(self) -> list[nn.Parameter]:
        return [getattr(b, name) for b in self.blocks for name in MATRICES]
