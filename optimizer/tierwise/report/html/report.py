"""The report of a run: one HTML file from the run directory alone, which buys nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tierwise.errors import InputError
from tierwise.report.html.ablation import ablation
from tierwise.report.html.buckets import buckets
from tierwise.report.html.by_samples import by_samples
from tierwise.report.html.calibration import calibration
from tierwise.report.html.candidates import candidates
from tierwise.report.html.cheapest import cheapest
from tierwise.report.html.dollars import dollars
from tierwise.report.html.examples import examples
from tierwise.report.html.front import front
from tierwise.report.html.markup import Markup, el, joined
from tierwise.report.html.money import money
from tierwise.report.html.page import Section, document
from tierwise.report.html.parameters import parameters
from tierwise.report.html.planned import planned
from tierwise.report.html.points import points
from tierwise.report.html.prompt_map import prompt_map
from tierwise.report.html.reproduce import reproduce
from tierwise.report.html.search_rounds import search_rounds
from tierwise.report.html.signals import signals
from tierwise.report.html.techniques import escalation, techniques
from tierwise.report.html.verdict import verdict
from tierwise.report.reading import DAMAGED, RunFiles, read

Draw = Callable[[RunFiles], Markup | None]
"""None: the section is about nothing that this run has, and is left out."""

SECTIONS: dict[str, tuple[str, Draw]] = {
    "verdict": ("The verdict", verdict),
    "dollars": ("Dollars against score", dollars),
    "points": ("Operating points", points),
    "cheapest": ("The cheapest way to a score", cheapest),
    "front": ("Everything that was tried", front),
    "ablation": ("What each freedom adds", ablation),
    "draws": ("Accuracy by draws", by_samples),
    "search": ("Rounds of search", search_rounds),
    "buckets": ("Buckets", buckets),
    "prompts": ("Prompt by tier", prompt_map),
    "techniques": ("Which techniques help", techniques),
    "escalation": ("Handing requests on", escalation),
    "candidates": ("Rank at one draw, rank in the strategy", candidates),
    "calibration": ("The difficulty signal", calibration),
    "signals": ("What tells easy from hard", signals),
    "parameters": ("What mattered", parameters),
    "money": ("Where the money went", money),
    "planned": ("Plan against actual", planned),
    "examples": ("Examples", examples),
    "reproduce": ("How to reproduce", reproduce),
}
NEED_NO_TIERS = ("money", "planned", "reproduce")


def report(path: Path) -> str:
    """The text of ``report.html`` for the run in ``path``: the same bytes for the same files.

    What is missing or cannot be understood is said, and the rest is shown.

    Raises:
        InputError: ``path`` is no run directory.
    """
    run = read(path)
    sections = [
        Section(id_, title, body)
        for id_, (title, draw) in SECTIONS.items()
        if (run.tiers or id_ in NEED_NO_TIERS or (id_ == "verdict" and run.failed))
        and (body := _drawn(title, draw, run)) is not None
    ]
    return document(f"tierwise: {run.task}", _intro(run), sections)


def write_report(path: Path, to: Path | None = None) -> Path:
    """Write the report of the run in ``path`` to ``to`` (left out: ``report.html`` in the run).

    Raises:
        InputError: as ``report``; or the file cannot be written.
    """
    text = report(path)
    to = to or path / "report.html"
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", path=to) from None
    return to


def _drawn(title: str, draw: Draw, run: RunFiles) -> Markup | None:
    try:
        return draw(run)
    except DAMAGED as error:
        # A directory of another version, or cut off: the other sections are still worth reading.
        return el(
            "p",
            f"“{title}” could not be drawn: the run directory lacks what it needs "
            f"({type(error).__name__}: {error}).",
            class_="missing",
        )


def _intro(run: RunFiles) -> Markup:
    tiers = ", ".join(f"{name} ({tier.summary.model})" for name, tier in run.tiers.items())
    said = [el("p", f"Task {run.task}, tuned on {tiers}." if tiers else f"Task {run.task}.")]
    if run.missing:
        missing = el("ul", *(el("li", sentence) for sentence in run.missing))
        said.append(el("div", el("b", "Not complete. "), missing, class_="missing"))
    return joined(said)
