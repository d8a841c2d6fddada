"""Weights on disk: fp16 arrays with a JSON configuration, held to the hashes of a manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierwise.errors import InputError, unknown_name
from tierwise.llm.embedded.vocabulary import WORDS

WEIGHTS = Path(__file__).parent / "weights"
MANIFEST = "SHA256.json"

Floats = NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """One model: its configuration (width, layers, heads, …) and its arrays by name, float32."""

    name: str
    config: dict[str, Any]
    arrays: dict[str, Floats]


def read(name: str, folder: Path = WEIGHTS) -> Checkpoint:
    """The weights ``name`` of ``folder``.

    Raises:
        InputError: an unknown name, a file that is missing or whose SHA-256 is not the manifest's.
    """
    wanted = sha256_of(name, folder)
    path = folder / f"{name}.npz"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the weights are missing ({error.strerror})", path=path) from error
    if hashlib.sha256(content).hexdigest() != wanted:
        raise InputError("the weights are damaged: their SHA-256 is not the manifest's", path=path)
    return _parse(name, content, path)


def sha256_of(name: str, folder: Path = WEIGHTS) -> str:
    """The manifest's hash of the weights ``name``: what tells one version of a model from another.

    Raises:
        InputError: an unknown name, or no manifest.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the weights' manifest: {error}", path=folder) from error
    if name not in manifest:
        raise unknown_name("embedded model", name, manifest)
    return str(manifest[name])


def _parse(name: str, content: bytes, path: Path) -> Checkpoint:
    with np.load(BytesIO(content), allow_pickle=False) as stored:
        config = json.loads(str(stored["config"]))
        arrays = {key: stored[key].astype(np.float32) for key in stored.files if key != "config"}
    if config.pop("words") != list(WORDS):
        raise InputError("the weights were trained with another vocabulary", path=path)
    return Checkpoint(name, config, arrays)
