"""The whole page of a finished run, as text and in a browser."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tests.report.browser import look, needs_chromium
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
