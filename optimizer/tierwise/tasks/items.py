"""From a flat row to an item: which columns are inputs and target, options, several targets."""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from string import ascii_uppercase
from typing import Any, NamedTuple

from tierwise.errors import InputError, unknown_name
from tierwise.tasks.answers import AnswerSpec
from tierwise.tasks.conversation import answer_of_chat, chat_text, is_messages

_LETTERED = ("choice", "option")
"""Rules for answers that are the letter of an option."""


@dataclass(frozen=True, slots=True)
class Item:
    """One row: what a prompt may use (``inputs``) and the gold answer that only a metric sees.

    ``also`` are further right answers; demonstrations show ``target``.
    """

    id: str
    inputs: Mapping[str, str]
    target: str
    also: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Every right answer."""
        return (self.target, *self.also)

    @property
    def content_sha256(self) -> str:
        """Hash of inputs and targets; an item keeps its split when its id or place changes."""
        content = [dict(self.inputs), *self.targets]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fields:
    """Which columns of a flat row are the inputs (input -> column), the target and the id.

    A column may lie inside of another (``answers.text``); numbers, from 0, name the columns of a
    CSV without a header. ``target_regex`` finds the answer in a target that is a whole solution
    (RE2; the first group of the last match). ``target: null``: the items have none, which a judge
    that is not shown one allows.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    target: str | None = "target"
    target_regex: str | None = None
    id: str = "id"


def items_of_rows(
    rows: Iterable[tuple[Any, dict[str, Any]]],
    inputs: Sequence[str],
    fields: Fields | None,
    answer: AnswerSpec | None,
    fault: Callable[[Any, str], None],
    places: str = "line",
) -> tuple[Item, ...]:
    """The items of (place, row) pairs; ``fault(place, message)`` is told what is wrong with a row.

    Rows that are equal, without an id of their own, are one item: their samples are the same, and
    would count as independent.
    """
    drafts = []
    for place, row in rows:
        try:
            drafts.append((place, _draft(row, inputs, fields, answer)))
        except InputError as error:
            fault(place, error.message)
    first = _first_number(draft for _, draft in drafts)
    items: dict[str, Item] = {}
    place_of: dict[str, Any] = {}
    for place, draft in drafts:
        try:
            item = _item(draft, first, answer)
        except InputError as error:
            fault(place, error.message)
            continue
        if item.id not in items:
            items[item.id], place_of[item.id] = item, place
        elif draft.id:
            same = ", with the same content" if item == items[item.id] else ""
            fault(
                place,
                f"item id {item.id!r} is here twice: first in {places} {place_of[item.id]}{same}",
            )
    return tuple(items.values())


class _Options(NamedTuple):
    """Options of a question with the labels that the file has for them, if it has any."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{c}. {t}" for c, t in zip(ascii_uppercase, self.texts, strict=False))

    def letter(self, target: str, first: int | None) -> str | None:
        """The letter that a label, a number or a text stands for; None for anything else."""
        if target in self.labels:
            return ascii_uppercase[self.labels.index(target)]
        if target.isdigit():
            at = -1 if first is None else int(target) - first
            return ascii_uppercase[at] if 0 <= at < len(self.texts) else None
        same = [i for i, text in enumerate(self.texts) if text.strip() == target.strip()]
        return ascii_uppercase[same[0]] if len(same) == 1 else None


class _Draft(NamedTuple):
    """A row's values before targets that are numbers of options are told apart."""

    id: str
    inputs: dict[str, str]
    targets: list[str]
    options: _Options | None


def _draft(
    row: dict[str, Any], inputs: Sequence[str], fields: Fields | None, answer: AnswerSpec | None
) -> _Draft:
    row = {unicodedata.normalize("NFC", str(name)): value for name, value in row.items()}
    unmapped = fields in (None, Fields(), Fields(target=None))
    nested = row.get("inputs") if unmapped else None
    if nested is not None and not isinstance(nested, dict):
        raise InputError("'inputs' must be an object of the inputs by name")
    source = row if nested is None else nested
    fields = fields or Fields()
    values: dict[str, str] = {}
    options: _Options | None = None
    answered: str | None = None
    form = "" if answer is None else str(answer.normalise)
    for name in inputs:
        at = fields.inputs.get(name, name)
        value = _found(source, at, "input")
        if is_messages(value):
            answered = answered or answer_of_chat(value)
            value = chat_text(value, at, answered=True)
        offered = _options_of(value, at, form) if nested is None else None
        options = options or offered
        values[name] = _plain(_documents(value), at, "input") if offered is None else str(offered)
    targets = [""]
    column = fields.target
    if column is not None:
        here = answered is None or unicodedata.normalize("NFC", column) in row
        wanted = _found(row, column, "target") if here else answered
        targets = _targets(wanted, column, fields, form)
    own_id = row.get(unicodedata.normalize("NFC", fields.id))
    named = own_id not in (None, "") and not _is_nan(own_id)
    return _Draft(_plain(own_id, fields.id, "id") if named else "", values, targets, options)


def _targets(value: Any, column: str, fields: Fields, form: str) -> list[str]:
    """The right answers: one, or those of a list; a JSON value or a set where that is the form."""
    if form in ("json", "tool_calls") and isinstance(value, dict | list):
        return [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict):  # SQuAD's answers, DROP's, TriviaQA's
        listed = next((value[n] for n in ("text", "spans") if isinstance(value.get(n), list)), None)
        if listed == [] and value.get("number"):
            listed = [value["number"]]
        if listed is None and isinstance(value.get("aliases"), list) and "value" in value:
            listed = [value["value"], *value["aliases"]]
        value = value if listed is None else listed
    if _all(value, lambda each: isinstance(each, dict) and "text" in each):
        value = [each["text"] for each in value]
    if _all(value, lambda each: isinstance(each, list)):
        value = [text for texts in value for text in texts]  # of several annotators
    if not isinstance(value, list):
        texts = [_plain(value, column, "target")]
    elif not value:
        raise InputError("the target is missing: an empty list")
    else:
        texts = [_plain(each, column, "target") for each in value]
        texts = [", ".join(texts)] if form == "labels" else list(dict.fromkeys(texts))
    if fields.target_regex is not None:
        spec = AnswerSpec(fields.target_regex, "last", "none")
        read = [spec.extract(text) for text in texts]
        if None in read:
            raise InputError(f"target {column!r} holds nothing that target_regex matches")
        texts = [text.strip() for text in read if text is not None]
    if not all(text.strip() for text in texts):
        raise InputError("the target is empty")
    return texts


def _first_number(drafts: Iterable[_Draft]) -> int | None:
    """0 or 1: whether targets that number the options count from 0; None where nothing tells."""
    counts = [
        (int(draft.targets[0]), len(draft.options.texts))
        for draft in drafts
        if draft.options and not draft.options.labels and draft.targets[0].isdigit()
    ]
    if any(number == 0 for number, _ in counts):
        return 0
    return 1 if any(number == most for number, most in counts) else None


def _item(draft: _Draft, first: int | None, answer: AnswerSpec | None) -> Item:
    targets = draft.targets
    if draft.options and answer is not None and answer.normalise in _LETTERED:
        targets = [
            t if len(t) == 1 and t.isalpha() else draft.options.letter(t, first) or t
            for t in targets
        ]
    if answer is not None:
        for target in targets:
            if answer.read(target) is None:
                shown = target if len(target) <= 60 else target[:57] + "…"
                raise InputError(
                    f"the target {shown!r} cannot be read by answer.normalise: "
                    f"{answer.normalise}, so that no answer could ever be right"
                )
    item = Item(draft.id, draft.inputs, targets[0], tuple(targets[1:]))
    return item if draft.id else replace(item, id=item.content_sha256[:12])


def input_text(value: Any, column: str, answer: AnswerSpec) -> str:
    """An input as an item has it: options, documents and chats as text.

    Raises:
        InputError: it is no text, and nothing that is written as one.
    """
    return _draft({column: value}, (column,), Fields(target=None), answer).inputs[column]


def _options_of(value: Any, column: str, form: str) -> _Options | None:
    """Options: a list of texts; texts with labels, side by side or in objects; or by letter."""
    labels: list[Any] = []
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value, labels = value["text"], list(value.get("label") or ())
    elif isinstance(value, dict) and value and all(re.fullmatch("[A-Z]", k) for k in value):
        labels, value = list(value), list(value.values())
    elif _all(value, lambda each: isinstance(each, dict) and {"text", "label"} <= each.keys()):
        value, labels = [v["text"] for v in value], [v["label"] for v in value]
    if not isinstance(value, list) or not 0 < len(value) <= len(ascii_uppercase):
        return None
    if not all(isinstance(option, str | int | float) for option in value):
        return None
    if len(labels) not in (0, len(value)) or not (labels or _is_offered(value, column, form)):
        return None
    texts = [_plain(each, "options", "input") for each in value]
    own = [
        re.fullmatch(rf"\(?{c}\s*[).:]\s*(.+)", t)
        for c, t in zip(ascii_uppercase, texts, strict=False)
    ]
    if all(own):  # AQuA's "A)21": they have their letters already
        texts = [match[1] for match in own if match]
    return _Options(tuple(texts), tuple(_plain(each, "options", "input") for each in labels))


_TITLES, _TEXTS = ("title", "name", "heading"), ("text", "content", "body", "sentences", "passage")
_SOURCES = re.compile(r"doc|passage|paragraph|context|chunk|source|article|page|snippet|evidence")
_OFFERED = re.compile(r"option|choice|alternative|ending|answer|candidate")
_LONGEST_OPTION = 300


def _is_offered(texts: Sequence[Any], column: str, form: str) -> bool:
    """Whether a list of texts or numbers offers options, which get letters: not documents, and not
    numbers that are what is asked about."""
    name = column.casefold()
    if form in _LETTERED or _OFFERED.search(name):
        return True
    long = any(len(t) > _LONGEST_OPTION or "\n" in t for t in texts if isinstance(t, str))
    return not long and not _SOURCES.search(name) and any(isinstance(t, str) for t in texts)


def _documents(value: Any) -> Any:
    """A list of documents as text: texts, objects, titles with sentences; or a list as JSON.

    Objects may lie in columns, as in Hugging Face's data sets. Any other value stays as it is.
    """
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        value = [
            dict(zip(value, each, strict=False)) for each in zip(*value.values(), strict=False)
        ]
    if not isinstance(value, list):
        return value
    if _all(value, lambda v: isinstance(v, list) and len(v) == 2 and isinstance(v[1], list)):
        value = [{"title": title, "text": said} for title, said in value]
    if all(isinstance(each, str | dict) for each in value):
        return "\n\n".join(each if isinstance(each, str) else _document(each) for each in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _document(fields: Mapping[str, Any]) -> str:
    """A title and a text, below each other; of other objects each field with its name."""
    shown = {
        name: " ".join(value) if _all(value, lambda each: isinstance(each, str)) else value
        for name, value in fields.items()
        if value is not None
    }
    texts = [name for name in shown if name in _TEXTS]
    bare = len(texts) == 1 and set(shown) <= {*_TITLES, *texts}
    lines = []
    for name in sorted(shown, key=lambda name: name in texts):
        value = shown[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(text if bare else f"{name}: {text}")
    return "\n".join(lines)


def _all(value: Any, holds: Callable[[Any], bool]) -> bool:
    """Whether ``value`` is a list that is not empty, of values for which ``holds`` is true."""
    return isinstance(value, list) and bool(value) and all(map(holds, value))


def _found(source: Mapping[str, Any], column: str, what: str) -> Any:
    """The value of a column, or of what lies inside of one: ``answers.text``."""
    column = unicodedata.normalize("NFC", column)
    if column in source:
        return source[column]
    value: Any = source
    for name in column.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(r"-?\d{1,9}", name):
            at = int(name)
            value = value[at] if -len(value) <= at < len(value) else None
        elif _all(value, lambda each: isinstance(each, dict)):
            value = [each.get(name) for each in value]
        else:
            names = [
                *source,
                *(f"{k}.{n}" for k, v in source.items() if isinstance(v, dict) for n in v),
            ]
            if what == "target":
                raise InputError(f"the target is missing: no {column!r}")
            message = unknown_name("field", column, names).message
            raise InputError(f"an input is missing: {message}")
    return value


def _plain(value: Any, column: str, what: str) -> str:
    """A text, or a number as it is written: 3 for 3.0."""
    if isinstance(value, str):
        if any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{what} {column!r} holds half of a surrogate pair")
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or _is_nan(value):
        raise InputError(f"{what} {column!r} must be text or a number, got nothing (null or NaN)")
    if isinstance(value, float) and math.isinf(value):
        raise InputError(f"{what} {column!r} is an infinite number")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")
    if isinstance(value, int):
        return str(value)
    if hasattr(value, "isoformat"):  # dates of Excel, Parquet and pandas
        text = str(value.isoformat())
        return text.removesuffix("T00:00:00").replace("T", " ")
    if isinstance(value, dict):
        inside = ", ".join(f"{column}.{name}" for name in list(value)[:4])
        raise InputError(
            f"{what} {column!r} must be text or a number, got an object: name {inside}"
        )
    kind = "a list" if isinstance(value, list) else type(value).__name__
    raise InputError(f"{what} {column!r} must be text or a number, got {kind}")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
