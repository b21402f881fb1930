"""How commands speak: results on stdout, everything else on stderr, mistakes in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    AUTH = 4
    NOT_FOUND = 5


def complain(message: str, code: Exit = Exit.FAILURE) -> typer.Exit:
    """One line on stderr; raise what this returns."""
    err.print(f"[red]mlops:[/red] {escape(message)}", soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's mistake, or a service that is away, ends a command with one line and a code."""
    import redis
    from sqlalchemy.exc import DBAPIError

    from shared.abtest.lifecycle import AbTestError
    from shared.jobs.errors import InvalidJobError, JobError, UnknownJobError
    from shared.local.errors import ServiceError
    from shared.registry.models import RegistryError
    from shared.settings import SettingsError
    from shared.tenancy.tenants import TenancyError

    try:
        yield
    except SettingsError as error:
        raise complain(str(error), Exit.USAGE) from None
    except InvalidJobError as error:
        raise complain(str(error), Exit.USAGE) from None
    except UnknownJobError as error:
        raise complain(str(error), Exit.NOT_FOUND) from None
    except TenancyError as error:
        raise complain(str(error), Exit.AUTH) from None
    except (ServiceError, JobError, RegistryError, AbTestError) as error:
        raise complain(str(error)) from None
    except DBAPIError as error:
        raise complain(database_complaint(error)) from None
    except redis.RedisError as error:
        raise complain(f"Redis: {first_line(error)}") from None


def database_complaint(error: Any) -> str:
    """What PostgreSQL said, in one line; a missing schema or role says what to do."""
    said = first_line(error.orig or error)
    if "mlops_app" in said or "mlops." in said or 'schema "mlops"' in said:
        return f"PostgreSQL: {said}; if the database is new, `mlops db upgrade` makes it ready"
    return f"PostgreSQL: {said}"


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def print_json(value: Any) -> None:
    """JSON for machines on stdout."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table for people on stdout. None is shown as a dash: unknown, not zero."""
    table = Table(*columns, title=title or None, title_justify="left", header_style="bold")
    for row in rows:
        table.add_row(*("-" if cell is None else escape(str(cell)) for cell in row))
    out.print(table)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
