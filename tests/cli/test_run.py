"""``asyncproc run`` without a terminal: what it loads, what it shows, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asyncproc.cli import main
from tests.cli.terminal import COMMAND, environment, run

PROGRAMS = Path(__file__).with_name("programs.py")
pytestmark = pytest.mark.slow


def records_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_nested_tree_is_told_event_by_event() -> None:
    """Every node, from its start to its end; output stands under the name of its node, on its own stream."""
    done = run("run", PROGRAMS, "--", "x", "-y")
    assert done.returncode == 0
    out, err = done.stdout.splitlines(), done.stderr.splitlines()
    assert {line.partition("|")[0].strip(): line.partition("| ")[2] for line in out} == {
        "make_point": "making ['x', '-y']",
        "build/pair/gather": "gathering",
        "build/pair/spin": "spinning",
        "cmd": "out",
    }
    assert any(line.split(" | ")[-1] == "\x1b[32msampled\x1b[0m \\x1b[2J\x1b[0m" for line in err)
    assert "app/build/pair waiting" in err
    assert any(line.startswith("app/cmd running, pid ") for line in err)
    for node in (
        "app",
        "app/make_point",
        "app/build",
        "app/build/sample",
        "app/build/pair",
        "app/build/pair/gather",
        "app/cmd",
    ):
        assert sum(line.startswith(f"{node} finished, after") for line in err) == 1
    assert err[-1].startswith("all 5 ended well, ")
    assert "the main block" not in done.stdout


def test_failures_are_explained_and_give_1() -> None:
    """One line says why; an exception's traceback shows the user's own code."""
    done = run("run", f"{PROGRAMS}:failing")
    err = done.stderr
    assert done.returncode == 1
    assert "app/cmd crashed, with code 3, last words: oops, after" in err
    assert "app/fail crashed, with code 1, KeyError: 'lost', after" in err
    assert 'raise KeyError("lost")' in err
    assert "_child.py" not in err
    assert "2 of 2 failed: " in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("one", 5),
        ("one_killed", 128 + 9),
        ("one_missing", 1),
        ("one_exits", 9),
        ("make_point", 0),
        ("fail", 1),
        ("program", 0),
        ("program_fails", 1),
        ("program_exits", 6),
        ("managed", 0),
    ],
)
def test_exit_code(name: str, code: int) -> None:
    """Of a tree of one node it is the child's own; a program ends as it would on its own."""
    done = run("run", f"{PROGRAMS}:{name}")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr or name in ("fail", "program_fails", "one_exits")


def test_program_has_its_arguments_and_its_trees_are_watched() -> None:
    """A coroutine function is run as the program; whatever tree it opens is shown."""
    done = run("run", f"{PROGRAMS}:program", "--", "a", "--json")
    assert done.stdout.splitlines() == ["program ['a', '--json']", "cmd | inside"]
    assert "app/cmd finished, after" in done.stderr


def test_program_that_fails_shows_its_own_traceback() -> None:
    """From the user's code on; also there nothing steers the terminal."""
    done = run("run", f"{PROGRAMS}:program_fails")
    assert "RuntimeError: program\\x1b[2J failed" in done.stderr
    assert "asyncproc/cli" not in done.stderr


def test_manager_keeps_its_name() -> None:
    """A Manager is run as it was made."""
    assert "own/cmd finished" in run("run", f"{PROGRAMS}:managed").stderr


def test_rounds() -> None:
    """As many passes as were asked for."""
    done = run("run", f"{PROGRAMS}:rounds", "--rounds", "3")
    assert done.returncode == 0
    assert done.stderr.count("app/step finished") == 3
    assert "app/step starting, round 3" in done.stderr


def test_no_binding_and_limit() -> None:
    """Both belong to a Concurrent root."""
    done = run("run", PROGRAMS, "--no-binding", "--rounds", "2", "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("app/cmd finished") == 2


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere.py"], "nowhere.py: cannot be read: No such file or directory"),
        ([f"{PROGRAMS}:nothing"], "has no 'nothing'; there is tree, failing, one,"),
        ([f"{PROGRAMS}:number"], "is a int; needs a spec"),
        ([f"{PROGRAMS}:needs_an_argument"], "missing a required argument: 'argument'"),
        ([f"{PROGRAMS}:Point"], "missing a required argument: 'x'"),
        ([f"{PROGRAMS}:bare"], "this manager has no tree of its own"),
        ([f"{PROGRAMS}:a b"], "must be a name in the file"),
        ([str(PROGRAMS.with_name("Procfile"))], "is no FILE.py"),
        ([f"{PROGRAMS}:one", "--limit", "2"], "--limit needs a Concurrent root, not a command"),
        ([f"{PROGRAMS}:one", "--no-binding"], "binding needs a Concurrent root, not a command"),
        ([f"{PROGRAMS}:program", "--rounds", "2"], "is a coroutine function; --rounds"),
        ([str(PROGRAMS), "--rounds", "-1"], "--rounds"),
        ([str(PROGRAMS), "--limit", "0"], "limit must be an int >= 1"),
        ([str(PROGRAMS), "--lmit", "1"], "Unknown option: --lmit. Did you mean --limit?"),
        ([str(PROGRAMS), "extra"], "Unused Tokens: ['extra']"),
        ([], "requires an argument"),
    ],
)
def test_wrong_use_is_told_in_a_line(words: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Code 2, and nothing has started."""
    assert main(["run", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("asyncproc: ")
    assert text in err


def test_wrong_specs_are_told_fault_by_fault(tmp_path: Path) -> None:
    """All at once, one a line; when the file is loaded, or when its program makes them."""
    file = tmp_path / "wrong.py"
    file.write_text("from asyncproc import Process\ntree = Process(3, grace=-1)\n")
    for words in ([file], [f"{PROGRAMS}:program_with_wrong_spec"]):
        done = run("run", *words)
        assert done.returncode == 2
        assert sorted(line.partition(": ")[2].split()[2] for line in done.stderr.splitlines()) == ["grace", "target"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("1 / 0\n", "raised ZeroDivisionError: division by zero when it was loaded"),
        ("def f(:\n", "is not valid Python"),
        ("import nowhere_to_be_found\n", "raised ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(0)\n", "raised SystemExit: 0"),
    ],
)
def test_file_that_cannot_be_loaded(tmp_path: Path, source: str, text: str) -> None:
    """Its traceback, then one line that says so."""
    file = tmp_path / "broken.py"
    file.write_text(source)
    done = run("run", file)
    assert done.returncode == 2
    assert text in done.stderr.splitlines()[-1]
    assert "broken.py" in done.stderr
    assert "asyncproc/cli" not in done.stderr


def test_file_without_anything_to_run(tmp_path: Path) -> None:
    """What there is in it is named."""
    file = tmp_path / "other.py"
    file.write_text("def work(): ...\n")
    assert "has no tree, app or main to run; there is no spec in it, but functions: work" in run("run", file).stderr


def test_file_is_loaded_as_a_script_is(tmp_path: Path) -> None:
    """Its folder is importable, ``__file__`` is set, dataclasses and pickles find their module, the main block does not run."""
    (tmp_path / "beside.py").write_text("VALUE = 11\n")
    file = tmp_path / "script.py"
    file.write_text(
        "import dataclasses, pickle, sys, typing\n"
        "from beside import VALUE\n"
        "from os.path import *\n"
        "@dataclasses.dataclass\nclass Pair:\n    left: 'int'\n    right: int = VALUE\n"
        "assert pickle.loads(pickle.dumps(Pair(1))) == Pair(1)\n"
        "assert typing.get_type_hints(Pair) == {'left': int, 'right': int}\n"
        "assert sys.modules['__main__'].Pair is Pair and Pair.__module__ == '__main__'\n"
        "names = dir(), vars(), [name for name in locals()]\n"
        "def main():\n    print(basename(__file__), Pair(1), __name__)\n    return Pair(2)\n"
        "if __name__ == '__main__':\n    print('must not run')\n"
    )
    done = run("run", file)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "main | script.py Pair(left=1, right=11) __main__\n"


def test_records_alone_are_on_standard_output() -> None:
    """Each event and each line as one object, the result last; also what the program prints is a record."""
    done = run("run", PROGRAMS, "--json")
    records = records_of(done.stdout)
    assert done.returncode == 0
    assert done.stderr == ""
    states = [record["state"] for record in records if record["type"] == "state" and record["path"] == "app/make_point"]
    assert states == ["starting", "running", "ended"]
    texts = {(record["path"], record["stream"]): record["text"] for record in records if record["type"] == "output"}
    assert texts["app/build/sample", "stderr"] == "\x1b[32msampled\x1b[0m \x1b[2J"
    assert texts["app/build/pair/gather", "stdout"] == "gathering"
    last = records[-1]
    assert (last["type"], last["code"], last["ok"], last["ended"]) == ("result", 0, True, 5)
    assert last["values"] == {"build/sample": 7, "build/pair/gather": "gathered"}
    assert all(record["time"] > 1e9 for record in records)


def test_records_of_failures() -> None:
    """An end says why, in fields and in words."""
    records = records_of(run("run", f"{PROGRAMS}:failing", "--json").stdout)
    exits = {record["path"]: record["exit"] for record in records if record.get("exit")}
    assert exits["app/cmd"]["code"] == 3
    assert exits["app/fail"]["explain"].startswith("app/fail crashed, with code 1, KeyError: 'lost'")
    assert records[-1]["code"] == 1
    assert set(records[-1]["failed"]) == {"app/cmd", "app/fail"}


def test_child_that_inherits_standard_output_does_not_write_between_records() -> None:
    """With --json descriptor 1 of everybody else is standard error."""
    done = run("run", f"{PROGRAMS}:inherited", "--json")
    assert done.stderr == "from a child with our own stdout\n"
    assert records_of(done.stdout)[-1]["ok"]


def test_wrong_use_ends_with_a_record_too() -> None:
    """A program that reads records need not look at standard error."""
    done = run("run", f"{PROGRAMS}:nothing", "--json")
    assert done.returncode == 2
    assert [(record["type"], record["code"]) for record in records_of(done.stdout)] == [("result", 2)]


def test_no_command_shows_the_help_and_is_wrong_use() -> None:
    """And ``--help`` is not."""
    assert run().returncode == 2
    assert run("--help").returncode == 0
    assert "--no-binding" in run("run", "--help").stdout
    assert run("--version").stdout.strip()


@pytest.mark.parametrize(
    ("name", "code", "last"),
    [
        ("job_well", 0, "all 2 ended well, "),
        ("job_seven", 7, "1 of 2 failed: app/job, "),
        ("job_killed", 137, "1 of 2 failed: app/job, "),
        ("job_loops", 1, "1 of 2 failed: app/job, "),
        ("no_job", 1, "1 of 2 failed: app/no-such-program-at-all, "),
    ],
)
def test_essential_member_of_a_supervisor_gives_its_code(name: str, code: int, last: str) -> None:
    """Its own, or 128 and its signal; without one a failure is 1, a limit that was reached and a start that failed too."""
    done = run("run", f"{PROGRAMS}:{name}")
    assert done.returncode == code, done.stderr
    assert done.stderr.splitlines()[-1].startswith(last)
    if name == "job_loops":
        assert "RestartLimitReached: app: 4 failures within 30 s, and 3 are allowed" in done.stderr


def test_failure_that_a_restart_took_care_of_is_none(tmp_path: Path) -> None:
    """It is told when it happens, and no more at the end."""
    done = run("run", f"{PROGRAMS}:job_once_more", ONCE=str(tmp_path / "once"))
    assert done.returncode == 0, done.stderr
    assert "app/job crashed, with code 5" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("all 2 ended well, ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_supervisor_that_is_interrupted_ends_in_reverse(number: signal.Signals, code: int) -> None:
    """As every tree does."""
    argv = [*COMMAND, "run", f"{PROGRAMS}:services"]
    with subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("app running"):
                break
        process.send_signal(number)
        rest = process.stderr.read()
    assert process.returncode == code, rest
    ended = [line.split()[0] for line in rest.splitlines() if " was stopped, " in line]
    assert ended == ["app/job", "app/beside", "app"]
