"""What a command leaves behind stays below its reaper: seen while it lives, counted afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from benchmarks import processes

LEAVES_ONE = """
import subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import sys; print('left'); sys.stdin.read()"])
"""
BURNS = "import time\nwhile time.process_time() < 0.3: pass"


@contextmanager
def reaping(script: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.reaper", sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def test_the_exit_code_is_the_commands() -> None:
    with reaping("raise SystemExit(3)") as process:
        assert process.wait() == 3


def test_an_orphan_stays_below_and_is_waited_for() -> None:
    on_linux = sys.platform == "linux"
    with reaping(LEAVES_ONE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "left\n"
        below = psutil.Process(process.pid).children(recursive=True)
        assert bool(below) >= on_linux
        assert (process.poll() is None) >= on_linux
        process.communicate()
        assert process.returncode == 0
        assert not any(child.is_running() for child in below)


def test_sigterm_ends_the_command() -> None:
    with reaping("print('up', flush=True); import sys; sys.stdin.read()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait() == 128 + 15


def test_the_time_of_what_has_ended_is_counted() -> None:
    script = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURNS!r}], check=True)
print("burnt", flush=True)
sys.stdin.read()
"""
    with reaping(script) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert processes.cpu_seconds([psutil.Process(process.pid)]) >= 0.3
        process.communicate()
