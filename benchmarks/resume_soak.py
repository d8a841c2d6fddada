"""The default job, killed at random moments and started again: the same policies, nothing twice.

    python benchmarks/resume_soak.py             # ten kills, about three minutes for each
    python benchmarks/resume_soak.py --kills 3 --tier small=embedded/small --space quick

Each kill is one ``tierwise tune`` in a folder of its own, killed (SIGKILL, its workers with it)
when a random share of the uninterrupted run's time is over, and the same command again. Printed for
each: when it was killed, samples that were there, whether policies are equal apart from when the run
began, samples in the pool against the uninterrupted run's, and samples that both starts bought.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = "import sys; from tierwise.cli import main; main(sys.argv[1:])"


def start(out: Path, more: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", RUN, "tune", "--yes", "--quiet", "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def finish(out: Path, more: list[str]) -> float:
    began = time.perf_counter()
    process = start(out, more)
    try:
        if process.wait() != 0:
            raise SystemExit(f"the run in {out} failed")
    finally:
        end(process)
    return time.perf_counter() - began


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for it and its workers, where it goes on still."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pool(out: Path) -> dict[str, int]:
    """Samples that are there; calls on the bill, and of these in flight when it was killed."""
    path = out / "pool.sqlite"
    if not path.exists():
        return {"samples": 0, "calls": 0, "in_flight": 0}
    db = sqlite3.connect(path)
    try:
        asked = {
            "samples": "SELECT count(*) FROM samples",
            "calls": "SELECT coalesce(sum(calls), 0) FROM spending",
            "in_flight": "SELECT coalesce(sum(calls), 0) FROM spending WHERE state = 'reserved'",
        }
        return {name: int(db.execute(sql).fetchone()[0]) for name, sql in asked.items()}
    except sqlite3.OperationalError:  # killed before the tables were made
        return {"samples": 0, "calls": 0, "in_flight": 0}
    finally:
        db.close()


def policies(out: Path) -> dict[str, str]:
    return {
        path.name: re.sub(r"created: .*?(?=,|\n|})", "created: then", path.read_text())
        for path in sorted((out / "policies").iterdir())
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    args, more = options.parse_known_args()
    rng = random.Random(args.seed)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        took = finish(whole, more)
        expected, reference = pool(whole), policies(whole)
        print(
            f"uninterrupted: {took:.0f} s, {expected['samples']:,} samples in {expected['calls']:,} "
            f"calls, {len(reference)} policies",
            flush=True,
        )
        for k in range(args.kills):
            out, moment = Path(scratch) / f"run{k}", rng.uniform(0.02, 0.98) * took
            process = start(out, more)
            try:
                time.sleep(moment)
                ended = process.poll() is not None
            finally:
                end(process)
            before = pool(out)
            finish(out, more)
            after = pool(out)
            same = policies(out) == reference
            # Every sample of the pool was stored once; calls beyond are what was in flight.
            twice = after["calls"] - expected["calls"] - after["in_flight"]
            good = same and after["samples"] == expected["samples"] and twice == 0
            failed += not good
            print(
                f"killed at {moment:5.1f} s{' (had ended)' if ended else ''}: "
                f"{before['samples']:,} samples there, {after['in_flight']:,} calls in flight; "
                f"policies {'equal' if same else 'DIFFER'}, {after['samples']:,} samples in the end, "
                f"{twice:+,} calls bought twice",
                flush=True,
            )
            for name, text in policies(out).items():
                lines = difflib.unified_diff(
                    reference[name].splitlines(), text.splitlines(), name, name, n=0, lineterm=""
                )
                print(*(f"    {line}" for line in lines), sep="\n", end="")
    print(f"{args.kills - failed} of {args.kills} as the uninterrupted run")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
