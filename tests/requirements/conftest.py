"""libuv opens a pipe with the first loop of a process and keeps it: it must be there before the leak check counts."""

import uvloop

uvloop.new_event_loop().close()
