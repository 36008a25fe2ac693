"""Every example runs as it stands, prints what its docstring promises, and leaves no process behind."""

from __future__ import annotations

import ast
import collections
import hashlib
import math
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from .harness import EXAMPLES, Examples

pytestmark = pytest.mark.slow


def test_one_child(examples: Examples) -> None:
    """A result with and without a loop at hand; what still runs is stopped with its clean-up."""
    out, _ = examples.run(EXAMPLES / "one_child.py")
    own, python = (hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in (EXAMPLES / "one_child.py", sys.executable))
    found = re.search(r"app/idle is running, pid (\d+); this is (\d+)", out)
    assert found and found[1] != found[2]
    assert f"without a loop at hand: {own}" in out
    assert f"app/digest of this file: {own}" in out
    assert f"and of this Python: {python}" in out
    assert "idle: cleaning up" in out
    assert "app/idle was stopped, asked by leaving the manager" in out


def test_groups(examples: Examples) -> None:
    """In bound rounds each member comes once in a round, in order; in free ones fetch gets as far as it likes."""
    out, _ = examples.run(EXAMPLES / "groups.py")
    bound, free = out.split("until stopped, without waiting for each other:")
    for number in (1, 2):
        ran = re.findall(rf"round {number}: app/(\S+)", bound)
        assert sorted(ran) == ["build/concurrent/index", "build/concurrent/thumbs", "build/parse", "fetch"]
        assert ran.index("build/parse") < ran.index("build/concurrent/index")
    assert [int(number) for number in re.findall(r"round (\d)", bound)[:8]] == [1] * 4 + [2] * 4
    assert "'indexed in round 2' is the last of 2 results at this path" in bound
    pids = re.findall(r"in process (\d+)", bound)
    assert len(set(pids)) == len(pids) == 8
    assert "round 5: app/fetch fetched" in free
    assert "killed: 0" in free
    came = re.search(r"fetch has come to round (\d+), build to round (\d+)", free)
    assert came and int(came[1]) >= 6 and int(came[2]) >= 1


def test_commands_in_a_group(examples: Examples) -> None:
    """Results by path; two failures, each explained, and both raised by check()."""
    out, _ = examples.run(EXAMPLES / "commands_in_a_group.py")
    source = EXAMPLES / "commands_in_a_group.py"
    lines = source.read_text().count("\n")
    assert re.search(r"^uname: \['\w+', '\w+'\] in \d+ ms$", out, re.M)
    assert f"lines: ['{lines}', '{source}'] in" in out
    assert "sort: ['quince', 'pear', 'apple'] in" in out
    assert "more/printenv: ['hello'] in" in out
    assert re.search(r"^more/count: \['\d+'\] in", out, re.M)
    assert re.search(r"^ls failed: app/ls crashed, with code \d+, last words: .*/no/such/folder", out, re.M)
    assert re.search(r"^no-such-program failed: app/no-such-program crashed, FileNotFoundError: \[Errno 2\]", out, re.M)
    assert "check() raised a CommandError: [('ls', '/no/such/folder')]" in out
    assert "check() raised a FileNotFoundError: [Errno 2]" in out


def test_messages(examples: Examples) -> None:
    """The same conversation with a process and a coroutine; one has a pid of its own."""
    out, _ = examples.run(EXAMPLES / "messages.py")
    pids = []
    for name in ("process", "coroutine"):
        talk = re.findall(rf"app/{name}: sent (\S+), got {{'so far': (\S+), 'pid': (\d+)}}", out)
        assert [said[:2] for said in talk] == [("1", "1.0"), ("20", "21.0"), ("0.5", "21.5")]
        assert f"app/{name}: its result is 21.5" in out
        pids.append({said[2] for said in talk})
    assert all(len(found) == 1 for found in pids) and pids[0] != pids[1]


def test_throttled_batch(examples: Examples) -> None:
    """The load is shown; three calls fail, two are refused without a call, and all goes through when the service is back."""
    out, _ = examples.run(EXAMPLES / "throttled_batch.py")
    assert re.search(r"^load: cpu \d+%, memory \d+%, disk \d+%$", out, re.M)
    said = re.findall(r"^  item (\d): (.*)$", out, re.M)
    down = [*["ConnectionRefusedError"] * 3, *["refused at once"] * 2]
    assert said == [(str(item), what) for item, what in enumerate(["fetched"] * 2 + down + ["fetched"] * 2, 1)]
    assert "open, after 3 failures" in out
    assert "closed; it has tripped 1 time(s)" in out


def test_errors(examples: Examples) -> None:
    """The own class with its attributes, the child's traceback, a group of errors, a signal."""
    out, err = examples.run(EXAMPLES / "errors.py")
    assert "an OutOfPaper, tray 3; node app/print_page" in out
    assert re.search(r"errors\.py\", line \d+, in print_page\n    \|     raise OutOfPaper\(tray\)", out)
    assert "skipped, and because of what: {'sequential/vanish': 'app/concurrent/sequential/divide'}" in out
    assert "of the group, out of paper: tray 1 is empty" in out
    assert "of the group, nested as it is: app/concurrent/sequential: 1 failed" in out
    assert "app/vanish crashed: SIGKILL" in out
    assert "Traceback" not in err


def test_nested_manager(examples: Examples) -> None:
    """Three generations in three processes, under one path; the inner tree ends with the outer child."""
    out, _ = examples.run(EXAMPLES / "nested_manager.py")
    pids = re.findall(r"(?:lives in|in) (\d+)$", out, re.M)
    assert len(pids) == len(set(pids)) == 5
    for number, name in ((1, "ada"), (2, "bob")):
        assert f"order {number}: done by app/department/desk/concurrent/{name} in" in out
    found = re.search(r"^app/night_shift/desk/sleeper runs in (\d+)$", out, re.M)
    assert found and f"app/night_shift stopped; {found[1]} is gone" in out


def test_plain_script(examples: Examples) -> None:
    """Without a loop: the totals are those of a plain recount, copies are found, the timeout names the node."""
    out, err = examples.run(EXAMPLES / "plain_script.py")
    folder = Path(sysconfig.get_path("stdlib"))
    texts = [path.read_bytes() for pattern in ("*.py", "json/*.py", "asyncio/*.py") for path in folder.glob(pattern)]
    different = {hashlib.sha256(text).digest() for text in texts}
    assert f"{len(texts)} files, {sum(map(len, texts))} bytes, {len(different)} differ" in out
    pids = re.findall(r"^app/part-\d: +\d+ files by process (\d+)$", out, re.M)
    assert len(set(pids)) == 4
    combined = hashlib.sha256(b"".join(sorted(hashlib.sha256(text).digest() for text in texts))).hexdigest()
    assert f"all of them: {combined}" in out
    assert re.search(r"not yet: node app/patient, running: result\(\) was not through after 0.05 s", out)
    assert "app/patient was stopped, asked by leaving the manager" in out
    assert err == ""


def test_shared_counter(examples: Examples) -> None:
    """Ten thousand, whoever wrote when; a failed transaction changes nothing; what is not atomic is found out."""
    out, _ = examples.run(EXAMPLES / "shared_counter.py")
    assert "4 processes have raised it to 10000\n" in out
    assert "a transaction failed halfway; the counter is still 10000" in out
    assert re.search(
        r"^done badly: \d+ of 1000 updates were lost: the total should have risen by 1000, and rose by \d+$", out, re.M
    )


def test_sampler(examples: Examples) -> None:
    """Both forms take six samples of this machine, and report the same entries in the same format."""
    out, err = examples.run(EXAMPLES / "sampler.py")
    times = r"6 loops in \d+\.\d\d ms; mean .*, last .*"
    for form in ("by-class", "by-setup"):
        shares = r"load \d+\.\d\d, memory \d+%, processors \d+%"
        assert re.search(rf"^{form}: {form}-1 to {form}-6; at most: {shares}\n  {form} loop times report: {times}$", out, re.M)
    assert out.endswith("each report has: labels, load, memory, processors, loops\n")
    assert err == ""


def test_until_rejoin(examples: Examples) -> None:
    """The stretch that was begun is searched to its end; what on_finish returns is the result."""
    out, _ = examples.run(EXAMPLES / "until_rejoin.py")
    asked = re.search(r"^asked to rejoin in loop (\d+); app/primes is stopping$", out, re.M)
    ended = re.search(r"^it ended after loop (\d+): (\d+) primes below (\d+)$", out, re.M)
    assert asked and ended
    loops, count, searched = map(int, ended.groups())
    assert loops >= int(asked[1]) >= 2
    assert searched == loops * 20_000
    assert count == sum(1 for number in range(2, searched) if all(number % n for n in range(2, math.isqrt(number) + 1)))
    assert re.search(rf"^primes loop times report: {loops} loops in [\d.]+ m?s; mean .*, last ", out, re.M)
    assert "app/primes was stopped, asked by handle.rejoin(), after" in out and out.endswith(": well\n")


def test_notebook_training(examples: Examples) -> None:
    """Two loops looked at, then steps until it is good enough; what it has learned is the plane that the data were made of."""
    out, err = examples.run(EXAMPLES / "notebook_training.py")
    assert out.startswith("notebook/train has been started\nloop 1: it was off by ")
    steps = [(int(number), float(off)) for number, off in re.findall(r"^before loop (\d+): off by ([\d.]+) on data", out, re.M)]
    assert [number for number, _ in steps] == list(range(3, 3 + len(steps)))
    assert 5 < len(steps) < 50 and steps[0][1] > 0.5 > 0.02 > steps[-1][1]
    end = re.search(r"^it ended with (.+), (.+), (.+); train loop times report: (\d+) loops in", out, re.M)
    assert end
    assert all(abs(float(end[part]) - true) < 0.1 for part, true in ((1, 3), (2, -2), (3, 0.5)))
    assert steps[-1][0] - 1 <= int(end[4]) <= steps[-1][0]  # the loop that it stood before may run
    assert err == ""


def test_life_of_a_child(examples: Examples) -> None:
    """The three ways of DESIGN 3.3: ended by itself, by its parent, and stepped; a recount says what it has learned."""
    out, err = examples.run(EXAMPLES / "life_of_a_child.py")
    assert re.search(r"^meter loop times report: \d+ loops in ", out, re.M)
    heard = re.findall(r"^read_sensor-(\d): ([\d.]+), before: (\S+)$", out, re.M)
    assert [number for number, *_ in heard] == ["1", "2", "3"]
    assert ["None", *(value for _, value, _ in heard)][:3] == [before for *_, before in heard]
    assert all(120 < float(value) < 135 for _, value, _ in heard)  # noise
    ended = re.search(r"^read_sensor has ended by None, with (\d+) loops$", out, re.M)
    assert ended and int(ended[1]) >= 3
    assert out.index("meter connects") < out.index("read_sensor connects")

    letters: collections.Counter[str] = collections.Counter()
    files = iter(sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")))
    loops = 0
    while letters.total() < 250_000:
        letters.update(filter(str.isalpha, next(files).read_text().lower()))
        loops += 1
    learned = "".join(letter for letter, _ in letters.most_common(6))
    assert f"trained in {loops} loops; the most frequent letters: {learned}\n" in out
    assert err == ""


def test_ready_services(examples: Examples) -> None:
    """Each way of being ready, none before its time; what hung is ended for what was found, what never comes says it too."""
    out, err = examples.run(EXAMPLES / "ready_services.py")
    ready = dict(re.findall(r"^app/(\w+) is ready after (\d+) ms$", out, re.M))
    assert list(ready) == ["web", "echo", "log", "newline", "index", "checked"]
    assert int(ready["log"]) >= 100 and int(ready["newline"]) >= 100
    assert re.search(
        r"^app/web was unhealthy, http://127.0.0.1:\d+/ did not answer well 2 times: no answer within 0.2 s", out, re.M
    )
    found = re.search(r"^app/never ended before it was ready: (.*)$", out, re.M)
    assert found and re.search(r"ran out of time.* \(Port \d+ did not answer \d+ times: connection refused\)$", found[1])
    assert re.search(r"^the index of \d+ words is closed$", out, re.M)
    assert err == ""


def test_schedule_and_watch(examples: Examples) -> None:
    """Runs come at their times, also after one that failed; a changed file restarts whoever watches it."""
    out, err = examples.run(EXAMPLES / "schedule_and_watch.py")
    assert re.search(r"^├─ nightly +waiting +again in \d+ ", out, re.M)
    assert "nightly has run 1 time, and waits again" in out
    assert re.search(r"^app/sample crashed, OSError: the sensor is busy, .*; it waits for its next time$", out, re.M)
    assert re.search(r"^sample has run (\d) times, \1 samples$", out, re.M)
    said = re.findall(r"^the service says (.*)$", out, re.M)
    assert (said[0], said[-1]) == ("hello", "good morning")
    assert re.search(r"2nd incarnation: app/service was stopped, asked by change of \S+/greeting.txt", out)
    assert err == ""


def test_supervisor(examples: Examples) -> None:
    """In order up, in reverse down; who comes back with whom; the web server never notices."""
    out, err = examples.run(EXAMPLES / "supervisor.py")
    first, rest = out.split("worker-1 is killed, process ")
    assert re.fullmatch(r"all are up: web \d+, api \d+, worker-1 (\d+), worker-2 \d+\n", first)
    killed, rest = rest.split("the API crashes, and what started after it comes back with it\n")
    assert "app/worker-1 crashed, by signal SIGKILL" in killed
    assert rest.index("api is up, incarnation 2") < rest.index("worker-1 is up, incarnation 3")
    assert "app/api crashed, with code 1, RuntimeError: out of luck" in rest
    assert "running: web (1), api (2), worker-1 (3), worker-2 (3), worker-3 (1), worker-4 (1)\n" in rest
    ended = re.findall(r"^  (\S+) has ended: leaving the manager$", rest, re.M)
    assert set(ended[:2]) == {"worker-3", "worker-4"}
    assert ended[2:] == ["worker-2", "worker-1", "api", "web", "app"]
    assert err.count("\n") >= 1 and "it will be started again" in err  # what is restarted is told once, as a warning


def test_hostile_children(examples: Examples) -> None:
    """What became of each, by what it was found out; the good one stays as it is."""
    out, _ = examples.run(EXAMPLES / "hostile_children.py")
    assert re.search(r"^the daemon is process \d+, alive: True$", out, re.M)
    for line in (
        r"app/crash crashed, with code 1, RuntimeError: as always, .*; 3 restarts",
        r"app/stopped was unhealthy, is stopped: no beat for \S+ s, .*",
        r"app/eater ran out of memory, uses \S+ MiB, more than 96 MiB, .*",
        r"flood: (1000|999) of 1000 lines read are whole",
        r"of flood [1-9]\d* MiB were dropped that nobody has read; it was not held up",
        r"app/flood was stopped, asked by handle.stop\(\), by signal SIGTERM, .*",
        r"app/daemon was stopped, asked by handle.stop\(\), .*",
        r"app/deaf was stopped, asked by handle.stop\(\), had to be killed, by signal SIGKILL, .*",
        r"the daemon is alive: False",
        r"app/good is still in incarnation 1",
        r"of \d+ wake-ups of its loop 99 % came within \S+ ms",
    ):
        assert re.search(f"^{line}$", out, re.M), line


def test_both_paths(examples: Examples) -> None:
    """The same results with and without the helper processes; what differs is told."""
    out, _ = examples.run(EXAMPLES / "both_paths.py")
    for launcher in ("chain", "portable"):
        assert re.search(rf"^{launcher}: \d+\.\d\d s from start to end$", out, re.M)
    for line in (
        "eleven: 6", "seventeen: 9", "four: 4", "sort: 'c\\nb\\na\\n'", "Countdown: '7 after 3 loops'", "letters: 27",
        "app/echo said desserts", "LookupError('nothing there'): node app/fail, phase loop, loop 1, incarnation 1", "stopped",
    ):  # fmt: skip
        assert f"\n{line}\n" in out
    same, differs = out.split("the same on both paths: ")[1].split("\n", 1)
    assert same == "True"
    assert "  launcher: chain / portable\n" in differs
    assert "  descendants end with a killed manager: True / False\n" in differs


def test_every_example_has_a_test_and_says_what_to_see() -> None:
    """A new example must not stay untested."""
    tests = {name.removeprefix("test_") for name in globals()} | {"index_tree"}
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in tests, f"{path.name} has no test"
        assert "What to see" in (ast.get_docstring(ast.parse(path.read_text())) or ""), path.name
