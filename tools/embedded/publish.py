"""Copy trained weights into the package and write the manifest of their SHA-256.

``PYTHONPATH=optimizer python tools/embedded/publish.py small=small-0.npz medium=… large=…``
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys

from tierwise.llm.embedded.checkpoint import MANIFEST, WEIGHTS


def main() -> None:
    for pair in sys.argv[1:]:
        name, _, source = pair.partition("=")
        shutil.copyfile(source, WEIGHTS / f"{name}.npz")
    files = sorted(WEIGHTS.glob("*.npz"))
    hashes = {f.stem: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (WEIGHTS / MANIFEST).write_text(json.dumps(hashes, indent=1) + "\n")
    total = sum(f.stat().st_size for f in files)
    print(f"{len(files)} models, {total:,} bytes")


if __name__ == "__main__":
    main()
