"""README and docs/: what they show is run as shown, in a folder with the checkout's examples.

A ```console block holds commands (`$ …`) that need no network and no key; the blocks of a page run
in order, and each command must end with 0. ```python blocks run as one module. A
<!-- slow --> before a block leaves its page's commands to `-m slow`. Blocks of YAML that explain
the example policy are lines of it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import Cli
from tests.test_docs import run_blocks
from tierwise.runs import check

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "own_task" / "README.md",
)
ELSEWHERE = (
    *("add_a_strategy", "answers", "serving", "first_task", "dspy", "python"),
    *("judge", "tasks_by_example"),
)
"""Pages with tests of their own."""

MAIN = "from tierwise.cli import main; main()"
SHELL = re.compile(r"[|&<>;$]")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def with_commands() -> list[object]:
    found: list[object] = []
    for page in PAGES:
        if page.stem not in ELSEWHERE and commands(page):
            slow = "<!-- slow -->\n```console" in page.read_text(encoding="utf-8")
            marks = [pytest.mark.slow] if slow else []
            found.append(pytest.param(page, marks=marks, id=page.stem))
    return found


@pytest.mark.parametrize("page", with_commands())
def test_commands_run_as_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key-0123456789")
    monkeypatch.setenv("COLUMNS", "100")
    for command in commands(page):
        program, *args = shlex.split(command)
        if program == "tierwise" and not SHELL.search(command):
            # In this process, which imports providers once and not for each command.
            got = Cli(capsys)(*args)
            assert got.code == 0, got.out + got.err
        else:
            in_shell(command)


def in_shell(command: str) -> None:
    prelude = f'set -eu\ntierwise() {{ "{sys.executable}" -c "{MAIN}" "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", prelude + command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.stem not in ELSEWHERE and blocks(p, "python")],
    ids=lambda page: page.stem,
)
def test_python_runs_as_shown(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run_blocks(page, monkeypatch)


EXAMPLE = ROOT / "docs" / "policy_example.yaml"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs" / "policy_file.md"], ids=lambda page: page.stem
)
def test_the_policy_that_is_explained_is_the_example(page: Path) -> None:
    shown = [block for block in blocks(page, "yaml") if "tiers:" not in block]
    assert shown
    for block in shown:
        assert block in EXAMPLE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "docs/policy_example.yaml",
        "examples/own_task/task.yaml",
        "examples/own_task/prompts.yaml",
        "examples/own_task/job.yaml",
        "examples/judged_task/task.yaml",
        "examples/recorded/task.yaml",
        "examples/recorded/job.yaml",
    ],
)
def test_example_files_have_no_faults(path: str) -> None:
    assert check(str(ROOT / path)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|<img src=\"([^\"]+)\"", text)
    for target in (link or image for link, image in targets):
        if not re.match(r"[a-z]+://", target):
            assert (page.parent / target).exists(), f"{page.name} leads to {target}"


def test_pictures_ask_the_web_for_nothing() -> None:
    pictures = list((ROOT / "docs" / "images").glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert not re.search(
            r"url\(|<image|href=", picture.read_text(encoding="utf-8").replace("url(#", "")
        ), picture.name
