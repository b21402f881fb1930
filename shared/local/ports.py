"""Loopback ports that are free, kept from one start to the next."""

from __future__ import annotations

import random
import socket
from collections.abc import Set

from shared.local.errors import ServiceError
from shared.local.state import LOOPBACK

# Below 32768, where Linux begins to hand out ports to outgoing connections: such a connection
# could sit on a kept port when our server comes back.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set it too; without it the port of a just stopped server looks taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(preferred: int | None = None, taken: Set[int] = frozenset()) -> int:
    """The preferred port if it is free and not in `taken`, else any free one."""
    if preferred and preferred not in taken and is_free(preferred):
        return preferred
    for _ in range(500):
        port = random.randint(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"no free port on {LOOPBACK} between {_FIRST} and {_LAST}")


def hold(preferred: int | None, taken: Set[int]) -> socket.socket:
    """A port as `choose` chooses it, held until the socket is closed: others find it taken.

    For a server that is started later than its port is chosen.
    """
    for _ in range(10):
        port = choose(preferred, taken)
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((LOOPBACK, port))
            # Who only has a name for it does not keep others out.
            held.listen()
        except OSError:
            held.close()
            continue
        return held
    raise ServiceError(f"no free port on {LOOPBACK}: others take them as they are found")
