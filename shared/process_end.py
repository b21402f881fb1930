"""What a process does when it ends, also one that `multiprocessing` has begun.

Such a child ends by `os._exit`, which leaves out what is registered with `atexit`: it runs the
finalizers of `multiprocessing.util` instead, after it has struck those of its parent.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

_PRIORITY: Final = 1
"Before what is called at 0: telemetry sends what it has then."


def at_process_end(end: Callable[[], None]) -> None:
    """Call `end`, a function that lasts, when this process ends or a child that it forks.

    It may be called more than once. It is not called where a process is killed, or ends by
    `os._exit` of its own: a child of `os.fork`, or of Celery's prefork pool.
    """
    atexit.register(end)
    os.register_at_fork(after_in_child=partial(_in_children, end))
    _in_children(end)


def _in_children(end: Callable[[], None]) -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        # Nothing of `multiprocessing` has begun this process, or begins one by a fork of it.
        return
    # A child that is only beginning strikes all finalizers, and calls this then.
    util.register_after_fork(end, _finalize)
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        _finalize(end)


def _finalize(end: Callable[[], None]) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, end, exitpriority=_PRIORITY)
