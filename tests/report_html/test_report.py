import json
import re
from html.parser import HTMLParser

import pytest

from tests.report_html.browser import look, needs_chromium
from tierwise.errors import InputError
from tierwise.evaluation import SampleTable
from tierwise.llm import Call, Completion, build_request
from tierwise.pool import SamplePool
from tierwise.pool.store import Answered
from tierwise.report.html import SECTIONS, report, write_report
from tierwise.schema import Usage, UsageLimits
from tierwise.schema.policy_file import PolicyFile

HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>\x00\u202e\"'&"
VOID = {"meta", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page, and whether every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_every_section_is_sampled_from_a_whole_run(finished):
    text = report(finished)
    assert "could not be drawn" not in text
    assert "Not complete" not in text
    left_out = {"search", "escalation"}  # the run does neither
    assert {s["id"] for s in Page(text).named("section")} == set(SECTIONS) - left_out


def test_the_page_needs_nothing_else_and_every_element_is_closed(finished):
    text = report(finished)
    page = Page(text)
    assert not page.open
    assert len(text.encode()) < 2_000_000
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    for _, attrs in page.elements:
        assert not {"src", "onload", "onerror", "onclick"} & set(attrs)
        assert attrs.get("href", "#").startswith("#")
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in page.named("meta")[1]["content"]


def test_every_picture_has_a_text_alternative_and_a_table_behind_it(finished):
    text = report(finished)
    for svg in Page(text).named("svg"):
        assert svg.get("aria-label") or svg.get("aria-hidden") == "true"
    for figure in re.findall(r"<figure>.*?</figure>", text, flags=re.S):
        assert "<svg" not in figure or "<table" in figure


def test_the_verdict_says_the_numbers_of_the_summary(finished):
    summary = json.loads((finished / "summary.json").read_text())
    text = report(finished)
    for tier in summary["tiers"].values():
        assert f"{tier['baseline']['score']:.3f}" in text
        point = tier["operating_points"][tier["operating_point"]]
        if point["policy"] == tier["baseline"]["policy"]:
            assert "Nothing that was tried did better" in text
        else:
            assert f"{100 * point['against_baseline']['score_difference']:+.1f} points" in text


def test_the_same_files_give_the_same_bytes(finished, tmp_path):
    first = write_report(finished, tmp_path / "a.html").read_bytes()
    assert write_report(finished, tmp_path / "b.html").read_bytes() == first


def test_hostile_texts_stay_texts(run):
    """In items, gold answers, prompts, errors of tiers and what models said."""
    summary = json.loads((run / "summary.json").read_text())
    summary["failed"] = {HOSTILE: HOSTILE}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "test_items.jsonl").write_text(
        "".join(
            json.dumps({"id": str(i), "inputs": {}, "target": HOSTILE}) + "\n" for i in range(200)
        )
    )
    for name in summary["tiers"]:
        path = run / f"tables.{name}.test.npz"
        table = SampleTable.load(path)
        inputs = tuple({"question": HOSTILE} for _ in table.inputs)
        table = SampleTable(table.item_ids, inputs, table.variants)
        table.save(path)
        _said_by_model(run, PolicyFile.load(run / f"policies/{name}.yaml"), table)
    text = report(run)
    page = Page(text)
    assert "alert(1)" in text
    assert "script" not in {tag for tag, _ in page.elements}
    assert not page.open
    assert "<img" not in text
    assert "\x00" not in text


def _said_by_model(run, policy, table):
    with SamplePool.open(run / "pool.sqlite") as pool:
        for variant in policy.policy.variants:
            tier, prompt = policy.tier_of(variant), policy.prompts[variant.prompt]
            request = build_request(tier, prompt, variant, table.inputs[0])
            worst = Usage(calls=1, completion_tokens=1)
            reservation = pool.reserve(tier.name, "test", worst, UsageLimits())
            done = Answered(Call(request, 0, 1, 0), [Completion(HOSTILE, 1, 1)])
            pool.settle(reservation, [done], worst)


@pytest.mark.parametrize(
    "name",
    [
        "trials.csv",
        "tables.cheap.prompts.npz",
        "tables.cheap.npz",
        "tables.cheap.test.npz",
        "tested.cheap.npz",
        "policies/cheap.yaml",
        "study.journal",
        "pool.sqlite",
        "job.yaml",
        "test_items.jsonl",
    ],
)
@pytest.mark.parametrize("broken", [True, False])
def test_what_is_missing_is_said_and_the_rest_is_shown(run, name, broken):
    if broken:
        (run / name).write_bytes((run / name).read_bytes()[: 40 if name != "job.yaml" else 3])
    else:
        (run / name).unlink()
    text = report(run)
    assert not Page(text).open
    assert "Dollars against score" in text
    if name not in ("test_items.jsonl", "pool.sqlite", "study.journal"):
        assert name in text


def test_a_run_that_did_not_finish_says_so(run):
    (run / "summary.json").unlink()
    text = report(run)
    assert "did not finish" in text
    assert "How to reproduce" in text


def test_a_summary_of_another_version_says_so(run):
    summary = json.loads((run / "summary.json").read_text())
    summary["schema"] = "tierwise/summary/v9"
    (run / "summary.json").write_text(json.dumps(summary))
    text = report(run)
    assert "tierwise/summary/v9" in text
    assert "How to reproduce" in text


def test_a_tier_that_failed_is_shown_with_its_error(run):
    summary = json.loads((run / "summary.json").read_text())
    del summary["tiers"]["dear"]
    summary["failed"] = {"dear": "the provider refused the key"}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "the provider refused the key" in report(run)


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    with pytest.raises(InputError):
        report(tmp_path)


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
