"""The same face for code without a loop: ``with Manager() as manager``, ``manager.run(spec)``, ``handle.result(timeout=5)``.

The names are those of the async face: ``await x.name()`` is ``x.name()`` here, ``await handle`` is ``handle.result()``, and
``aopen`` and ``aclose`` are ``open`` and ``close``. The loop runs in a thread (:mod:`asyncproc.blocking.portal`); callbacks of
specs run there and get the async handle. On a thread that runs a loop every call raises StateError.
"""

from asyncproc.blocking.face import Items as Items
from asyncproc.blocking.gate import AfterLoop as AfterLoop
from asyncproc.blocking.gate import BeforeLoop as BeforeLoop
from asyncproc.blocking.gate import OnFinish as OnFinish
from asyncproc.blocking.gate import OnStart as OnStart
from asyncproc.blocking.handle import Group as Group
from asyncproc.blocking.handle import Handle as Handle
from asyncproc.blocking.manager import Manager as Manager
from asyncproc.blocking.manager import run as run

__all__ = ["AfterLoop", "BeforeLoop", "Group", "Handle", "Items", "Manager", "OnFinish", "OnStart", "run"]
