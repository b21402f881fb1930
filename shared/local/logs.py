"""The programs' log files: their last lines, and what is added to them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_BLOCK = 64 * 1024


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines, read from the end; empty when there is no such file."""
    try:
        with log.open("rb") as file:
            position = file.seek(0, 2)
            text = b""
            while position > 0 and text.count(b"\n") <= count:
                start = max(0, position - _BLOCK)
                file.seek(start)
                text = file.read(position - start) + text
                position = start
    except FileNotFoundError:
        return []
    lines = text.decode(errors="replace").splitlines()
    return lines[-count:] if count > 0 else []


def last_line(log: Path) -> str:
    """The last line of a log, for an error message."""
    lines = [line for line in last_lines(log, 20) if line.strip()]
    return lines[-1].strip() if lines else f"{log} is empty"


def follow(logs: Mapping[str, Path], interval: float = 0.3) -> Iterator[tuple[str, str]]:
    """Every line that is added from now on, as (name, line), until the caller stops.

    A log that is rotated is read on in its new file.
    """
    seen = {name: _identity(path) for name, path in logs.items()}
    rest = dict.fromkeys(logs, "")
    while True:
        for name, path in logs.items():
            inode, size = _identity(path)
            old_inode, offset = seen[name]
            if inode != old_inode or size < offset:
                offset = 0
            if size > offset:
                with path.open("rb") as file:
                    file.seek(offset)
                    added = file.read()
                offset += len(added)
                *lines, rest[name] = (rest[name] + added.decode(errors="replace")).split("\n")
                for line in lines:
                    yield name, line
            seen[name] = (inode, offset)
        time.sleep(interval)


def _identity(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (facts.st_ino, facts.st_size)
