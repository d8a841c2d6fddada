"""How many distinct random policies a second the evaluation judges, on one core.

    python benchmarks/evaluation_speed.py

500 items x 40 samples x 32 orders, eight variants, all strategies, signals and bucket counts. Every
policy is new; ``cold`` is the first thousand, on an evaluator that has seen nothing. Seconds are
those of the process (on a busy machine the clock's say little) and of the clock. Also prints the
ratio to the plain replay, measured in the same run.
"""

from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import resource
import time

import numpy as np

from tierwise.evaluation import Evaluator, Permutations, SampleTable, VariantTable, replay_item
from tierwise.schema import Difficulty, Policy, Probe, Recipe, StrategySpec, Variant

N_ITEMS, N_SAMPLES, N_ORDERS = 500, 40, 32
VARIANTS = tuple(Variant(f"prompt{i}", "think" if i % 2 else "direct", 0.8) for i in range(8))


def table(rng: np.random.Generator) -> SampleTable:
    variants = {}
    ability = rng.normal(size=(N_ITEMS, 1))
    for variant in VARIANTS:
        right = rng.random((N_ITEMS, N_SAMPLES)) < 1 / (1 + np.exp(-ability - rng.normal()))
        answers = np.where(right, 0, rng.geometric(0.3, right.shape)).astype(np.int16)
        variants[variant] = VariantTable(
            answers,
            right.astype(float),
            np.full(right.shape, 1e-6),
            rng.integers(5, 80, right.shape).astype(np.float64) * 1e-6,
            rng.random(right.shape),
            {"mean_logprob": -rng.exponential(size=right.shape) - ~right},
        )
    inputs = tuple({"question": "word " * int(n)} for n in rng.integers(5, 60, N_ITEMS))
    return SampleTable(tuple(map(str, range(N_ITEMS))), inputs, variants)


def strategy(rng: np.random.Generator) -> StrategySpec:
    kind = rng.integers(6)
    samples, cap = int(2 ** rng.uniform(1, 4.1)), int(rng.integers(3, 18))
    if kind == 0:
        return StrategySpec.of("single")
    if kind == 1:
        return StrategySpec.of("self_consistency", samples=samples)
    if kind == 2:
        return StrategySpec.of("best_of_n", samples=samples)
    if kind == 3:
        return StrategySpec.of("weighted_consistency", samples=samples)
    if kind == 4:
        return StrategySpec.of(
            "early_stopping", window=int(rng.integers(2, 6)), max_samples=int(rng.integers(6, 17))
        )
    return StrategySpec.of(
        "adaptive_consistency",
        threshold=float(rng.uniform(0.7, 0.99)),
        max_samples=cap,
        window=int(rng.integers(1, 5)),
    )


def policy(rng: np.random.Generator, evaluator: Evaluator) -> Policy:
    kind = str(rng.choice(["none", "length", "probe_agreement", "probe_confidence"]))
    n = 1 if kind == "none" else int(rng.integers(1, 4))
    probe = (
        Probe((VARIANTS[rng.integers(8)],), int(rng.integers(2, 5))) if "probe" in kind else None
    )
    values = np.unique(evaluator.signal(Difficulty(kind, (), probe)))
    cuts = np.unique(np.quantile(values, np.sort(rng.random(n - 1))))[::-1]
    buckets = tuple(
        # A portfolio is a set: the search interleaves its variants in one order.
        Recipe(
            tuple(VARIANTS[i] for i in np.sort(rng.permutation(8)[: rng.integers(1, 3)])),
            strategy(rng),
        )
        for _ in range(len(cuts) + 1)
    )
    return Policy(buckets, Difficulty(kind, tuple(map(float, cuts)), probe))


def main() -> None:
    rng = np.random.default_rng(0)
    evaluator = Evaluator(table(rng), Permutations(N_ORDERS))
    judged: set[Policy] = set()
    for label, n in (("cold", 1000), ("then", 4000), ("then", 4000)):
        sampled = dict.fromkeys(policy(rng, evaluator) for _ in range(n))
        policies = [p for p in sampled if p not in judged]
        judged.update(policies)
        start, clock = time.process_time(), time.perf_counter()
        for p in policies:
            evaluator.evaluate(p)
        took, passed = time.process_time() - start, time.perf_counter() - clock
        print(
            f"{label}: {len(policies)} distinct policies, {len(policies) / took:,.0f} a second of "
            f"the process, {len(policies) / passed:,.0f} of the clock"
        )
    one = policies[0]
    start = time.process_time()
    for i in range(200):
        replay_item(one, evaluator.table, i, evaluator.permutations, 0)
    plain = (time.process_time() - start) / 200 * evaluator.n_rows
    print(f"plain replay of one policy: {plain:.1f} s, {plain / (took / len(policies)):,.0f} x")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
