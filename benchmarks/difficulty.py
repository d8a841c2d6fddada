"""What spending by difficulty is worth on the embedded tiers, held out, in one command.

    python benchmarks/difficulty.py            # three tiers; the samples stay in runs/difficulty
    python benchmarks/difficulty.py small      # one of them

Per tier: the compute gate, the ablation with every signal (samples and dollars at an equal score),
what buckets by each signal capture of the oracle's gain, the router, prompt sensitivity and
techniques.

A search of the space ``signals`` finds the variants that are worth a study, fits the router on the
train split, and says whether the gate opens. What is compared is chosen and judged on the study's
items and as many test items, cut in halves: see ``difficulty_folds``. Nobody was fitted to them;
the variants raced on some of them, the same for every row. Intervals are 95%, over items.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from difficulty_folds import BUCKETS, LEAN, MOST, PERMUTATIONS, World, compared, iv, show
from tierwise.analysis.prompts import sensitivities, techniques
from tierwise.analysis.signals import CLASSES, difficulties_of, qualities
from tierwise.analysis.tier_rows import mode_shares, stuck_in
from tierwise.difficulty import SignalFit
from tierwise.evaluation import Evaluator, Permutations
from tierwise.llm.models import open_model
from tierwise.pool import Account, Buyer, SamplePool, Supply
from tierwise.runs.tune import TuneResult, tune
from tierwise.schema import Job, Policy, TierSpec, UsageLimits
from tierwise.search import SearchSize
from tierwise.search.problem import asked_of
from tierwise.search.signals import paying
from tierwise.search.space import recipe_grid
from tierwise.search.tier import TierResult
from tierwise.stats.intervals import Interval
from tierwise.stats.rank import auroc_of_shares, expected_calibration_error, reliability

TIERS = ("small", "medium", "large")
PROBE_SAMPLES = (1, 2, 4)
SEARCHED = SearchSize(test_items=320)
"""Of the search only the variants, the router and the gate's verdict are looked at."""
TRIALS = 60


def opened(found: TierResult, result: TuneResult) -> World:
    """The study's items and as many of the test split as the search looked at, all samples of each.

    Those of the study are in the run's pool; the others are bought into it.
    """
    q = found.problem
    dimensions = found.study_rounds[-1].dimensions
    switch = tuple(variant for fit in found.routers[:1] for variant in (fit.direct, fit.think))
    variants = tuple(dict.fromkeys((*dimensions.variants, *switch)))
    wanted = {
        **dict.fromkeys(variants, max(dimensions.depths.values())),
        **asked_of(q.ready_signals),
    }
    items = (
        q.items["validation"][: q.search_size.study_items]
        + q.items["test"][: q.search_size.test_items]
    )
    model = open_model(q.tier)
    try:
        with SamplePool.open(result.run.pool) as pool:
            supply = Supply(q.tier, model, q.variants.prompts)
            account = Account("difficulty", q.seed, UsageLimits())
            table = Buyer(pool, q.task, supply, account).table(items, wanted, "difficulty")
    finally:
        model.close()
    dimensions = replace(dimensions, space=dimensions.space.with_difficulty(buckets=BUCKETS))
    return World(q.tier.name, table, dimensions, found.baseline)


def ablation(world: World) -> None:
    """Every ablation_step and every signal, and what the chosen policies do."""
    n = world.table.n_items
    print(f"\n### {world.name}: ablation, {n} items, chosen on one half, judged on the other\n")
    rows = compared(world)
    show(rows)
    print()
    for (family, what), row in rows.items():
        if what in (MOST, LEAN):
            policy = row.policies[0]
            print(f"- {family}, {what}: `{policy!s}`{_modes(policy, world)}")


def _modes(policy: Policy, world: World) -> str:
    """Of a thinking switch, the modes of each bucket, easiest first."""
    if policy.difficulty.signal not in ("router", "control_question"):
        return ""
    shares = mode_shares(policy, world.table)
    said = " | ".join(" ".join(f"{m} {s:.0%}" for m, s in b.items()) for b in shares)
    return f"; modes {said}{'; it does not switch' if stuck_in(policy, shares) else ''}"


def number(value: float | None) -> float:
    """NaN for what the samples do not support."""
    return float("nan") if value is None else value


def interval(mean: float | None, ends: tuple[float | None, float | None]) -> Interval:
    """An estimate of a summary as an interval."""
    return Interval(number(mean), number(ends[0]), number(ends[1]))


def signals(world: World) -> None:
    """How each signal orders the items, and the oracle's gain that buckets by it capture."""
    table, dims = world.table, world.dimensions
    evaluator = Evaluator(table, Permutations(PERMUTATIONS), exact=False)
    leading = max(dims.variants, key=lambda a: float(table.variants[a].score.mean()))
    cheapest = min(dims.variants, key=lambda a: float(table.variants[a].completion_usd.mean()))
    asked = list(
        dict.fromkeys(
            d for k in PROBE_SAMPLES for d in difficulties_of(dims, (cheapest, leading), k)
        )
    )
    found = qualities(evaluator, recipe_grid(dims, steps=3), asked, leading)
    print(f"\n### {world.name}: signals, judged by `{leading.label}` on {table.n_items} items\n")
    oracle = interval(found[0].oracle_gain, found[0].oracle_gain_ci95)
    print(f"Oracle buckets gain {iv(oracle, 4, sign=True)} of utility.\n")
    print(
        "| signal | AUROC | Spearman | $ an item | gain | share of the oracle's | if it were free |"
    )
    print("|---|---|---|---|---|---|---|")
    for q in found:
        free = (q.gain_if_free or 0.0) / oracle.mean if oracle.low > 0 else float("nan")
        settings = "".join(f" ({value})" for value in q.params.values())
        looked = f" of {q.probe.samples} × {' + '.join(q.probe.variants)}" if q.probe else ""
        share = float("nan") if q.share_of_oracle_gain is None else q.share_of_oracle_gain
        print(
            f"| {q.signal}{settings}{looked} | {iv(interval(q.auroc, q.auroc_ci95), 2)} "
            f"| {number(q.spearman):.2f} | {q.usd_per_item:.1e} "
            f"| {iv(interval(q.gain, q.gain_ci95), 4, sign=True)} | {share:.0%} | {free:.0%} |"
        )


def routers(world: World, found: TierResult) -> None:
    """The router on items to which it was not fitted."""
    print(f"\n### {world.name}: router\n")
    if not found.routers:
        print("None: thinking pays always or never, or there is no thinking mode.")
    for fit in found.routers:
        _router(world, fit)


def _router(world: World, fit: SignalFit) -> None:
    table = world.table
    evaluator = Evaluator(table, Permutations(PERMUTATIONS), exact=False)
    skipped = fit.difficulty.probe.samples if fit.difficulty.probe else 0
    pays = paying(table, fit.direct, fit.think, fit.summary.thinking_pays_from, skipped)
    said = 1 - evaluator.signal(fit.difficulty).reshape(table.n_items, -1)
    guessed = said.mean(axis=1)
    words = np.array([sum(len(t.split()) for t in i.values()) for i in table.inputs], dtype=float)
    train = fit.summary
    how = "after a probe" if fit.difficulty.probe else "before any sample"
    print(
        f"{how}, {fit.direct.label} or {fit.think.label}: thinking pays in {pays.mean():.0%} of "
        f"pairs of samples; AUROC {auroc_of_shares(guessed, pays):.3f} (number of words "
        f"{auroc_of_shares(words, pays):.3f}; on the train items, cross-fitted, "
        f"{train.auroc:.3f}), ECE {expected_calibration_error(guessed, pays):.3f} "
        f"(train {train.ece:.3f})"
    )
    curve = reliability(guessed, pays)
    print(
        "  predicted → came: " + ", ".join(f"{b.predicted:.2f} → {b.observed:.2f}" for b in curve)
    )
    success = table.variants[fit.direct].score.mean(axis=1)
    classes = np.array_split(np.argsort(-success, kind="stable"), CLASSES)
    thinks = said > fit.summary.share_where_thinking_pays
    rates = ", ".join(f"{success[c].mean():.2f}: {thinks[c].mean():.0%}" for c in classes)
    print(f"  sent to thinking, by success of the direct sample (easiest first): {rates}\n")


def gate(found: TierResult) -> None:
    """The compute gate's verdict."""
    verdict = found.compute_gate
    print(
        f"\n### {found.problem.tier.name}: compute gate {verdict.name}\n\nNet gain of the best "
        f"strategy over one sample {iv(verdict.net_gain, 3, sign=True)}, on {verdict.items} items."
    )


def sensitivity(result: TuneResult, name: str) -> None:
    """PSS of the paraphrases of each prompt."""
    print(f"\n### {name}: prompt sensitivity (PSS) over four paraphrases of a prompt\n")
    print("| prompt | mode | PSS | by chance alone | mean score |")
    print("|---|---|---|---|---|")
    found = result.found[name]
    for s in sensitivities(found.prompt_table, found.problem.families):
        if s.family != "*":
            print(
                f"| {s.family} | {s.mode} | {iv(interval(s.pss, s.pss_ci95), 3)} | "
                f"{number(s.by_chance):.3f} "
                f"| {s.mean_score:.2f} |"
            )


def technique_table(result: TuneResult, name: str) -> None:
    """Which prompts help here: the mean over their paraphrases beside the baseline's, by Holm."""
    found = result.found[name]
    q = found.problem
    print(f"\n### {name}: techniques, the mean over four paraphrases\n")
    print("| prompt | mode | score | beside the baseline prompt | says | cost |")
    print("|---|---|---|---|---|---|")
    for t in techniques(found.prompt_table, q.variants.baseline, q.families):
        print(
            f"| {t.prompt} | {t.mode} | {t.score:.2f} | "
            f"{iv(interval(t.difference, t.difference_ci95), 3, sign=True)} "
            f"| {t.verdict} | ×{t.cost_ratio:.1f} |"
        )


def tuned(
    out: Path, tiers: Sequence[str], space: str, seed: int, search_size: SearchSize, trials: int
) -> TuneResult:
    """A search of the embedded tiers, resumed where it is there."""
    specs = {name: TierSpec(f"embedded/{name}") for name in tiers}
    job = Job(task="arithmetic", space=space, tiers=specs, seed=seed, trials=trials)
    return tune(job, out, search_size=search_size)


def paraphrases(out: Path) -> str:
    """A space with four paraphrases of each prompt and little else, for the sensitivity."""
    path = out / "paraphrases.yaml"
    path.write_text(
        "prompts: {paraphrases: 3}\ntemperature: [0.8]\nmodes: [direct, think]\n"
        "strategies: {single: {}, self_consistency: {samples: 5}}\n"
    )
    return str(path)


SCREENED = SearchSize(
    screen_items=96, race_items=96, study_items=32, study_variants=2, test_items=60
)
"""Where only the screening is looked at: every paraphrase on these items, five samples each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tiers", nargs="*", default=TIERS)
    parser.add_argument("--out", type=Path, default=Path("runs/difficulty"))
    parser.add_argument("--trials", type=int, default=TRIALS, help="of the search")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # Of samplers that Optuna calls experimental: true, and no figure of this table.
    warnings.filterwarnings("ignore", module="optuna")
    args.out.mkdir(parents=True, exist_ok=True)
    result = tuned(args.out / "signals", args.tiers, "signals", args.seed, SEARCHED, args.trials)
    for name, found in result.found.items():
        print(f"\n## {name}", flush=True)
        gate(found)
        world = opened(found, result)
        world.table.save(args.out / f"tables.{name}.npz")
        ablation(world)
        signals(world)
        routers(world, found)
    worded = tuned(
        args.out / "paraphrases", args.tiers, paraphrases(args.out), args.seed, SCREENED, 20
    )
    for name in worded.found:
        sensitivity(worded, name)
        technique_table(worded, name)
    print(f"\n{time.process_time():.0f} CPU-s, without the workers that sample")


if __name__ == "__main__":
    main()
