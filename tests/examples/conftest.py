"""What the tests of the examples get."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncproc.testing.leaks import Leaks

from .harness import Examples


@pytest.fixture
def examples(tmp_path: Path, leaks: Leaks) -> Examples:
    """Runs examples in a folder of their own."""
    return Examples(tmp_path, leaks)
