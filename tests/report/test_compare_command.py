"""``tierwise compare`` as a command: tables, JSON, CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tierwise.cli import main


def out(capsys, *args):
    main(["compare", *map(str, args)])
    return capsys.readouterr().out


def test_every_section_is_printed(finished, capsys):
    text = out(capsys, finished[0])
    for title in ("prompts", "recipes", "gains", "transfer", "frontier", "equal dollars"):
        assert f"{title}  " in text
    assert "nan" not in text.casefold()


def test_json_is_json(finished, capsys):
    got = json.loads(out(capsys, finished[0], "--json", "--section", "gains"))
    assert set(got) == {"gains"}
    assert {row["tier"] for row in got["gains"]} == {"cheap", "dear"}


def test_csv_is_one_table(finished, capsys):
    rows = list(csv.DictReader(io.StringIO(out(capsys, finished[0], "--csv"))))
    assert len(rows) == len(finished[1])
    assert {row["prompt"] for row in rows} == {"plain", "steps", "only"}


def test_two_tables_are_no_csv(finished, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(finished[0]), "--csv", "--section", "gains", "--section", "recipes"])
    assert ended.value.code == 2
    assert "one --section" in capsys.readouterr().err
