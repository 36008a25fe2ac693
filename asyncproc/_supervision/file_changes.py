"""A thread that sees files change.

What is looked at are folders, one by one: those below the watched ones that count, and the folder around each watched path. So
an editor that puts a new file in place of the old one is seen, a path that goes and comes again is found again, and what
version control ignores (a virtual environment may hold thousands of folders) takes no watch. A new folder has all looked
through anew.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from asyncproc._supervision.ignored import Ignored

log = logging.getLogger("asyncproc")

STEP_MS = 50
"""So often the thread looks what was seen: watchfiles cannot be waited for otherwise."""
POLL_MS = 300
"""So often files are looked at where the system tells nothing of them."""
TRIES = 5
"""A folder may go while it is looked through."""


class FileChanges:
    """Tells of changes below paths, from :meth:`watch` to :meth:`stop`.

    Args:
        told: called in the thread with the watched paths below which something has changed, and for each with one such file.
        looks: called in the thread with the paths that it sees from now on; none while it looks them through anew.
        ended: called in the thread as its last deed.
    """

    def __init__(
        self, told: Callable[[dict[str, str]], None], looks: Callable[[frozenset[str]], None], ended: Callable[[], None]
    ) -> None:
        self._told = told
        self._looks = looks
        self._ended = ended
        self._roots: frozenset[str] = frozenset()
        self._woken = False
        self._stopped = False
        self._stale = True
        self._there: dict[str, bool] = {}
        self._ignored: dict[str, Ignored] = {}
        self.thread = threading.Thread(target=self._live, name="asyncproc watch", daemon=True)

    def watch(self, roots: frozenset[str]) -> None:
        """Look at these paths from now on."""
        self._roots = roots
        self._woken = True
        if not self.thread.ident:
            self.thread.start()

    def stop(self) -> None:
        """Look no longer; the thread ends within three steps."""
        self._stopped = True
        self._woken = True

    # --- in the thread --------------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._look()
        except Exception:
            log.exception("files are not watched any longer")
        finally:
            self._ended()

    def _look(self) -> None:
        eyes: RustNotify | None = None
        while not self._stopped:
            if eyes is None or self._stale or self._woken:
                self._woken = False
                self._stale = False
                old, eyes = eyes, self._open_eyes(self._roots)
                if old is not None:
                    self._take(old.watch(1, 1, 1, None))  # what it has seen until the new one did
                    old.close()
            # Not woken by an event of its own: it would forget what it has seen and not told yet.
            self._take(eyes.watch(2 * STEP_MS, STEP_MS, 2 * STEP_MS, None))
        if eyes is not None:
            eyes.close()

    def _open_eyes(self, roots: frozenset[str]) -> RustNotify:
        for _ in range(TRIES):
            folders = sorted(self._folders(roots))
            try:
                eyes = _eyes(folders)
            except FileNotFoundError:
                continue
            self._note_comers(roots)
            self._looks(roots)
            return eyes
        raise RuntimeError(f"folders below {', '.join(roots)} come and go too fast to be watched")

    def _folders(self, roots: frozenset[str]) -> set[str]:
        found = set()
        self._ignored = {root: Ignored(root) for root in roots if os.path.isdir(root)}
        for root in roots:
            if self._stopped:
                break
            around = os.path.dirname(root)
            while not os.path.isdir(around):
                around = os.path.dirname(around)
            found.add(around)
            if root in self._ignored:
                found.update(self._ignored[root].folders())
        return found

    def _note_comers(self, roots: frozenset[str]) -> None:
        """What was not there at the last look, and is there now, has changed; whoever made it need not have been seen."""
        there = {root: os.path.exists(root) for root in roots}
        if came := {root: root for root in roots if there[root] and not self._there.get(root, True)}:
            self._told(came)
        self._there = there

    def _take(self, seen: Any) -> None:
        if not isinstance(seen, set):  # "timeout": nothing
            return
        changed: dict[str, str] = {}
        for kind, path in sorted(seen, key=lambda each: each[1]):
            for root in self._roots:
                if self._concerns(root, Change(kind), path):
                    changed.setdefault(root, path)
        if self._stale:
            self._looks(frozenset())
        if changed:
            self._told(changed)

    def _concerns(self, root: str, kind: Change, path: str) -> bool:
        is_folder = os.path.isdir(path)
        if root.startswith(path + os.sep):  # around it something came or went
            self._stale = self._stale or kind is not Change.modified
            return False
        if path != root and not path.startswith(root + os.sep):
            return False
        if path != root and root in self._ignored and self._ignored[root](path):
            return False
        if is_folder and kind is Change.modified:
            return False  # something in it has come or gone: that is told by itself
        self._stale = self._stale or is_folder or kind is Change.deleted or os.path.basename(path) == ".gitignore"
        return True


def _eyes(folders: list[str]) -> RustNotify:
    """By what the system tells; where it cannot tell of so many, or at all, by looking."""
    try:
        return RustNotify(folders, False, False, POLL_MS, False, True)
    except FileNotFoundError:
        raise
    except OSError as error:
        log.warning("the system does not tell of changes in %d folders (%s): they are looked at instead", len(folders), error)
        return RustNotify(folders, False, True, POLL_MS, False, True)
