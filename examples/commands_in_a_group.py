"""Commands in a group: two at a time, and a failure of one does not stop the others.

What to see: the output of each command under its path, and how long it took; then why the two others failed, in one line each;
then both failures, out of one ExceptionGroup.
"""

import asyncproc
from asyncproc import Command, CommandError, Concurrent, Sequential

tree = Concurrent(
    Command("uname", "-s", "-m"),
    Command("wc", "-l", __file__, name="lines"),
    Command("sort", "-r", stdin="apple\npear\nquince\n"),
    Sequential(
        Command("printenv", "GREETING", env={"GREETING": "hello"}),
        Command("ls /etc | wc -l", shell=True, name="count"),  # a shell only where one is asked for
        name="more",
    ),
    Command("ls", "/no/such/folder", env={"LC_ALL": "C"}),
    Command("no-such-program"),
    limit=2,
    on_failure="continue",
)
results = asyncproc.run(tree)

for path in results.succeeded:
    if isinstance(done := results[path], asyncproc.Completed):
        print(f"{path}: {done.stdout.split()} in {done.duration * 1000:.0f} ms")
for path, end in results.failed.items():
    print(f"{path} failed: {end.explain()}")
try:
    results.check()
except* CommandError as group:
    print("check() raised a CommandError:", [error.argv for error in group.exceptions if isinstance(error, CommandError)])
except* FileNotFoundError as group:
    print("check() raised a FileNotFoundError:", *group.exceptions)
