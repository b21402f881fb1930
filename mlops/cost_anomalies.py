"""`mlops cost anomalies` and `mlops cost forecast`: what is unusual, and what is ahead."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.costs.anomalies import CostVerdict
    from shared.costs.watching import Judged


def anomalies(
    days: Annotated[int, typer.Option(min=1, max=31, help="The last so many.")] = 7,
    as_json: Json = False,
) -> None:
    """Show the hours that cost more than they should, by three rules.

    five_times: above 500 % of the mean of the week before. hour_of_week: more than such hours of
    the week explain. per_request: dearer per request than in the fourteen days before. The hour
    that is not over is not looked at.

    Example: mlops cost anomalies --days 30
    """
    with one_line_errors():
        from shared.costs.watching import judge_hours
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        with tenant_session(current_tenant()) as session:
            judged = tuple(judge_hours(session, until - timedelta(days=days), until))
    found = [
        (subject, verdict)
        for subject in judged
        for hour in subject.hours
        for verdict in hour.all
        if verdict.anomalous
    ]
    if as_json:
        print_json({"until": until, "judged": [_summary(s) for s in judged], "anomalies": [
            {"model": s.model, "function": s.function} | asdict(v) for s, v in found]})  # fmt: skip
        return
    print_table(
        ["hour (UTC)", "model", "function", "rule", "cost", "expected", "limit", "score"],
        [_cells(subject, verdict) for subject, verdict in sorted(found, key=_newest_first)],
        empty=_nothing(judged, days),
    )
    for subject in judged:
        for state, hours in _summary(subject)["hour_of_week"].items():
            if state not in ("normal", "anomaly"):
                say(f"{subject.model}, {subject.function}: {hours} hours {state.replace('_', ' ')}")


def _newest_first(found: tuple[Judged, CostVerdict]) -> tuple[float, str, str]:
    subject, verdict = found
    return (-verdict.starts_at.timestamp(), subject.model, verdict.rule.value)


def _cells(subject: Judged, verdict: CostVerdict) -> list[object]:
    from shared.costs.anomalies import CostRule
    from shared.money import dollars

    each = " a request" if verdict.rule is CostRule.PER_REQUEST else ""
    span = f" in {verdict.span_hours} h" if verdict.span_hours > 1 else ""
    return [
        f"{verdict.starts_at:%Y-%m-%d %H:%M}",
        subject.model,
        subject.function,
        verdict.rule.value,
        dollars(verdict.observed_nanos) + each + span,
        dollars(verdict.expected_nanos),
        dollars(verdict.limit_nanos),
        None if verdict.score is None else f"{verdict.score:.1f}",
    ]


def _nothing(judged: Sequence[Judged], days: int) -> str:
    if not judged:
        return f"no data: no model call was reported in the last {days} days and before"
    looked_at = sum(v.state.value == "normal" for s in judged for h in s.hours for v in h.all)
    if not looked_at:
        return "no verdict yet: too little is known of the time before"
    return f"no anomaly in the last {days} days"


def _summary(subject: Judged) -> dict[str, Any]:
    """How many hours came to which verdict, by rule."""
    counts: dict[str, Any] = {"model": subject.model, "function": subject.function}
    for hour in subject.hours:
        for verdict in hour.all:
            by_state = counts.setdefault(verdict.rule.value, {})
            by_state[verdict.state.value] = by_state.get(verdict.state.value, 0) + 1
    return counts


def forecast(
    period: Annotated[
        Literal["week", "month"], typer.Option(help="The one that is running.")
    ] = "month",
    as_json: Json = False,
) -> None:
    """Say what the month will have cost at its end, with the interval that holds in nine of ten.

    Example: mlops cost forecast --period week
    """
    with one_line_errors():
        from shared.costs.aggregation import Period
        from shared.costs.watching import forecast_period
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = forecast_period(session, Period(period), datetime.now(UTC))
    if as_json:
        print_json(None if found is None else asdict(found))
    elif found is None:
        say("no data: no model call was ever reported")
    else:
        say(found.explanation)
