"""Batches that could not be sent, one file each, in a folder that several processes may share.

A file appears whole or not at all: it is written under another name and renamed. Whoever sends one
holds a lock on it, which the kernel takes back when its process dies, so a claim cannot go stale;
sent, it is removed. Its name is its time, its batch's identifier and the number of its events.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

from mlops.telemetry.sending import Batch

_SUFFIX: Final = ".batch"
_DRAFT: Final = ".new-"
_DRAFT_SECONDS: Final = 600
"An older draft is what a killed process left."
_NAME_BYTES: Final = 200


def folder_name(tenant: str) -> str:
    """A tenant's name as that of a folder, whatever is in it."""
    # A dot is quoted too: '..' is a name that a tenant may have.
    quoted = quote(tenant, safe=" ").replace(".", "%2E")
    if len(quoted) <= _NAME_BYTES:
        return quoted
    import hashlib

    return hashlib.sha256(tenant.encode()).hexdigest()


@dataclass(frozen=True)
class _Entry:
    """A file by its name."""

    name: str
    batch_id: UUID
    events: int

    @classmethod
    def parse(cls, name: str) -> _Entry | None:
        parts = name.removesuffix(_SUFFIX).split("_")
        if name.startswith(".") or not name.endswith(_SUFFIX) or len(parts) != 3:
            return None
        try:
            return cls(name, UUID(parts[1]), int(parts[2]))
        except ValueError:
            return None


@dataclass
class Claim:
    """A batch that nobody else will send meanwhile; `done` removes it."""

    batch: Batch
    _path: Path

    def done(self) -> None:
        self._path.unlink(missing_ok=True)


class SpillFolder:
    """The folder of one tenant; errors of the disk pass through as `OSError`."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._claimed: set[int] = set()
        self._listed: deque[_Entry] = deque()
        "Of the last listing: thousands of files are not listed anew for each of them."

    def put(self, batch: Batch) -> bool:
        """Write the batch; False, and nothing is written, when the folder is full.

        Several processes may go beyond the limit by a batch each.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._bytes_used() + _on_disk(len(batch.packed)) > self._most_bytes:
            return False
        draft = self.path / f"{_DRAFT}{uuid4()}"
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(batch.packed)
                file.flush()
                os.fsync(descriptor)
            # Twenty digits, so that the order of the names is that of the times.
            draft.rename(self.path / f"{time.time_ns():020}_{batch.id}_{batch.events}{_SUFFIX}")
        finally:
            draft.unlink(missing_ok=True)
        return True

    @contextmanager
    def oldest(self) -> Iterator[Claim | None]:
        """The oldest batch that nobody else is sending; None if there is none.

        What is not `done` at the end stays for others and for later.
        """
        if not self._listed:
            self._listed.extend(self._entries())
        while self._listed:
            entry = self._listed.popleft()
            path = self.path / entry.name
            descriptor = self._lock(path)
            if descriptor is None:
                continue
            try:
                with open(descriptor, "rb", closefd=False) as file:
                    packed = file.read()
                yield Claim(Batch(entry.batch_id, packed, entry.events), path)
            finally:
                if os.fstat(descriptor).st_nlink:
                    self._listed.appendleft(entry)
                self._unlock(descriptor)
            return
        yield None

    def events_waiting(self) -> int:
        """Of all batches in the folder, those of other processes included."""
        return sum(entry.events for entry in self._entries())

    def remove_leftovers(self) -> None:
        """Remove half-written files of processes that were killed."""
        before = time.time() - _DRAFT_SECONDS
        for name in self._names():
            if name.startswith(_DRAFT):
                with suppress(FileNotFoundError):
                    if (self.path / name).stat().st_mtime < before:
                        (self.path / name).unlink()

    def forget_claims(self) -> None:
        """In a forked child: close what the parent has locked, which stays the parent's."""
        for descriptor in self._claimed:
            with suppress(OSError):
                os.close(descriptor)
        self._claimed = set()
        self._listed = deque()

    def _lock(self, path: Path) -> int | None:
        """A descriptor that holds the file's lock; None if it is another's, or gone."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        self._claimed.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        # Between opening and locking it, another may have sent and removed it.
        if os.fstat(descriptor).st_nlink == 0:
            self._unlock(descriptor)
            return None
        return descriptor

    def _unlock(self, descriptor: int) -> None:
        # Not by closing alone: a child that was forked meanwhile holds the same lock.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        self._claimed.discard(descriptor)
        os.close(descriptor)

    def _entries(self) -> list[_Entry]:
        """The batches, oldest first."""
        return [entry for name in sorted(self._names()) if (entry := _Entry.parse(name))]

    def _names(self) -> list[str]:
        try:
            return [file.name for file in self.path.iterdir()]
        except FileNotFoundError:
            return []

    def _bytes_used(self) -> int:
        used = 0
        with os.scandir(self.path) as files:
            for file in files:
                with suppress(FileNotFoundError):
                    used += _on_disk(file.stat().st_size)
        return used


def _on_disk(size: int) -> int:
    """Bytes that a file of `size` takes, in blocks: thousands of small ones are not small."""
    return -(-max(size, 1) // 4096) * 4096
