"""`mlops drift list` and `mlops drift show`: what sweeps have found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, print_table, say
from mlops.drift.tables import described, print_findings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from shared.jobs.contracts import WindowOf


def list_findings(
    function: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: Json = False,
) -> None:
    """List what the newest sweep said of each function and model, one line per metric.

    Example: mlops drift list --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.reading import newest_findings
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = newest_findings(session, function, model)
            budget = _budget(session, datetime.now(UTC))
    if as_json:
        print_json([described(one) for one in found])
        return
    print_findings(
        found,
        "The current window against the baseline; n of baseline / current",
        empty="no sweep yet: beat asks for one every hour once there is telemetry, and"
        " `mlops drift run` at once",
    )
    if found:
        say(budget)


def show(
    metric: Annotated[str, typer.Argument(help="As `mlops drift list` names it.")],
    function: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: Json = False,
) -> None:
    """Show all that the newest sweep found in one metric: every test, and both windows.

    Example: mlops drift show llm_latency_ms --function checkout
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.reading import newest_findings
        from shared.drift.wording import said
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = newest_findings(session, function, model, metric)
            if not found:
                there = sorted({one.metric for one in newest_findings(session, function, model)})
                raise complain(_nothing(metric, there), Exit.NOT_FOUND)
    if as_json:
        print_json([described(one) for one in found])
        return
    for one in found:
        say(f"{one.metric} of {one.model} in {one.function}: {said(one.state)}; {one.reason}")
        say(f"baseline {_hours(one.baseline)}, current {_hours(one.current)} (UTC)")
        print_table(
            ["test", "statistic", "p", "adjusted p", "effect"],
            [
                (
                    test.name,
                    _number(test.statistic),
                    _number(test.p_value),
                    _number(test.p_adjusted),
                    None
                    if test.effect_size is None
                    else f"{test.effect_name} {test.effect_size:.3f}",
                )
                for test in one.tests
            ],
        )


def _nothing(metric: str, there: list[str]) -> str:
    import difflib

    if not there:
        return "no sweep yet that looked at it: `mlops drift run` makes one"
    near = difflib.get_close_matches(metric, there, n=3, cutoff=0.5)
    return f"no metric {metric[:100]!r}; {'near it: ' if near else 'there is: '}" + ", ".join(
        near or there
    )


def _hours(window: WindowOf) -> str:
    function = f" of {window.function}" if window.function else ""
    return f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M}{function}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _budget(session: Session, now: datetime) -> str:
    """What false alarms are accepted, and how many alarms there were: a share of them is false."""
    import sqlalchemy as sa

    from shared.alerts.tables import Alert
    from shared.drift.budget import WEEK, false_alarms_a_week

    raised = session.scalar(
        sa.select(sa.func.count()).where(Alert.kind == "drift", Alert.raised_at >= now - WEEK)
    )
    accepted = false_alarms_a_week(session)
    return (
        f"alarms of drift in the last 7 days: {raised}; at most {accepted:g} a week are expected"
        " where nothing drifts (`mlops drift budget`)"
    )
