"""`mlops monitor health`: whether telemetry gets through, queues move, and machines have room."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.markup import escape

from mlops.console import Exit, Json, one_line_errors, out, plain, print_json, say
from mlops.monitoring.windows import Hours
from mlops.telemetry.spilling import SpillFolder, default_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.jobs.reading import QueueDepth
    from shared.telemetry.health import Backlog, Machine, Summing, TelemetryHealth

_LATE = timedelta(minutes=5)
"Rollups are made every minute: what waits longer is stuck."
_MANY_HOURS = 24
"More that wait, however shortly, are late events by the hundred, or a roll-up that lags."
_MANY_BATCHES = 100
"More that wait, however shortly, are half a million events if they are full."
_FULL = 0.5
"Of the room for waiting batches; beyond it something does not keep up."
_SCARCE_PERCENT = 95.0


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    NO_DATA = "no data"


class Check(NamedTuple):
    name: str
    verdict: Verdict
    detail: str


def health(hours: Hours = 1, as_json: Json = False) -> None:
    """Check whether telemetry gets through, whether queues move, and how the machines are.

    Exit code 1 when something is wrong. `mlops doctor` looks at what all of it stands on.

    Example: mlops monitor health
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.jobs.reading import depths
        from shared.telemetry.health import look
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            found = look(session, now, hours)
        checks = [
            *_telemetry_checks(found, now, hours),
            *_spill_check(default_folder(), now),
            *_queue_checks(depths()),
        ]
    if as_json:
        print_json(
            {
                "checks": [
                    {"name": name, "verdict": verdict.value, "detail": detail}
                    for name, verdict, detail in checks
                ],
                "machines": [
                    {"host": machine.host, "at": machine.at} | dict(machine.values)
                    for machine in found.machines
                ],
            }
        )
    else:
        for name, verdict, detail in checks:
            colour = {Verdict.OK: "green", Verdict.WRONG: "red"}.get(verdict, "yellow")
            out.print(f"[{colour}]{verdict.value:<8}[/{colour}] {escape(plain(name))}: ", end="")
            say(detail)
    if any(verdict is Verdict.WRONG for _, verdict, _ in checks):
        raise typer.Exit(Exit.FAILURE)


def _telemetry_checks(found: TelemetryHealth, now: datetime, hours: int) -> Iterator[Check]:
    yield _ingest(found.backlog, now)
    yield _rollups(found.summing, now)
    if found.rejected:
        reasons = "; ".join(f"{n:,} x {reason}" for reason, n in found.reasons.items())
        said = f"{found.rejected:,} refused in {hours} h: {reasons}"
        if sum(found.reasons.values()) < found.rejected:
            said += "; ..."
        said += f" (`mlops monitor rejected --hours {hours}`)"
        yield Check("events", Verdict.WARNING, said)
    else:
        yield Check("events", Verdict.OK, f"none refused in {hours} h")
    for field in found.full:
        said = f"{field} has as many names as it may have: others are stored as 'other'"
        yield Check("names", Verdict.WARNING, said)
    for machine in found.machines:
        yield _machine(machine)
    if not found.machines:
        said = f"no sample in {hours} h (`MetricsCollector.record_system_sample`)"
        yield Check("machines", Verdict.NO_DATA, said)


def _spill_check(folder: Path, now: datetime) -> Iterator[Check]:
    """What collectors on this machine have not been able to send."""
    try:
        found = SpillFolder(folder, 0).contents()
    except OSError as error:
        yield Check("spill", Verdict.WRONG, f"{folder} cannot be read: {error.strerror}")
        return
    events = sum(found.readable.values())
    said = f"{events:,} events wait on this machine in {len(found.readable):,} files of {folder}"
    verdict = Verdict.OK
    if found.oldest is not None and now - found.oldest > _LATE:
        verdict = Verdict.WARNING
        said += f", the oldest for {_age(now, found.oldest)}: a process with a collector sends them"
    if found.unreadable:
        verdict = Verdict.WARNING
        said += f"; {found.unreadable:,} that cannot be read stay there"
    if events or found.unreadable:
        yield Check("spill", verdict, said)


def _ingest(backlog: Backlog, now: datetime) -> Check:
    waiting = "batch waits" if backlog.batches == 1 else "batches wait"
    verdict, said = Verdict.OK, f"{backlog.batches:,} {waiting} to be stored"
    if backlog.failed:
        verdict = Verdict.WRONG
        said = (
            f"{backlog.failed} batch{'' if backlog.failed == 1 else 'es'} could not be stored:"
            " `mlops job list --status failed` says why, `mlops job retry` tries again"
        )
    elif backlog.oldest is not None and now - backlog.oldest > _LATE:
        verdict = Verdict.WRONG
        said += (
            f", the oldest for {_age(now, backlog.oldest)}: does a worker of the queue ingest run?"
            " (`mlops status`)"
        )
    elif backlog.size_bytes > _FULL * backlog.limit_bytes:
        verdict = Verdict.WARNING
        said = (
            f"{backlog.size_bytes / 2**20:,.0f} of {backlog.limit_bytes / 2**20:,.0f} MiB for"
            " waiting batches are used: senders are told to wait when it is full"
        )
    elif backlog.batches > _MANY_BATCHES:
        verdict = Verdict.WARNING
        said += f", more than {_MANY_BATCHES}: if it stays so, run more workers of the queue ingest"
    return Check("ingest", verdict, said)


def _rollups(summing: Summing, now: datetime) -> Check:
    stuck = summing.unsummed
    if stuck is not None:
        said = (
            f"{stuck.hours} hours cannot be summed, the oldest {stuck.oldest:%Y-%m-%d %H:%M} UTC:"
            f" {stuck.failure}; their events are kept, and summing them is tried every hour"
        )
        return Check("rollups", Verdict.WRONG, said)
    waiting = f"{summing.hours:,} hour{' waits' if summing.hours == 1 else 's wait'} to be summed"
    if summing.oldest_hour is not None:
        waiting += f", the oldest {summing.oldest_hour:%Y-%m-%d %H:%M}"
    if summing.oldest_mark is not None and now - summing.oldest_mark > _LATE:
        said = (
            f"{waiting}, one for {_age(now, summing.oldest_mark)}: do"
            " beat and a worker of the queue costs run? (`mlops status`)"
        )
        return Check("rollups", Verdict.WRONG, said)
    if summing.newest_rollup is None:
        return Check("rollups", Verdict.NO_DATA, "nothing was summed yet")
    said = f"{waiting}; the last was summed {_age(now, summing.newest_rollup)} ago"
    if summing.hours > _MANY_HOURS:
        said += (
            f". More than {_MANY_HOURS} wait: reports of them are not whole until they are summed"
        )
        return Check("rollups", Verdict.WARNING, said)
    return Check("rollups", Verdict.OK, said)


def _machine(machine: Machine) -> Check:
    percents = {
        name: machine.values[f"{name}_percent"]
        for name in ("cpu", "memory", "disk")
        if f"{name}_percent" in machine.values
    }
    # A busy processor is what it is for.
    scarce = any(percents.get(name, 0.0) >= _SCARCE_PERCENT for name in ("memory", "disk"))
    said = ", ".join(f"{name} {percent:.0f} %" for name, percent in percents.items())
    return Check(f"machine {machine.host}", Verdict.WRONG if scarce else Verdict.OK, said)


def _queue_checks(depths: Mapping[str, QueueDepth]) -> Iterator[Check]:
    for queue, depth in depths.items():
        said = f"{depth.queued:,} queued, {depth.running:,} running"
        oldest = depth.oldest_queued_seconds
        # A long line of episodes is no fault; one that nobody works on is.
        if oldest is not None and oldest > _LATE.total_seconds() and not depth.running:
            said += f", the oldest for {oldest / 60:,.0f} min: does a worker of it run?"
            yield Check(f"queue {queue}", Verdict.WRONG, said)
        else:
            yield Check(f"queue {queue}", Verdict.OK, said)


def _age(now: datetime, then: datetime) -> str:
    seconds = max(0.0, (now - then).total_seconds())
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"
