"""PostgreSQL refuses to run as root: whom it runs as instead, and where that user can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from shared.local.errors import ServiceError

UNPRIVILEGED = "nobody"

ELSEWHERE = Path("/var/lib/browser-mlops")
"Root's place for what the unprivileged user must reach when the state folder is closed to it."


@dataclass(frozen=True)
class Account:
    """The user that PostgreSQL runs as when we are root."""

    name: str
    uid: int
    gid: int

    def reaches(self, path: Path) -> bool:
        """Whether this user may pass through every existing folder above `path`."""
        return all(self._passes(folder) for folder in path.resolve().parents if folder.exists())

    def runs(self, program: Path) -> bool:
        """Whether this user may execute the program."""
        return self.reaches(program) and self._passes(program.resolve())

    def _passes(self, path: Path) -> bool:
        facts = path.stat()
        if facts.st_uid == self.uid:
            return bool(facts.st_mode & stat.S_IXUSR)
        if facts.st_gid == self.gid:
            return bool(facts.st_mode & stat.S_IXGRP)
        return bool(facts.st_mode & stat.S_IXOTH)


def unprivileged() -> Account | None:
    """The user to become for PostgreSQL, None when we are not root and can run it ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ServiceError(
            f"PostgreSQL does not run as root and there is no user {UNPRIVILEGED!r}: "
            "run as an ordinary user, or set DATABASE_URL"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def data_folder(state: Path, instance: str, name: str, account: Account | None) -> Path:
    """Where a server's data goes: in the state folder, or elsewhere if `account` cannot reach it.

    A state folder below /root is the usual case of the latter.
    """
    if account is None or account.reaches(state / name):
        return state / name
    folder = ELSEWHERE / instance
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for made in (ELSEWHERE, folder):
            made.chmod(0o711)
    except OSError as error:
        raise ServiceError(
            f"PostgreSQL runs as {account.name}, who may not enter {state}, and {folder} cannot "
            f"be made ({error.strerror}): set MLOPS_STATE_DIR to a folder outside of it"
        ) from None
    return folder / name


def reachable_copy(root: Path, program: str, account: Account | None, label: str) -> Path:
    """`root` itself if `account` may run the program in it, else a copy that it may run.

    `program` is relative to `root`; the copy is shared by all state folders of this machine.
    """
    if account is None or account.runs(root / program):
        return root
    copy = ELSEWHERE / label
    if not copy.exists():
        draft = ELSEWHERE / f".{label}.{os.getpid()}"
        draft.parent.mkdir(parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o711)
        shutil.copytree(root, draft, symlinks=True)
        for entry in (draft, *draft.rglob("*")):
            if not entry.is_symlink():
                entry.chmod(0o755 if entry.is_dir() or os.access(entry, os.X_OK) else 0o644)
        try:
            draft.rename(copy)
        except OSError:  # another start was quicker
            shutil.rmtree(draft)
    return copy
