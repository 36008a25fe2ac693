"""Run one contender once, in a fresh interpreter, and take its figures back."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.benchmark import Benchmark, Entry, Outcome, Parameters

ROOT = Path(__file__).resolve().parents[2]


def launch(benchmark: Benchmark, entry: Entry, parameters: Parameters, timeout: float) -> Outcome:
    """Run *entry*; after *timeout* seconds its process group is killed and the run has failed."""
    request = json.dumps({"module": benchmark.module, "entry": entry.name, "parameters": dict(parameters)})
    with TemporaryDirectory(prefix="benchmark-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log")
        with log.open("wb") as output:
            # -P: the folder of the script must not come first on sys.path, its names are not ours to give
            process = subprocess.Popen(
                [sys.executable, "-P", str(ROOT / "benchmarks" / entry.main_file), request, str(answer)],
                cwd=ROOT,
                env=measured_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            timed_out = _wait(process, timeout)
        return _outcome(answer, log, f"no answer within {timeout:g} s" if timed_out else f"exit code {process.returncode}")


def measured_environment() -> dict[str, str]:
    """Our environment without its PYTHON* variables: byte code must be cached, as it is for users.

    With PYTHONDONTWRITEBYTECODE, say, each fresh interpreter would compile asyncproc and the targets again while timed.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return kept | {"PYTHONPATH": str(ROOT)}


def _wait(process: "subprocess.Popen[bytes]", timeout: float) -> bool:
    try:
        process.wait(timeout)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return True
    return False


def _outcome(answer: Path, log: Path, end: str) -> Outcome:
    if answer.exists():
        given: dict[str, object] = json.loads(answer.read_text(encoding="utf-8"))
        return Outcome(**given)  # type: ignore[arg-type]  # written by harness.subject from an Outcome
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-8:]
    return Outcome(failed="\n".join([*tail, end]))
