"""The state folder: which servers are ours, on which ports, with which passwords.

Imports nothing but pydantic and the standard library, because every process that connects to
the embedded services reads it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.local.errors import ServiceError

DATABASE = "mlops"
OWNER_ROLE = "mlops_owner"
LOGIN_ROLE = "mlops_app_login"
SUPERUSER = "postgres"

INSTANCE_VARIABLE = "MLOPS_INSTANCE"
"In the environment of every process we start: it tells our processes from all others."

LOOPBACK = "127.0.0.1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PostgresRecord(_Part):
    """Our PostgreSQL server."""

    bin: Path
    major: int
    data: Path
    port: int
    run_as: str | None
    superuser_password: str
    owner_password: str
    login_password: str

    def url(self, role: str, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{quote(password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    @property
    def database_url(self) -> str:
        return self.url(LOGIN_ROLE, self.login_password)

    @property
    def database_owner_url(self) -> str:
        return self.url(OWNER_ROLE, self.owner_password)

    @property
    def superuser_url(self) -> str:
        return self.url(SUPERUSER, self.superuser_password, "postgres")


class RedisRecord(_Part):
    """Our Redis server."""

    server: Path
    data: Path
    port: int
    password: str

    @property
    def redis_url(self) -> str:
        return f"redis://:{quote(self.password, safe='')}@{LOOPBACK}:{self.port}/0"


class FlowerRecord(_Part):
    """Our Flower."""

    port: int
    user: str
    password: str

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


class WebRecord(_Part):
    """Our HTTP server for functions."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """Where this machine reaches it, also where it listens on all addresses."""
        host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class SupervisorRecord(_Part):
    """Our process manager; pid and start time (seconds since the epoch) are None when stopped."""

    port: int
    password: str
    pid: int | None = None
    started: float | None = None


class Record(_Part):
    """Everything `services.json` says."""

    instance: str
    supervisor: SupervisorRecord
    postgres: PostgresRecord | None = None
    redis: RedisRecord | None = None
    flower: FlowerRecord | None = None
    web: WebRecord | None = None
    servers: tuple[str, ...] = ()
    """Which of "postgres" and "redis" this start runs; the environment names the others."""
    programs: tuple[str, ...] | None = None
    """Which of the programs were asked for; None if all."""

    def runs(self, program: str) -> bool:
        """Whether the program was asked for."""
        return self.programs is None or program in self.programs

    @property
    def alive(self) -> bool:
        """Whether the process manager's pid is taken; `processes.same` tells whether by it."""
        if self.supervisor.pid is None:
            return False
        try:
            os.kill(self.supervisor.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # taken, by another user's process
        return True


@dataclass(frozen=True)
class StateFolder:
    """The paths below one state folder; make it with `StateFolder.at`."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> StateFolder:
        return cls(path.expanduser().absolute())

    @property
    def services(self) -> Path:
        return self.path / "services.json"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def supervisor_configuration(self) -> Path:
        return self.path / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        return self.path / "supervisord.pid"

    @property
    def redis_configuration(self) -> Path:
        return self.path / "redis.conf"

    @property
    def beat_schedule(self) -> Path:
        return self.path / "beat.db"

    def log(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def create(self) -> None:
        """Make the folder; others may pass through it (PostgreSQL's user must) but not list it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            self.logs.mkdir(exist_ok=True)
            self.logs.chmod(0o700)
        except OSError as error:
            raise ServiceError(
                f"cannot make the state folder {self.path}: {error.strerror}; "
                "set MLOPS_STATE_DIR to a folder that you may write"
            ) from None

    def load(self) -> Record | None:
        """What was recorded, None when nothing ever ran here."""
        try:
            text = self.services.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ServiceError(f"cannot read {self.services}: {error.strerror}") from None
        try:
            return Record.model_validate_json(text)
        except ValidationError:
            raise ServiceError(
                f"{self.services} is damaged; restore it, or remove {self.path} and its data"
            ) from None

    def save(self, record: Record) -> None:
        write_private(self.services, record.model_dump_json(indent=2) + "\n")

    @contextmanager
    def lock(self, patience: float = 60.0) -> Iterator[None]:
        """Only one start or stop at a time; waits `patience` seconds, then `ServiceError`."""
        path = self.path / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                        raise ServiceError(
                            f"process {holder or 'unknown'} is starting or stopping the services "
                            f"in {self.path}: wait for it to end"
                        ) from None
                    time.sleep(0.05)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
