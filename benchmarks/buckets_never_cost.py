"""Buckets never cost, and the compute gate is wrong as rarely as it says.

    python benchmarks/buckets_never_cost.py                        # simulated tiers
    python benchmarks/buckets_never_cost.py --run runs/difficulty  # and those of difficulty.py

Splits: the items of a tier are interleaved anew to study, select and test, 20 times. A study on the
first, the finalists and the operating points on the second, as ``tierwise tune`` has them. Where a
point's policy has buckets, its sibling is what the point would have been without; both are judged
on the third. Points of utility: of score, less one for each doubling of the dollars (balanced), or
of score alone (quality). Placebo: the same with random numbers as the only signal; a study that
chooses buckets then is wrong.

Gate: tiers of known slope, screened on 48 items, closed ones looked at again on 120, and those that
this leaves in doubt on 240, as in a run; how many of 200 open.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.search_difficulty import worlds as gates
from tierwise.difficulty import SIGNALS
from tierwise.difficulty._base import register_signal
from tierwise.evaluation import Evaluation, Evaluator, Permutations, SampleTable, VariantTable
from tierwise.runs import load_space
from tierwise.schema import StrategySpec, Variant, uniform
from tierwise.schema.space import SearchSpace
from tierwise.search.allocation import allocate
from tierwise.search.compute_gate import GateDecision, decide
from tierwise.search.selection import (
    SCORE_PER_DOUBLING,
    StudyEvidence,
    candidate,
    finalists_of,
    select_points,
)
from tierwise.search.space import Dimensions
from tierwise.search.study import StudyRound
from tierwise.strategies import Sample

DEPTH, PERMUTATIONS, FINALISTS = 17, 16, 24
VARIANTS = (
    Variant("plain", "direct", 0.8),
    Variant("steps", "direct", 0.8),
    Variant("steps", "think", 0.8),
)
POINTS: dict[str, Callable[[Evaluation], float]] = {
    "balanced": lambda e: e.mean_score - SCORE_PER_DOUBLING * float(np.log2(e.mean_usd)),
    "quality": lambda e: e.mean_score,
}


class Placebo:
    """Random numbers, the same for the same inputs: tells nothing."""

    kind: ClassVar[str] = "placebo"
    probes: ClassVar[bool] = False
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """Of a hash of the inputs, in [0, 1)."""
        digest = hashlib.sha256(repr(sorted(inputs.items())).encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class World:
    """A tier: samples of its variants on many items, and the space that is searched."""

    table: SampleTable
    space: SearchSpace

    @property
    def placebo(self) -> World:
        """The same with random numbers as the only signal."""
        return replace(self, space=self.space.with_difficulty(signals=("none", Placebo.kind)))


class Chosen(NamedTuple):
    """At one operating point: the number of buckets, and their gain held out, in points."""

    point: str
    buckets: int
    gain: float


def simulated(seed: int, *, told: float, n_items: int = 720) -> World:
    """Items of normal difficulty, of which the length tells with correlation ``told``.

    A direct variant, one with better steps, and a dearer one that thinks: the harder, the more it adds.
    """
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=n_items)
    seen = told * hard + np.sqrt(1 - told**2) * rng.normal(size=n_items)
    skill, usd = (0.4, 1.0, 1.6), (1.0, 1.2, 5.0)
    variants = {
        variant: _samples(1 / (1 + np.exp(1.5 * hard - able)), cost, rng)
        for variant, able, cost in zip(VARIANTS, skill, usd, strict=True)
    }
    words = np.argsort(np.argsort(seen)) + 1
    inputs = tuple({"question": f"{i} " + "word " * int(n)} for i, n in enumerate(words))
    table = SampleTable(tuple(map(str, range(n_items))), inputs, variants)
    space = load_space("default").with_difficulty(signals=("none", "length", "probe_agreement"))
    return World(table, space)


def _samples(chance: np.ndarray, usd: float, rng: np.random.Generator) -> VariantTable:
    right = rng.random((len(chance), DEPTH)) < chance[:, None]
    answers = np.where(right, 0, rng.geometric(0.4, right.shape)).astype(np.int16)
    completion = usd * 1e-6 * rng.gamma(4.0, 0.25, right.shape)
    return VariantTable(
        answers,
        right.astype(float),
        np.full(right.shape, 1e-7),
        completion,
        np.ones(right.shape),
        {"mean_logprob": -rng.exponential(size=right.shape) - 0.5 * ~right},
    )


def of_run(path: Path, tier: str) -> World:
    """Items with all samples of all variants: of ``difficulty.py``, or the study's of a finished run."""
    return World(SampleTable.load(path / f"tables.{tier}.npz"), load_space("default"))


def split(world: World, seed: int, trials: int) -> list[Chosen]:
    """Study, select, test on one interleave of the items."""
    n = world.table.n_items
    interleaved = np.random.default_rng([seed, 31]).permutation(n)
    study, select, test = (world.table.rows(part) for part in np.array_split(interleaved, 3))
    permutations = Permutations(PERMUTATIONS, seed)
    dims = Dimensions(world.space, tuple(world.table.variants), logprobs=True, max_samples=DEPTH)
    study_round = StudyRound("split", Evaluator(study, permutations), dims, seed, 2)
    study_round.enqueue(allocate(study_round.evaluator, dims).spread(24))
    study_round.run(trials)
    study_round.try_alone()

    on_select, on_test = (Evaluator(t, permutations, exact=False) for t in (select, test))
    baseline = uniform(next(iter(world.table.variants)), StrategySpec.of("single"))
    finalists = finalists_of(study_round, FINALISTS)
    candidates = [candidate(on_select, baseline)]
    candidates += [candidate(on_select, j.policy, j.trial) for j in finalists]
    searched = StudyEvidence.of(study_round)
    plain = [c for c in candidates if len(c.policy.buckets) == 1]
    points, siblings = (
        select_points(some, candidates[0], "balanced", searched, margin=0.02)
        for some in (candidates, plain)
    )
    chosen = []
    for point, utility in POINTS.items():
        mine, sibling = points[point].policy, siblings[point].policy
        gain = utility(on_test.evaluate(mine)) - utility(on_test.evaluate(sibling))
        chosen.append(Chosen(point, len(mine.buckets), 100 * gain))
    return chosen


def report(name: str, world: World, args: argparse.Namespace) -> None:
    """Print what ``args.splits`` splits came to, with the signals of the space and with none."""
    for label, of in (("its signals", world), ("a placebo", world.placebo)):
        found = [c for seed in range(args.splits) for c in split(of, seed, args.trials)]
        for point in POINTS:
            here = [c for c in found if c.point == point]
            gains = np.array([c.gain for c in here if c.buckets > 1])
            shown = "no bucket chosen"
            if len(gains):
                error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.nan
                shown = f"held out {gains.mean():+.2f} points (se {error:.2f})"
                shown += f", over all splits {gains.sum() / len(here):+.2f}"
            print(
                f"{name:22s} {label:12s} {point:9s} buckets in {len(gains)} of {len(here)} "
                f"splits: {shown}",
                flush=True,
            )


def opens(slope: float, seed: int) -> bool:
    """Whether the gate opens on a tier that gains ``slope`` for each doubling of its samples."""
    world = gates.tier(seed, share=slope / SLOPE_OF_ALL, n_items=LOOKS[-1])

    def verdict(n: int) -> GateDecision:
        rows = world.rows(np.arange(n))
        return decide(
            rows,
            gates.SPACE,
            "direct",
            logprobs=False,
            permutations=Permutations(PERMUTATIONS, seed),
        )

    if verdict(LOOKS[0]).open:
        return True
    second = verdict(LOOKS[1])
    return second.open or (second.in_doubt and verdict(LOOKS[2]).open)


LOOKS = (48, 120, 240)
"""Items of the screening, the race and the study; the last only where the second left doubt."""

SLOPE_OF_ALL = 0.05 / 0.35
"""Of the world of the gate's tests, where votes help on all items."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--run", type=Path, help="folder of tables.TIER.npz")
    options.add_argument("--tiers", nargs="*", default=["small", "medium", "large"])
    options.add_argument("--splits", type=int, default=20)
    options.add_argument("--trials", type=int, default=200)
    options.add_argument("--told", type=float, nargs="*", default=[0.8, 0.3, 0.0])
    options.add_argument("--gates", type=int, default=200, help="simulated tiers for the gate")
    args = options.parse_args()
    # Of samplers that Optuna calls experimental: true, and no figure of this table.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    register_signal(Placebo)
    try:
        for told in args.told:
            report(f"simulated, length {told}", simulated(0, told=told), args)
        for tier in args.tiers if args.run else ():
            report(f"embedded {tier}", of_run(args.run, tier), args)
    finally:
        SIGNALS.pop(Placebo.kind)
    for slope in (0.0, 0.01, 0.02, 0.05):
        opened = sum(opens(slope, seed) for seed in range(args.gates))
        print(f"gate, slope {slope:.2f} a doubling: opens on {opened} of {args.gates} tiers")


if __name__ == "__main__":
    main()
