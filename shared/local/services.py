"""Start, stop and look at the services of one state folder."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.local import ports, postgres, processes, redis, supervision
from shared.local.accounts import data_folder, unprivileged
from shared.local.discovery import stated
from shared.local.errors import ServiceError
from shared.local.heartbeats import heartbeat_file
from shared.local.logs import last_line
from shared.local.programs import STOP_SECONDS, Program
from shared.local.programs import programs as program_table
from shared.local.reachable import postgresql_version, redis_facts
from shared.local.state import (
    FlowerRecord,
    PostgresRecord,
    Record,
    RedisRecord,
    StateFolder,
    SupervisorRecord,
    WebRecord,
)
from shared.local.supervision import ProcessInfo, ProcessState
from shared.settings import settings

Migrate = Callable[[str, str], object]
"""Brings the schema up to date, given the owner's and the application's URL."""

_READY_PATIENCE = 60.0
"""PostgreSQL and Redis may have to recover from a crash before they answer."""

_BROKEN = {ProcessState.BACKOFF, ProcessState.FATAL, ProcessState.EXITED}
_BROKEN_PATIENCE = 3.0
"""A process that ends at once is started again; what succeeds then is no failure."""


@dataclass(frozen=True)
class Binaries:
    """Which servers to run; None finds them."""

    postgres: postgres.Installation | None = None
    redis: redis.Installation | None = None


@dataclass(frozen=True)
class Services:
    """The services that a start left running; the URLs hold passwords.

    `database_owner_url` is the application's where the environment names no other.
    `started` is False when they were running already. `notes` are lines for the user.
    """

    state_dir: Path
    database_url: str
    database_owner_url: str
    redis_url: str
    flower: FlowerRecord | None
    web: WebRecord | None
    started: bool
    notes: tuple[str, ...] = ()


def start(
    state_dir: Path,
    *,
    durable: bool = True,
    programs: Collection[str] | None = None,
    migrate: Migrate | None = None,
    binaries: Binaries | None = None,
) -> Services:
    """Start what the environment does not name, migrate, then start the programs.

    `programs` are names of the table in `programs.py`, all of them by default. When the services
    run already, what is down among them is started again and nothing else is done. Without
    `durable` a power failure may lose data: for demonstrations and tests. On any failure all that
    was started is stopped and `ServiceError` raised.
    """
    folder = StateFolder.at(state_dir)
    folder.create()
    with folder.lock(), ExitStack() as held:
        record = folder.load()
        if record and processes.running(record):
            again = supervision.start_missing(record.supervisor)
            lines = [f"started again: {', '.join(again)}"] if again else []
            return _described(folder, record, started=False, notes=tuple(lines))
        if record:
            # What a killed manager left behind holds the ports and the data folders.
            processes.end(processes.of_instance(record))
        _check_named_services()
        record, notes = _prepare(folder, record, durable, binaries or Binaries(), held)
        record = record.model_copy(
            update={"programs": None if programs is None else tuple(sorted(programs))}
        )
        table = _table(record, folder, programs)
        supervision.write_configuration(record, folder, table, _umask())
        folder.save(record)
        try:
            manager = supervision.launch(folder, record, _environment(folder, record))
            record = record.model_copy(update={"supervisor": manager})
            folder.save(record)
            _wait_for_servers(folder, record)
            if record.postgres and "postgres" in record.servers:
                postgres.ensure_roles(record.postgres)
            services = _described(folder, record, started=True, notes=notes)
            if migrate is not None:
                migrate(services.database_owner_url, services.database_url)
            since = time.time()
            held.close()
            supervision.start_missing(record.supervisor)
            _wait_for_programs(folder, record, _heartbeats(folder, table), since)
        except BaseException:
            _end(folder, record)
            raise
        return services


def stop(state_dir: Path) -> bool:
    """Stop everything that was started in this state folder; whether there was anything."""
    folder = StateFolder.at(state_dir)
    if not folder.services.exists():
        return False
    with folder.lock():
        record = folder.load()
        return _end(folder, record) if record else False


@contextmanager
def running_services(
    state_dir: Path,
    *,
    durable: bool = True,
    programs: Collection[str] | None = None,
    migrate: Migrate | None = None,
    binaries: Binaries | None = None,
) -> Iterator[Services]:
    """`start`, and `stop` at the end; services that were running before are left running."""
    services = start(
        state_dir, durable=durable, programs=programs, migrate=migrate, binaries=binaries
    )
    try:
        yield services
    finally:
        if services.started:
            stop(state_dir)


def programs_of(state_dir: Path) -> tuple[str, ...] | None:
    """The programs that were asked for when the services were started last; None if all."""
    record = StateFolder.at(state_dir).load()
    return None if record is None else record.programs


def running_record(state_dir: Path) -> Record | None:
    """What runs in this state folder, None when nothing does."""
    record = StateFolder.at(state_dir).load()
    return record if record and processes.running(record) else None


def statuses(state_dir: Path) -> tuple[ProcessInfo, ...]:
    """Every process of this state folder in the order of starting; empty when nothing runs."""
    record = running_record(state_dir)
    if record is None:
        return ()
    order = ["postgres", "redis", *program_table()]
    infos = supervision.processes(record.supervisor)
    return tuple(sorted(infos, key=lambda info: order.index(info.name)))


def _check_named_services() -> None:
    here = settings()
    application, owner = stated(here.database_url), stated(here.database_owner_url)
    if application:
        postgresql_version(application)
        if owner:
            postgresql_version(owner, "DATABASE_OWNER_URL")
    elif owner:
        raise ServiceError(
            "DATABASE_OWNER_URL is set and DATABASE_URL is not: set both, or neither"
        )
    if url := stated(here.redis_url):
        redis_facts(url)


def _prepare(
    folder: StateFolder,
    known: Record | None,
    durable: bool,
    binaries: Binaries,
    held: ExitStack,
) -> tuple[Record, tuple[str, ...]]:
    """What is to run, and what is to be told. The ports of what is started last are `held`."""
    here = settings()
    instance = known.instance if known else secrets.token_hex(8)
    taken: set[int] = set()

    def port(preferred: int | None) -> int:
        chosen = ports.choose(preferred, taken)
        taken.add(chosen)
        return chosen

    def port_of_page(setting: str, kept: int | None) -> int:
        """The one that the environment names, else that of the last start, else the usual one."""
        named: int = getattr(here, setting)
        preferred = named if setting in here.model_fields_set else kept or named
        holding = held.enter_context(ports.hold(preferred, taken))
        chosen: int = holding.getsockname()[1]
        taken.add(chosen)
        if preferred and chosen != preferred:
            pages = {"flower_port": "Flower listens on", "web_port": "functions are at port"}
            notes.append(f"port {preferred} is taken: {pages[setting]} {chosen}")
        return chosen

    notes: list[str] = []
    servers = []
    database = known.postgres if known else None
    broker = known.redis if known else None
    flower = known.flower if known else None
    if not stated(here.database_url):
        servers.append("postgres")
        database = _prepare_postgres(folder, instance, database, port, durable, binaries.postgres)
        if database.data.parent != folder.path:
            notes.append(
                f"PostgreSQL keeps its data in {database.data}: it runs as {database.run_as}, "
                f"who may not enter {folder.path}"
            )
    if not stated(here.redis_url):
        servers.append("redis")
        broker = _prepare_redis(folder, broker, port, durable, binaries.redis)
    flower_port = port_of_page("flower_port", flower.port if flower else None)
    web_port = port_of_page("web_port", known.web.port if known and known.web else None)
    password = stated(here.flower_password)
    record = Record(
        instance=instance,
        supervisor=SupervisorRecord(
            port=port(known.supervisor.port if known else None), password=secrets.token_hex(24)
        ),
        postgres=database,
        redis=broker,
        flower=FlowerRecord(
            port=flower_port,
            user=here.flower_user,
            password=password or (flower.password if flower else secrets.token_urlsafe(18)),
        ),
        web=WebRecord(host=here.web_host, port=web_port),
        servers=tuple(servers),
    )
    return record, tuple(notes)


def _prepare_postgres(
    folder: StateFolder,
    instance: str,
    known: PostgresRecord | None,
    port: Callable[[int | None], int],
    durable: bool,
    wanted: postgres.Installation | None,
) -> PostgresRecord:
    account = unprivileged()
    if known and known.run_as != (account.name if account else None):
        raise ServiceError(
            f"{known.data} belongs to {known.run_as or 'the user who made it'}, as "
            f"{'root' if known.run_as else 'an ordinary user'} started it first: "
            "start it the same way, or set MLOPS_STATE_DIR to another folder"
        )
    if known and (known.data / "PG_VERSION").exists():
        found = wanted or postgres.find(major=known.major)
        record = known.model_copy(
            update={"port": port(known.port), "bin": postgres.runnable_bin(found, account)}
        )
    else:
        data = data_folder(folder.path, instance, "postgres", account)
        if (data / "PG_VERSION").exists():
            raise ServiceError(
                f"{data} is there and {folder.services} with its passwords is not: "
                "restore that file, or remove the data"
            )
        record = postgres.new_record(wanted or postgres.find(), data, port(None), account)
    postgres.prepare(record, account, durable=durable)
    return record


def _prepare_redis(
    folder: StateFolder,
    known: RedisRecord | None,
    port: Callable[[int | None], int],
    durable: bool,
    wanted: redis.Installation | None,
) -> RedisRecord:
    found = wanted or redis.find()
    record = redis.new_record(found, folder.path, port(known.port if known else None))
    if known:
        record = record.model_copy(update={"password": known.password})
    redis.prepare(record, folder.redis_configuration, durable=durable)
    return record


def _table(
    record: Record, folder: StateFolder, names: Collection[str] | None
) -> tuple[Program, ...]:
    assert record.flower is not None
    assert record.web is not None
    table = program_table(
        episodes_per_worker=settings().episodes_per_worker,
        beat_schedule=str(folder.beat_schedule),
        flower_port=record.flower.port,
        web_host=record.web.host,
        web_port=record.web.port,
    )
    unknown = sorted(set(names or ()) - set(table))
    if unknown:
        raise ServiceError(f"no program {unknown[0]!r}: there are {', '.join(table)}")
    return tuple(p for p in table.values() if names is None or p.name in names)


def _environment(folder: StateFolder, record: Record) -> dict[str, str]:
    """What the programs get: the application's URLs and not the owner's."""
    environment = dict(os.environ)
    environment.pop("DATABASE_OWNER_URL", None)
    if record.postgres and "postgres" in record.servers:
        environment["DATABASE_URL"] = record.postgres.database_url
    if record.redis and "redis" in record.servers:
        environment["REDIS_URL"] = record.redis.redis_url
    if record.flower:
        environment["FLOWER_BASIC_AUTH"] = f"{record.flower.user}:{record.flower.password}"
    environment["MLOPS_STATE_DIR"] = str(folder.path)
    return environment


def _umask() -> int:
    # There is no call that only reads it.
    present = os.umask(0o077)
    os.umask(present)
    return present


def _described(
    folder: StateFolder, record: Record, *, started: bool, notes: tuple[str, ...]
) -> Services:
    ours = record.postgres if "postgres" in record.servers else None
    broker = record.redis if "redis" in record.servers else None
    here = settings()
    database_url = ours.database_url if ours else stated(here.database_url)
    redis_url = broker.redis_url if broker else stated(here.redis_url)
    if database_url is None or redis_url is None:
        missing = "DATABASE_URL" if database_url is None else "REDIS_URL"
        raise ServiceError(
            f"the services in {folder.path} were started with {missing} in the environment and it "
            "is not there now: set it, or run `mlops restart`"
        )
    owner_url = ours.database_owner_url if ours else stated(here.database_owner_url) or database_url
    return Services(
        state_dir=folder.path,
        database_url=database_url,
        database_owner_url=owner_url,
        redis_url=redis_url,
        flower=record.flower,
        web=record.web,
        started=started,
        notes=notes,
    )


def _wait_for_servers(folder: StateFolder, record: Record) -> None:
    waiting: dict[str, Callable[[], bool]] = {}
    if record.redis and "redis" in record.servers:
        broker = record.redis
        waiting["redis"] = lambda: redis.answers(broker)
    if record.postgres and "postgres" in record.servers:
        database = record.postgres
        waiting["postgres"] = lambda: postgres.answers(database)
    for infos in _watched(folder, record):
        up = {info.name for info in infos if info.pid is not None}
        for name in list(waiting):
            # Only then: until our server is up, whatever answers on the port is not ours.
            if name in up and waiting[name]():
                del waiting[name]
        if not waiting:
            return


def _heartbeats(folder: StateFolder, table: Sequence[Program]) -> list[Path]:
    host = socket.gethostname()
    return [heartbeat_file(folder.path, f"{p.queue}@{host}") for p in table if p.queue]


def _wait_for_programs(
    folder: StateFolder, record: Record, heartbeats: Sequence[Path], since: float
) -> None:
    """Until every process is up and every worker has beaten, which is when it takes work."""
    patient_until = time.monotonic() + _READY_PATIENCE
    for infos in _watched(folder, record):
        if all(info.state is ProcessState.RUNNING for info in infos) and (
            all(_beaten(file, since) for file in heartbeats)
            # A slow machine is no failure: the processes are there, and `status` shows them.
            or time.monotonic() > patient_until
        ):
            return


def _beaten(heartbeat: Path, since: float) -> bool:
    try:
        return heartbeat.stat().st_mtime >= since
    except FileNotFoundError:
        return False


def _watched(folder: StateFolder, record: Record) -> Iterator[tuple[ProcessInfo, ...]]:
    """The processes, looked at again and again; `ServiceError` when one does not come up."""
    deadline = time.monotonic() + _READY_PATIENCE
    failing: dict[str, float] = {}
    while True:
        infos = supervision.processes(record.supervisor)
        yield infos
        now = time.monotonic()
        for info in infos:
            if info.state is ProcessState.RUNNING:
                failing.pop(info.name, None)
            elif info.state in _BROKEN:
                failing.setdefault(info.name, now)
        late = [i.name for i in infos if i.state is not ProcessState.RUNNING]
        broken = [name for name, since in failing.items() if now - since > _BROKEN_PATIENCE]
        for name in broken or (late if now > deadline else []):
            log = folder.log(name)
            raise ServiceError(f"{name} does not stay up: {last_line(log)} (see {log})")
        time.sleep(0.05)


def _end(folder: StateFolder, record: Record) -> bool:
    """End the manager and whatever of its processes outlives it; whether there was anything."""
    was_running = processes.running(record)
    if was_running:
        # Two groups, one after the other, each with its own patience.
        supervision.shut_down(record.supervisor, patience=2 * STOP_SECONDS + 5)
    left = processes.of_instance(record)
    processes.end(left)
    stopped = record.supervisor.model_copy(update={"pid": None, "started": None})
    folder.save(record.model_copy(update={"supervisor": stopped, "servers": ()}))
    return was_running or bool(left)
