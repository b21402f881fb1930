"""Whether a PostgreSQL or Redis URL leads to a server that will do, and what it is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import redis

from shared.local.errors import ServiceError

MINIMUM_POSTGRESQL_MAJOR = 15
MINIMUM_REDIS_MAJOR = 6
_SECONDS = 5


@dataclass(frozen=True)
class RedisFacts:
    """What a Redis server says of itself; None where it does not tell."""

    version: str
    eviction_policy: str | None
    append_only: bool | None

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def postgresql_version(url: str, variable: str = "DATABASE_URL") -> str:
    """The version of the server; raises `ServiceError` that names `variable` and never the URL."""
    place = _place(url, variable, 5432)
    scheme, separator, rest = url.partition("://")
    try:
        with psycopg.connect(
            scheme.removesuffix("+psycopg") + separator + rest, connect_timeout=_SECONDS
        ) as connection:
            version = str(connection.info.parameter_status("server_version")).split(" ")[0]
    except psycopg.ProgrammingError:
        # The parser quotes the URL, and the URL holds a password.
        raise ServiceError(
            f"{variable} is not a PostgreSQL URL: "
            "expected postgresql://user:password@host:port/database"
        ) from None
    except psycopg.Error as error:
        raise ServiceError(f"{variable}: {_refusal(url, place, str(error))}") from None
    if int(version.split(".")[0]) < MINIMUM_POSTGRESQL_MAJOR:
        raise ServiceError(
            f"{variable}: PostgreSQL at {place} is version {version}, "
            f"{MINIMUM_POSTGRESQL_MAJOR} or newer is needed"
        )
    return version


def _refusal(url: str, place: str, message: str) -> str:
    parts = urlsplit(url)
    database = parts.path.lstrip("/") or parts.username
    if "authentication failed" in message or "no password supplied" in message:
        return f"PostgreSQL at {place} refuses user {parts.username!r}: wrong password or user"
    if "database" in message and "does not exist" in message:
        return f"PostgreSQL at {place} has no database {database!r}: create it, or correct the URL"
    if "refused" in message:
        return f"nothing listens at {place}: start PostgreSQL there, or correct the URL"
    if "resolve" in message or "Name or service" in message:
        return f"there is no host {parts.hostname!r}: correct the URL"
    if "timeout" in message:
        return f"PostgreSQL at {place} did not answer within {_SECONDS} s"
    reason = message.strip().splitlines()[-1]
    if parts.password:
        reason = reason.replace(parts.password, "***")
    return f"PostgreSQL at {place}: {reason}"


def redis_facts(url: str, variable: str = "REDIS_URL") -> RedisFacts:
    """What the server is; raises `ServiceError` that names `variable` and never the URL."""
    place = _place(url, variable, 6379)
    try:
        client = redis.Redis.from_url(
            url, decode_responses=True, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS
        )
    except ValueError:
        raise ServiceError(
            f"{variable} is not a Redis URL: expected redis://:password@host:port/0"
        ) from None
    with client:
        try:
            info = client.info("server")
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
            raise ServiceError(f"{variable}: Redis at {place} refuses the password") from None
        except redis.TimeoutError:
            raise ServiceError(
                f"{variable}: Redis at {place} did not answer within {_SECONDS} s"
            ) from None
        except redis.ConnectionError:
            raise ServiceError(
                f"{variable}: nothing that speaks Redis listens at {place}: "
                "start Redis there, or correct the URL"
            ) from None
        except redis.ResponseError as error:
            wrong = "NOAUTH" in str(error) or "WRONGPASS" in str(error) or "AUTH" in str(error)
            reason = "refuses the password" if wrong else f"answers: {error}"
            raise ServiceError(f"{variable}: Redis at {place} {reason}") from None
        facts = RedisFacts(
            version=str(info["redis_version"]),
            eviction_policy=_configured(client, "maxmemory-policy"),
            append_only={"yes": True, "no": False}.get(_configured(client, "appendonly") or ""),
        )
    if facts.major < MINIMUM_REDIS_MAJOR:
        raise ServiceError(
            f"{variable}: Redis at {place} is version {facts.version}, "
            f"{MINIMUM_REDIS_MAJOR} or newer is needed"
        )
    return facts


def _configured(client: redis.Redis, name: str) -> str | None:
    try:
        values = client.config_get(name)
    except redis.ResponseError:
        return None  # hosted servers forbid CONFIG
    return str(values[name]) if name in values else None


def _place(url: str, variable: str, default_port: int) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'localhost'}:{parts.port or default_port}"
    except ValueError:
        raise ServiceError(
            f"{variable} has a malformed host or port: expected ...@host:port/..."
        ) from None
