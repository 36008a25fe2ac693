"""`subject.py` as command line programs are: with imports at the top, which the fork server repeats in each child."""

import argparse  # noqa: F401
import json  # noqa: F401
import logging  # noqa: F401
import pathlib  # noqa: F401
import subprocess  # noqa: F401
import sys

if __name__ == "__main__":
    from benchmarks.harness.subject import main

    main(sys.argv[1], sys.argv[2])
