"""The whole test run, as the README names it: waiting tests beside each other, measuring ones alone, those that run on the
portable path there as well, then the coverage gate.

What fails beside others may do so by the load that they make. A few of a part are repeated alone, and named; what fails then,
too, has failed.

``python -m tests`` runs everything that every change must pass; ``python -m tests --full`` adds what is marked ``full``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.portable import MODULES

COMMON = ["-q", "--durations=20", "--durations-min=0.25", "-p", "tests.watch"]


REPEATED = 3
"""So many failures of a part may be the load's; more are not."""


def main(arguments: list[str]) -> int:
    """Run all parts, also after one has failed; returns the exit code."""
    full = "--full" in arguments
    rest = [word for word in arguments if word != "--full"]
    left_out = "not browser" if full else "not full and not browser"
    parts = [
        ["-m", f"({left_out}) and not alone", "-n", "4", *COMMON, *rest],
        ["-m", f"({left_out}) and alone", *COMMON, *rest],
        ["-m", "not browser and not full and not alone", "-n", "4", "--launcher", "portable", *COMMON, *rest, *MODULES],
    ]
    codes = [_run(part) for part in parts]
    codes.append(_core_coverage())
    return max(0 if code == 5 else code for code in codes)


def _run(part: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "pytest", "-o", f"cache_dir={folder}"]
        code = subprocess.call([*run, *part])
        kept = Path(folder, "v", "cache", "lastfailed")
        failed = list(json.loads(kept.read_text())) if code == 1 and kept.exists() else []
        if not 0 < len(failed) <= REPEATED:
            return code
        print("== repeated alone:", *failed, sep="\n   ", flush=True)
        return subprocess.call([*run, *part, "-n", "0", "--last-failed"])


def _core_coverage() -> int:
    """Every branch of the core, by its own tests alone, and without those in which chance decides what is reached."""
    run = [
        sys.executable,
        "-m",
        "coverage",
        "run",
        "--branch",
        "--source=asyncproc/_core",
        "-m",
        "pytest",
        "-q",
        "tests/core",
        "-m",
        "not slow and not full",
        "--timeout=300",
    ]
    code = subprocess.call([*run, "-p", "no:cacheprovider"])
    return code or subprocess.call([sys.executable, "-m", "coverage", "report", "--fail-under=100", "--skip-covered", "-m"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
