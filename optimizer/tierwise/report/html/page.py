"""`report.html`: the sections' contexts, rendered by the templates into one self-contained page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

from tierwise.errors import InputError, TierwiseError
from tierwise.pool.run_dir import RunDir
from tierwise.report import charts
from tierwise.report import text as n
from tierwise.report.html import explanations, record, results
from tierwise.report.html.explanations import summary_section
from tierwise.report.html.results import Built
from tierwise.runs.artifacts import RunFiles, read_run
from tierwise.schema.files import write_whole
from tierwise.schema.policy import bucket_names

_LONGEST = 2000
"""Characters of a name or sentence that are shown; ``|e`` shows a text whole."""
_SECURITY = "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
"""The page loads nothing, runs nothing, and has no style but its own."""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What HTML does not allow, or (half surrogates) UTF-8 cannot hold."""


class SectionSpec(NamedTuple):
    """A part of the page: the template ``sections/ID.html.j2`` on what ``build`` makes of a run.

    A section that has neither a context nor notes is left out: the run has nothing of it.
    """

    id: str
    title: str
    build: Callable[[RunFiles], Built]
    needs_tiers: bool = True


SECTION_GROUPS = {
    "Results": (
        SectionSpec("recommendation", "Recommendation", results.recommendation_section, False),
        SectionSpec("cost", "Score against cost", results.cost_section),
        SectionSpec("points", "Operating points", results.points_section),
        SectionSpec("cheapest", "Cheapest policy for a target score", results.cheapest_section),
    ),
    "Explanations": (
        SectionSpec("parts", "Parts of the metric", summary_section(lambda s: s.metric_parts)),
        SectionSpec("judge", "The judge", summary_section(lambda s: s.judge)),
        SectionSpec("ablation", "Ablation", explanations.ablation_section),
        SectionSpec("trials", "Search trials and Pareto front", explanations.trials_section),
        SectionSpec("samples", "Score by number of samples", explanations.samples_section),
        SectionSpec("retrieval", "Score by retrieval rounds", explanations.retrieval_section),
        SectionSpec("prompts", "Prompts by tier", explanations.prompts_section),
        SectionSpec("techniques", "Prompting techniques", summary_section(lambda s: s.techniques)),
        SectionSpec("escalation", "Escalation", summary_section(lambda s: s.escalation)),
        SectionSpec(
            "ranks",
            "Prompt rank at one sample and under the strategy",
            summary_section(lambda s: s if s.ranks else None),
        ),
        SectionSpec("signals", "Difficulty signals", explanations.signals_section),
        SectionSpec("parameters", "Parameter importance", explanations.parameters_section),
    ),
    "Record": (
        SectionSpec("spending", "Cost of tuning", record.spending_section, False),
        SectionSpec("examples", "Examples", record.examples_section),
        SectionSpec("reproduce", "Reproduce this run", record.reproduce_section, False),
    ),
}
"""Heading in the contents -> its sections, in the page's order."""


class _Section(NamedTuple):
    """A rendered part of the page; ``notes`` say what of it is missing, and why."""

    id: str
    title: str
    body: Markup
    notes: tuple[str, ...]


def report(path: Path) -> str:
    """The text of ``report.html`` for the run in ``path``: the same bytes for the same files.

    A file that is missing or damaged is said on top and at its section; the rest is shown.

    Raises:
        InputError: ``path`` is no run directory.
    """
    run = read_run(path)
    groups = {
        name: [
            section
            for spec in specs
            if run.tiers or not spec.needs_tiers
            if (section := render(spec, run)) is not None
        ]
        for name, specs in SECTION_GROUPS.items()
    }
    style = Markup(resources.files("tierwise.report").joinpath("report.css").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    tiers = ", ".join(f"{name} ({tier.summary.model})" for name, tier in run.tiers.items())
    base = environment().get_template("base.html.j2")
    page = base.render(
        title=f"tierwise: {run.task}",
        security_policy=_SECURITY.format(digest=digest),
        style=style,
        intro=f"Task {run.task}, tuned on {tiers}." if tiers else f"Task {run.task}.",
        missing=run.missing,
        groups=groups,
    )
    return _UNPRINTABLE.sub("\ufffd", page)


def write_report(path: Path, to: Path | None = None) -> Path:
    """Write the report of the run in ``path`` to ``to`` (left out: ``report.html`` in the run).

    Raises:
        InputError: as ``report``; or the file cannot be written.
    """
    text = report(path)
    try:
        if to is None:
            return RunDir.open(path).write("report.html", text)  # whole or not at all
        write_whole(to, text)
    except OSError as error:
        where = to or path / "report.html"
        raise InputError(f"cannot write: {error.strerror}", path=where) from None
    return to


def render(spec: SectionSpec, run: RunFiles) -> _Section | None:
    """A section of the page; None where the run has nothing of it."""
    try:
        context, notes = spec.build(run)
    except InputError as error:
        file = f"{Path(error.path).name}: " if error.path else ""
        context, notes = None, (f"Not shown: {file}{error.message}.",)
    except TierwiseError as error:  # files that do not fit each other: the others are worth reading
        context, notes = None, (f"Not shown: {error}.",)
    if context is None and not notes:
        return None
    template = environment().get_template(f"sections/{spec.id}.html.j2")
    body = Markup() if context is None else Markup(template.render(section=context))
    return _Section(spec.id, spec.title, body, notes)


@cache
def environment() -> jinja2.Environment:
    """The templates: every value is escaped and cut to a readable length, none may be undefined."""
    env = jinja2.Environment(
        loader=jinja2.PackageLoader("tierwise.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else cut(value, _LONGEST),
    )
    env.filters |= {
        "beside": n.beside,
        "bounds": n.bounds,
        "bucket_name": lambda count, i: bucket_names(count)[i],
        "counted": lambda count, name: f"{count} {name}{'' if count == 1 else 's'}",
        "cut": cut,
        "p_value": lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.2g}",
        "point_bounds": n.point_bounds,
        "points": n.points,
        "ratio": n.ratio,
        "ratio_bounds": lambda pair: (
            "" if None in pair else f"[{', '.join(map(n.significant, pair))}]"
        ),
        "score": n.score,
        "share": n.share,
        "signed": lambda value, digits=2: f"{value:+.{digits}f}" if n.known(value) else n.NOTHING,
        "svg": charts.draw,
        "thousands": lambda count: n.NOTHING if count is None else f"{count:,.0f}",
        "usd": n.usd,
        "usd_per": n.usd_per,
    }
    env.globals["key"] = charts.key
    return env


def cut(value: Any, most: int) -> Any:
    """``value``; of a text longer than ``most`` characters its beginning and its length."""
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]} … ({len(value):,} characters)"
    return value
