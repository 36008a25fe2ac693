"""``python -m asyncproc``."""

from asyncproc.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
