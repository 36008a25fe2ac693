"""Whole programs: the interpreter with some code, or a file of `programs/`, timed from outside or by its own clock."""

import importlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from benchmarks.contenders.asyncproc import load
from benchmarks.harness.contract import Contender, Unavailable, WrongWork
from benchmarks.targets import ANSWER

_PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


class Program(Contender):
    """Runs a program.

    Args:
        program: `-c CODE`, or the name of a file that prints `ANSWER`, or `ANSWER MILLISECONDS` when the clock is its own.
        clock: whole program from outside, or what the program says.
        package: what must be importable.
    """

    def __init__(self, program: str, clock: Literal["whole", "own"], package: str = "") -> None:
        self._code = program.startswith("-c ")
        self._argv = [sys.executable, "-c", program[3:]] if self._code else [sys.executable, str(_PROGRAMS / program)]
        self._clock = clock
        self._package = package

    async def aopen(self) -> None:
        if self._package == "asyncproc":
            load()
        elif self._package:
            try:
                importlib.import_module(self._package)
            except ImportError as error:
                raise Unavailable(str(error)) from error

    def run_program(self) -> float:
        began = time.perf_counter()
        done = subprocess.run(self._argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        took = time.perf_counter() - began
        words = done.stdout.decode().split()
        expected = [] if self._code else [str(ANSWER)]
        if done.returncode != 0 or words[:1] != expected:
            raise WrongWork(f"{self._argv[1:]} ended with {done.returncode}, said {words}: {done.stderr.decode()[-800:]}")
        return took if self._clock == "whole" else float(words[1]) / 1e3
