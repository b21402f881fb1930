"""Whether a worker lives: a file that it keeps fresh, and that needs no broker to read."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

MAX_AGE_SECONDS = 60.0
"A worker that has not beaten for so long hangs; it beats every few seconds."

_FORGOTTEN_AFTER_SECONDS = 86_400.0


def heartbeat_file(state_dir: Path, node: str) -> Path:
    """The file of the worker with this node name, e.g. `evaluation@host`."""
    return state_dir.expanduser().absolute() / "heartbeats" / quote(node, safe="@")


def beat(file: Path) -> None:
    """Say that the worker lives; raises `OSError` where it cannot be said."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)


def age_seconds(file: Path) -> float | None:
    """How long ago the worker beat last, None when it never did or was stopped in order."""
    try:
        return max(0.0, time.time() - file.stat().st_mtime)
    except FileNotFoundError:
        return None


def forget_dead(folder: Path) -> None:
    """Remove what was left by workers killed long ago: each container has a name of its own."""
    for file in folder.glob("*@*"):
        if (age_seconds(file) or 0.0) > _FORGOTTEN_AFTER_SECONDS:
            file.unlink(missing_ok=True)
