"""The page around the sections: tables, figures, and one document that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

from tierwise.report.html.markup import Child, Markup, el, joined
from tierwise.report.numbers import NOTHING

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The page's own content security policy: it loads nothing and runs nothing."""


LONG = 40
"""Characters from which on a cell's text gets a column of some width."""


class Section(NamedTuple):
    """A part of the report: ``body`` is what was drawn of it."""

    id: str
    title: str
    body: Markup


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Child]], *, text: int = 1, caption: str = ""
) -> Markup:
    """A table; the first ``text`` columns are words, the others numbers, unless no cell is one."""
    words = {i for i in range(len(columns)) if i < text or _all_words([row[i] for row in rows])}

    def cells(name: str, row: Sequence[Child]) -> Markup:
        return el(
            "tr",
            *(
                el(
                    name,
                    cell,
                    class_=_kind(cell) if i in words else "number",
                    scope="col" if name == "th" else None,
                )
                for i, cell in enumerate(row)
            ),
        )

    head = el("thead", cells("th", columns))
    body = el("tbody", *(cells("td", row) for row in rows))
    said = el("caption", caption) if caption else None
    # A wide table scrolls in its own box, which the keyboard must be able to reach.
    inner = el("table", said, head, body)
    return el(
        "div", inner, class_="scroll", tabindex=0, role="group", aria_label=caption or "table"
    )


def _all_words(cells: Sequence[Child]) -> bool:
    """Whether a column says something and holds no number."""
    said = [cell for cell in cells if cell not in ("", NOTHING)]
    return bool(said) and all(
        isinstance(cell, str) and not any(letter.isdigit() for letter in cell) for cell in said
    )


def _kind(cell: Child) -> str | None:
    """A policy in one line needs room; most words do not."""
    return "long" if isinstance(cell, str) and len(cell) > LONG else None


def behind(summary: str, *content: Child) -> Markup:
    """What is there for those who open it."""
    return el("details", el("summary", summary), *content)


def figure(title: str, picture: Child, numbers: Markup, note: Child = None) -> Markup:
    """A picture with the table behind it."""
    return el("figure", el("figcaption", title), picture, note, behind("The numbers", numbers))


def both(draw: Callable[[int], Markup], narrow: int = 350, wide: int = 720) -> Markup:
    """A picture drawn twice: for phones, and for everything wider; only one is shown and read."""
    return joined([el("div", draw(narrow), class_="narrow"), el("div", draw(wide), class_="wide")])


def tiers_in_a_row(figures: Sequence[Markup]) -> Markup:
    """Figures side by side where there is room."""
    return el("div", *figures, class_="row")


def paragraphs(*texts: Child) -> Markup:
    """A ``<p>`` a text."""
    return joined(el("p", text) for text in texts if text)


def definition(pairs: Mapping[str, Child]) -> Markup:
    """Names and what they are."""
    return el("dl", *(joined([el("dt", k), el("dd", v)]) for k, v in pairs.items()))


def document(title: str, intro: Markup, sections: Sequence[Section]) -> str:
    """The file's text."""
    style = resources.files("tierwise.report.html").joinpath("report.css").read_text("utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Markup(style)),
    )
    contents = el(
        "nav", *(el("a", s.title, href=f"#{s.id}") for s in sections), aria_label="Contents"
    )
    drawn = [
        el(
            "section",
            el("h2", s.title, id=f"{s.id}-title"),
            s.body,
            id=s.id,
            aria_labelledby=f"{s.id}-title",
        )
        for s in sections
    ]
    body = el("body", el("header", el("h1", title), intro, contents), el("main", *drawn))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"
