"""Does a technique help on this tier? Every prompt against the baseline prompt, in pairs.

After Kusano et al. (arXiv 2507.13525), who find that what helps cheap models often lowers strong
ones. A prompt is judged by the mean over its wordings, not by its luckiest one. It is compared with
the baseline prompt in the same mode and at the same temperatures, on the same items and draws; the
baseline prompt in another mode is compared with today's, so that the gain of the mode and that of
the words are two lines. The p-values of one table are corrected together (Holm).
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tierwise.evaluation import SampleTable
from tierwise.recipe import Arm
from tierwise.stats.intervals import Interval
from tierwise.stats.multiple import holm
from tierwise.stats.paired import PairedBootstrap

Floats = npt.NDArray[np.float64]
Verdict = Literal["helps", "hurts", "not shown"]

ALPHA = 0.05
_WORDING = re.compile(r"~\d+")


@dataclass(frozen=True)
class Technique:
    """A prompt, all its wordings together, in one mode.

    Attributes:
        prompt: id of the first wording; ``wordings`` are those that take part.
        against: label of what it is compared with.
        items: on which both have draws.
        score, against_score: at one draw, the mean over wordings and temperatures.
        difference: of the two, paired by item, at 95%.
        worst, best: score of the worst and of the best wording, on the same items.
        cost_ratio: dollars of a draw, its prompt included, over those of the other.
        p: two-sided, as it stands; ``adjusted_p``: corrected over the whole table.
    """

    prompt: str
    family: str
    mode: str
    wordings: tuple[str, ...]
    against: str
    items: int
    score: float
    against_score: float
    difference: Interval
    worst: float
    best: float
    cost_ratio: float
    p: float
    adjusted_p: float

    @property
    def verdict(self) -> Verdict:
        """What the table as a whole lets one say, wrong anywhere in it in 5% of tables."""
        if self.adjusted_p > ALPHA:
            return "not shown"
        return "helps" if self.difference.mean > 0 else "hurts"

    def summary(self) -> dict[str, Any]:
        """As data for ``summary.json``."""
        return {
            "prompt": self.prompt, "family": self.family, "mode": self.mode,
            "wordings": list(self.wordings), "against": self.against, "items": self.items,
            "score": self.score, "against_score": self.against_score,
            "difference": self.difference.mean,
            "difference_ci95": [self.difference.low, self.difference.high],
            "worst_wording": self.worst, "best_wording": self.best, "cost_ratio": self.cost_ratio,
            "p": self.p, "adjusted_p": self.adjusted_p, "verdict": self.verdict,
        }  # fmt: skip


def first_wording(prompt: str) -> str:
    """The prompt that ``prompt`` is a wording of; ``steps~2+2.think`` is ``steps+2.think``."""
    return _WORDING.sub("", prompt)


def techniques(
    table: SampleTable, baseline: Arm, families: Mapping[str, str] | None = None
) -> list[Technique]:
    """Every prompt and mode of ``table`` but the baseline, the largest gain first.

    Args:
        table: one draw or more of every arm; items without a draw of both sides are left out.
        baseline: the prompt and mode in use today, one of the table's arms.
        families: prompt -> family; left out: the prompt itself.
    """
    groups: dict[tuple[str, str], list[Arm]] = defaultdict(list)
    for arm in table.arms:
        groups[first_wording(arm.prompt), arm.mode].append(arm)
    own = first_wording(baseline.prompt), baseline.mode
    found, paired = [], functools.cache(PairedBootstrap)
    for (prompt, mode), arms in groups.items():
        others = _other(table, prompt, mode, arms, baseline)
        if (prompt, mode) != own and (compared := _compared(table, arms, others, paired)):
            family = (families or {}).get(arms[0].prompt, prompt)
            found.append(replace(compared, family=family))
    adjusted = holm([one.p for one in found]).adjusted
    judged = [replace(t, adjusted_p=float(p)) for t, p in zip(found, adjusted, strict=True)]
    return sorted(judged, key=lambda t: (-t.difference.mean, t.prompt, t.mode))


def _other(
    table: SampleTable, prompt: str, mode: str, arms: Sequence[Arm], baseline: Arm
) -> list[Arm]:
    """What a prompt in a mode is compared with; see the module."""
    if prompt == first_wording(baseline.prompt):
        return [baseline]
    temperatures = {arm.temperature for arm in arms}
    same = [
        arm for arm in table.arms
        if (arm.prompt, arm.mode) == (baseline.prompt, mode) and arm.temperature in temperatures
    ]  # fmt: skip
    return same or [baseline]


def _compared(
    table: SampleTable,
    arms: Sequence[Arm],
    others: Sequence[Arm],
    paired_over: Callable[[int], PairedBootstrap],
) -> Technique | None:
    """The comparison, without a correction; None with fewer than two items."""
    draws = min(table.arms[arm].depth for arm in (*arms, *others))
    mine, theirs = (
        np.array([table.arms[a].score[:, :draws].mean(axis=1) for a in group])
        for group in (arms, others)
    )
    known = ~np.isnan(np.vstack([mine, theirs])).any(axis=0)
    n = int(known.sum())
    if n < 2:
        return None
    ours, against = mine[:, known].mean(axis=0), theirs[:, known].mean(axis=0)
    wordings = tuple(dict.fromkeys(arm.prompt for arm in arms))
    by_wording = [
        float(mine[[arm.prompt == wording for arm in arms]][:, known].mean())
        for wording in wordings
    ]
    paired = paired_over(n)
    p = min(1.0, 2 * min(paired.p_value(ours, against), paired.p_value(against, ours)))
    return Technique(
        prompt=first_wording(arms[0].prompt), family="", mode=arms[0].mode, wordings=wordings,
        against=" + ".join(arm.label for arm in others), items=n, score=float(ours.mean()),
        against_score=float(against.mean()), difference=paired.difference(ours, against),
        worst=min(by_wording), best=max(by_wording),
        cost_ratio=_usd(table, arms, known) / max(_usd(table, others, known), 1e-30),
        p=p, adjusted_p=p,
    )  # fmt: skip


def _usd(table: SampleTable, arms: Sequence[Arm], known: npt.NDArray[np.bool_]) -> float:
    """Dollars of one draw in a call of its own."""
    rows = [table.arms[arm] for arm in arms]
    return float(np.mean([(r.prompt_usd[:, 0] + r.completion_usd[:, 0])[known] for r in rows]))
