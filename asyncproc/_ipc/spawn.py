"""The first message of all: what a fresh fork is to be. Marshalled tuples, because the child trusts its manager and every
string that it need not touch is a page that it shares with its siblings.

In this order: :data:`Setting` is for the bootstrap, before any code of the child is imported; :data:`Work` is for the child.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    Setting: TypeAlias = tuple[
        # Streams, and what is to be descriptor 3: an index into the descriptors, -1 the null device, -2 stdout's, -3 as it is.
        tuple[int, ...] | None,  # None: all as they are
        str,  # working directory
        dict[str, Any] | None,  # limits, see asyncproc._runtime.limits
        tuple[list[bytes] | None, dict[bytes, bytes]] | None,  # environment: names to remove (None: all), values to set
        list[str] | None,  # sys.path; None: as the template's
        list[str] | None,  # sys.argv; None: as the template's
    ]
    Work: TypeAlias = tuple[
        str,  # path of the node
        int,  # incarnation
        int,  # round
        int,  # level
        dict[str, Any] | None,  # metadata
        bool,  # whether the target needs a loop
        str | None,  # __file__ of the host's main module
        bytes,  # the call, see asyncproc._ipc.codec
        tuple[Any, ...] | None,  # what the spec says about its loops, see asyncproc._runtime.lifecycle; None: one plain call
        float | None,  # seconds between two beats, see asyncproc._runtime.pulse; its page is the last descriptor
    ]
