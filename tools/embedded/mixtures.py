"""What each tier is trained on: real tiers differ in their data as well as in their size."""

from __future__ import annotations

from dataclasses import dataclass

RATE, ASK = 0.03, 0.02
"""Shares of self-ratings and control questions; what these and look-ups leave is arithmetic."""
CUT_SHORT = 0.08
"""Share of the documents with work that ``stop answer :`` cuts."""
DEMONSTRATED = 0.06
"""Share of documents with demonstrations, under another template than ``fewshot``."""
DIRECT_TEMPLATES = {"plain": 0.6, "fewshot": 0.2, "steps": 0.05, "totals": 0.05, "rephrase": 0.05,
                    "pairs": 0.05}  # fmt: skip
"""Templates of the documents without work."""


@dataclass(frozen=True)
class Phase:
    """A part of a training run.

    Attributes:
        lookup: share of look-ups.
        ranked: whether their passages have the best match first.
        rate: of the learning rates, at the start.
        flat: share of the steps before the rates fall on a line to 0.
    """

    lookup: float
    ranked: bool
    rate: float
    flat: float


PHASES = (Phase(0.10, False, 1.0, 0.3), Phase(0.45, True, 0.5, 0.0))
"""Phases of a run; a tier may end before the last."""
KEPT = 0.3
"""Share of the weights before a later phase in the average that goes on: what the phase forgets of
the earlier ones comes back, and little of what it learned goes (arXiv 2109.01903)."""


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
        work=0.5,
        direct_operations=(24, 26, 20, 10, 5, 3, 2, 1, 1, 1, 1, 1),
        templates=_templates(0.20, 0.26, 0.17, 0.08, 0.06, 0.08, 0.10, 0.05),
        plain={"steps": 0.4, "totals": 0.25, "pairs": 0.2, "bridge": 0.15},
        think_from=3,
    ),
    "medium": Mixture(
        work=0.45,
        direct_operations=(14, 20, 22, 20, 12, 6, 3, 2, 1, 1, 1, 1),
        templates=_templates(0.26, 0.14, 0.10, 0.14, 0.12, 0.08, 0.10, 0.06),
        plain={"steps": 0.3, "totals": 0.2, "pairs": 0.3, "anyorder": 0.2},
        think_from=5,
    ),
    "large": Mixture(
        work=0.45,
        direct_operations=(12, 14, 16, 18, 18, 14, 8, 4, 2, 1, 1, 1),
        templates=_templates(0.22, 0.08, 0.20, 0.16, 0.08, 0.10, 0.10, 0.06),
        plain={"steps": 0.2, "totals": 0.4, "pairs": 0.4},
        think_from=6,
    ),
}  # fmt: skip
FEWSHOT = {"steps": 0.6, "totals": 0.4}
"""Ways of work under ``fewshot``; a template of any other name is a way of its own."""


def styles(mixture: Mixture, template: str) -> dict[str, float]:
    """Ways of work under a template, with their weights."""
    return {"plain": mixture.plain, "fewshot": FEWSHOT}.get(template, {template: 1.0})
