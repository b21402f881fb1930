"""Outboxes when their process forks, and when it ends."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Protocol


class Threaded(Protocol):
    """Something with a thread and a memory of its own in this process."""

    def hold_still(self) -> bool:
        """Before a fork; whether `go_on` is due."""

    def go_on(self) -> None:
        """In the parent, after a fork."""

    def begin_anew(self) -> None:
        """In the child, after a fork: the thread is not in it, and the memory is the parent's."""

    def leave(self) -> None:
        """At the end of the process."""


_threaded: set[Threaded] = set()
_held_still: list[Threaded] = []
_finalized: set[int] = set()
"Children of `multiprocessing` whose end is looked after."


def look_after(one: Threaded) -> None:
    _threaded.add(one)
    # A child of `multiprocessing` ends without what is registered at exit.
    children = sys.modules.get("multiprocessing.util")
    if children is None or sys.modules["multiprocessing.process"].parent_process() is None:
        return
    if os.getpid() not in _finalized:
        _finalized.add(os.getpid())
        children.Finalize(None, _end, exitpriority=0)


def let_go(one: Threaded) -> None:
    _threaded.discard(one)


def _before_fork() -> None:
    _held_still[:] = [one for one in list(_threaded) if one.hold_still()]


def _after_fork_in_parent() -> None:
    for one in _held_still:
        one.go_on()
    _held_still.clear()


def _after_fork_in_child() -> None:
    _held_still.clear()
    for one in list(_threaded):
        one.begin_anew()
    _threaded.clear()


def _end() -> None:
    for one in list(_threaded):
        one.leave()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_end)
