"""A module that imports nothing."""

import sys


def modules():  # type: ignore[no-untyped-def]  # a stranger's module
    return sorted(sys.modules)
