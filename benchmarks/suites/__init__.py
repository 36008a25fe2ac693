"""One file per benchmark: its contenders, its metrics, its bars, and how one contender is measured."""

NAMES = (
    "start",
    "memory",
    "death",
    "idle",
    "heartbeat",
    "roundtrip",
    "blocking",
    "life",
    "namespace",
    "cold",
    "restart",
    "supervisor",
    "crashes",
    "cycles",
    "many",
)
