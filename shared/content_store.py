"""Files named by the SHA-256 of their content: `<folder>/<first two digits>/<digest>`.

The same content is stored once. A file appears whole or not at all, and what is read is checked
against its name: so nothing waits for the disk when it is written, and what a crash spoils counts
as not kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FREE_AT_LEAST: Final = 512 * 2**20
"Bytes that the disk keeps for others, who may be a database."

_UNCLAIMED_SECONDS: Final = 86_400
"After so long a file without a row has none coming."


class NotStoredError(Exception):
    """There is no room for a file, or it is too large; the message is one line."""


@dataclass(frozen=True)
class Stored:
    """A file that is in the store, for a row that names it."""

    sha256: str
    media_type: str
    size_bytes: int


class ContentStore:
    """The files in one folder. Errors of the disk pass through as `OSError`."""

    def __init__(self, folder: Path, largest: int) -> None:
        """`largest` is how many bytes one file may have."""
        self.folder = folder
        self._largest = largest

    def put(self, content: bytes, media_type: str) -> Stored:
        """Store the content; raises `NotStoredError` when it is too large or the disk is full."""
        self.require_room(len(content))
        stored = Stored(hashlib.sha256(content).hexdigest(), media_type, len(content))
        if not self._is_there(stored):
            with self.new_file() as temporary:
                temporary.write_bytes(content)
                self._move(temporary, stored)
        return stored

    def adopt(self, temporary: Path, media_type: str) -> Stored:
        """Take over a file that was written to `new_file`; raises as `put` does."""
        with temporary.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        stored = Stored(sha256, media_type, temporary.stat().st_size)
        self.require_room(stored.size_bytes)
        if not self._is_there(stored):
            self._move(temporary, stored)
        return stored

    @contextmanager
    def new_file(self) -> Iterator[Path]:
        """An empty file in the store's folder, to be written; what is left of it is removed."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
        os.close(handle)
        try:
            yield Path(name)
        finally:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)

    def read(self, sha256: str) -> bytes | None:
        """The content; None when it is no longer kept, or not on this machine."""
        try:
            content = self.path(sha256).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == sha256 else None

    def path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def unclaimed(self) -> Iterator[str]:
        """Digests of files that nothing has stored again for a day, and half-written leftovers."""
        before = time.time() - _UNCLAIMED_SECONDS
        for file in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < before:
                    yield file.name
        for leftover in self.folder.glob(".new-*"):
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < before:
                    leftover.unlink()

    def _is_there(self, stored: Stored) -> bool:
        path = self.path(stored.sha256)
        try:
            whole = path.stat().st_size == stored.size_bytes
            if whole:
                os.utime(path)
        except OSError:
            return False
        return whole

    def _move(self, temporary: Path, stored: Stored) -> None:
        path = self.path(stored.sha256)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        temporary.replace(path)

    def require_room(self, size: int) -> None:
        if size > self._largest:
            raise NotStoredError(f"{size} bytes are too many for one file; at most {self._largest}")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self.folder).free
        if free - size < FREE_AT_LEAST:
            raise NotStoredError(f"{free} bytes are free in {self.folder}: too few to store more")
