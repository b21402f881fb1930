"""What a process costs with all that it started: CPU seconds, memory, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import psutil


def families(roots: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The processes with all that live below them."""
    found = []
    for root in roots:
        try:
            found += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_seconds(roots: Iterable[psutil.Process]) -> float:
    """What the roots and all below them have used since they were started.

    Of a process that ended, its parent knows the time; complete below a `benchmarks.reaper`.
    """

    def used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    return sum(_of_each(families(roots), used))


def memory(roots: Iterable[psutil.Process]) -> float:
    """Bytes that they hold with all below them; what they share is split up (PSS, Linux only)."""
    return float(sum(_of_each(families(roots), lambda process: process.memory_full_info().pss)))


def _of_each(
    processes: Iterable[psutil.Process], ask: Callable[[psutil.Process], float]
) -> Iterator[float]:
    for process in processes:
        try:
            yield ask(process)
        except psutil.NoSuchProcess:
            continue
