"""PostgreSQL: the engine, the declarative base, and the sessions that row-level security needs."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NewType
from uuid import UUID

import sqlalchemy as sa
from psycopg.pq import Format
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.orm import DeclarativeBase, Session

from shared.local import discovery
from shared.settings import settings

TenantId = NewType("TenantId", UUID)

APPLICATION_ROLE = "mlops_app"
"The role every statement of the application runs as: neither owner nor superuser."


class WholeNumber(sa.TypeDecorator[int]):
    """An integer of any size.

    Of the type of a sum of nano-dollars: a bigint ends at nine billion dollars.
    """

    impl = sa.Numeric(38, 0)
    cache_ok = True

    def process_result_value(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int(value)


class Base(DeclarativeBase):
    """All tables live in the schema `mlops`."""

    metadata = sa.MetaData(
        schema="mlops",
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        },
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads this attribute off the class)
        datetime: sa.TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        str: sa.Text,
        int: sa.BigInteger,
        bytes: sa.LargeBinary,
    }


_engines: dict[tuple[int, str], Engine] = {}
_engines_lock = threading.Lock()


def psycopg_url(url: str) -> URL:
    """`postgres://` and `postgresql://` as SQLAlchemy wants them for psycopg 3."""
    return make_url(url).set(drivername="postgresql+psycopg")


def engine() -> Engine:
    """The engine of this process, created on first use.

    Keyed by process: a connection that crosses a fork is shared by two processes and breaks both.
    """
    url = discovery.database_url()
    key = (os.getpid(), url)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = sa.create_engine(
                psycopg_url(url),
                pool_size=settings().database_pool_size,
                # Every episode of a worker may want one at once, and the lease keeper too.
                max_overflow=settings().database_pool_size + settings().episodes_per_worker,
                # "autocommit" leaves BEGIN to `_session`, which sends more with it.
                # A statement's values are people's data: no error message may repeat them.
                hide_parameters=True,
                connect_args={
                    "connect_timeout": 5,
                    # A host that vanished without a word is noticed within a minute.
                    "keepalives_idle": 20,
                    "keepalives_interval": 10,
                    "keepalives_count": 3,
                    "tcp_user_timeout": 30_000,
                    "application_name": "mlops",
                    "autocommit": True,
                },
            )
            sa.event.listen(_engines[key], "checkout", _refuse_if_closed)
            sa.event.listen(_engines[key], "before_cursor_execute", _ask_for_binary)
        return _engines[key]


def _refuse_if_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Have the pool connect anew where the server has gone away, without a round trip to ask it.

    A server that ends says so on the socket, and says nothing else to a connection at rest.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        raise sa.exc.DisconnectionError("the server has closed the connection")


IN_BINARY: Final = {"in_binary": True}
"Execution options of a statement that answers with many bytes: as text each of them is two."


def _ask_for_binary(
    _connection: object,
    cursor: Any,
    _statement: str,
    _parameters: object,
    context: sa.engine.ExecutionContext | None,
    _many: bool,
) -> None:
    if context is not None and context.execution_options.get("in_binary"):
        cursor.format = Format.BINARY


@contextmanager
def tenant_session(tenant_id: TenantId) -> Iterator[Session]:
    """One transaction that sees the rows of one tenant; commits at the end, or rolls back."""
    with _session(str(UUID(str(tenant_id)))) as session:
        yield session


@contextmanager
def system_session() -> Iterator[Session]:
    """One transaction of no tenant: it sees no rows, only what functions return: identifiers."""
    with _session("") as session:
        yield session


@contextmanager
def _session(tenant: str) -> Iterator[Session]:
    with Session(engine(), expire_on_commit=False) as session, session.begin():
        # One round trip. The role is set for the transaction and not for the connection, so that
        # it also holds behind a pooler that hands out connections by transaction.
        session.connection().exec_driver_sql(
            f"BEGIN; SELECT set_config('role', '{APPLICATION_ROLE}', true),"
            f" set_config('app.tenant', '{tenant}', true), set_config('TimeZone', 'UTC', true)"
        )
        yield session


def among(
    columns: Sequence[sa.ColumnElement[Any]], rows: Collection[Sequence[Any]]
) -> sa.ColumnElement[bool]:
    """Whether `columns` hold one of `rows`, which PostgreSQL looks up in a hash.

    `IN` with a list of rows compares each row of the table with all of them, and takes 65,535
    values at most.
    """
    lists = zip(*rows, strict=True) if rows else ((),) * len(columns)
    listed = (
        sa.func.unnest(
            *(
                sa.literal(list(values), postgresql.ARRAY(column.type))
                for column, values in zip(columns, lists, strict=True)
            )
        )
        .table_valued(*(sa.column(f"of_{n}", one.type) for n, one in enumerate(columns)))
        .render_derived()
    )
    return sa.tuple_(*columns).in_(sa.select(*listed.c))


def tenant_of(session: Session) -> TenantId:
    """The tenant whose rows this session sees; raises `LookupError` in a system session."""
    value = session.scalar(sa.text("SELECT nullif(current_setting('app.tenant', true), '')"))
    if value is None:
        raise LookupError("this session has no tenant")
    return TenantId(UUID(value))
