"""`mlops job ...`: submit, look at, retry and cancel jobs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mlops.console import (
    Exit,
    Json,
    complain,
    err,
    note,
    one_line_errors,
    plain,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from shared.jobs.tables import JobRow

app = typer.Typer(no_args_is_help=True, help="Submit jobs and look after them.")

_LOOK_EVERY_SECONDS = 0.3

Identifier = Annotated[str, typer.Argument(help="The job's identifier or a unique prefix of it.")]


@app.command()
def submit(
    job: Annotated[
        str, typer.Argument(help="The job as JSON, @FILE to read it from one, - for stdin.")
    ],
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key submits once.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a job.

    Example: mlops job submit '{"job": "roll_up"}'
    """
    with one_line_errors():
        from mlops.client import submit as submit_job

        submitted = submit_job(_read(job), idempotency_key=key)
        if not wait:
            if as_json:
                print_json({"id": submitted.id})
            else:
                say(submitted.id)
            return
        with _until_interrupted(submitted.id):
            row = submitted.wait()
        _end_with(row, as_json)


@app.command()
def status(job: Identifier, as_json: Json = False) -> None:
    """Show one job."""
    with one_line_errors():
        row = _find(job)
    if as_json:
        print_json(_fields(row))
    else:
        print_table(["field", "value"], [(k, _short(v)) for k, v in _fields(row).items()])


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="queued, running, failed, ...")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind of job.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """List the newest jobs.

    Example: mlops job list --status failed
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.jobs.reading import recent
        from shared.jobs.tables import JobStatus
        from shared.tenancy.tenants import current_tenant

        if status is not None and status not in list(JobStatus):
            known = ", ".join(JobStatus)
            raise complain(f"no status {status!r}; there is: {known}", Exit.USAGE)
        with tenant_session(current_tenant()) as session:
            wanted = None if status is None else JobStatus(status)
            rows = recent(session, status=wanted, kind=kind, limit=limit)
    if as_json:
        print_json([_fields(row) for row in rows])
        return
    print_table(
        ["id", "job", "queue", "status", "attempt", "created", "error"],
        [
            (
                str(row.id)[:8],
                row.kind,
                row.queue,
                row.status,
                f"{row.attempt}/{row.max_attempts}",
                f"{row.created_at:%Y-%m-%d %H:%M:%S}",
                (row.error or "")[:80],
            )
            for row in rows
        ],
    )


@app.command()
def retry(job: Identifier, as_json: Json = False) -> None:
    """Queue a failed or cancelled job again."""
    with one_line_errors():
        from shared.jobs.reading import retry as retry_job
        from shared.tenancy.tenants import current_tenant

        row = retry_job(current_tenant(), job)
    if as_json:
        print_json(_fields(row))
    else:
        say(f"{row.id} {row.status}")


@app.command()
def cancel(job: Identifier, as_json: Json = False) -> None:
    """Cancel a job: a queued one at once, a running one within two seconds."""
    with one_line_errors():
        from shared.jobs.reading import cancel as cancel_job
        from shared.tenancy.tenants import current_tenant

        row = cancel_job(current_tenant(), job)
    if as_json:
        print_json(_fields(row))
    else:
        say(f"{row.id} " + ("is asked to stop" if row.status == "running" else row.status))


@app.command()
def watch(job: Identifier, as_json: Json = False) -> None:
    """Follow a job until it has ended; exit code 1 unless it succeeded."""
    with one_line_errors():
        from shared.jobs.tables import JobStatus

        row = _find(job)
        with _until_interrupted(row.id), err.status(f"job {row.id}") as line:
            while not JobStatus(row.status).ended:
                line.update(f"job {row.id} ({escape(plain(row.kind))}): {row.status}")
                time.sleep(_LOOK_EVERY_SECONDS)
                row = _find(str(row.id))
        _end_with(row, as_json)


@app.command()
def schema(
    kind: Annotated[str | None, typer.Argument(help="One kind of job; all by default.")] = None,
) -> None:
    """Print the JSON Schema of the contracts.

    Example: mlops job schema run_benchmark
    """
    from shared.jobs.contracts import schemas

    known = schemas()
    if kind is not None and kind not in known:
        raise complain(f"no job {kind!r}; there is: {', '.join(sorted(known))}", Exit.NOT_FOUND)
    print_json(known if kind is None else known[kind])


def _read(job: str) -> dict[str, Any]:
    if job == "-":
        try:
            job = sys.stdin.read()
        except UnicodeDecodeError:
            raise complain("stdin is not UTF-8 text", Exit.USAGE) from None
    elif job.startswith("@"):
        try:
            job = Path(job[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise complain(f"{job[1:]}: {reason}", Exit.USAGE) from None
    try:
        parsed = json.loads(job)
    except json.JSONDecodeError as error:
        raise complain(f"the job is not JSON: {error}", Exit.USAGE) from None
    except RecursionError:
        raise complain("the job is nested too deeply", Exit.USAGE) from None
    if not isinstance(parsed, dict):
        raise complain('the job must be an object such as {"job": "roll_up"}', Exit.USAGE)
    return parsed


@contextmanager
def _until_interrupted(job_id: object) -> Iterator[None]:
    """Ctrl-C ends the waiting and not the job."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"job {job_id} goes on: `mlops job watch {job_id}` follows it, `cancel` ends it")
        raise typer.Exit(Exit.INTERRUPTED) from None


def _find(identifier: str) -> JobRow:
    from shared.database import tenant_session
    from shared.jobs.reading import find
    from shared.tenancy.tenants import current_tenant

    with tenant_session(current_tenant()) as session:
        return find(session, identifier)


def _end_with(row: JobRow, as_json: bool) -> None:
    if as_json:
        print_json(_fields(row))
    elif row.error:
        note(f"{row.id} {row.status}: {row.error}")
    else:
        say(f"{row.id} {row.status} {json.dumps(row.result)}")
    if row.status != "succeeded":
        raise typer.Exit(Exit.FAILURE)


_SHOWN = (
    "id", "kind", "queue", "status", "attempt", "max_attempts", "worker", "error", "result",
    "payload", "idempotency_key", "created_at", "started_at", "finished_at", "not_before",
)  # fmt: skip


def _fields(row: JobRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _SHOWN}


def _short(value: object) -> str | None:
    if value is None:
        return None
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return text if len(text) <= 300 else text[:297] + "..."
