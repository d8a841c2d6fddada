"""The wordings that the models are trained on, by template: system texts, as prompts have them.

``tasks/arithmetic/prompts.yaml`` uses these and no others. How often a template comes up, and how
work is written under it, is the training mixture's (``mixtures.py``) and differs by tier.
"""

from __future__ import annotations

TEMPLATES = {
    "plain": ("solve this", "find the answer", "what is this", "solve", ""),
    "steps": ("solve one step at a time", "go step by step", "take small steps", "show every step"),
    "totals": (
        "keep a running total",
        "write only the totals",
        "note each total",
        "track the total",
    ),
    "pairs": (
        "take two terms at once",
        "solve in pairs",
        "go two by two",
        "take the terms in pairs",
    ),
    "anyorder": (
        "use any order you like",
        "pick the best order",
        "take the terms in any order",
        "change the order first",
    ),
    "rephrase": (
        "repeat the problem first",
        "write the problem again then solve",
        "restate then solve",
        "read the problem again",
    ),
    "fewshot": (
        "follow the examples",
        "do as in the examples",
        "look at the examples",
        "solve like these",
    ),
    "bridge": ("stop at each ten", "pass through the ten", "go by tens", "use the ten as a bridge"),
}
RATING = ("rate", "rate this", "rate this problem", "rate the problem")
CONTROL_QUESTION = ("think ?", "think first ?")
