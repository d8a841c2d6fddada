"""Copy trained weights into the package and write the manifest of their SHA-256.

``PYTHONPATH=optimizer python tools/embedded/publish.py small=small-0.npz medium=… large=…``,
``--weights FOLDER`` first to fill another folder than the package's.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

from tierwise.llm.embedded.decoder import MANIFEST, WEIGHTS


def main() -> None:
    arguments, folder = sys.argv[1:], WEIGHTS
    if arguments[:1] == ["--weights"]:
        folder, arguments = Path(arguments[1]), arguments[2:]
        folder.mkdir(parents=True, exist_ok=True)
    for pair in arguments:
        name, _, source = pair.partition("=")
        shutil.copyfile(source, folder / f"{name}.npz")
    files = sorted(folder.glob("*.npz"))
    hashes = {f.stem: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
    total = sum(f.stat().st_size for f in files)
    print(f"{len(files)} models, {total:,} bytes")


if __name__ == "__main__":
    main()
