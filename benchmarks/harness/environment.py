"""What the figures were taken on: Python, kernel, processors, load, versions of the libraries."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def describe(packages: Iterable[str]) -> dict[str, str]:
    """Facts about this machine, as text by name, and the version of each distribution."""
    facts = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": f"{len(os.sched_getaffinity(0))} × {_cpu_model()}",
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    return facts | {package: _version(package) for package in sorted(set(packages))}


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed (source tree)"
