"""The process manager: supervisord's configuration, its start and stop, and its answers."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from shared.local import postgres, redis
from shared.local.errors import ServiceError
from shared.local.processes import same, start_time
from shared.local.programs import STOP_SECONDS, Program
from shared.local.state import (
    INSTANCE_VARIABLE,
    LOOPBACK,
    Record,
    StateFolder,
    SupervisorRecord,
    write_private,
)

SERVERS_GROUP = "servers"
PROGRAMS_GROUP = "programs"
_USER = "mlops"
_START_PATIENCE = 15.0
_LOG_BYTES, _LOG_COPIES = 10_000_000, 3


class ProcessState(StrEnum):
    """The states that supervisord tells."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    EXITED = "exited"
    FATAL = "fatal"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProcessInfo:
    """One process as supervisord sees it; pid and uptime (seconds) are None when it is not up."""

    name: str
    state: ProcessState
    pid: int | None
    uptime_seconds: float | None
    reason: str


def configuration(
    record: Record, folder: StateFolder, programs: Iterable[Program], umask: int
) -> str:
    """The text of supervisord.conf. It holds no password but a hash of the manager's own.

    Programs stop before servers: supervisord stops groups in descending priority, one by one.
    Programs do not start by themselves, for the database has to be migrated first.
    """
    sections = [_manager(record, folder)]
    servers = []
    if record.postgres and "postgres" in record.servers:
        servers.append("postgres")
        sections.append(
            _section(
                "program:postgres",
                # The server gets an environment of its own: ours holds keys and URLs.
                command=_command(
                    _only(postgres.server_environment(), postgres.server_command(record.postgres))
                ),
                directory=_text(record.postgres.data),
                **({"user": record.postgres.run_as} if record.postgres.run_as else {}),
                stopsignal="INT",
                stopwaitsecs=STOP_SECONDS,
                **_kept(folder, "postgres"),
            )
        )
    if record.redis and "redis" in record.servers:
        servers.append("redis")
        ours = {"PATH": "/usr/bin:/bin", INSTANCE_VARIABLE: record.instance}
        sections.append(
            _section(
                "program:redis",
                command=_command(
                    _only(ours, redis.server_command(record.redis, folder.redis_configuration))
                ),
                directory=_text(record.redis.data),
                stopsignal="TERM",
                stopwaitsecs=STOP_SECONDS,
                **_kept(folder, "redis"),
            )
        )
    names = []
    for program in programs:
        names.append(program.name)
        sections.append(
            _section(
                f"program:{program.name}",
                command=_command((sys.executable, "-m", *program.command)),
                environment=",".join(f'{k}="{v}"' for k, v in program.environment.items()),
                autostart="false",
                umask=f"{umask:03o}",
                stopsignal="TERM",
                stopwaitsecs=STOP_SECONDS,
                # The worker alone is asked to end, so that it can end its pool and its browser
                # in order; if it does not, all of them are killed.
                killasgroup="true",
                **_kept(folder, program.name),
            )
        )
    for priority, group, members in ((1, SERVERS_GROUP, servers), (2, PROGRAMS_GROUP, names)):
        if members:
            sections.append(
                _section(f"group:{group}", programs=",".join(members), priority=priority)
            )
    return "\n".join(sections)


def _manager(record: Record, folder: StateFolder) -> str:
    digest = hashlib.sha1(  # noqa: S324 (the only hash supervisord knows; the password is random)
        record.supervisor.password.encode()
    ).hexdigest()
    return "\n".join(
        (
            _section(
                "supervisord",
                identifier=record.instance,
                pidfile=_text(folder.supervisor_pid),
                logfile=_text(folder.log("supervisord")),
                logfile_maxbytes=_LOG_BYTES,
                logfile_backups=_LOG_COPIES,
                childlogdir=_text(folder.logs),
                umask="077",
                minfds=256,
                minprocs=50,
                **({"user": "root"} if os.geteuid() == 0 else {}),
            ),
            _section(
                "inet_http_server",
                port=f"{LOOPBACK}:{record.supervisor.port}",
                username=_USER,
                password="{SHA}" + digest,
            ),
            _section(
                "rpcinterface:supervisor",
                **{
                    "supervisor.rpcinterface_factory": "supervisor.rpcinterface:"
                    "make_main_rpcinterface"
                },
            ),
        )
    )


def _kept(folder: StateFolder, name: str) -> dict[str, object]:
    return {
        "autorestart": "true",
        "startsecs": 1,
        "startretries": 10,
        "redirect_stderr": "true",
        "stdout_logfile": _text(folder.log(name)),
        "stdout_logfile_maxbytes": _LOG_BYTES,
        "stdout_logfile_backups": _LOG_COPIES,
    }


def _section(title: str, **values: object) -> str:
    lines = [f"{name} = {value}" for name, value in values.items() if value != ""]
    return "\n".join((f"[{title}]", *lines, ""))


def _only(environment: Mapping[str, str], command: Iterable[str]) -> tuple[str, ...]:
    """The command with this environment and nothing of ours."""
    pairs = (f"{name}={value}" for name, value in environment.items())
    return ("/usr/bin/env", "-i", *pairs, *command)


def _command(parts: Iterable[str]) -> str:
    text = shlex.join(parts)
    # supervisord expands what follows a percent sign; Celery's host name has one.
    return "%%h".join(_text(piece) for piece in text.split("%h"))


def _text(value: object) -> str:
    text = str(value)
    if any(mark in text for mark in (" ;", " #", "%", "\n")):
        raise ServiceError(
            f"the process manager cannot read a path with '%', ' ;' or ' #' in it: {text}; "
            "use another folder"
        )
    return text


def launch(folder: StateFolder, record: Record, environment: Mapping[str, str]) -> SupervisorRecord:
    """Start supervisord in the background and wait until it answers; return it with its pid.

    `environment` is what all programs get. Raises `ServiceError`.
    """
    if importlib.util.find_spec("supervisor") is None:
        raise ServiceError(
            "the process manager is not installed: `pip install 'browser-mlops[local]'`"
        )
    folder.supervisor_pid.unlink(missing_ok=True)
    # Its own warnings are not the user's to mend, and where PYTHONWARNINGS makes them errors it
    # answers nothing.
    command = (sys.executable, "-W", "ignore", "-m", "supervisor.supervisord")
    # It forks into the background by itself, so this returns at once.
    answer = subprocess.run(
        (*command, "-c", str(folder.supervisor_configuration)),
        env={**environment, **_importable(), INSTANCE_VARIABLE: record.instance},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o077,
    )
    if answer.returncode != 0:
        lines = (answer.stderr.strip() or answer.stdout.strip() or "no output").splitlines()
        reasons = [line for line in lines if line.startswith("Error")] or lines[-1:]
        # It quotes its whole environment, passwords and all, in some of its messages.
        reason = reasons[0].partition("{")[0][:200]
        raise ServiceError(f"the process manager did not start: {reason}")
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline:
        pid = _written_pid(folder.supervisor_pid)
        started = start_time(pid) if pid else None
        if pid and started:
            candidate = record.supervisor.model_copy(update={"pid": pid, "started": started})
            if identity(candidate) == record.instance:
                return candidate
        time.sleep(0.02)
    raise ServiceError(
        f"the process manager did not answer within {_START_PATIENCE:.0f} s: "
        f"see {folder.log('supervisord')}"
    )


def _importable() -> dict[str, str]:
    """The environment in which `workers` can be imported, from whatever folder `up` was called."""
    root = Path(__file__).resolve().parents[2]
    if str(root) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {}
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{others}" if others else str(root)}


def _written_pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def identity(supervisor: SupervisorRecord) -> str | None:
    """The instance that the manager on this port belongs to, None when it does not accept us."""
    try:
        with _client(supervisor) as client:
            answer = client.supervisor.getIdentification()
    except (OSError, HTTPException, xmlrpc.client.Error):
        return None
    return str(answer)


def processes(supervisor: SupervisorRecord) -> tuple[ProcessInfo, ...]:
    """Every process that the manager keeps; raises `ServiceError` when it does not answer."""
    rows: Any = _call(supervisor, "getAllProcessInfo")
    infos = []
    for row in rows:
        up = row["pid"] != 0
        infos.append(
            ProcessInfo(
                name=row["name"],
                state=ProcessState(row["statename"].lower()),
                pid=row["pid"] if up else None,
                uptime_seconds=float(max(0, row["now"] - row["start"])) if up else None,
                reason=row["spawnerr"],
            )
        )
    return tuple(infos)


def start_missing(supervisor: SupervisorRecord) -> tuple[str, ...]:
    """Start every process that is not up; return their names."""
    down = {ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL}
    names = []
    for row in _call(supervisor, "getAllProcessInfo"):
        if ProcessState(row["statename"].lower()) in down:
            _call(supervisor, "startProcess", f"{row['group']}:{row['name']}", False)
            names.append(row["name"])
    return tuple(names)


def shut_down(supervisor: SupervisorRecord, patience: float) -> bool:
    """Ask the manager to stop all its processes and itself; whether it ended in time."""
    try:
        _call(supervisor, "shutdown")
    except ServiceError:
        return not same(supervisor.pid, supervisor.started)
    deadline = time.monotonic() + patience
    while same(supervisor.pid, supervisor.started):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class _Transport(xmlrpc.client.Transport):
    def __init__(self, authorization: str) -> None:
        super().__init__(headers=[("Authorization", f"Basic {authorization}")])

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = 5
        return connection


def _client(supervisor: SupervisorRecord) -> Any:
    # The password goes into a header and not into the URL, which error messages quote.
    token = base64.b64encode(f"{_USER}:{supervisor.password}".encode()).decode()
    return xmlrpc.client.ServerProxy(
        f"http://{LOOPBACK}:{supervisor.port}/RPC2", transport=_Transport(token)
    )


def _call(supervisor: SupervisorRecord, method: str, *arguments: object) -> Any:
    try:
        with _client(supervisor) as client:
            return getattr(client.supervisor, method)(*arguments)
    except xmlrpc.client.Fault as error:
        raise ServiceError(f"the process manager refused {method}: {error.faultString}") from None
    except (OSError, HTTPException, xmlrpc.client.Error):
        raise ServiceError(
            f"the process manager does not answer on port {supervisor.port}: run `mlops restart`"
        ) from None


def write_configuration(
    record: Record, folder: StateFolder, programs: Iterable[Program], umask: int
) -> None:
    write_private(folder.supervisor_configuration, configuration(record, folder, programs, umask))
