"""What a run rests on besides its params: the code, the packages, the machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from shared.redaction import redacted

LOCK_FILES: Final = (
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock.toml",
    "requirements.lock",
    "requirements.txt",
)
_GIT_SECONDS: Final = 5


def environment_of(
    configuration: Mapping[str, Any], seed: int | None, folder: Path | None = None
) -> dict[str, Any]:
    """The environment of this process; what cannot be found out is None."""
    folder = folder or Path.cwd()
    return {
        **_of_process(),
        "folder": str(folder),
        "git": git_state(folder),
        "lock_file": lock_file(folder),
        "configuration_sha256": hashlib.sha256(
            json.dumps(configuration, sort_keys=True).encode()
        ).hexdigest(),
        "seed": seed,
    }


@lru_cache(maxsize=1)
def installed_packages() -> tuple[str, Mapping[str, str]]:
    """The installed distributions with their versions, and a digest of the list.

    Looked up once in a process: to read them all takes longer than to begin a run.
    """
    found = {
        name: str(one.version)
        for one in distributions()
        if (name := (one.metadata["Name"] or "").lower().replace("_", "-"))
    }
    packages = dict(sorted(found.items()))
    return hashlib.sha256(json.dumps(packages).encode()).hexdigest(), packages


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch, and whether files are changed; None without a repository or git."""
    status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return None
    headers = {}
    dirty = False
    for line in status.splitlines():
        if line.startswith("# branch."):
            name, _, value = line.removeprefix("# branch.").partition(" ")
            headers[name] = value
        else:
            dirty = True
    commit = headers.get("oid")
    if commit is None or commit == "(initial)":
        return None
    branch = headers.get("head")
    return {"commit": commit, "branch": None if branch == "(detached)" else branch, "dirty": dirty}


def lock_file(folder: Path) -> str | None:
    """Name and SHA-256 of the nearest lock file, in `folder` or above it."""
    for place in (folder, *folder.parents):
        for name in LOCK_FILES:
            try:
                content = (place / name).read_bytes()
            except OSError:
                continue
            return f"{name} sha256:{hashlib.sha256(content).hexdigest()}"
        if (place / ".git").exists():
            break
    return None


@lru_cache(maxsize=1)
def _of_process() -> Mapping[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "processors": os.cpu_count(),
        "command": [redacted(one) for one in (getattr(sys, "orig_argv", None) or sys.argv)],
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            # The user's own git, as in a shell.
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],  # noqa: S607
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=True,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
