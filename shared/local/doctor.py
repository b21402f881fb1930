"""Looks at everything the product stands on and says in one line each what is wrong."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import psycopg

from shared.jobs.contracts import Queue
from shared.local import ports, postgres, redis, services, supervision
from shared.local.chromium import ChromiumError, find_chromium, launch_arguments
from shared.local.discovery import database_owner_url, database_url, redis_url, stated
from shared.local.errors import ServiceError
from shared.local.reachable import postgresql_version, redis_facts
from shared.local.state import LOOPBACK, Record
from shared.local.supervision import ProcessState
from shared.settings import settings

_MINIMUM_PYTHON = (3, 11)
_MINIMUM_FREE_BYTES = 1_000_000_000
_PING_SECONDS = 1.0


class Verdict(StrEnum):
    """What a look found; `not_checked` is neither good nor bad."""

    OK = "ok"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Check:
    """One finding: what was looked at, and what it is, or what is wrong and how to mend it."""

    name: str
    verdict: Verdict
    detail: str


def examine(state_dir: Path, newest_revision: str) -> Iterator[Check]:
    """Every check in turn, each as soon as it is done.

    `newest_revision` is the schema that this code wants.
    """
    try:
        record = services.running_record(state_dir)
    except ServiceError as error:
        record = None
        yield Check("state folder", Verdict.WRONG, str(error))
    looks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("process manager", _process_manager),
        ("PostgreSQL server", partial(_postgresql_server, record)),
        ("database", _database),
        ("schema", partial(_schema, newest_revision)),
        ("Redis server", partial(_redis_server, record)),
        ("Redis", partial(_redis, record)),
        ("Chromium", _chromium),
        ("MiniWoB++", _miniwob),
    ]
    for name, look in looks:
        yield _checked(name, look)
    yield from _workers()
    yield _checked("beat", partial(_beat, record))
    yield _checked("Flower", partial(_flower, record))
    yield _checked("HTTP", partial(_web, record))
    yield _checked("disk", partial(_disk, state_dir))
    yield _checked("ports", partial(_ports, record))


class _NotChecked(Exception):  # noqa: N818 (an answer, not an error)
    pass


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, Verdict.OK, look())
    except _NotChecked as reason:
        return Check(name, Verdict.NOT_CHECKED, str(reason))
    except (ServiceError, ChromiumError) as error:
        return Check(name, Verdict.WRONG, str(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _MINIMUM_PYTHON:
        raise ServiceError(f"{version} is too old: install Python 3.11 or newer")
    return version


def _process_manager() -> str:
    if importlib.util.find_spec("supervisor") is None:
        raise ServiceError("supervisor is not installed: `pip install 'browser-mlops[local]'`")
    return "supervisor is installed"


def _postgresql_server(record: Record | None) -> str:
    if stated(settings().database_url):
        return "not needed: DATABASE_URL names one"
    if record and record.postgres:
        return f"{record.postgres.bin / 'postgres'} (version {record.postgres.major})"
    found = postgres.find()
    return f"{found.bin / 'postgres'} ({found.version}, {found.source})"


def _database() -> str:
    version = postgresql_version(database_url())
    return f"PostgreSQL {version} answers"


def _schema(newest: str) -> str:
    url = database_url()
    owner = database_owner_url()
    if owner != url:
        postgresql_version(owner, "DATABASE_OWNER_URL")
    postgresql_version(url)
    scheme, separator, rest = url.partition("://")
    plain = scheme.removesuffix("+psycopg") + separator + rest
    try:
        with psycopg.connect(plain, connect_timeout=5) as connection:
            # As every statement of the application runs.
            connection.execute("SET LOCAL ROLE mlops_app")
            row = connection.execute("SELECT version_num FROM mlops.alembic_version").fetchone()
    except psycopg.errors.InvalidParameterValue:
        row = None  # no such role
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        row = None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ServiceError(f"{error.diag.message_primary}: run `mlops db upgrade`") from None
    if row is None:
        raise ServiceError("the database was never migrated: run `mlops db upgrade`")
    if row[0] != newest:
        raise ServiceError(
            f"the schema is at {row[0]} and this version wants {newest}: run `mlops db upgrade`"
        )
    return f"at {newest}, the newest"


def _redis_server(record: Record | None) -> str:
    if stated(settings().redis_url):
        return "not needed: REDIS_URL names one"
    if record and record.redis:
        return str(record.redis.server)
    found = redis.find()
    return f"{found.server} ({found.version}, {found.source})"


def _redis(record: Record | None) -> str:
    facts = redis_facts(redis_url())
    if facts.eviction_policy not in (None, "noeviction"):
        raise ServiceError(
            f"maxmemory-policy is {facts.eviction_policy!r}, a full Redis would forget messages: "
            "set it to noeviction"
        )
    ours = record is not None and "redis" in record.servers
    if ours and not facts.append_only:
        raise ServiceError("our Redis does not keep its file: run `mlops restart`")
    kept = {True: ", append-only file on", False: ", append-only file off", None: ""}
    policy = f", {facts.eviction_policy}" if facts.eviction_policy else ""
    return f"{facts.version} answers{policy}{kept[facts.append_only]}"


def _chromium() -> str:
    chromium = find_chromium()
    command = [str(chromium.path), "--headless", *launch_arguments(), "--dump-dom", "about:blank"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"{chromium.path} does not start: {type(error).__name__}") from None
    if "<html" not in answer.stdout:
        lines = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise ServiceError(f"{chromium.path} starts and shows no page: {lines[-1]}")
    return f"{chromium.path} opens a page"


def _miniwob() -> str:
    if importlib.util.find_spec("miniwob") is None:
        raise ServiceError("miniwob is not installed: `pip install 'browser-mlops[evaluation]'`")
    return "the package is installed"


def _workers() -> Iterator[Check]:
    try:
        queues = _answering_queues()
    except ServiceError as error:
        for queue in Queue:
            detail = f"Redis has to answer first: {error}"
            yield Check(f"worker of {queue.value}", Verdict.NOT_CHECKED, detail)
        return
    for queue in Queue:
        nodes = queues.get(queue.value, [])
        if nodes:
            yield Check(f"worker of {queue.value}", Verdict.OK, ", ".join(sorted(nodes)))
        else:
            detail = (
                "no worker answers: run `mlops up`, or "
                f"`celery -A workers worker -Q {queue.value}`; see `mlops logs {queue.value}`"
            )
            yield Check(f"worker of {queue.value}", Verdict.WRONG, detail)


def _answering_queues() -> dict[str, list[str]]:
    """The workers that answer within a second, by queue."""
    redis_facts(redis_url())
    # Celery takes half a second to import, and only this needs it.
    from shared.broker import celery_app

    answers = celery_app().control.inspect(timeout=_PING_SECONDS).active_queues() or {}
    queues: dict[str, list[str]] = {}
    for node, its_queues in answers.items():
        for queue in its_queues:
            queues.setdefault(queue["name"], []).append(node)
    return queues


def _beat(record: Record | None) -> str:
    return _kept_process(record, "beat")


def _kept_process(record: Record | None, name: str) -> str:
    if record is None:
        if stated(settings().database_url):
            raise _NotChecked("not started here")
        raise ServiceError("not running: run `mlops up`")
    for info in supervision.processes(record.supervisor):
        if info.name == name:
            if info.state is not ProcessState.RUNNING:
                raise ServiceError(f"{info.state}: see `mlops logs {name}`")
            return f"running, pid {info.pid}"
    raise ServiceError("was not started: run `mlops restart`")


def _flower(record: Record | None) -> str:
    told = _kept_process(record, "flower")
    assert record is not None
    assert record.flower is not None
    try:
        with urllib.request.urlopen(  # noqa: S310 (our own http address)
            f"{record.flower.address}/healthcheck", timeout=3
        ):
            pass
    except (urllib.error.URLError, OSError):
        raise ServiceError(
            f"{told} and does not answer at {record.flower.address}: see `mlops logs flower`"
        ) from None
    return f"answers at {record.flower.address}"


def _web(record: Record | None) -> str:
    told = _kept_process(record, "web")
    assert record is not None
    assert record.web is not None
    try:
        with urllib.request.urlopen(  # noqa: S310 (our own http address)
            f"{record.web.address}/readyz", timeout=5
        ):
            pass
    except urllib.error.HTTPError:
        raise ServiceError(f"{told} and cannot reach PostgreSQL or Redis") from None
    except (urllib.error.URLError, OSError):
        raise ServiceError(
            f"{told} and does not answer at {record.web.address}: see `mlops logs web`"
        ) from None
    return f"functions are at {record.web.address}/functions/v1/NAME"


def _disk(state_dir: Path) -> str:
    folder = state_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _MINIMUM_FREE_BYTES:
        raise ServiceError(
            f"{free / 1e9:.1f} GB free at {folder}: make room, at least "
            f"{_MINIMUM_FREE_BYTES / 1e9:.0f} GB is needed"
        )
    return f"{free / 1e9:.0f} GB free at {folder}"


def _ports(record: Record | None) -> str:
    if record is None:
        here = settings()
        wanted = {"Flower": here.flower_port, "HTTP": here.web_port}
        for name, port in wanted.items():
            if port and not ports.is_free(port):
                variable = "MLOPS_FLOWER_PORT" if name == "Flower" else "MLOPS_WEB_PORT"
                raise ServiceError(
                    f"port {port} is taken, {name} will listen on another: set {variable} to"
                    " choose it"
                )
        free = ", ".join(f"{port or 'any port'} for {name}" for name, port in wanted.items())
        return f"{free} free, the others are chosen at the start"
    used = {
        "Flower": record.flower.port if record.flower else None,
        "HTTP": record.web.port if record.web else None,
    }
    if record.postgres and "postgres" in record.servers:
        used["PostgreSQL"] = record.postgres.port
    if record.redis and "redis" in record.servers:
        used["Redis"] = record.redis.port
    return ", ".join(f"{name} {LOOPBACK}:{port}" for name, port in used.items() if port)
