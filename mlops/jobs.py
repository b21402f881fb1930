"""`mlops job ...`: submit, look at, retry and cancel jobs."""

from __future__ import annotations

import json
import sys
import time
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
    shortened,
    until_interrupted,
)

if TYPE_CHECKING:
    from shared.jobs.tables import JobRow

app = typer.Typer(no_args_is_help=True, help="Submit jobs and look after them.")

_LOOK_EVERY_SECONDS = 0.3
_LONGEST_ERROR = 80
_LONGEST_VALUE = 300
_NO_JOBS = (
    "no jobs yet: `mlops evaluate run --model NAME`, or `mlops job submit '{...}'`, makes some"
)

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
        with until_interrupted(_goes_on(submitted.id)):
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
    every: Annotated[
        bool, typer.Option("--all", help="Those that store telemetry (ingest_events) as well.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """List the newest jobs, without those that only store telemetry.

    Example: mlops job list --status failed
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.jobs.listing import newest
        from shared.jobs.tables import JobStatus
        from shared.tenancy.tenants import current_tenant

        if status is not None and status not in list(JobStatus):
            known = ", ".join(JobStatus)
            raise complain(f"no status {status!r}; there is: {known}", Exit.USAGE)
        with tenant_session(current_tenant()) as session:
            wanted = None if status is None else JobStatus(status)
            found = newest(session, status=wanted, kind=kind, background=every, limit=limit)
    if as_json:
        print_json([_fields(row) for row in found.jobs])
    else:
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
                    shortened(row.error or "", _LONGEST_ERROR),
                )
                for row in found.jobs
            ],
            empty="no such jobs" if status or kind else _NO_JOBS,
        )
    if found.total > len(found.jobs):
        note(f"the newest {len(found.jobs):,} of {found.total:,} jobs: --limit N shows more")
    if found.background:
        note(
            f"{found.background:,} jobs that store telemetry (ingest_events) are not shown:"
            " --all shows them"
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
        with until_interrupted(_goes_on(row.id)), err.status(f"job {row.id}") as line:
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


def _goes_on(job_id: object) -> str:
    return f"job {job_id} goes on: `mlops job watch {job_id}` follows it, `cancel` ends it"


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
    return shortened(text, _LONGEST_VALUE)
