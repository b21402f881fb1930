"""Batches that could not be sent, one file each, in a folder that several processes may share.

A file appears whole or not at all: it is written under another name and renamed. Whoever sends one
holds a lock on it, which the kernel takes back when its process dies, so a claim cannot go stale;
sent, it is removed. Its name is its time, its batch's identifier and the number of its events.

What is named like a batch and is none, or cannot be read, stays and stops nothing. Of one that
breaks off, because the machine did, its whole lines are sent.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID, uuid4

from mlops.telemetry.sending import Batch
from shared.telemetry.packing import pack

log = logging.getLogger("mlops.metrics")

_SUFFIX: Final = ".batch"
_DRAFT: Final = ".new-"
_DRAFT_SECONDS: Final = 600
"An older draft is what a killed process left."
_NAME_BYTES: Final = 200
_MOST_BYTES: Final = 64 * 2**20
"Of a batch, also once it is unpacked."
_PIECE: Final = 4096
_LATEST_NANOS: Final = 2**63
"In the year 2262."


def default_folder() -> Path:
    """That of this process's tenant, by what the settings say: the service may be away."""
    import hashlib

    from shared.settings import settings

    key = settings().api_key
    if key is None:
        tenant = folder_name(settings().tenant)
    else:
        tenant = f"key-{hashlib.sha256(key.get_secret_value().encode()).hexdigest()[:16]}"
    return settings().state_dir.expanduser().absolute() / "spill" / tenant


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
    nanos: int
    "When it was written, since the epoch."
    batch_id: UUID
    events: int

    @classmethod
    def parse(cls, name: str) -> _Entry | None:
        parts = name.removesuffix(_SUFFIX).split("_")
        if name.startswith(".") or not name.endswith(_SUFFIX) or len(parts) != 3:
            return None
        try:
            found = cls(name, int(parts[0]), UUID(parts[1]), int(parts[2]))
        except ValueError:
            return None
        return found if 0 <= found.nanos < _LATEST_NANOS and found.events > 0 else None


@dataclass(frozen=True)
class Contents:
    """What is in a folder: batches of all processes, and what only looks like one."""

    readable: Mapping[UUID, int]
    "The events of each batch."
    unreadable: int
    listed: frozenset[UUID]
    "Of all files that are named like a batch."
    oldest: datetime | None
    "Since when the oldest of the readable waits."


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
        self._unreadable: set[str] = set()
        "Files that could not be read when they were to be sent."

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
        """The oldest batch that can be read and nobody else is sending; None if there is none.

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
            batch = None
            try:
                batch = self._read(descriptor, entry)
                if batch is not None:
                    yield Claim(batch, path)
            finally:
                if batch is not None and os.fstat(descriptor).st_nlink:
                    self._listed.appendleft(entry)
                self._unlock(descriptor)
            if batch is not None:
                return
        yield None

    def contents(self) -> Contents:
        """What is in the folder now; raises `OSError` where it cannot be listed."""
        entries = self._entries()
        # Of what is gone, nothing is to be said any more.
        self._unreadable &= {entry.name for entry in entries}
        readable = [entry for entry in entries if self._can_be_read(entry)]
        return Contents(
            {entry.batch_id: entry.events for entry in readable},
            len(entries) - len(readable),
            frozenset(entry.batch_id for entry in entries),
            datetime.fromtimestamp(readable[0].nanos / 1e9, UTC) if readable else None,
        )

    def remove_leftovers(self) -> None:
        """Remove half-written files of processes that were killed."""
        before = time.time() - _DRAFT_SECONDS
        for name in self._names():
            if name.startswith(_DRAFT):
                # Another has removed it, or somebody has put a folder there.
                with suppress(OSError):
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
        """A descriptor that holds the file's lock; None if it is another's, gone, or no file."""
        try:
            # Not blocking, for what looks like a file may be a pipe that nobody writes to.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._set_aside(path.name, error.strerror)
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

    def _read(self, descriptor: int, entry: _Entry) -> Batch | None:
        """The batch of a file, or what is left of it; None if nothing of it can be read."""
        try:
            with open(descriptor, "rb", closefd=False) as file:
                # More than the service takes is no batch of ours.
                packed = file.read(_MOST_BYTES)
        except OSError as error:
            self._set_aside(entry.name, error.strerror)
            return None
        lines = _whole_lines(packed)
        if lines is None:
            self._unreadable.discard(entry.name)
            return Batch(entry.batch_id, packed, entry.events)
        if not lines:
            self._set_aside(entry.name, "it holds no event")
            return None
        log.warning(
            "%s breaks off: %d of its %d events are sent", entry.name, len(lines), entry.events
        )
        return Batch(entry.batch_id, pack(lines), len(lines))

    def _set_aside(self, name: str, reason: str | None) -> None:
        if name not in self._unreadable:
            log.warning("%s in the spill folder cannot be read and stays there: %s", name, reason)
        self._unreadable.add(name)

    def _can_be_read(self, entry: _Entry) -> bool:
        if entry.name in self._unreadable:
            return False
        path = self.path / entry.name
        try:
            return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
        except FileNotFoundError:
            return True

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


def _whole_lines(packed: bytes) -> list[bytes] | None:
    """None if the batch is whole; else the whole lines that it begins with."""
    unpacking = zlib.decompressobj()
    body = bytearray()
    with suppress(zlib.error):
        for start in range(0, len(packed), _PIECE):
            body += unpacking.decompress(packed[start : start + _PIECE])
            if len(body) > _MOST_BYTES:
                break
    if unpacking.eof:
        return None
    return [line for line in bytes(body).rpartition(b"\n")[0].split(b"\n") if line.strip()]


def _on_disk(size: int) -> int:
    """Bytes that a file of `size` takes, in blocks: thousands of small ones are not small."""
    return -(-max(size, 1) // 4096) * 4096
