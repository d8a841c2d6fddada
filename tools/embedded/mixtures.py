"""What each tier is trained on: real tiers differ in their data as well as in their size."""

from __future__ import annotations

from dataclasses import dataclass

LOOKUP, RATE, ASK = 0.12, 0.03, 0.02
"""Shares of look-ups, self-ratings and control questions; what these leave is arithmetic."""
CUT_SHORT = 0.08
"""Share of the documents with work that ``stop answer :`` cuts."""
DEMONSTRATED = 0.06
"""Share of documents with demonstrations, under another template than ``fewshot``."""
DIRECT_TEMPLATES = {
    "plain": 0.6,
    "fewshot": 0.2,
    "steps": 0.05,
    "totals": 0.05,
    "rephrase": 0.05,
    "pairs": 0.05,
}
"""Templates of the documents without work."""


@dataclass(frozen=True)
class Mixture:
    """A tier's arithmetic documents.

    Attributes:
        work: share of documents with work.
        direct_operations: weights of 1 … 12 operations in documents without work.
        templates: template -> its share of the documents with work.
        plain: way of work -> its share under ``plain``, which leaves it open.
        think_from: operations from which the control question is answered with yes.
        work_operations: weights of operations in documents with work; long questions are rare, so
            that they stay hard.
    """

    work: float
    direct_operations: tuple[float, ...]
    templates: dict[str, float]
    plain: dict[str, float]
    think_from: int
    work_operations: tuple[float, ...] = (14, 14, 14, 12, 10, 8, 6, 4, 3, 2, 1.5, 1)


def _templates(*shares: float) -> dict[str, float]:
    names = ("plain", "steps", "totals", "pairs", "anyorder", "rephrase", "fewshot", "bridge")
    return dict(zip(names, shares, strict=True))


MIXTURES = {
    "small": Mixture(
        work=0.36,
        direct_operations=(8, 16, 26, 28, 12, 4, 2, 1, 1, 1, 1, 1),
        templates=_templates(0.20, 0.30, 0.14, 0.08, 0.05, 0.08, 0.10, 0.05),
        plain={"steps": 0.4, "totals": 0.25, "pairs": 0.2, "bridge": 0.15},
        think_from=5,
    ),
    "medium": Mixture(
        work=0.36,
        direct_operations=(8, 18, 28, 28, 10, 3, 1, 1, 1, 1, 1, 1),
        templates=_templates(0.22, 0.20, 0.12, 0.14, 0.10, 0.08, 0.08, 0.06),
        plain={"steps": 0.3, "totals": 0.2, "pairs": 0.3, "anyorder": 0.2},
        think_from=5,
    ),
    "large": Mixture(
        work=0.34,
        direct_operations=(6, 12, 20, 28, 22, 8, 3, 1, 1, 1, 1, 1),
        templates=_templates(0.20, 0.22, 0.06, 0.18, 0.06, 0.08, 0.12, 0.08),
        plain={"steps": 0.4, "totals": 0.1, "pairs": 0.5},
        think_from=6,
    ),
}
FEWSHOT = {"steps": 0.6, "totals": 0.4}
"""Ways of work under ``fewshot``; a template of any other name is a way of its own."""


def styles(mixture: Mixture, template: str) -> dict[str, float]:
    """Ways of work under a template, with their weights."""
    return {"plain": mixture.plain, "fewshot": FEWSHOT}.get(template, {template: 1.0})
