"""Recorded tiers: what is in the file, and nothing that is not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Failure, LanguageModel, Request, build_request
from tierwise.llm.models import open_model, resolve_tier
from tierwise.llm.recorded import Coverage, RecordedModel, Recording, same_items
from tierwise.schema import Price, Tier, Variant

DATA = Path(__file__).parents[1] / "data" / "synthetic.jsonl"
PRICE = Price(1.0, 2.0)
SHORT, STEPS = Variant("short", "direct", 0.0), Variant("steps", "think", 0.7)


@pytest.fixture(scope="module")
def alpha() -> Recording:
    return Recording.load(DATA, "recorded/alpha")


def resolved() -> Tier:
    return resolve_tier("small", "recorded/alpha", price=PRICE, recordings=DATA)


def request(recording: Recording, variant: Variant, item: int) -> Request:
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    return build_request(resolved(), prompts[variant.prompt], variant, recording.items[item].inputs)


def test_the_variants_are_those_of_the_file(alpha: Recording) -> None:
    assert alpha.variants == {SHORT: Coverage(6, 1), STEPS: Coverage(6, 5)}
    assert list(alpha.modes) == ["direct", "think"]
    assert [(p.id, p.modes, p.origin) for p in alpha.prompts] == [
        ("short", ("direct",), "recorded"),
        ("steps", ("think",), "recorded"),
    ]
    assert [item.target for item in alpha.items] == ["4", "7", "15", "15", "1000", "18"]


async def test_a_sample_is_found_by_the_request_that_search_and_serving_build(
    alpha: Recording,
) -> None:
    model = RecordedModel(alpha)
    asked = Call(request(alpha, STEPS, 1), 0, 3, seed=12345)
    [[results]] = model.complete([[asked]])
    assert [r.text for r in results if isinstance(r, Completion)] == ["A: 8", "A: 7", "A: 7"]
    assert await model.answer(asked._replace(seed=6)) == results
    [[later]] = model.complete([[asked._replace(first_sample=1, n=1)]])
    assert later == results[1:2]


def test_a_sample_that_is_not_there_is_not_recorded(alpha: Recording) -> None:
    model = RecordedModel(alpha)
    [[ends, beyond, greedy]] = model.complete(
        [
            [
                Call(request(alpha, STEPS, 5), 2, 3, 0),
                Call(request(alpha, STEPS, 0), 5, 1, 0),
                Call(request(alpha, SHORT, 0), 0, 2, 0),
            ]
        ]
    )
    kinds = [
        r.error_class if isinstance(r, Failure) else "sampled" for r in (*ends, *beyond, *greedy)
    ]
    assert kinds == [
        *("sampled", "sampled", "not_recorded"),  # 0, 1, 2 and 4 are recorded: four samples
        "not_recorded",
        *("sampled", "not_recorded"),
    ]
    assert ends[2] == Failure("not_recorded", "sample 4 of steps/think/0.7 on item '5'")


def test_another_temperature_and_another_item_are_not_recorded(alpha: Recording) -> None:
    model = RecordedModel(alpha)
    warm = request(alpha, STEPS, 0)
    other = Request(warm.model, warm.messages, {**warm.params, "temperature": 0.8})
    elsewhere = Request(
        warm.model, (warm.messages[0], warm.messages[1]._replace(content="1 + 1")), warm.params
    )
    [answers] = model.complete([[Call(other, 0, 1, 0), Call(elsewhere, 0, 1, 0)]])
    assert [r.error_class for [r] in answers if isinstance(r, Failure)] == ["not_recorded"] * 2


def test_a_failed_call_stays_failed(alpha: Recording) -> None:
    [[[failed]]] = RecordedModel(alpha).complete([[Call(request(alpha, STEPS, 2), 4, 1, 0)]])
    assert failed == Failure("recorded_error", "the server hung up")


def test_a_tier_needs_a_price_and_a_recording() -> None:
    with pytest.raises(InputError, match="no price is known for 'recorded/alpha'"):
        resolve_tier("small", "recorded/alpha", recordings=DATA)
    with pytest.raises(InputError, match=r"recordings: FILE\.jsonl\.gz"):
        resolve_tier("small", "recorded/alpha", price=PRICE)


def test_a_tier_is_what_its_recording_is() -> None:
    tier = resolved()
    assert set(tier.modes) == {"direct", "think"}
    assert (tier.takes_n, tier.logprobs) == (False, False)  # short carries no log-probabilities
    with pytest.raises(InputError, match="'shout', which is not recorded; recorded: direct, think"):
        resolve_tier("s", "recorded/alpha", price=PRICE, recordings=DATA, modes={"shout": {}})
    model = open_model(tier, recordings=DATA)
    assert isinstance(model, LanguageModel)
    model.close()


def test_gzip_and_lines_in_one_file_read_the_same(alpha: Recording, tmp_path: Path) -> None:
    items = DATA.with_name("synthetic.items.jsonl").read_bytes()
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(DATA.read_bytes()))
    (tmp_path / "x.items.jsonl.gz").write_bytes(gzip.compress(items))
    (tmp_path / "one.jsonl").write_bytes(b"\xef\xbb\xbf" + items + b"\n" + DATA.read_bytes())
    for name in ("x.jsonl.gz", "one.jsonl"):
        assert Recording.load(tmp_path / name, "alpha") == alpha


ITEM = {"id": "a", "inputs": {"question": "1 + 1"}, "target": "2"}
SAMPLE = {
    "item_id": "a",
    "model": "m",
    "prompt_id": "p",
    "mode": "direct",
    "temperature": 0,
    "sample": 0,
    "text": "A: 2",
}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([ITEM], "holds no samples"),
        ([ITEM, {**SAMPLE, "model": "mm"}], "unknown recorded model 'm'; did you mean 'mm'"),
        ([SAMPLE], "no items"),
        ([ITEM, {**SAMPLE, "item_id": "b"}], ":2: no item has the id 'b'"),
        ([ITEM, SAMPLE, SAMPLE], ":3: sample 0 of p/direct/0 on item 'a' is there twice"),
        ([ITEM, {**ITEM, "target": "3"}, SAMPLE], ":2: another item has the id 'a' too"),
        ([ITEM, {**SAMPLE, "sample": -1}], ":2: sample must be 0, 1, 2"),
        ([ITEM, {**SAMPLE, "score": 7}], r":2: score must be in \[0, 1\], got 7"),
        ([ITEM, {**SAMPLE, "prompt_tokens": "4"}], ":2: prompt_tokens must be a number, got '4'"),
        ([ITEM, {k: v for k, v in SAMPLE.items() if k != "mode"}], ":2: a completion needs 'mode'"),
        ([ITEM, {k: v for k, v in SAMPLE.items() if k != "text"}], ":2: a completion needs 'text'"),
        ([{"question": "1 + 1"}], ":1: neither an item"),
        ([ITEM, {**SAMPLE, "prompt_id": "../../p"}], ":2: prompt_id: '../../p' is no name"),
        ([ITEM, {**SAMPLE, "mode": "a\x1b[2J"}], r":2: mode: 'a\\x1b\[2J' is no name"),
        ([ITEM, {**SAMPLE, "model": "<b>m"}], ":2: model: must be a LiteLLM model string"),
        ([ITEM, {**SAMPLE, "prompt_id": 7}], ":2: prompt_id: "),
        ([ITEM, {**SAMPLE, "prompt_tokens": float("nan")}], ":2: prompt_tokens must be a number"),
        ([ITEM, {**SAMPLE, "text": "x" * 8_000_000}], ":2: a line of more than 8,000,000 bytes"),
        ([[1]], ":1: a line must be a JSON object"),
    ],
)
def test_a_broken_recording_says_where_and_what(
    tmp_path: Path, rows: list[object], fault: str
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=fault):
        Recording.load(path, "m")


def test_a_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recording"):
        Recording.load(tmp_path / "none.jsonl", "m")
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(ITEM).encode() * 50)[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        Recording.load(cut, "m")
    text = tmp_path / "text.jsonl"
    text.write_text('{"id": ')
    with pytest.raises(InputError, match=":1: not JSON"):
        Recording.load(text, "m")


def test_recordings_that_disagree_on_an_item_are_refused(tmp_path: Path, alpha: Recording) -> None:
    path = tmp_path / "r.jsonl"
    rows = [{**ITEM, "id": "0"}, {**SAMPLE, "item_id": "0"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    beta = Recording.load(DATA, "beta")
    assert same_items([alpha, beta]) == alpha.items
    with pytest.raises(InputError, match="disagree on item '0'"):
        same_items([alpha, Recording.load(path, "m")])
