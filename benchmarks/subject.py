"""The main file of every measured program: a fresh interpreter runs it by path, as a user runs a script.

It is kept this small because spawn and the fork server of multiprocessing run it again in each child.
"""

import sys

if __name__ == "__main__":
    from benchmarks.harness.subject import main

    main(sys.argv[1], sys.argv[2])
