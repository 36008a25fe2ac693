"""A plain script, without a loop and without async: four processes hash files of the standard library.

What to see: which process did how many files, and that the sums are of all of them; a timeout that ends the waiting and not the
child; and that leaving the block stops what still runs.
"""

import hashlib
import sysconfig
from pathlib import Path

from asyncproc import Command, Process
from asyncproc.blocking import Manager

Digests = dict[str, tuple[bytes, int]]


def digest_all(paths: list[Path]) -> Digests:
    """The SHA-256 and the size of each file."""
    texts = ((path, path.read_bytes()) for path in paths)
    return {str(path): (hashlib.sha256(text).digest(), len(text)) for path, text in texts}


folder = Path(sysconfig.get_path("stdlib"))
files = [path for pattern in ("*.py", "json/*.py", "asyncio/*.py") for path in sorted(folder.glob(pattern))]

with Manager() as manager:
    patient = manager.start(Command("sleep", "1000", name="patient"))
    parts = [manager.start(Process(digest_all, files[number::4], name=f"part-{number + 1}")) for number in range(4)]

    digests: Digests = {}
    for part in parts:
        found = part.result(timeout=60)  # its result, or its own exception
        print(f"{part.path}: {len(found):4} files by process {part.pid}")
        digests |= found

    different = {digest for digest, _ in digests.values()}
    print(f"{len(digests)} files, {sum(size for _, size in digests.values())} bytes, {len(different)} differ")
    everything = hashlib.sha256(b"".join(sorted(digest for digest, _ in digests.values())))
    print("all of them:", everything.hexdigest())

    try:
        patient.result(timeout=0.05)
    except TimeoutError as error:
        print("not yet:", error)

print(patient.wait().explain())  # a handle can be asked afterwards too
