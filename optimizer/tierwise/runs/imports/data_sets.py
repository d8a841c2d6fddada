"""Data sets of other tools as items, and, where they have them, prompts and a metric: `init
--from-…`.

promptfoo's configuration holds tests, prompts and assertions; Langfuse and LangSmith export
examples with inputs and expected outputs; a Hugging Face data set is a folder or file of rows.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tierwise.errors import InputError
from tierwise.runs.imports.form import input_name, json_rows, text_or_json
from tierwise.schema.yaml_io import read
from tierwise.tasks.conversation import is_messages

TARGET = "target"


@dataclass
class ItemSet:
    """Rows with their inputs by name and ``target``; prompts, a metric's name and notes beside.

    ``prompts`` are texts with ``{{ field }}`` for an input, or lists of ``{"role", "content"}``;
    the first is the baseline. ``metric`` None: what the source says of scoring is no metric here.
    """

    rows: list[dict[str, Any]]
    prompts: list[str | list[dict[str, str]]] = field(default_factory=list)
    metric: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that every row has, in the order of the first."""
        first = self.rows[0] if self.rows else {}
        shared = set(first).intersection(*map(set, self.rows))
        return tuple(name for name in first if name in shared and name not in ("id", TARGET))


def read_items(kind: str, path: Path) -> ItemSet:
    """The items of a file of that kind (a key of ``SOURCES``).

    Raises:
        InputError: the file cannot be read, or holds no item with a right answer.
    """
    if not path.exists():
        raise InputError("no such file", path=path)
    found = SOURCES[kind](path)
    bare = [row for row in found.rows if row.get(TARGET) in (None, "")]
    if bare:
        found.rows = [row for row in found.rows if row.get(TARGET) not in (None, "")]
        found.notes.append(f"{len(bare):,} items have no expected output and are left out")
    if not found.rows:
        raise InputError("it holds no item with an expected output", path=path)
    for name in sorted(set().union(*found.rows) - set(found.inputs) - {"id", TARGET}):
        found.notes.append(f"{name!r} is an input of some items alone: left out")
    keep = {"id", TARGET, *found.inputs}
    found.rows = [{name: row[name] for name in row if name in keep} for row in found.rows]
    if not found.inputs:
        raise InputError("its items have no input in common", path=path)
    return found


def _value(value: Any) -> Any:
    """An input as text; messages stay a list, other lists and objects become JSON."""
    if value is None or isinstance(value, str):
        return value
    if is_messages(value):
        return value
    return text_or_json(value)


def _inputs(value: Any) -> dict[str, Any]:
    """Inputs by name of a text, a chat or an object; JSON in a text is read."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return {"input": value}
    if isinstance(value, dict):
        return {input_name(name): _value(each) for name, each in value.items() if each is not None}
    if value is None:
        return {}
    messages = _value(value)
    return {"messages" if isinstance(messages, list) else "input": messages}


def _target(value: Any) -> str | None:
    """An expected output as text: an object of one text is that text, else it is JSON."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, dict) and set(value) >= {"role", "content"}:
        value = value["content"]
    if value is None:
        return None
    return text_or_json(value)


def _flat_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV, a JSON list or JSON lines."""
    if path.name.removesuffix(".gz").endswith(".csv"):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"cannot be read: {error}", path=path) from None
        return
    for line, row in json_rows(path):
        if not isinstance(row, dict):
            raise InputError("an item is a JSON object", path=path, line=line)
        yield row


_INPUT_KEYS = ("input", "inputs")
_OUTPUT_KEYS = ("expectedOutput", "expected_output", "outputs", "output", "reference_outputs")


def _examples(path: Path) -> ItemSet:
    """Langfuse's and LangSmith's examples: JSON or CSV with inputs and expected outputs."""
    rows = []
    for row in _flat_rows(path):
        if str(row.get("status") or "").upper() == "ARCHIVED":  # Langfuse's word for a deleted one
            continue
        asked = next((row[key] for key in _INPUT_KEYS if row.get(key) is not None), None)
        expected = next((row[key] for key in _OUTPUT_KEYS if row.get(key) is not None), None)
        if asked is None:  # LangSmith's CSV has a column a field
            asked = _prefixed(row, ("inputs.", "inputs_", "input.", "input_"))
        if expected is None:
            outputs = ("outputs.", "outputs_", "output.", "output_", "reference_")
            expected = _prefixed(row, outputs)
        item = {**_inputs(asked), TARGET: _target(expected)}
        rows.append({"id": str(row["id"]), **item} if row.get("id") else item)
    return ItemSet(rows)


def _prefixed(row: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any] | None:
    for prefix in prefixes:
        found = {key[len(prefix) :]: row[key] for key in row if key and key.startswith(prefix)}
        if found:
            return found
    return None


def _hugging_face(path: Path) -> ItemSet:
    """A data set that `datasets` saved to disk: the largest of its splits."""
    try:
        import datasets  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional
    except ImportError:
        raise InputError(
            "reading a data set's folder needs `pip install datasets`; or write it as Parquet "
            "(`dataset.to_parquet(FILE)`), which --items reads",
            path=path,
        ) from None
    try:
        found = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"no saved data set: {error}", path=path) from None
    notes = []
    if isinstance(found, Mapping):
        name = max(found, key=lambda each: len(found[each]))
        notes.append(f"of the splits {', '.join(found)} the largest, {name}, is taken")
        found = found[name]
    columns = list(found.column_names)
    target = next((name for name in _TARGETS if name in columns), columns[-1])
    labels = getattr(found.features[target], "names", None)
    rows = []
    for row in found:
        value = labels[row[target]] if labels else _target(row[target])
        inputs = {input_name(name): _value(each) for name, each in row.items() if name != target}
        rows.append({**inputs, TARGET: value})
    notes.append(f"{target!r} is taken for the right answer")
    return ItemSet(rows, notes=notes)


_TARGETS = ("target", "answer", "label", "labels", "output", "answers", "completion")

_ASSERTED = {
    "equals": "exact_match",
    "contains": "contains",
    "icontains": "contains",
    "is-json": None,
    "contains-json": None,
}
"""promptfoo's assertions whose value is a right answer, and the metric that they are."""


def _promptfoo_config(path: Path) -> ItemSet:
    """The tests of a promptfoo configuration (YAML or JSON), its prompts and its assertions."""
    data = read(path).data
    if not isinstance(data, dict) or "tests" not in data:
        raise InputError("no promptfoo configuration: it has no tests", path=path)
    found = ItemSet([])
    default = data.get("defaultTest")
    shared: Mapping[str, Any] = default if isinstance(default, dict) else {}
    kinds: Counter[str] = Counter()
    for test in _tests(data["tests"], path):
        values = {**(shared.get("vars") or {}), **(test.get("vars") or {})}
        asserted = [*(test.get("assert") or []), *(shared.get("assert") or [])]
        target, kind = _asserted(asserted, values)
        for name in (each.get("type") for each in asserted if isinstance(each, dict)):
            kinds[str(name)] += name != kind
        if target is not None and kind is not None:
            found.metric = found.metric or _ASSERTED[kind]
        inputs = {input_name(str(name)): _value(each) for name, each in values.items()}
        found.rows.append({**inputs, TARGET: target})
    for kind, n in kinds.items():
        if n:
            found.notes.append(
                f"{n:,} assertions {kind!r} are not carried over: score by `metric:`"
            )
    found.prompts = list(_prompts(data.get("prompts"), path, found.notes))
    return found


def _tests(tests: Any, path: Path) -> Iterator[Mapping[str, Any]]:
    if isinstance(tests, str):
        tests = [tests]
    for test in tests if isinstance(tests, list) else []:
        if isinstance(test, dict):
            yield test
        elif isinstance(test, str) and test.removeprefix("file://").endswith(".csv"):
            for row in _flat_rows(path.parent / test.removeprefix("file://")):
                expected = row.get("__expected") or row.get("__expected1")
                values = {k: v for k, v in row.items() if k and not k.startswith("__")}
                yield {"vars": values, "assert": [_of_csv(expected)] if expected else []}
        elif isinstance(test, str):
            yield from _tests(read(path.parent / test.removeprefix("file://")).data, path)


def _of_csv(expected: str) -> dict[str, str]:
    """``contains: Paris`` in a column of a CSV is an assertion; bare text is ``equals``."""
    kind, colon, value = expected.partition(":")
    if colon and re.fullmatch(r"[a-z][a-z\-]*", kind):
        return {"type": kind, "value": value.strip()}
    return {"type": "equals", "value": expected}


def _asserted(asserts: Sequence[Any], values: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The first right answer that is asserted, with its variables filled in, and its kind."""
    for each in asserts:
        kind = each.get("type") if isinstance(each, dict) else None
        if kind in _ASSERTED and _ASSERTED[kind] and each.get("value") is not None:
            text = _value(each["value"])
            for name, value in values.items():
                slot = re.compile(rf"\{{\{{\s*{re.escape(str(name))}\s*\}}\}}")
                text = str(value).join(slot.split(str(text)))
            return str(text), kind
    return None, None


def _prompts(prompts: Any, path: Path, notes: list[str]) -> Iterator[str | list[dict[str, str]]]:
    """The prompts, those in files too; what needs promptfoo's own code is left out and said."""
    for prompt in [prompts] if isinstance(prompts, str) else prompts or []:
        text = prompt.get("raw") if isinstance(prompt, dict) else prompt
        if not isinstance(text, str):
            text = str(prompt.get("id", "")) if isinstance(prompt, dict) else ""
        if text.startswith("file://") or re.fullmatch(r"[\w./\-]+\.(txt|json|md)", text):
            file = path.parent / text.removeprefix("file://")
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                notes.append(f"prompt {file.name!r} cannot be read and is left out")
                continue
        renamed = re.sub(
            r"\{\{\s*([\w.]+)\s*\}\}", lambda match: f"{{{{ {input_name(match[1])} }}}}", text
        )
        if re.search(r"\{%|\{\{(?!\s*\w+\s*\}\})", renamed):
            notes.append(f"prompt {text[:40]!r} uses Nunjucks code and is left out")
            continue
        try:
            messages = json.loads(renamed)
        except ValueError:
            messages = None
        if isinstance(messages, list) and all(
            isinstance(each, dict) and {"role", "content"} <= set(each) for each in messages
        ):
            yield [{"role": str(m["role"]), "content": str(m["content"])} for m in messages]
        else:
            yield renamed


SOURCES: dict[str, Callable[[Path], ItemSet]] = {
    "promptfoo": _promptfoo_config,
    "langfuse": _examples,
    "langsmith": _examples,
    "hf": _hugging_face,
}
