"""Wrong use: what cannot be run, told in a line for each thing that is wrong."""

from __future__ import annotations

from asyncproc.errors import SpecError


class Complaint(Exception):
    """Ends the command with code 2.

    Attributes:
        lines: what is wrong, one thing a line. traceback: shown before them, when code of the user's raised.
    """

    def __init__(self, *lines: str, traceback: str = "") -> None:
        super().__init__("; ".join(lines))
        self.lines = [" ".join(line.split()) for line in lines]
        self.traceback = traceback


def faults_of(error: SpecError) -> Complaint:
    """Every fault of a wrong spec."""
    return Complaint(*(map(str, error.faults) if error.faults else (str(error),)))
