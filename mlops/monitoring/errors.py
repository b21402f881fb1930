"""`mlops monitor errors`: what goes wrong, how often, and since when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops import freshness
from mlops.console import Json, one_line_errors, print_json, print_table, say
from mlops.monitoring.windows import Hours, last_hours, rate, shown_rate

if TYPE_CHECKING:
    from shared.telemetry.error_analysis import CategoryCount, ErrorReport
    from shared.telemetry.reading import Window

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 48


def errors(hours: Hours = 24, as_json: Json = False) -> None:
    """Show what goes wrong: categories with their trend, and the most frequent messages.

    Numbers and identifiers in messages are folded, so that one error is one line.

    Example: mlops monitor errors --hours 24
    """
    with one_line_errors():
        from shared.costs.freshness import freshness as look
        from shared.database import tenant_session
        from shared.telemetry.error_analysis import analyze_errors
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        window = last_hours(now, hours)
        with tenant_session(current_tenant()) as session:
            fresh = look(session, now)
            report = analyze_errors(session, window)
    if as_json:
        print_json(freshness.described(fresh) | _errors_json(report))
        return
    _print(report, hours)
    freshness.tell(fresh)


def _print(report: ErrorReport, hours: int) -> None:
    if report.tried is None:
        say(f"no data: nothing was reported in the last {hours} h, so it is not known what failed")
        return
    failed = shown_rate(rate(min(report.errors, report.tried), report.tried))
    errors = "error" if report.errors == 1 else "errors"
    say(f"{report.errors:,} {errors}, {failed} calls, actions, page loads and tasks")
    print_table(
        ["category", "errors", f"the {hours} h before", "by hour"],
        [
            (
                count.category.value,
                f"{count.n:,}",
                None if report.tried_before is None else f"{count.before:,}",
                _sparkline(count, report.window),
            )
            for count in report.categories
        ],
        empty="no errors",
    )
    if report.messages:
        print_table(
            ["times", "category", "model", "function", "message", "last"],
            [
                (
                    f"{said.n:,}",
                    said.category.value,
                    said.model,
                    said.function,
                    said.message,
                    f"{said.latest_at:%Y-%m-%d %H:%M}",
                )
                for said in report.messages
            ],
            title="What they say",
        )


def _sparkline(count: CategoryCount, window: Window) -> str:
    """A bar for each of at most `_MOST_BARS` parts of the window; a space where there is none."""
    hours = max(1, round((window.end - window.start) / timedelta(hours=1)))
    parts = min(hours, _MOST_BARS)
    sums = [0] * parts
    for hour, n in count.by_hour.items():
        sums[int((hour - window.start) / (window.end - window.start) * parts)] += n
    most = max(sums) or 1
    return "".join(_BARS[max(1, round(n / most * 8)) - 1] if n else " " for n in sums)


def _errors_json(report: ErrorReport) -> dict[str, Any]:
    return {
        "from": report.window.start,
        "to": report.window.end,
        "tried": report.tried,
        "tried_before": report.tried_before,
        "errors": None if report.tried is None else report.errors,
        "categories": [
            {
                "category": count.category.value,
                "errors": count.n,
                "before": None if report.tried_before is None else count.before,
                "by_hour": {hour.isoformat(): n for hour, n in sorted(count.by_hour.items())},
            }
            for count in report.categories
        ],
        "messages": [
            {
                "message": said.message,
                "category": said.category.value,
                "model": said.model,
                "function": said.function,
                "times": said.n,
                "latest_at": said.latest_at,
            }
            for said in report.messages
        ],
    }
