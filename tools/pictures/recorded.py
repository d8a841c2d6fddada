"""The README's first figure: what tuning finds on recorded answers of three real models.

    .venv/bin/python tools/pictures/recorded.py        (or: make figure)

Tunes examples/recorded/job.yaml and writes docs/images/recorded_light.svg and recorded_dark.svg:
each model's baseline prompt and its policy, on held-out items. No key, no network, half a minute.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tierwise.report.charts import Mark, Series, XYChart, draw
from tierwise.runs.tune import tune
from tierwise.schema import load_job
from tierwise.schema.result import Summary

ROOT = Path(__file__).parents[2]
JOB = ROOT / "examples" / "recorded" / "job.yaml"
CSS = ROOT / "optimizer" / "tierwise" / "report" / "report.css"
WIDTH = 760


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        summary = tune(load_job(JOB), Path(folder) / "run").summary
    chart = chart_of(summary)
    for theme in ("light", "dark"):
        path = ROOT / "docs" / "images" / f"recorded_{theme}.svg"
        path.write_text(standalone(str(draw(chart, WIDTH)), theme), encoding="utf-8")
        print(path)


def chart_of(summary: Summary) -> XYChart:
    """From a ring, the baseline prompt, to a dot, the policy, for each tier."""
    series = []
    for i, (name, tier) in enumerate(summary.tiers.items()):
        ends = (
            ("baseline prompt", "ring", tier.baseline),
            (f"{name}, tuned", "circle", tier.chosen),
        )
        marks = tuple(
            Mark(
                1000 * m.usd_per_item, m.score, f"{name}: {label}", shape, 6.0, m.score_ci95, label
            )
            for label, shape, m in ends
        )
        series.append(Series(name, f"t{i}", marks, "move"))
    items = next(iter(summary.tiers.values())).items.test
    return XYChart(
        "Baseline prompt and tuned policy of three models",
        f"Accuracy and cost on {items} held-out items.",
        tuple(series),
        f"dollars for 1,000 questions (log) — {items} held-out questions, 95% intervals",
        "accuracy",
        log_x=True,
        height=340,
    )


def standalone(svg: str, theme: str) -> str:
    """An SVG file with the report's styles, in one of its two themes."""
    css = CSS.read_text(encoding="utf-8")
    variables = re.findall(r":root\s*\{([^}]*)\}", css)  # of the light theme, then of the dark
    root = variables[0] + (variables[1] if theme == "dark" else "")
    tones = re.findall(r"^\.t\d.*$|^\.ink .*$", css, re.MULTILINE)
    shapes = css[css.index("svg text {") : css.index(".key ")]
    style = f"svg {{ {root} }}\n" + "\n".join(tones) + "\n" + shapes
    background = '<rect width="100%" height="100%" fill="var(--paper)" rx="8"/>'
    opened = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, end, rest = opened.partition(">")
    return f"{head}{end}<style>{style}</style>{background}{rest}\n"


if __name__ == "__main__":
    main()
