"""Does it help, held out, to judge a prompt by all its paraphrases rather than by the luckiest?

    python benchmarks/paraphrases.py [--tiers small medium large] [--seeds 3]   # 2.3 CPU-min a seed

Each embedded tier is tuned twice a seed on its task with three other paraphrases of every prompt: once
with every paraphrase a candidate of its own (the luckiest may win), once with ``robust: true``. What
each exports at the quality point is compared on the same fresh test samples; and, since a prompt is
seldom deployed to the letter, so is the mean over its paraphrases on the screening's items.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tierwise.content import default_job
from tierwise.search import SearchSize, tune
from tierwise.search.found import TierResult
from tierwise.search.techniques import first_paraphrase
from tierwise.stats.comparisons import PairedBootstrap

SPACE = """prompts: {demos: [0], paraphrases: 3, robust: ROBUST}
temperature: [0.8]
modes: [direct, think]
strategies: {single: {}, self_consistency: {samples: [3, 5]}}
"""


EFFORT = SearchSize(
    race_variants=6, study_variants=4, study_items=160, select_items=200, test_items=400
)
"""A robust search samples four paraphrases of every variant at each of its stages."""


def tuned(tier: str, seed: int, robust: bool, work: Path) -> TierResult:
    """One search."""
    name = "robust" if robust else "lucky"
    space = work / f"{name}.yaml"
    space.write_text(SPACE.replace("ROBUST", str(robust).lower()))
    base = default_job()
    job = replace(
        base,
        space=str(space),
        tiers={tier: base.tiers[tier]},
        seed=seed,
        trials=60,
        operating_point="quality",
    )
    return tune(job, work / f"{tier}-{name}-{seed}", search_size=EFFORT).found[tier]


def over_paraphrases(found: TierResult) -> float:
    """Score at one sample of what was chosen, over all its paraphrases, on the screening's items."""
    table = found.prompt_table
    chosen = {(first_paraphrase(a.prompt), a.mode) for a in found.points["quality"].policy.variants}
    same = [
        variant
        for variant in table.variants
        if (first_paraphrase(variant.prompt), variant.mode) in chosen
    ]
    return float(np.mean([table.variants[variant].score.mean() for variant in same]))


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line a tier and seed, and a summary a tier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiers", nargs="*", default=["small", "medium", "large"])
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for tier in asked.tiers:
            gaps = []
            for seed in range(asked.seeds):
                both = [tuned(tier, seed, robust, Path(folder)) for robust in (False, True)]
                policies = [found.points["quality"].policy for found in both]
                lucky, robust = (
                    found.tested[policy] for found, policy in zip(both, policies, strict=True)
                )
                gaps.append(robust.score - lucky.score)
                gap = PairedBootstrap(len(gaps[-1])).difference(robust.score, lucky.score)
                named = [
                    " + ".join(variant.label for variant in policy.variants) for policy in policies
                ]
                anywhere = [over_paraphrases(found) for found in both]
                print(
                    f"{tier} seed {seed}: lucky {named[0]} {lucky.mean_score:.3f}, robust "
                    f"{named[1]} {robust.mean_score:.3f}: "
                    f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]; "
                    f"over all paraphrases {anywhere[0]:.3f}, {anywhere[1]:.3f}",
                    flush=True,
                )
            mean = np.mean(gaps, axis=0)
            told = PairedBootstrap(len(mean)).difference(mean, np.zeros(len(mean)))
            print(f"{tier}: robust less lucky {told.mean:+.4f} [{told.low:+.4f}, {told.high:+.4f}]")


if __name__ == "__main__":
    main()
