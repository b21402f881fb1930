"""`mlops drift changes`: when did it change?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Json, fits, one_line_errors, print_json, print_table, say
from mlops.monitoring.windows import last_hours

if TYPE_CHECKING:
    from shared.drift.level_changes import Course


def changes(
    function: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    days: Annotated[int, typer.Option(min=14, max=366, help="The last so many.")] = 28,
    as_json: Json = False,
) -> None:
    """Say when the level of a metric changed, and how long that took to show.

    Two detectors look at every hour in its turn: ADWIN and Page-Hinkley. They see a change when
    enough hours have passed since; how large it is and whether it matters is for `mlops drift run`.

    Example: mlops drift changes --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.level_changes import courses
        from shared.telemetry.seen import require_seen
        from shared.tenancy.tenants import current_tenant

        window = last_hours(datetime.now(UTC), 24 * days)
        with tenant_session(current_tenant()) as session:
            require_seen(session, "function", function)
            require_seen(session, "model", model)
            found = courses(session, window, function, model)
    if as_json:
        print_json([asdict(course) for course in found])
        return
    _print_changes(found, days)
    reasons: dict[str, list[str]] = {}
    for course in found:
        for reason in {report.reason for report in course.reports if report.reason is not None}:
            reasons.setdefault(reason, []).append(f"{course.metric} of {course.subject}")
    for reason, metrics in sorted(reasons.items()):
        say(f"not judged: {reason}: {', '.join(metrics)}")


def _print_changes(found: Sequence[Course], days: int) -> None:
    """A line for each change with the detectors that saw it, or two where words would be cut."""
    from shared.drift.level_changes import level_said, seen_changes

    columns = ["changed (UTC)", "metric", "before", "after", "seen by, after"]
    rows = [
        (
            f"{seen.change.changed_at:%Y-%m-%d %H:%M}",
            f"{course.metric} of {course.subject}",
            level_said(course.metric, seen.change.before),
            level_said(course.metric, seen.change.after),
            ", ".join(
                f"{detector.value.replace('_', '-')} {delay.total_seconds() / 3600:g} h"
                for detector, delay in seen.seen_by
            ),
        )
        for course in found
        for seen in seen_changes(course)
    ]
    judged = sum(all(report.reason is None for report in course.reports) for course in found)
    if not rows or fits(columns, rows):
        none = f"no change of level in {judged} series"
        print_table(columns, rows, empty=none if found else f"no telemetry in the last {days} days")
        return
    for changed, metric, before, after, seen_by in rows:
        say(f"{changed}: {metric}")
        say(f"  {before} to {after}, seen by {seen_by} later")
