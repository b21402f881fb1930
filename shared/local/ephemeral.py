"""PostgreSQL and Redis for one test run or benchmark: no process manager, gone at the end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from shared.local import guard, ports, postgres, redis
from shared.local.accounts import Account, unprivileged
from shared.local.errors import ServiceError
from shared.local.logs import last_line
from shared.local.state import PostgresRecord, RedisRecord

_PATIENCE = 30.0


@dataclass(frozen=True)
class TemporaryServices:
    """Two servers that live as long as the `with` block; the URLs hold passwords."""

    database_url: str
    database_owner_url: str
    redis_url: str
    superuser_url: str
    postgres_pid: int
    redis_pid: int
    guard_pid: int


@contextmanager
def temporary_services(
    directory: Path,
    *,
    durable: bool = False,
    postgres_installation: postgres.Installation | None = None,
    redis_installation: redis.Installation | None = None,
) -> Iterator[TemporaryServices]:
    """A new PostgreSQL (roles and the empty database `mlops` made) and a new Redis, both ready.

    Their data lies in `directory`, or in a temporary folder where PostgreSQL's user may not enter
    it, and is removed at the end; the logs stay. Both servers end with the block, and a watchdog
    (`guard.py`) ends them when this process dies without leaving it. Raises `ServiceError`.
    """
    account = unprivileged()
    home = _home(directory.absolute(), account)
    database_port = ports.choose()
    database = postgres.new_record(
        postgres_installation or postgres.find(), home / "postgres", database_port, account
    )
    broker = redis.new_record(
        redis_installation or redis.find(), home, ports.choose(taken={database_port})
    )
    configuration = home / "redis.conf"
    postgres.prepare(database, account, durable=durable)
    redis.prepare(broker, configuration, durable=durable)

    logs = (directory.absolute() / "postgres.log", directory.absolute() / "redis.log")
    order = {
        "servers": [
            {
                "command": postgres.server_command(database),
                "environment": postgres.server_environment(),
                "uid": account.uid if account else None,
                "gid": account.gid if account else None,
                "log": str(logs[0]),
                # Nothing of it is kept, so it need not write it out.
                "signal": int(signal.SIGQUIT),
            },
            {
                "command": redis.server_command(broker, configuration),
                "environment": {"PATH": "/usr/bin:/bin"},
                "uid": None,
                "gid": None,
                "log": str(logs[1]),
                "signal": int(signal.SIGTERM),
            },
        ],
        "remove": [str(home)],
    }
    with _guarded(order) as (guard_pid, (postgres_pid, redis_pid)):
        _until_ready(lambda: redis.answers(broker), redis_pid, "Redis", logs[1])
        _until_ready(lambda: postgres.answers(database), postgres_pid, "PostgreSQL", logs[0])
        postgres.ensure_roles(database)
        yield _described(database, broker, guard_pid, postgres_pid, redis_pid)


def _described(
    database: PostgresRecord, broker: RedisRecord, guard_pid: int, postgres_pid: int, redis_pid: int
) -> TemporaryServices:
    return TemporaryServices(
        database_url=database.database_url,
        database_owner_url=database.database_owner_url,
        redis_url=broker.redis_url,
        superuser_url=database.superuser_url,
        postgres_pid=postgres_pid,
        redis_pid=redis_pid,
        guard_pid=guard_pid,
    )


def _home(directory: Path, account: Account | None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    reached = account is None or account.reaches(directory / "data" / "postgres")
    home = Path(tempfile.mkdtemp(prefix="services-", dir=directory if reached else None))
    if account:
        home.chmod(0o711)
        if not account.reaches(home / "postgres"):
            shutil.rmtree(home)
            raise ServiceError(
                f"PostgreSQL runs as {account.name}, who may enter neither {directory} nor "
                f"{home.parent}: set TMPDIR to a folder that this user may enter"
            )
    return home


@contextmanager
def _guarded(order: dict[str, Any]) -> Iterator[tuple[int, list[int]]]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C in the terminal is for the asker; it ends us in its own order.
        start_new_session=True,
    ) as watchdog:
        assert watchdog.stdin is not None
        assert watchdog.stdout is not None
        try:
            watchdog.stdin.write(json.dumps(order).encode() + b"\n")
            watchdog.stdin.flush()
            pids = watchdog.stdout.readline()
            if not pids:
                raise ServiceError("the servers could not be started; see the error above")
            yield watchdog.pid, json.loads(pids)
        finally:
            watchdog.stdin.close()
            watchdog.wait()


def _until_ready(ready: Callable[[], bool], pid: int, name: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > deadline or _ended(pid):
            raise ServiceError(f"{name} did not start: {last_line(log)}")
        time.sleep(0.01)


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
