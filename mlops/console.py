"""How commands speak: results on stdout, everything else on stderr, mistakes in one line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from shared.visible import visible

out = Console(highlight=False, emoji=False)
if not out.is_terminal:
    # Nobody's window: a log or a pipe need not have its tables squeezed into 80 columns.
    out.width = max(out.width, 120)
err = Console(stderr=True, highlight=False, emoji=False)

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

_LONGEST_MESSAGE = 2_000


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    AUTH = 4
    NOT_FOUND = 5
    INTERRUPTED = 130


class Commands(TyperGroup):
    """The root of the command line: mistakes of usage are told in one line as well."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        _tell_warnings()
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except typer.TyperException as error:
            message = error.format_message()
            # The help, for want of a command. Typer knows that error by its name as well.
            if type(error).__name__ == "NoArgsIsHelpError":
                sys.stderr.write(message)
            else:
                complain(" ".join(message.split()))
            code = error.exit_code
        except typer.Abort:
            code = Exit.FAILURE
        sys.exit(int(code or 0))


def plain(text: object) -> str:
    """One line without what a terminal would obey: control characters are shown as escapes.

    A job's error and a model's name come from elsewhere, and could clear the screen.
    """
    return visible(text).replace("\n", " ").replace("\t", " ")


def say(text: object) -> None:
    """One line of result on stdout."""
    out.print(plain(text), markup=False, soft_wrap=True)


def note(text: object) -> None:
    """One line on stderr that is no result and no mistake."""
    err.print(plain(text), markup=False, soft_wrap=True)


def complain(message: str, code: int = Exit.FAILURE) -> typer.Exit:
    """One line on stderr; raise what this returns."""
    line = plain(message)
    if len(line) > _LONGEST_MESSAGE:
        line = line[:_LONGEST_MESSAGE] + "..."
    err.print(f"[red]mlops:[/red] {escape(line)}", soft_wrap=True)
    return typer.Exit(code)


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


def _tell_warnings() -> None:
    logger = logging.getLogger()
    if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
        logger.addHandler(_Warnings(logging.WARNING))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's mistake, or a service that is away, ends a command with one line and a code."""
    try:
        yield
    except (typer.Exit, typer.TyperException):
        raise
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        raise complain(*told) from None


def require_name(option: str, name: str | None) -> None:
    """End the command unless `name`, if it is given, could be one of telemetry: also a variable of
    the shell that is not set is no name, where leaving the option out means every one."""
    if name is not None and _is_no_text(name):
        # Bytes that are not UTF-8 come from the shell as halves of characters.
        raise complain(f"{option} {name[:60]!r} is not valid text; expected UTF-8", Exit.USAGE)
    if name is not None and not (1 <= len(name) <= 200 and min(name) > "\x1f"):
        raise complain(
            f"{option} {name[:60]!r}: expected 1 to 200 characters, none of them a control"
            " character",
            Exit.USAGE,
        )


def _is_no_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


@contextmanager
def looking_up() -> Iterator[None]:
    """What is only looked up in here, and is not there, is exit code 5.

    The domain has one class of error for a name that is not there and for one that is not fit.
    """
    try:
        yield
    except ValueError as error:
        told = _told(error)
        if told is None:
            raise
        raise complain(told[0], Exit.NOT_FOUND) from None


@contextmanager
def until_interrupted(told: str) -> Iterator[None]:
    """Ctrl-C ends the waiting in here and not what is waited for, as `told` says."""
    try:
        yield
    except KeyboardInterrupt:
        note(told)
        raise typer.Exit(Exit.INTERRUPTED) from None


def _told(error: Exception) -> tuple[str, Exit] | None:
    """What to say of an error, None for one that is ours. Imports only what has been raised from.

    Most of these modules take longer to import than a command takes.
    """
    for code, classes in _MISTAKES.items():
        for path in classes:
            module, _, name = path.rpartition(".")
            known = getattr(sys.modules.get(module), name, None)
            if known is not None and isinstance(error, known):
                return str(error), code
    sqlalchemy = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy is not None and isinstance(error, sqlalchemy.DBAPIError):
        return database_complaint(error), Exit.FAILURE
    redis = sys.modules.get("redis")
    if redis is not None and isinstance(error, redis.RedisError):
        return f"Redis: {first_line(error)}", Exit.FAILURE
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!a} is not valid text", Exit.USAGE
    return None


# By exit code. The first that fits counts: what is a special case of another stands before it.
_MISTAKES = {
    Exit.USAGE: (
        "shared.settings.SettingsError",
        "shared.evaluation.custom.checking.DefinitionError",
        "shared.evaluation.results.played.DifferentVersionsError",
        "shared.costs.budgets.BudgetError",
        "shared.drift.baselines.BaselineError",
        "shared.drift.budget.BudgetError",
        "shared.drift.minimum_effects.MinimumEffectError",
        "shared.costs.overrides.PriceTableError",
        "shared.jobs.errors.InvalidJobError",
        "shared.tenancy.tenants.UnfitNameError",
        "shared.telemetry.features.definitions.UnfitFeatureError",
        "shared.tracking.errors.FilterError",
    ),
    Exit.NOT_FOUND: (
        "shared.jobs.errors.UnknownJobError",
        "shared.tenancy.tenants.UnknownKeyError",
        "shared.costs.budgeting.NoBudgetError",
        "shared.evaluation.benchmarks.UnknownBenchmarkError",
        "shared.telemetry.features.definitions.UnknownFeatureError",
        "shared.telemetry.seen.NeverSeenError",
        "shared.functions.definition.UnknownFunctionError",
        "shared.tracking.errors.NotFoundError",
    ),
    Exit.FAILURE: (
        "shared.tenancy.tenants.NameTakenError",
        "shared.local.errors.ServiceError",
        "shared.standalone.PageError",
        "shared.jobs.errors.JobError",
        "shared.registry.models.RegistryError",
        "shared.tracking.errors.TrackingError",
        "shared.abtest.states.AbTestError",
        "shared.abtest.assignment.AssignmentError",
        "shared.functions.definition.FunctionError",
        "shared.evaluation.runs.EvaluationError",
        "shared.evaluation.results.published.PublishedError",
        "shared.cards.writing.CardError",
        "shared.drift.sequential.DetectorUnavailableError",
        "migrations.run.MigrationError",
        "builtins.TimeoutError",
    ),
    Exit.AUTH: ("shared.tenancy.tenants.TenancyError",),
}


def database_complaint(error: Any) -> str:
    """What PostgreSQL said, in one line; a missing schema or role says what to do.

    `error` is SQLAlchemy's `DBAPIError`. Its own text holds the statement with its values; the
    server's sentence does not.
    """
    said = first_line(error.orig or error)
    if "mlops_app" in said or "mlops." in said or 'schema "mlops"' in said:
        return f"PostgreSQL: {said}; if the database is new, `mlops db upgrade` makes it ready"
    return f"PostgreSQL: {said}"


def shortened(text: str, longest: int) -> str:
    """At most `longest` characters, the last of them an ellipsis where some are left out."""
    return text if len(text) <= longest else text[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def print_json(value: Any) -> None:
    """JSON for machines on stdout: ASCII, so that no terminal obeys what is in it."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "", *, empty: str = ""
) -> None:
    """A table for people on stdout. None is shown as a dash: unknown, not zero.

    What is in it is shown as it is: square brackets are no styles. Without rows it is the line
    `empty`, which says how to get some.
    """
    if not rows and empty:
        say(empty)
        return
    from rich.table import Table
    from rich.text import Text

    heading = Text(plain(title), style="table.title") if title else None
    table = Table(title=heading, title_justify="left", header_style="bold")
    for column in columns:
        # A name that is cut is another name.
        table.add_column(Text(plain(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else plain(cell)) for cell in row))
    out.print(table)


def fits(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bool:
    """Whether `print_table` would wrap no cell: a word that is cut is another word."""
    from rich.cells import cell_len

    lines = [columns, *rows]
    widths = [
        max(cell_len(plain("-" if line[n] is None else line[n])) for line in lines)
        for n in range(len(columns))
    ]
    return sum(widths) + 3 * len(columns) + 1 <= out.width


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
