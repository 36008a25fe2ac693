"""The main job on real files: its totals are those of a plain recount, and its children really ran side by side."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import symtable
import sysconfig
import zlib
from pathlib import Path
from typing import Any

import pytest

from .harness import EXAMPLES, Examples

pytestmark = pytest.mark.slow
INDEX_TREE = EXAMPLES / "index_tree.py"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with what a tree of files may hold. The unreadable are unreadable for root too, whom no mode keeps out."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "endless.py").symlink_to("endless.py")  # ELOOP
    (folder / "nowhere.txt").symlink_to("gone.txt")  # ENOENT
    os.mkfifo(folder / "pipe\x1b[31m")  # whoever opened it would wait for ever; its name would colour a terminal
    (folder / "broken.py").write_text("def broken(:\n")
    (folder / "also broken\x1b[31m.py").write_bytes(b"x = \0\n")
    (folder / "empty.py").touch()
    (folder / "not utf-8 \udcff.py").write_text("class A:\n    def f(self): return lambda: 0\n")
    (folder / "words.txt").write_bytes(b"one two\tthree" * 200_000)  # words that cross the border between two blocks
    return folder


def files_below(folder: Path) -> list[str]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not os.path.isdir(entry.path):
                found.append(entry.path)
            elif not entry.is_symlink() and entry.name not in ("__pycache__", "site-packages", "test"):
                found += files_below(Path(entry.path))
    return found


def recount(paths: list[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """What the index should say of each file, and which ones cannot be parsed. Nothing here is of the example's making."""
    files: dict[str, dict[str, Any]] = {}
    unparseable = set()
    for path in paths:
        data = Path(path).read_bytes()
        functions = classes = 0
        if path.endswith(".py"):
            try:
                functions, classes = definitions(symtable.symtable(data, path, "exec"))  # type: ignore[arg-type]  # bytes work
            except (SyntaxError, ValueError):
                unparseable.add(path)
        files[path] = {
            "path": path, "bytes": len(data), "lines": data.count(b"\n"), "words": len(data.split()), "functions": functions,
            "classes": classes, "sha256": hashlib.sha256(data).hexdigest(), "compressed": len(zlib.compress(data, 1)),
        }  # fmt: skip
    return files, unparseable


def definitions(table: symtable.SymbolTable) -> tuple[int, int]:
    """Functions and classes by the compiler's own symbol table, which has scopes for lambdas and comprehensions too."""
    functions = classes = 0
    for inner in table.get_children():
        below = definitions(inner)
        is_class = inner.get_type() == "class"
        is_function = inner.get_type() == "function" and inner.get_name() != "lambda" and ".0" not in inner.get_identifiers()
        functions, classes = functions + below[0] + is_function, classes + below[1] + is_class
    return functions, classes


def most_at_once(children: list[dict[str, Any]]) -> int:
    moments = sorted([(child["began"], 1) for child in children] + [(child["ended"], -1) for child in children])
    running = most = 0
    for _, change in moments:
        running += change
        most = max(most, running)
    return most


def real_folders() -> list[Path]:
    """The standard library; some distributions strip it, so that another package has to help out."""
    folders = [Path(sysconfig.get_path("stdlib"))]
    if len(files_below(folders[0])) < 1000:
        spec = importlib.util.find_spec("mypy")
        assert spec is not None and spec.submodule_search_locations
        folders.append(Path(spec.submodule_search_locations[0]))
    return folders


def test_totals_of_the_standard_library_and_odd_files_match_a_plain_recount(examples: Examples, odd: Path) -> None:
    """More than 1000 real files, some unreadable and some not parseable, by at least 4 children at a time."""
    folders = [*real_folders(), odd]
    unreadable = {str(odd / name) for name in ("endless.py", "nowhere.txt", "pipe\x1b[31m")}
    with examples.start(INDEX_TREE, *folders, "--out", "report.json") as running:
        files, unparseable = recount([path for folder in folders for path in files_below(folder) if path not in unreadable])
        out, err = examples.end(running)
    report = json.loads((examples.folder / "report.json").read_text())

    assert len(files) >= 1000
    assert {file["path"]: file for file in report["files"]} == files
    for what in ("bytes", "lines", "words", "functions", "classes", "compressed"):
        assert report["totals"][what] == sum(file[what] for file in files.values()), what
    assert report["totals"]["files"] == len(files)
    assert set(report["unreadable"]) == unreadable
    assert set(report["unparseable"]) == unparseable >= {str(odd / "broken.py"), str(odd / "also broken\x1b[31m.py")}
    large = {path for path, file in files.items() if file["bytes"] > 1 << 20}
    assert set(report["large"]) == {path for path in large if not os.path.islink(path)}
    assert report["copies"] == len(files) - len({file["sha256"] for file in files.values()})

    pids = {child["pid"] for child in report["children"]}
    assert len(pids) == len(report["children"]) >= 16 and running.pid not in pids
    assert most_at_once(report["children"]) == 4
    for kind in ("Process, pid", "Command, pid", "Thread\n", "Coroutine\n"):
        assert f" started, a {kind}" in err
    assert err.count("finished, after") == len(pids) + 4

    text = (examples.folder / "report.txt").read_text()
    assert out.startswith(text) and "\x1b" not in out
    for name in (*unreadable, *unparseable):
        assert repr(name)[1:-1].removeprefix(os.path.commonpath(folders) + "/") in text


def test_small_tree_without_python_files_is_indexed(examples: Examples, tmp_path: Path) -> None:
    """Less files than children, and an empty folder, are nothing special."""
    (tmp_path / "some" / "empty").mkdir(parents=True)
    (tmp_path / "some" / "a.txt").write_text("one two\n")
    examples.run(INDEX_TREE, "some", "--limit", "2")
    report = json.loads((tmp_path / "index.json").read_text())
    assert report["totals"]["files"] == 1 and report["totals"]["words"] == 2
    assert not report["unreadable"] and not report["unparseable"]


def test_missing_folder_is_refused_before_anything_starts(examples: Examples) -> None:
    """Wrong use ends with 2 and says what is wrong."""
    _, err = examples.run(INDEX_TREE, "/no/such/folder", code=2)
    assert "'/no/such/folder' is not a folder" in err and "started" not in err
