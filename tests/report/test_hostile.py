"""Hostile texts anywhere in a run come out as text: no element, no script, a bounded page."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser

import pytest

from tests.report import hand_made
from tierwise.llm import Call, Completion, build_request
from tierwise.pool import SamplePool
from tierwise.pool.store import Answered, Book, Settlement
from tierwise.report.html import page, report
from tierwise.schema import Message
from tierwise.schema.policy_file import Provenance
from tierwise.schema.usage import Usage

MARKUP = "</pre></title></style></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
TEMPLATE = "{{ 7919 * 7907 }}{% include '/etc/passwd' %}{# #}"
UNPRINTABLE = "\x00\x1b[31m\x85\ud800\udfff\uffff\u202e"
HOSTILE = MARKUP + TEMPLATE + UNPRINTABLE
CALCULATED = {"gate", "verdict", "operating_point", "schema"}
"""Strings that decide what is said, of which a summary can hold no others."""


class Elements(HTMLParser):
    """The elements of a page, each of which must be closed."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def said(value, text):
    """``value`` with every free string in it replaced."""
    if isinstance(value, str):
        return text
    if is_dataclass(value):
        free = [f.name for f in fields(value) if f.init and f.name not in CALCULATED]
        return replace(value, **{name: said(getattr(value, name), text) for name in free})
    if isinstance(value, dict):
        return {key: said(v, text) for key, v in value.items()}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(said(v, text) for v in value)
    return value


def hostile_run(folder, text):
    made = hand_made.run(folder)
    tiers = {}
    for i, tier in enumerate(made.tiers.values()):
        inputs = tuple({text: text} for _ in tier.test.inputs)
        tables = {
            part: replace(getattr(tier, part), inputs=inputs)
            for part in ("prompts", "study", "test")
        }
        prompts = tier.policy.prompts
        policy = replace(
            tier.policy,
            tier=replace(tier.policy.tier, name=text, model=text),
            prompts={
                id_: replace(prompt, messages=(Message("user", text),))
                for id_, prompt in prompts.items()
            },
            inputs=(text,),
            provenance=Provenance(text, pool_sha256=text),
        )
        tiers[f"{i}{text}"] = replace(
            tier, name=f"{i}{text}", summary=said(tier.summary, text), policy=policy, **tables
        )
    return replace(made, tiers=tiers, failed={text: text}, missing=(text,))


@pytest.mark.parametrize("text", [HOSTILE, "<b>" * 350_000], ids=["markup", "a megabyte"])
def test_hostile_texts_of_a_run_stay_texts(tmp_path, monkeypatch, text):
    monkeypatch.setattr(page, "read_run", lambda path: hostile_run(tmp_path, text))
    (tmp_path / "job.yaml").write_text("task: <script>alert(3)</script>")
    html = report(tmp_path)
    elements = Elements(html)
    assert not elements.open
    names = {tag for tag, _ in elements.found}
    assert not names & {"script", "img", "b>", "iframe", "link", "object", "form", "a href"}
    assert all(attrs.get("href", "#").startswith("#") for attrs in elements.named("a"))
    assert "62615533" not in html
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", html)
    html.encode("utf-8")
    assert len(html) < 5_000_000


def test_what_a_model_said_stays_text(tmp_path, monkeypatch):
    """From the pool, by the path that shows examples."""
    made = hand_made.run(tmp_path)
    tier = made.tiers["small"]
    test, policy = tier.test, tier.policy
    variant = policy.policy.buckets[0].variants[0]
    prompt = policy.prompts[variant.prompt]
    request = build_request(policy.tier, prompt, variant, test.inputs[0])
    used = Usage(calls=1, completion_tokens=1)
    book = Book("r", tier.name, "test")
    with SamplePool.open(tmp_path / "pool.sqlite") as pool:
        reservation = pool.reserve(book, used)
        done = Answered(Call(request, 0, 1, 0), [Completion(MARKUP + TEMPLATE + "\x1b", 1, 1)])
        pool.exchange(book, [Settlement(reservation, [done], used)])
    monkeypatch.setattr(page, "read_run", lambda path: made)
    html = report(tmp_path)
    assert "alert(1)" in html
    assert "{{ 7919 * 7907 }}" in html
    assert not {"script", "img"} & {tag for tag, _ in Elements(html).found}
