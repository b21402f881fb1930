"""What the machine is doing: CPU, memory and disk, through psutil."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("mlops.metrics")


class NoSampleError(Exception):
    """The machine cannot be asked; the message is one line with the remedy."""


def sample() -> dict[str, Any]:
    """The fields of a system event; raises `NoSampleError`.

    CPU is that since the sample before, and unknown in the first of a process. The disk is that of
    the working folder.
    """
    try:
        import psutil
    except ImportError:
        raise NoSampleError(
            "the system cannot be sampled without psutil: pip install psutil"
        ) from None
    memory = psutil.virtual_memory()
    cpu = psutil.cpu_percent(interval=None)
    return {
        "host": socket.gethostname(),
        "cpu_percent": cpu if _was_asked_before() else None,
        "memory_percent": memory.percent,
        "memory_bytes": memory.total - memory.available,
        "disk_percent": psutil.disk_usage(str(Path.cwd())).percent,
    }


_asked = threading.Event()


def _was_asked_before() -> bool:
    before = _asked.is_set()
    _asked.set()
    return before


class Sampler:
    """Calls what `take` refers to every `seconds`, in a thread, until it is stopped or gone.

    A forked child does not go on with it: the machine is the same, and would be sampled twice.
    """

    def __init__(self, take: Callable[[], Callable[[], object] | None], seconds: float) -> None:
        self._take = take
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlops-sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while True:
            take = self._take()
            if take is None:
                return
            take()
            del take
            if self._stopped.wait(self._seconds):
                return
