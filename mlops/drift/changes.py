"""`mlops drift changes`: when did it change?"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say
from mlops.monitoring.windows import last_hours


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
    print_table(
        ["changed (UTC)", "metric", "before", "after", "seen after", "by"],
        [
            (
                f"{change.changed_at:%Y-%m-%d %H:%M}",
                f"{course.metric} of {course.subject}",
                f"{change.before:.4g}",
                f"{change.after:.4g}",
                f"{change.delay.total_seconds() / 3600:g} h",
                report.detector.value,
            )
            for course in found
            for report in course.reports
            for change in report.changes
        ],
        empty=f"no change of level in {len(found)} series"
        if found
        else f"no telemetry in the last {days} days",
    )
    reasons = {
        f"{course.metric} of {course.subject}: {report.reason}"
        for course in found
        for report in course.reports
        if report.reason is not None
    }
    for reason in sorted(reasons):
        say(reason)
