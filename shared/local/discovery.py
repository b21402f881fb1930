"""Where PostgreSQL and Redis are: the environment first, then the services we run ourselves."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import SecretStr

from shared.local.errors import ServicesNotRunning
from shared.local.state import PostgresRecord, Record, StateFolder
from shared.settings import settings


class ConnectionSettings(NamedTuple):
    """The three URLs; each holds a password, so none may be shown."""

    database_url: str
    database_owner_url: str
    redis_url: str


def database_url() -> str:
    """The application's URL of PostgreSQL; raises `ServicesNotRunning`."""
    return stated(settings().database_url) or _postgres("DATABASE_URL").database_url


def database_owner_url() -> str:
    """The URL of the role that migrates; raises `ServicesNotRunning`.

    `DATABASE_URL` does it where no `DATABASE_OWNER_URL` is given.
    """
    owner = stated(settings().database_owner_url)
    if owner:
        return owner
    application = stated(settings().database_url)
    postgres = _our_postgres()
    # Our own workers get DATABASE_URL in their environment: it is the embedded server's.
    if application and not (postgres and postgres.database_url == application):
        return application
    return _postgres("DATABASE_OWNER_URL").database_owner_url


def redis_url() -> str:
    """The URL of Redis; raises `ServicesNotRunning`."""
    url = stated(settings().redis_url)
    if url:
        return url
    record = _running()
    if record is None or record.redis is None or "redis" not in record.servers:
        raise _nothing("REDIS_URL")
    return record.redis.redis_url


def connection_settings() -> ConnectionSettings:
    """All three URLs; raises `ServicesNotRunning` when one is nowhere."""
    return ConnectionSettings(database_url(), database_owner_url(), redis_url())


def stated(value: SecretStr | None) -> str | None:
    """A URL from the settings, None when it is absent or blank."""
    return (value.get_secret_value().strip() or None) if value else None


def _running() -> Record | None:
    record = StateFolder.at(settings().state_dir).load()
    return record if record and record.alive else None


def _our_postgres() -> PostgresRecord | None:
    record = _running()
    return record.postgres if record and "postgres" in record.servers else None


def _postgres(variable: str) -> PostgresRecord:
    postgres = _our_postgres()
    if postgres is None:
        raise _nothing(variable)
    return postgres


def _nothing(variable: str) -> ServicesNotRunning:
    return ServicesNotRunning(
        f"no {variable} in the environment and no services are running in "
        f"{settings().state_dir}: run `mlops up`"
    )
