"""Names and texts from anybody through every file, terminal and page: a part of the benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostile_input import SEEDS, check_names, check_texts


def test_hostile_texts_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    texts = [text[:200] for text in SEEDS]
    assert check_texts(tmp_path, texts) == []


def test_hostile_names_are_refused(tmp_path: Path) -> None:
    faults, refused = check_names(tmp_path, SEEDS)
    assert faults == []
    assert refused > 0.8 * 12 * len(SEEDS)
