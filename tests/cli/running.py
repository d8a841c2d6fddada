"""The command line in this process, and bad input's one message."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tierwise.cli import main


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
