"""A task's folder to begin with, made of the template or a shipped task and of somebody's items."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from tierwise.errors import InputError, unknown_name
from tierwise.runs.imports.data_sets import TARGET as TARGET_FIELD
from tierwise.runs.imports.data_sets import read_items
from tierwise.runs.imports.form import input_name
from tierwise.schema import Message, PromptTemplate, TaskFile, names_of, shipped
from tierwise.schema.fields import check_name
from tierwise.schema.files import write_whole
from tierwise.schema.json_schemas import schema_text
from tierwise.schema.prompt import check_fields, literal
from tierwise.schema.yaml_io import read_text
from tierwise.tasks import NORMALISERS, AnswerSpec, Item
from tierwise.tasks.conversation import conversation
from tierwise.tasks.data_files import columns_of, header_doubt, load_items
from tierwise.tasks.task import FREE_TEXT_WORDS

TEMPLATE = "_template"
SCHEMAS = ".schemas"
OWN_PROMPTS = "prompts.own.yaml"
"""The template's prompts for items of one's own; its others suit the sample."""


def scaffold(
    name: str,
    *,
    source: str = TEMPLATE,
    items: Path | None = None,
    inputs: Sequence[str] = (),
    target: str | None = None,
    answer: str | None = None,
    prompt: str | None = None,
    folder: Path = Path("tasks"),
) -> Path:
    """Make ``folder/name`` and give back its path; ``items`` is copied into it.

    The JSON Schemas of its files go to ``folder/.schemas``, where the first line of each file
    names them: editors then complete keys and mark what is wrong, with no network.

    ``inputs`` and ``target`` are columns of ``items``; left out, those with usual names for the
    template, those of ``source`` otherwise. ``answer`` says what an answer is; left out, the right
    answers tell. ``prompt`` is the one in use today, a text or a file of it.

    Raises:
        InputError: the folder exists, no such source or file, or it lacks a column.
    """
    check_name("the task's name", name)
    with contextlib.suppress(OSError):  # a long text is no path
        prompt = read_text(Path(prompt)) if prompt and Path(prompt).is_file() else prompt
    made, origin = folder / name, shipped("tasks") / source
    if made.exists():
        raise InputError(f"{made} exists; choose another name, nothing is overwritten")
    if not (origin / "task.yaml").is_file():
        raise unknown_name("task to begin with", source, names_of("tasks"))
    if items is None and (inputs or target or answer or prompt):
        raise InputError(
            "--input, --target, --answer and --prompt are about a file: give it by --items"
        )
    if answer and source != TEMPLATE:
        raise InputError(f"--answer is for a task of your own; {source} says what its answers are")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}.") as temporary:
            draft = Path(temporary) / name
            shutil.copytree(origin, draft)
            _named(draft, source, name)
            own = draft / OWN_PROMPTS
            if items is not None:
                _with_items(draft, items, inputs, target, prompt, template=source == TEMPLATE)
                if source == TEMPLATE:
                    _with_answers(draft, items, answer)
                if prompt:
                    _with_prompt(draft, prompt)
            own.unlink(missing_ok=True)
            _with_schemas(draft, folder / SCHEMAS)
            os.replace(draft, made)
    except OSError as error:
        raise InputError(f"cannot write {made}: {error.strerror}") from None
    return made


def scaffold_from(
    name: str, kind: str, path: Path, inputs: Sequence[str] = ()
) -> tuple[Path, list[str]]:
    """Make ``tasks/name`` of another tool's data set; its path, and notes on what was left out.

    The items become ``items.jsonl``; where the source has prompts they are the task's, the first
    being the baseline, and its assertions are the metric where they are one.

    Raises:
        InputError: as ``scaffold``, or the source holds no item with a right answer.
    """
    found = read_items(kind, path)
    with tempfile.TemporaryDirectory() as temporary:
        items = Path(temporary) / "items.jsonl"
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)
        write_whole(items, "".join(lines))
        columns = tuple(inputs) or found.inputs
        made = scaffold(name, items=items, inputs=columns, target=TARGET_FIELD)
    if found.prompts:
        heading = (made / "prompts.yaml").read_text(encoding="utf-8").partition("\n")[0]
        prompts = [
            {"id": f"prompt-{i}", "user" if isinstance(text, str) else "messages": text}
            for i, text in enumerate(found.prompts, start=1)
        ]
        body = yaml.safe_dump(prompts, allow_unicode=True, sort_keys=False, width=1000)
        write_whole(made / "prompts.yaml", f"{heading}\n{body}")
        _rewrite(made / "task.yaml", r"^answer: .*$", "answer: {normalise: text}")
    if found.metric:
        _rewrite(made / "task.yaml", r"^metric: .*$", f"metric: {found.metric}")
    return made, found.notes


def _with_prompt(draft: Path, prompt: str) -> None:
    """The prompt in use today before the others: it is the baseline.

    Raises:
        InputError: it uses no column, or one that is none of the task's inputs.
    """
    file, _ = TaskFile.load(draft / "task.yaml")
    columns = file.fields.inputs if file.fields else {name: name for name in file.inputs}
    for field, column in columns.items():
        pattern = rf"\{{\{{\s*{re.escape(column)}\s*\}}\}}"
        prompt = re.sub(pattern, f"{{{{ {field} }}}}", prompt)
    template = PromptTemplate("today", (Message("user", prompt.strip()),))
    check_fields(template, file.inputs)
    if not template.fields:
        shown = ", ".join(f"{{{{ {name} }}}}" for name in file.inputs)
        raise InputError(f"the prompt uses no column; it may use {shown}")
    first = {"id": "today", "family": "baseline", "user": prompt.strip()}
    entry = yaml.safe_dump([first], allow_unicode=True, sort_keys=False, width=1000)
    path = draft / (file.prompts or "prompts.yaml")
    heading, _, others = path.read_text(encoding="utf-8").partition("\n")
    write_whole(path, f"{heading}\n{entry}\n{others}")
    # It may not ask for a line "Answer: …": then the last line is the answer.
    task = draft / "task.yaml"
    text = re.sub(
        r"regex: ('[^']+')(?=,)",
        lambda match: f"regex: [{match[1]}, '{_LAST_LINE}']",
        task.read_text(encoding="utf-8"),
    )
    write_whole(task, text)


def _with_schemas(draft: Path, schemas: Path) -> None:
    schemas.mkdir(exist_ok=True)
    for kind in ("task", "prompts"):
        write_whole(schemas / f"{kind}.schema.json", schema_text(kind))
        path = draft / f"{kind}.yaml"
        if path.is_file():
            line = f"# yaml-language-server: $schema=../{SCHEMAS}/{kind}.schema.json\n"
            write_whole(path, line + path.read_text(encoding="utf-8"))


def _named(draft: Path, source: str, name: str) -> None:
    task, readme = draft / "task.yaml", draft / "README.md"
    _rewrite(task, rf"^name: {re.escape(source)}$", f"name: {name}")
    if source == TEMPLATE:
        _rewrite(readme, re.escape(TEMPLATE), name)


def told_columns(
    known: Sequence[str], inputs: Sequence[str], target: str | None, prompt: str | None
) -> tuple[Sequence[str], str | None]:
    """The columns of inputs and target, where the prompt, their names or their number tell."""
    used = [name for name in known if re.search(rf"{{{{\s*{re.escape(name)}\s*}}}}", prompt or "")]
    inputs = inputs or used or [name for name in _usual(_INPUTS, known) if name != target]
    target = target or next((n for n in _usual(_TARGETS, known) if n not in inputs), None)
    left = [n for n in known if n not in (*inputs, target) and n.casefold() != "id"]
    if header_doubt(known) is None and len(left) == (not inputs) + (target is None):
        inputs = inputs or left[:1]
        target = target or left[-1]
    return inputs, target


def _with_items(
    draft: Path,
    items: Path,
    inputs: Sequence[str],
    target: str | None,
    prompt: str | None,
    *,
    template: bool,
) -> None:
    if not items.is_file():
        raise InputError("no such file of items", path=items)
    known = columns_of(items)
    if template and "inputs" not in known:
        inputs, target = told_columns(known, inputs, target, prompt)
    for wanted in (*inputs, *([target] if target else [])):
        numbered = wanted.isdigit() and int(wanted) < len(known)
        if not numbered and wanted not in known and wanted.partition(".")[0] not in known:
            raise InputError(unknown_name("column", wanted, known).message, path=items)
    chats = any(name.casefold() in _CHATS for name in inputs)  # its last message may be the target
    told = inputs and (target or "target" in known or chats)
    if template and "inputs" not in known and not told:
        doubt = header_doubt(known)
        raise InputError(
            f"its columns are {', '.join(known)}; say which hold the question and the answer: "
            f"--input COLUMN (repeat for more) --target COLUMN{f' ({doubt})' if doubt else ''}",
            path=items,
        )
    if template:
        for old in draft.glob("items.*"):
            old.unlink()
        (draft / OWN_PROMPTS).replace(draft / "prompts.yaml")
    shutil.copyfile(items, draft / items.name)
    task = draft / "task.yaml"
    _rewrite(task, r"^items: \S+.*$", f"items: {json.dumps(items.name)}")
    _rewrite(draft / "README.md", r"\n*The sample items are.*\n", "\n")
    _rewrite(draft / "README.md", r"^\| `items\.jsonl` \|.*$", f"| `{items.name}` | your items |")
    if template and (inputs or target):
        _map_columns(draft, tuple(inputs) or ("question",), target or "target")


def _map_columns(draft: Path, inputs: Sequence[str], target: str) -> None:
    """Fields named after the columns, in the task as in its prompts."""
    fields: dict[str, str] = {}
    for column in inputs:
        name, n = input_name(column), 2
        while name in fields:  # names in other scripts all become "input"
            name, n = f"{input_name(column)}_{n}", n + 1
        fields[name] = column
    pairs = ", ".join(
        f"{field}: {json.dumps(column, ensure_ascii=False)}" for field, column in fields.items()
    )
    _rewrite(
        draft / "task.yaml",
        r"^inputs: .*$",
        f"inputs: [{', '.join(fields)}]\n"
        f"fields: {{inputs: {{{pairs}}}, target: {json.dumps(target, ensure_ascii=False)}}}",
    )
    shown = [f"{{{{ {field} }}}}" for field in fields]
    if len(shown) > 1:
        shown = [f"{field}: {shown[i]}" for i, field in enumerate(fields)]
    _rewrite(draft / "prompts.yaml", r"\{\{ question \}\}", "\n    ".join(shown))


def _rewrite(path: Path, pattern: str, instead: str) -> None:
    text = path.read_text(encoding="utf-8")
    text = re.sub(pattern, lambda match: instead, text, flags=re.MULTILINE)
    write_whole(path, text)


# --- what an answer is -------------------------------------------------------------------------

_CHATS = ("messages", "chat", "conversation")
_INPUTS = (
    *("question", "text", "input", "prompt", "query", "problem", "sentence", "message", "content"),
    *("review", "ticket", "document", "context", "passage", "choices", "options"),
    *_CHATS,
)
_TARGETS = (
    *("target", "answer", "label", "labels", "expected", "output", "category", "class", "intent"),
    *("sentiment", "gold", "ground_truth", "reference", "completion", "response", "solution"),
    *("answers", "answerkey"),
)
_LAST_LINE = r"(?m)^\s*(\S.*?)\s*$"
_MOST_LABELS, _LONGEST_LABEL = 30, 60
_YES_OR_NO = {"yes", "no", "true", "false", "y", "n"}
_NUMBER, _OBJECT = re.compile(r"\W{0,4}\d"), re.compile(r"\s*[{\[]")


class _Form(NamedTuple):
    """How an answer is read, and what a prompt says of it."""

    normalise: str
    instruction: str
    metric: str = "exact_match"


def _usual(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The columns with one of the usual ``names``, in the order of the file."""
    return tuple(column for column in known if column.strip().casefold() in names)


_CHAT_PROMPTS = """\
# The first prompt is the chat as it is, its system prompt too. Ids are for ever, a new text is a
# new id.
- id: today
  family: baseline
  messages:
    - {role: messages, content: "{{ CHAT }}"}

- id: steps
  family: step_by_step
  messages:
    - {role: system, content: "{{ system }}\\n\\nGo step by step. The last line is the answer."}
    - {role: messages, content: "{{ CHAT }}"}

- id: reminded
  family: reminder
  messages:
    - {role: messages, content: "{{ CHAT }}"}
    - {role: user, content: "{{ last }}\\n\\nThe last line is the answer."}
"""


def _with_answers(draft: Path, items: Path, answer: str | None) -> None:
    """What an answer is, in the task, its prompts and its README, as the right answers show."""
    file, _ = TaskFile.load(draft / "task.yaml")

    def read_as(normalise: str) -> tuple[Item, ...]:
        try:
            return load_items(items, file.inputs, file.fields, AnswerSpec(normalise=normalise))
        except InputError:
            return ()

    # Targets that number options become letters, and objects JSON, where they are read as such.
    if answer is None:
        lettered = any("A. " in text for item in read_as("none") for text in item.inputs.values())
        answer = "choice" if lettered and read_as("choice") else None
    rows = read_as(answer if answer in ("choice", "json") else "none")
    if not rows and answer is None and (rows := read_as("json")):
        answer = "json"
    form = _form(answer or _told_by(rows), [target for item in rows for target in item.targets])
    instruction = literal(form.instruction)
    task = draft / "task.yaml"
    chats = [n for n in file.inputs if rows and all(conversation(i.inputs[n]) for i in rows)]
    if chats:  # production's prompt is in it
        prompts = _CHAT_PROMPTS.replace("CHAT", chats[0])
        write_whole(draft / "prompts.yaml", prompts)
        _rewrite(task, r"regex: '[^']+'", f"regex: '{_LAST_LINE}'")
        instruction = "The last line is the answer."
    _rewrite(task, r"normalise: text\}$", f"normalise: {form.normalise}}}")
    if form.normalise in ("json", "none"):
        _rewrite(task, r"^answer: .*$", f"answer: {{normalise: {form.normalise}}}")
    _rewrite(task, r"^metric: \S+.*$", f"metric: {form.metric}")
    if instruction:
        said = json.dumps(instruction, ensure_ascii=False)
        _rewrite(task, r"^prompts: ", f"instruction: {said}\nprompts: ")
    _rewrite(draft / "prompts.yaml", r'End with a line "Answer: …"\.', instruction)
    counted = (
        f"`{items.name}` holds {len(rows)} items" if rows else f"`{items.name}` cannot be read yet"
    )
    columns = file.fields.inputs.values() if file.fields else file.inputs
    told = ", ".join(f"`{column}`" for column in columns)
    target = file.fields.target if file.fields else "target"
    _rewrite(
        draft / "README.md",
        r"^What is asked, where the items come from.*$",
        f"{counted}: what is asked is in {told}, the right answer in `{target}`. "
        f"{form.instruction}\n\nWrite here where the items come from and under which licence.",
    )


def _told_by(rows: Sequence[Item]) -> str:
    """What the right answers are, all of them alike; else ``text``."""
    targets = [target for item in rows for target in item.targets]
    counts = Counter(targets)
    if targets and {target.strip().casefold() for target in counts} <= _YES_OR_NO:
        return "yes_no"
    short = all(len(target) <= _LONGEST_LABEL and "\n" not in target for target in counts)
    if short and 1 < len(counts) <= min(_MOST_LABELS, len(targets) // 3):
        return "labels" if any(item.also for item in rows) else "label"
    for form, begins in (("number", _NUMBER), ("json", _OBJECT)):
        read = NORMALISERS[form]
        if targets and all(begins.match(t) and read(t) is not None for t in counts):
            return form
    return "text"


def _form(answer: str, targets: Sequence[str]) -> _Form:
    """How answers of a kind are read, and what the prompts say of them."""
    found = sorted(set(targets))
    if answer == "labels":
        found = sorted({part.strip() for t in targets for part in re.split(r"[,;|]", t)})
    labels = ", ".join(found[:_MOST_LABELS]) + (" …" if len(found) > _MOST_LABELS else "")
    ends = 'End with a line "Answer: '
    match answer:
        case "number":
            return _Form("number", f'{ends}N", where N is a number.')
        case "choice":
            return _Form("choice", f'{ends}X", where X is the letter of the right option.')
        case "yes_no":
            return _Form("yes_no", f'{ends}yes" or "Answer: no".')
        case "label":
            return _Form("text", f'Choose one of: {labels}. {ends}LABEL".')
        case "labels":
            return _Form(
                "labels", f'Choose all that fit of: {labels}. {ends}LABEL, LABEL".', "set_f1"
            )
        case "json":
            names = {name for t in targets for name in _names_in(t)}
            fields = ", ".join(f'"{name}"' for name in sorted(names))
            return _Form(
                "json", f"Answer with one JSON object with the fields {fields}.", "json_fields"
            )
    if statistics.median([len(target.split()) for target in targets] or [0]) >= FREE_TEXT_WORDS:
        return _Form("none", "", "f1")
    return _Form("text", f'{ends}…".')


def _names_in(target: str) -> Sequence[str]:
    found = json.loads(target)
    return list(found) if isinstance(found, dict) else []


def said_of_task(task: Path) -> str:
    """A sentence on what the new task takes an answer for."""
    file, _ = TaskFile.load(task)
    fields = file.fields
    columns = list(fields.inputs.values()) if fields else list(file.inputs)
    return (
        f"asks by {', '.join(columns)}, the right answer is "
        f"{fields.target if fields else 'target'}; "
        f"prompts say: {file.instruction or 'nothing of its form'}"
    )
