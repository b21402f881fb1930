"""The programs' log files: their last lines, and what is added to them."""

from __future__ import annotations

import os
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
    """Every line that is added from this call on, as (name, line), until the caller stops.

    A log that is rotated is read to its end and then on in the new file.
    """
    return _added({name: _Tail(path) for name, path in logs.items()}, interval)


def _added(tails: Mapping[str, _Tail], interval: float) -> Iterator[tuple[str, str]]:
    try:
        while True:
            for name, tail in tails.items():
                for line in tail.lines():
                    yield name, line
            time.sleep(interval)
    finally:
        for tail in tails.values():
            tail.close()


class _Tail:
    """One log file, read from its present end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb") if path.exists() else None
        self._rest = b""
        if self._file:
            self._file.seek(0, os.SEEK_END)

    def lines(self) -> list[str]:
        added = self._file.read() if self._file else b""
        if self._moved():
            self.close()
            self._file = self._path.open("rb")
            added += self._file.read()
        *complete, self._rest = (self._rest + added).split(b"\n")
        return [line.decode(errors="replace") for line in complete]

    def _moved(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False  # between two names; it will be there at the next look
        if self._file is None:
            return True
        here = os.fstat(self._file.fileno())
        return here.st_ino != there.st_ino or there.st_size < self._file.tell()

    def close(self) -> None:
        if self._file:
            self._file.close()
