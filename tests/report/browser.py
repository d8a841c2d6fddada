"""A report opened in headless Chromium, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

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
