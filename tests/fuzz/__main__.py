"""``make fuzz``: mutated pages and export lines into the native core, under the address and undefined sanitizers."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.harness import build, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=100_000, help="texts per seed number")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atoll-fuzz-") as directory:
        program = build(Path(directory))
        started, seed = time.monotonic(), time.time_ns() % 1_000_000_007
        while time.monotonic() - started < 60 * arguments.minutes:
            done = run(program, Path(directory), seed, arguments.rounds)
            print(f"seed {seed}: {done.stdout.strip()}", flush=True)  # noqa: T201 - a program for the terminal
            if done.returncode:
                print(done.stderr, file=sys.stderr)  # noqa: T201
                return 1
            seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
