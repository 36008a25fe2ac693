"""Index a tree of files with a tree of children: the main job of the README.

    python examples/index_tree.py [FOLDER ...] [--out FILE] [--limit N]
    asyncproc run examples/index_tree.py [-- FOLDER ...]

Without a folder it takes the standard library of the Python that runs it. What to see, while it runs:

    app                       first one, then the other
    ├── gather                all together
    │   ├── files             four at a time (--limit)
    │   │   ├── batch-01      a process: parses, counts, hashes and compresses its share of the files
    │   │   └── ...
    │   ├── large             a command: find, for what is larger than 1 MiB
    │   ├── suffixes          a thread: how many files of which kind, and the newest
    │   └── folders           a coroutine: the fullest folders
    └── merge                 a process: makes one report of what the others have left, saves it and prints it

A Sequential hands no results on, so each child leaves its part as a file in a temporary folder. A file that cannot be read, or
not be parsed, is named in the report and stops nobody. The tree stands outside of the main guard, where `asyncproc run` finds
it; the children do not run this file again: each is sent the function that it is to run.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import atexit
import collections
import hashlib
import json
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import asyncproc
from asyncproc import Command, Concurrent, Coroutine, Process, Sequential, Thread

BLOCK = 1 << 20  # bytes
BATCH = 64  # files
SKIPPED = {"__pycache__", "site-packages", "test"}  # what changes while we look, what is not the library, and what is all tests
COUNTED = ("bytes", "lines", "words", "functions", "classes", "compressed")


# --- the tree -----------------------------------------------------------------------------------------------------------


def plan(folders: list[str], out: Path, limit: int) -> Sequential:
    """The whole job as a spec. Nothing runs yet."""
    parts = Path(tempfile.mkdtemp(prefix="index-"))
    atexit.register(shutil.rmtree, parts)
    paths, unreadable = list_files(folders)
    count = max(limit, -(-len(paths) // BATCH))
    batches = [
        Process(index_batch, paths[number::count], parts / f"batch-{number + 1:02}.json", name=f"batch-{number + 1:02}")
        for number in range(count)
    ]
    gather = Concurrent(
        Concurrent(*batches, limit=limit, name="files"),
        find_large(folders, parts / "large.txt"),
        Thread(count_suffixes, paths, parts / "suffixes.json", name="suffixes"),
        Coroutine(find_fullest, paths, parts / "folders.json", name="folders"),
        name="gather",
    )
    return Sequential(gather, Process(merge, folders, parts, out, unreadable, name="merge"))


def list_files(folders: list[str]) -> tuple[list[str], dict[str, str]]:
    """All files below *folders*, and the folders that cannot be read, with the reason."""
    paths: list[str] = []
    unreadable: dict[str, str] = {}

    def refuse(error: OSError) -> None:
        unreadable[str(error.filename)] = str(error.strerror)

    for folder in folders:
        for here, inner, files in os.walk(folder, onerror=refuse):
            inner[:] = sorted(set(inner) - SKIPPED)
            paths += [os.path.join(here, file) for file in sorted(files)]
    return paths, unreadable


def find_large(folders: list[str], part: Path) -> Command:
    """A command for the files over 1 MiB. It ends with 1 when it could not read a folder: the rest counts all the same."""
    skipped = [word for name in sorted(SKIPPED) for word in ("-o", "-name", name)][1:]
    wanted = ("(", *skipped, ")", "-prune", "-o", "-type", "f", "-size", "+2048", "-print")
    return Command("find", *(f"{folder}/." for folder in folders), *wanted, stdout=part, ok_codes=(0, 1), name="large")


# --- what runs in the child processes -----------------------------------------------------------------------------------


def index_batch(paths: list[str], part: Path) -> None:
    """Index every file of a batch; the result says which process did it, and when."""
    began = time.monotonic()
    warnings.simplefilter("ignore")  # about what is in the files: that is not our news
    files, unreadable, unparseable = [], {}, {}
    for path in paths:
        try:
            file = measure(path)
            if path.endswith(".py"):
                file["functions"], file["classes"] = parse(path)
        except OSError as error:
            unreadable[path] = str(error.strerror)
            continue
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            unparseable[path] = str(error).replace("<unknown>, ", "")
        files.append(file)
    child = {"name": asyncproc.current().name, "pid": os.getpid(), "began": began, "ended": time.monotonic()}
    save(part, {"child": child, "files": files, "unreadable": unreadable, "unparseable": unparseable})


def measure(path: str) -> dict[str, Any]:
    """Count, hash and compress one file, block by block: it may be larger than the memory."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would wait for ever
        raise OSError(None, "not a regular file")
    size = lines = words = compressed = 0
    in_word = False
    digest, packer = hashlib.sha256(), zlib.compressobj(1)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            size += len(block)
            lines += block.count(b"\n")
            words += len(block.split()) - (in_word and not block[:1].isspace())
            in_word = not block[-1:].isspace()
            digest.update(block)
            compressed += len(packer.compress(block))
    compressed += len(packer.flush())
    return {
        "path": path, "bytes": size, "lines": lines, "words": words, "functions": 0, "classes": 0,
        "sha256": digest.hexdigest(), "compressed": compressed,
    }  # fmt: skip


def parse(path: str) -> tuple[int, int]:
    """How many functions and classes a Python file defines, at any depth."""
    functions = classes = 0
    blocks: list[ast.AST] = [ast.parse(Path(path).read_bytes())]
    while blocks:
        for node in ast.iter_child_nodes(blocks.pop()):
            functions += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            classes += isinstance(node, ast.ClassDef)
            if not isinstance(node, ast.expr):  # no definition stands inside an expression
                blocks.append(node)
    return functions, classes


# --- what runs in the thread, and in the coroutine ------------------------------------------------------------------------


def count_suffixes(paths: list[str], part: Path) -> None:
    """How many files of which kind, and which one was changed last."""
    counted = collections.Counter(Path(path).suffix or "(none)" for path in paths)
    save(part, {"suffixes": dict(counted.most_common(5)), "newest": max(paths, key=changed, default=None)})


def changed(path: str) -> float:
    """When a file was changed, in seconds since 1970; 0 when there is none to ask."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


async def find_fullest(paths: list[str], part: Path) -> None:
    """The folders with the most entries. The disk is asked in threads: the loop belongs to the manager."""
    folders = sorted({os.path.dirname(path) for path in paths})
    counts = await asyncio.gather(*(asyncio.to_thread(count_entries, folder) for folder in folders))
    fullest = collections.Counter(dict(zip(folders, counts, strict=True))).most_common(5)
    save(part, {"fullest": dict(fullest)})


def count_entries(folder: str) -> int:
    """How many names a folder holds; 0 when it is gone by now."""
    try:
        return len(os.listdir(folder))
    except OSError:
        return 0


# --- the end --------------------------------------------------------------------------------------------------------------


def merge(folders: list[str], parts: Path, out: Path, unreadable: dict[str, str]) -> None:
    """Make one report of all parts: as JSON in *out*, as text beside it, and on the screen."""
    batches = [json.loads(part.read_text()) for part in sorted(parts.glob("batch-*.json"))]
    files = sorted((file for batch in batches for file in batch["files"]), key=lambda file: str(file["path"]))
    contents = {file["sha256"] for file in files}
    report = {
        "folders": folders,
        "totals": {"files": len(files)} | {what: sum(file[what] for file in files) for what in COUNTED},
        "copies": len(files) - len(contents),
        **json.loads((parts / "suffixes.json").read_text()),
        **json.loads((parts / "folders.json").read_text()),
        "large": [os.path.normpath(line) for line in os.fsdecode((parts / "large.txt").read_bytes()).splitlines()],
        "unreadable": unreadable | {path: why for batch in batches for path, why in batch["unreadable"].items()},
        "unparseable": {path: why for batch in batches for path, why in batch["unparseable"].items()},
        "children": [batch["child"] for batch in batches],
        "files": files,
    }
    save(out, report)
    text = describe(report)
    out.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(f"{text}\nsaved as {out} and {out.with_suffix('.txt')}")


def describe(report: dict[str, Any]) -> str:
    """The report for readers."""
    base = os.path.commonpath(report["folders"]) + os.sep

    def listed(title: str) -> list[str]:
        found = report[title] if isinstance(report[title], dict) else dict.fromkeys(report[title])
        lines = [f"    {name.removeprefix(base)!r}" + ("" if what is None else f": {what}") for name, what in found.items()]
        return ["", f"{title}:", *(lines or ["    none"])]

    children = report["children"]
    lines = [f"Index of {', '.join(map(repr, report['folders']))}", ""]
    lines += [f"{what:>12} {number:>13,}" for what, number in report["totals"].items()]
    lines += ["", f"{report['copies']} files are copies of another; the newest is {report['newest']!r}"]
    lines += [f"made by {len(children)} child processes, up to {most_at_once(children)} at a time"]
    for title in ("suffixes", "fullest", "large", "unreadable", "unparseable"):
        lines += listed(title)
    return "\n".join(lines) + "\n"


def most_at_once(children: list[dict[str, Any]]) -> int:
    """How many of the children worked at the same time: the most that any of them found at its own beginning."""
    found: list[int] = [sum(other["began"] <= child["began"] < other["ended"] for other in children) for child in children]
    return max(found)


def save(path: Path, value: object) -> None:
    """Write *value* as JSON."""
    path.write_text(json.dumps(value, indent=1))


# --- the program ----------------------------------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    """What stands on the command line."""
    parser = argparse.ArgumentParser(description="Index a tree of files with a tree of children.")
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=os.path.abspath, default=[sysconfig.get_path("stdlib")])
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("index.json"), help="the report (%(default)s)")
    parser.add_argument("--limit", metavar="N", type=int, default=4, help="child processes at a time (%(default)s)")
    given = parser.parse_args()
    for folder in given.folders:
        if not os.path.isdir(folder):
            parser.error(f"{folder!r} is not a folder")
    return given


def tell_start(child: asyncproc.Handle) -> None:
    """One line for each child that is ready; what has no pid lives in this process."""
    print(f"{child.path} started, a {type(child.spec).__name__}" + (f", pid {child.pid}" if child.pid else ""), file=sys.stderr)


def tell_end(child: asyncproc.Handle) -> None:
    """One line for each child that ends: how, and after how long."""
    assert child.exit is not None
    print(child.exit.explain(), file=sys.stderr)


given = arguments()
tree = plan(given.folders, given.out.resolve(), given.limit)

if __name__ == "__main__":
    asyncproc.run(tree.with_options(started=tell_start, ended=tell_end))
