"""A whole program: one no-op child by asyncproc.run."""

import importlib
from typing import Any

from benchmarks import targets

asyncproc: Any = importlib.import_module("asyncproc")
print(asyncproc.run(asyncproc.Process(targets.noop))[2])
