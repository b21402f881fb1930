"""`mlops cost anomalies` and `mlops cost forecast`: what is unusual, and what is ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops import freshness
from mlops.console import Json, one_line_errors, print_json, print_table, say
from shared.money import dollars, money_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.costs.anomalies import CostVerdict
    from shared.costs.forecasting import Forecast
    from shared.costs.watching import Judged


_CAPTION = (
    "score: of five_times the multiple of the mean of the week before (an anomaly above 5); of the"
    " others how unlikely so much is, in standard deviations of a normal variable (an anomaly above"
    " about 3.4, and only if it is $0.10 or more beyond what was expected)"
)


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
        from shared.costs.freshness import freshness as look
        from shared.costs.watching import judge_hours
        from shared.database import tenant_session
        from shared.hours import hour_of
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        until = hour_of(now)
        since = until - timedelta(days=days)
        with tenant_session(current_tenant()) as session:
            judged = tuple(judge_hours(session, since, until))
            fresh = look(session, now)
    found = [
        (subject, verdict)
        for subject in judged
        for hour in subject.hours
        for verdict in hour.all
        if verdict.anomalous
    ]
    if as_json:
        print_json(
            {
                "from": since,
                "to": until,
                **freshness.described(fresh),
                "judged": [_summary(subject) for subject in judged],
                "anomalies": [_described(*one) for one in found],
            }
        )
        return
    print_table(
        ["hour (UTC)", "model", "function", "rule", "cost", "expected", "limit", "score"],
        [_cells(subject, verdict) for subject, verdict in sorted(found, key=_newest_first)],
        title="Hours that cost more than they should",
        empty=_nothing(judged, days),
    )
    if found:
        say(_CAPTION)
    for subject in judged:
        for state, hours in _summary(subject)["hour_of_week"].items():
            if state not in ("normal", "anomaly"):
                one = f"{hours} hour{'' if hours == 1 else 's'} {state.replace('_', ' ')}"
                say(f"{subject.model}, {subject.function}: {one}")
    freshness.tell(fresh)


def _described(subject: Judged, verdict: CostVerdict) -> dict[str, Any]:
    hour = timedelta(hours=1)
    return {
        "model": subject.model,
        "function": subject.function,
        "rule": verdict.rule.value,
        "state": verdict.state.value,
        "from": verdict.starts_at - (verdict.span_hours - 1) * hour,
        "to": verdict.starts_at + hour,
        **money_fields(
            observed=verdict.observed_nanos,
            expected=verdict.expected_nanos,
            limit=verdict.limit_nanos,
        ),
        "score": verdict.score,
        "reason": verdict.reason,
        "unpriced_beside": verdict.unpriced_beside,
    }


def _newest_first(found: tuple[Judged, CostVerdict]) -> tuple[float, str, str]:
    subject, verdict = found
    return (-verdict.starts_at.timestamp(), subject.model, verdict.rule.value)


def _cells(subject: Judged, verdict: CostVerdict) -> list[object]:
    from shared.costs.anomalies import CostRule

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
        from shared.costs.freshness import freshness as look
        from shared.costs.watching import forecast_period
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            found = forecast_period(session, Period(period), now)
            fresh = look(session, now)
    if as_json:
        print_json(freshness.described(fresh) | _forecast(found))
        return
    say("no data: no model call was ever reported" if found is None else found.explanation)
    freshness.tell(fresh)


def _forecast(found: Forecast | None) -> dict[str, Any]:
    if found is None:
        return {"state": "no_data"}
    return {
        "state": found.state.value,
        "from": found.starts_at,
        "to": found.ends_at,
        "known_to": found.known_to,
        **money_fields(
            spent=found.spent_nanos,
            total=found.total_nanos,
            low=found.low_nanos,
            high=found.high_nanos,
        ),
        "confidence": found.confidence,
        "unknown_hours": found.unknown_hours,
        "unpriced_calls": found.unpriced_calls,
        "days": found.days,
        "reason": found.reason,
    }
