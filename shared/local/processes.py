"""Which running processes are ours, and ending those that lost their process manager."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from shared.local.state import INSTANCE_VARIABLE, Record

# Linux computes a start time from the boot time, which moves a little with the clock.
_START_TOLERANCE_SECONDS = 2.0


def start_time(pid: int) -> float | None:
    """When the process began, in seconds since the epoch; None when there is no such process."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def same(pid: int | None, started: float | None) -> bool:
    """Whether `pid` is still the process that began at `started`, and not a later one."""
    if pid is None or started is None:
        return False
    now = start_time(pid)
    return now is not None and abs(now - started) < _START_TOLERANCE_SECONDS


def running(record: Record) -> bool:
    """Whether the recorded process manager is alive, and is the one that we started."""
    return same(record.supervisor.pid, record.supervisor.started)


def of_instance(record: Record) -> list[psutil.Process]:
    """Every living process that was started for this record, manager and servers included."""
    ours = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and _is_ours(process, record):
                ours.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return ours


def _is_ours(process: psutil.Process, record: Record) -> bool:
    if process.environ().get(INSTANCE_VARIABLE) == record.instance:
        return True
    # PostgreSQL writes its process title over its environment; it stands in its data folder.
    return (
        record.postgres is not None
        and process.name() == "postgres"
        and Path(process.cwd()) == record.postgres.data.resolve()
    )


def end(processes: Iterable[psutil.Process], patience: float = 10.0) -> None:
    """Ask each to end, then kill what is still there after `patience` seconds."""
    asked = list(processes)
    for process in asked:
        try:
            # PostgreSQL waits for its clients on SIGTERM; on SIGINT it sends them away.
            if process.name() == "postgres":
                process.send_signal(signal.SIGINT)
            else:
                process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, left = psutil.wait_procs(asked, timeout=patience)
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5.0)
