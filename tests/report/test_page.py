"""The whole page of a finished run, as text and in a browser."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.report.test_hostile import Elements
from tierwise.report.html import SECTION_GROUPS, report, write_report
from tierwise.schema.result import Summary, from_json


def test_every_section_is_drawn_from_a_whole_run(finished):
    text = report(finished)
    assert re.findall("[^>]*not shown[^<]*", text, flags=re.I) == [
        "Not shown: study.journal holds too few trials of the last studies."
    ]
    assert "Not complete" not in text
    left_out = {"judge", "parts", "retrieval", "escalation"}  # the run has none of them
    ids = [spec.id for specs in SECTION_GROUPS.values() for spec in specs]
    shown = [section["id"] for section in Elements(text).named("section")]
    assert shown == [id_ for id_ in ids if id_ not in left_out]


def test_the_page_needs_nothing_else_and_every_element_is_closed(finished):
    text = report(finished)
    page = Elements(text)
    assert not page.open
    assert len(text.encode()) < 2_000_000
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.found}
    for _, attrs in page.found:
        assert not {"src", "style", "onload", "onerror", "onclick"} & set(attrs)
        assert attrs.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://", text)
    style = re.search("<style>(.*)</style>", text, flags=re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = page.named("meta")[1]["content"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")


def test_every_picture_has_a_text_alternative_and_a_table_behind_it(finished):
    text = report(finished)
    for svg in Elements(text).named("svg"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"
    for figure in re.findall(r"<figure>.*?</figure>", text, flags=re.S):
        assert "<svg" not in figure or "<table" in figure


def test_the_recommendation_says_the_numbers_of_the_summary(finished):
    text = report(finished)
    for tier in from_json(finished / "summary.json", Summary).tiers.values():
        assert f"{tier.baseline.score:.3f}" in text
        if tier.chosen.policy != tier.baseline.policy:
            assert f"{100 * tier.chosen.against_baseline.score_difference:+.1f} points" in text


def test_the_same_files_give_the_same_bytes(finished, tmp_path):
    first = write_report(finished, tmp_path / "a.html").read_bytes()
    assert write_report(finished, tmp_path / "b.html").read_bytes() == first


NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

MEASURE = """<script>
document.querySelectorAll('details').forEach(d => { d.open = OPEN });
const page = document.documentElement;
parent.postMessage([page.scrollWidth, page.clientWidth], '*');
</script>"""

FRAME = """<!doctype html><iframe src="PAGE" style="width:WIDTHpx;height:900px;border:0"></iframe>
<script>
addEventListener('message', told => {
  [document.documentElement.dataset.width, document.documentElement.dataset.inner] = told.data;
});
</script>"""


class Looked(NamedTuple):
    """How wide the page is, how wide its frame is, and what the console said."""

    width: int
    inner: int
    console: list[str]


def look(report: Path, width: int, folder: Path, *, opened: bool = False) -> Looked:
    """Open the report in a frame of that width (with every detail opened, if so).

    A frame, since a headless window is never narrower than 500 pixels.
    """
    console = _chromium(report, folder).stderr
    text = report.read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)  # it forbids the measuring script
    copy = folder / f"measured-{width}-{opened}.html"
    script = MEASURE.replace("OPEN", str(opened).lower())
    copy.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    frame = folder / f"frame-{width}-{opened}.html"
    frame.write_text(FRAME.replace("PAGE", copy.name).replace("WIDTH", str(width)), "utf-8")
    dom = _chromium(frame, folder).stdout
    found = {k: int(v) for k, v in re.findall(r'data-(width|inner)="(\d+)"', dom[:2000])}
    said = [line for line in console.splitlines() if "CONSOLE" in line]
    return Looked(found["width"], found["inner"], said)


def _chromium(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1600,1000",
            "--virtual-time-budget=5000",
            "--dump-dom",
            page.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@needs_chromium
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("opened", [False, True])
def test_chromium_shows_it_without_overflow_or_a_word_on_the_console(
    finished, tmp_path, width, opened
):
    path = write_report(finished, tmp_path / "report.html")
    seen = look(path, width, tmp_path, opened=opened)
    assert seen.width <= seen.inner
    assert seen.console == []
