"""The whole test run, as the README names it: waiting tests beside each other, measuring ones alone, those that run on the
portable path there as well, then the coverage gate.

``python -m tests`` runs everything that every change must pass; ``python -m tests --full`` adds what is marked ``full``.
"""

from __future__ import annotations

import subprocess
import sys

from tests.portable import MODULES

COMMON = ["-q", "--durations=20", "--durations-min=0.25", "-p", "tests.watch"]


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
    codes = [subprocess.call([sys.executable, "-m", "pytest", *part]) for part in parts]
    codes.append(_core_coverage())
    return max(0 if code == 5 else code for code in codes)


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
