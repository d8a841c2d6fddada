"""The wordings that the models are trained on, by template: system texts, as prompts have them.

``tasks/arithmetic/prompts.yaml`` uses these and no others. The share is that of the arithmetic
documents; the styles are how the work is written under a template, with their weights.
"""

from __future__ import annotations

from typing import NamedTuple


class Template(NamedTuple):
    share: float
    wordings: tuple[str, ...]
    styles: dict[str, float]


TEMPLATES = {
    "plain": Template(
        0.20,
        ("solve this", "find the answer", "what is this", "solve", ""),
        {"steps": 0.35, "totals": 0.25, "pairs": 0.2, "bridge": 0.2},
    ),
    "steps": Template(
        0.15,
        ("solve one step at a time", "go step by step", "take small steps", "show every step"),
        {"steps": 1},
    ),
    "totals": Template(
        0.15,
        ("keep a running total", "write only the totals", "note each total", "track the total"),
        {"totals": 1},
    ),
    "pairs": Template(
        0.10,
        ("take two terms at once", "solve in pairs", "go two by two", "take the terms in pairs"),
        {"pairs": 1},
    ),
    "anyorder": Template(
        0.11,
        ("use any order you like", "pick the best order", "take the terms in any order",
         "change the order first"),
        {"anyorder": 1},
    ),
    "rephrase": Template(
        0.09,
        ("repeat the problem first", "write the problem again then solve", "restate then solve",
         "read the problem again"),
        {"rephrase": 1},
    ),
    "fewshot": Template(
        0.10,
        ("follow the examples", "do as in the examples", "look at the examples",
         "solve like these"),
        {"steps": 0.6, "totals": 0.4},
    ),
    "bridge": Template(
        0.10,
        ("stop at each ten", "pass through the ten", "go by tens", "use the ten as a bridge"),
        {"bridge": 1},
    ),
}  # fmt: skip
RATING = ("rate", "rate this", "rate this problem", "rate the problem")
CONTROL_QUESTION = ("think ?", "think first ?")
