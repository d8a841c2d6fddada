"""What spending by difficulty is worth on the embedded tiers, held out, in one command.

    python benchmarks/difficulty.py                    # three tiers; draws stay in runs/difficulty
    python benchmarks/difficulty.py small --trials 60  # a first look

Per tier: the ladder with every signal, what buckets by each capture of the oracle's gain, draws and
dollars at an equal score, the router, the compute gate, prompt sensitivity and techniques. All is
chosen on the tune and select items and reported on test items, with 95% intervals over items.

Best fixed n is the uniform policy with a fixed number of draws that scores most; the leanest
(cheapest) fixed n is the one with the fewest draws (dollars) whose score is surely within .02 of
that one's. Ratios against the leanest are the strict ones: what is saved beyond choosing n well.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from difficulty_search import (
    DRAWS,
    USD,
    Row,
    World,
    at_equal_score,
    at_equal_usd,
    best,
    by_signal,
    fixed,
    opened,
    row,
    stopping,
)
from tierwise.content import Job, TierSpec
from tierwise.evaluation import Evaluator, Orders
from tierwise.recipe import Policy, StrategySpec, uniform
from tierwise.search import Effort, TuneResult, tune
from tierwise.search.found import Found
from tierwise.search.grid import recipes
from tierwise.search.mode_shares import mode_shares, stuck_in
from tierwise.search.router import RouterFit, paying
from tierwise.search.sensitivity import sensitivities
from tierwise.search.signal_quality import CLASSES, Quality, difficulties_of, qualities
from tierwise.search.study import described
from tierwise.search.techniques import techniques
from tierwise.stats.calibration import expected_calibration_error, reliability
from tierwise.stats.correlation import auroc_of_shares
from tierwise.stats.intervals import Interval

TIERS = ("small", "medium", "large")
PROBE_DRAWS = (2, 4)


def ladder(world: World, trials: int) -> None:
    """Every rung and every signal beside the best fixed n, at equal dollars and at equal score."""
    found = world.found
    plain = [uniform(arm, StrategySpec.of("single")) for arm in world.dimensions.arms]
    constant, adaptive = fixed(world), stopping(world)
    most = best(world, constant)
    print(f"\n### {world.name}: ladder, {world.test.table.n_items} test items\n")
    print(f"Best fixed n: `{described(most)}`\n")
    print("| | score | against best fixed n | draws | draws saved | dollars saved |")
    print("|---|---|---|---|---|---|")
    _line("today's prompt, one draw", row(world, found.baseline, most))
    _line("best prompt, one draw", row(world, best(world, plain), most))
    _line("best fixed n", row(world, most, most))
    lean = at_equal_score(world, constant, most, DRAWS) or most
    cheap = at_equal_score(world, constant, most, USD) or most
    _line("leanest fixed n at equal score", row(world, lean, most))
    _line("cheapest fixed n at equal score", row(world, cheap, most))
    rows: list[tuple[str, Row, Row, Row | None]] = []
    for name, policies in _families(world, adaptive, trials):
        fewest = at_equal_score(world, policies, most, DRAWS)
        least = at_equal_score(world, policies, most, USD)
        rich = at_equal_usd(world, policies, most)
        if rich:
            _line(f"{name}: most at its dollars", row(world, rich, most))
        if fewest and least:
            _line(f"{name}: fewest draws at equal score", row(world, fewest, most))
            _line(f"{name}: least dollars at equal score", row(world, least, most))
            leaner, cheaper = row(world, fewest, lean), row(world, least, cheap)
            rows.append((name, leaner, cheaper, row(world, rich, most) if rich else None))
        else:
            print(f"| {name} | no policy is surely as good | | | | |")
    print("\nBeside the leanest (cheapest) fixed n at that score:\n")
    print("| | draws saved | score | dollars saved | score | modes by bucket |")
    print("|---|---|---|---|---|---|")
    for name, leaner, cheaper, _ in rows:
        shares = mode_shares(cheaper.policy, world.test.table)
        modes = " · ".join(" ".join(f"{m} {s:.0%}" for m, s in b.items()) for b in shares)
        stuck = stuck_in(cheaper.policy, shares)
        print(
            f"| {name} | ×{_iv(leaner.fewer_draws, 2)} | {_iv(leaner.difference, 3, sign=True)} "
            f"| ×{_iv(cheaper.fewer_usd, 2)} | {_iv(cheaper.difference, 3, sign=True)} "
            f"| {modes}{f' (stuck in {stuck})' if stuck else ''} |"
        )
    for name, leaner, cheaper, _ in rows:
        print(f"\n{name}: `{described(leaner.policy)}`", end="")
        if cheaper.policy != leaner.policy:
            print(f"; cheapest: `{described(cheaper.policy)}`", end="")
    print()


def _families(
    world: World, adaptive: Sequence[Policy], trials: int
) -> list[tuple[str, Sequence[Policy]]]:
    found: list[tuple[str, Sequence[Policy]]] = [("adaptive stop, no signal", adaptive)]
    for kind in world.dimensions.signals:
        found.append((f"buckets by {kind}", by_signal(world, kind, trials)))
    return found


def signals(world: World) -> list[Quality]:
    """How each signal orders the test items, and the oracle's gain that buckets by it capture."""
    table, dims = world.test.table, world.dimensions
    evaluator = Evaluator(table, Orders(8, world.found.question.seed), exact=False)
    leading = max(dims.arms, key=lambda a: float(table.arms[a].score.mean()))
    cheapest = min(dims.arms, key=lambda a: float(table.arms[a].completion_usd.mean()))
    asked = list(dict.fromkeys(
        d for k in PROBE_DRAWS for d in difficulties_of(dims, (cheapest, leading), k)
    ))  # fmt: skip
    found = qualities(evaluator, recipes(dims, steps=3), asked, leading)
    print(
        f"\n### {world.name}: signals, judged by `{leading.label}` on {table.n_items} test items\n"
    )
    oracle = found[0].oracle
    print(f"Oracle buckets gain {_iv(oracle, 4, sign=True)} of utility.\n")
    print(
        "| signal | AUROC | Spearman | $ an item | gain | share of the oracle's | if it were free |"
    )
    print("|---|---|---|---|---|---|---|")
    for q in found:
        free = q.unbilled.mean / oracle.mean if oracle.low > 0 else float("nan")
        print(
            f"| {q.difficulty} | {_iv(q.auroc, 2)} | {q.spearman:.2f} | {q.usd_per_item:.1e} "
            f"| {_iv(q.gain, 4, sign=True)} | {q.share:.0%} | {free:.0%} |"
        )
    return found


def routers(world: World) -> None:
    """The router on test items, to which it was not fitted."""
    print(f"\n### {world.name}: router\n")
    if not world.found.routers:
        print("None: thinking pays always or never, or there is no thinking mode.")
    for fit in world.found.routers:
        _router(world, fit)


def _router(world: World, fit: RouterFit) -> None:
    table = world.test.table
    skipped = fit.difficulty.probe.draws if fit.difficulty.probe else 0
    pays = paying(table, fit.direct, fit.think, fit.pays_from, skipped)
    said = 1 - world.test.signal(fit.difficulty).reshape(table.n_items, -1)
    guessed = said.mean(axis=1)
    words = np.array([sum(len(t.split()) for t in i.values()) for i in table.inputs], dtype=float)
    how = "after a probe" if fit.difficulty.probe else "before any draw"
    print(
        f"{how}, {fit.direct.label} or {fit.think.label}: thinking pays in {pays.mean():.0%} of "
        f"pairs of draws; AUROC {auroc_of_shares(guessed, pays):.3f} (number of words "
        f"{auroc_of_shares(words, pays):.3f}; on the train items, cross-fitted, {fit.auroc:.3f}), "
        f"ECE {expected_calibration_error(guessed, pays):.3f} (train {fit.ece:.3f})"
    )
    curve = reliability(guessed, pays)
    print(
        "  predicted → came: " + ", ".join(f"{b.predicted:.2f} → {b.observed:.2f}" for b in curve)
    )
    success = table.arms[fit.direct].score.mean(axis=1)
    classes = np.array_split(np.argsort(-success, kind="stable"), CLASSES)
    thinks = said > fit.pays
    rates = ", ".join(f"{success[c].mean():.2f}: {thinks[c].mean():.0%}" for c in classes)
    print(f"  sent to thinking, by success of the direct draw (easiest first): {rates}\n")


def gate(found: Found) -> None:
    """The compute gate's verdict."""
    verdict = found.compute_gate
    print(
        f"\n### {found.question.tier.name}: compute gate {verdict.name}\n\nScore a doubling of the "
        f"draws {_iv(verdict.slope, 3, sign=True)}, by thinking {_iv(verdict.gain, 3, sign=True)}, "
        f"on {verdict.items} items."
    )


def sensitivity(result: TuneResult, name: str) -> None:
    """PSS of the wordings of each prompt."""
    print(f"\n### {name}: prompt sensitivity (PSS) over four wordings of a prompt\n")
    print("| prompt | mode | PSS | by chance alone | mean score |")
    print("|---|---|---|---|---|")
    found = result.found[name]
    for s in sensitivities(found.prompt_table, found.question.families):
        if s.family != "*":
            print(f"| {s.family} | {s.mode} | {_iv(s.pss, 3)} | {s.by_chance:.3f} "
                  f"| {s.mean_score:.2f} |")  # fmt: skip


def technique_table(result: TuneResult, name: str) -> None:
    """Which prompts help here: the mean over their wordings beside the baseline's, by Holm."""
    found = result.found[name]
    q = found.question
    print(f"\n### {name}: techniques, the mean over four wordings\n")
    print("| prompt | mode | score | beside the baseline prompt | says | cost |")
    print("|---|---|---|---|---|---|")
    for t in techniques(found.prompt_table, q.arms.baseline, q.families):
        print(
            f"| {t.prompt} | {t.mode} | {t.score:.2f} | {_iv(t.difference, 3, sign=True)} "
            f"| {t.verdict} | ×{t.cost_ratio:.1f} |"
        )


def _line(name: str, found: Row) -> None:
    score = found.on_test
    print(
        f"| {name} | {score.mean_score:.3f} | {_iv(found.difference, 3, sign=True)} "
        f"| {score.draws.mean():.2f} | ×{_iv(found.fewer_draws, 2)} | ×{_iv(found.fewer_usd, 2)} |"
    )


def _iv(interval: Interval, digits: int, *, sign: bool = False) -> str:
    mean, low, high = (f"{v:{'+' if sign else ''}.{digits}f}" for v in interval)
    return f"{mean} [{low}, {high}]"


def tuned(
    out: Path, tiers: Sequence[str], space: str, seed: int, effort: Effort | None = None
) -> TuneResult:
    """A run over the embedded tiers, resumed where it is there."""
    specs = {name: TierSpec(f"embedded/{name}") for name in tiers}
    trials = 300 if effort is None else 20
    job = Job(task="arithmetic", space=space, tiers=specs, seed=seed, trials=trials)
    return tune(job, out, effort=effort)


def wordings(out: Path) -> str:
    """A space with four wordings of each prompt and little else, for the sensitivity."""
    path = out / "wordings.yaml"
    path.write_text(
        "prompts: {paraphrases: 3}\ntemperature: [0.8]\nmodes: [direct, think]\n"
        "strategies: {single: {}, self_consistency: {draws: 5}}\n"
    )
    return str(path)


SCREENED = Effort(
    screen_items=96, race_items=96, race_arms=2, study_items=32, study_arms=2, select_items=32,
    test_items=60, finalists=2,
)  # fmt: skip
"""Where only the screening is looked at: every wording on these items, five draws each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tiers", nargs="*", default=TIERS)
    parser.add_argument("--out", type=Path, default=Path("runs/difficulty"))
    parser.add_argument("--trials", type=int, default=150, help="of each signal's own study")
    parser.add_argument("--select-items", type=int, default=480)
    parser.add_argument("--test-items", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="optuna")
    args.out.mkdir(parents=True, exist_ok=True)
    result = tuned(args.out / "signals", args.tiers, "signals", args.seed)
    for name, found in result.found.items():
        print(f"\n## {name}")
        gate(found)
        world = opened(found, result.run, args.select_items, args.test_items)
        ladder(world, args.trials)
        signals(world)
        routers(world)
    worded = tuned(args.out / "wordings", args.tiers, wordings(args.out), args.seed, SCREENED)
    for name in worded.found:
        sensitivity(worded, name)
        technique_table(worded, name)


if __name__ == "__main__":
    main()
