"""Muon (Jordan et al., 2024): momentum, made orthogonal by five Newton–Schulz steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MOMENTUM, WEIGHT_DECAY = 0.95, 0.05


def orthogonal(g: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix to ``g``, to Muon's tolerance."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon:
    def __init__(self, matrices: Sequence[nn.Parameter]) -> None:
        self._matrices = matrices
        self._momenta = [torch.zeros_like(p) for p in matrices]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for p, momentum in zip(self._matrices, self._momenta, strict=True):
            assert p.grad is not None
            momentum.lerp_(p.grad, 1 - MOMENTUM)
            update = orthogonal(p.grad.lerp(momentum, MOMENTUM))
            rows, columns = p.shape
            p.mul_(1 - rate * WEIGHT_DECAY)
            p.add_(update, alpha=-rate * max(1.0, columns / rows) ** 0.5)
