"""The command line in this process, with small searches of scripted models."""

from __future__ import annotations

import functools
import importlib
from typing import NamedTuple

import pytest

from tests.search.scripted_job import TINY, install
from tierwise.cli import main
from tierwise.llm.scripted import ScriptedModel

TUNE = importlib.import_module("tierwise.runs.tune")


class Got(NamedTuple):
    code: int
    out: str
    err: str


class Cli:
    """``cli("check", path)``: exit code, stdout, stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object) -> Got:
        self._capsys.readouterr()
        code: object = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as stop:
            code = stop.code
        out, err = self._capsys.readouterr()
        return Got(int(str(code or 0)), out, err)


def install_small(patch: pytest.MonkeyPatch, delay_s: float = 0.0) -> list[ScriptedModel]:
    """Have the commands open scripted models, and search little; every model that is opened.

    With a delay, a few calls wait for it at a time.
    """
    for name in ("tune", "replay"):
        patch.setattr(TUNE, name, functools.partial(getattr(TUNE, name), search_size=TINY))
    return install(patch, delay_s=delay_s, chunk=8 if delay_s else 64)
