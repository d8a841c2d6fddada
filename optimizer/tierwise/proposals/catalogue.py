"""The proposer of embedded tiers: a labelled catalogue of the paraphrases that they were trained on.

They know a few hundred words and cannot write instructions, so comparisons on them cover
demonstrations and paraphrases, and not the quality of a proposer.
"""

from __future__ import annotations

from tierwise.content import load_task
from tierwise.proposals.candidate import Registry

CATALOGUE = "catalogue"


def catalogue(registry: Registry, *, n: int | None = None) -> None:
    """The first paraphrase of each family of the shipped arithmetic prompts, then the others."""
    prompts = load_task("arithmetic").own
    variants = [prompt.variants() for prompt in prompts]
    for k in range(max(map(len, variants))):
        for paraphrases in variants:
            if k < len(paraphrases) and (n is None or len(registry.of_kind(demos=False)) < n):
                text = next(m.content for m in paraphrases[k].messages if m.role == "system")
                registry.admit(f"{CATALOGUE}/{paraphrases[k].id}", text)
