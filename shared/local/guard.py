"""Starts servers and stops them when the process that asked for them is gone, however it ended.

Run as a script with `python -I -S guard.py`, so it imports only what starts in milliseconds. Reads
one line of JSON, `{"servers": [{"command", "environment", "uid", "gid", "log", "signal"}],
"remove": [path, ...]}`; writes one line, the list of pids; then waits until its input ends or its
parent is another one. PR_SET_PDEATHSIG would be shorter, but it is Linux only and it fires when
the *thread* that started the child ends.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

_PATIENCE = 10.0


def main() -> None:
    asker = os.getppid()
    # Only the end of the asker stops us. Handlers, not SIG_IGN: that would outlive the exec and
    # the servers would not hear their signals.
    for unheard in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(unheard, lambda *_: None)
    order = json.loads(sys.stdin.buffer.readline())
    servers: list[tuple[subprocess.Popen[bytes], int]] = []
    try:
        for server in order["servers"]:
            servers.append((_start(server), server["signal"]))
        sys.stdout.write(json.dumps([process.pid for process, _ in servers]) + "\n")
        sys.stdout.flush()
        # The input stays open where a forked child of the asker holds the other end: look at the
        # parent too.
        while os.getppid() == asker:
            readable, _, _ = select.select([0], [], [], 0.5)
            if readable and not os.read(0, 1):
                break
            for process, _ in servers:
                process.poll()
    finally:
        _stop(servers)
        for path in order["remove"]:
            shutil.rmtree(path, ignore_errors=True)


def _start(server: dict[str, Any]) -> subprocess.Popen[bytes]:
    descriptor = os.open(str(server["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    uid, gid = server["uid"], server["gid"]
    try:
        return subprocess.Popen(
            server["command"],
            env=server["environment"],
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    finally:
        os.close(descriptor)


def _stop(servers: list[tuple[subprocess.Popen[bytes], int]]) -> None:
    for process, number in servers:
        if process.poll() is None:
            process.send_signal(number)
    deadline = time.monotonic() + _PATIENCE
    for process, _ in servers:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
