"""`mlops cost`: what the calls of language models came to, and how much of the budgets that is."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlops import budgets, cost_anomalies, costs_advice, prices
from mlops.console import Exit, Json, complain, one_line_errors, out, print_json, print_table, say
from shared.money import cost_text, dollars

if TYPE_CHECKING:
    from shared.costs.report import CostReport, Line

app = typer.Typer(no_args_is_help=True, help="Cost: what the models' calls came to.")
app.add_typer(budgets.app, name="budget")
app.add_typer(prices.app, name="prices")
app.command("anomalies")(cost_anomalies.anomalies)
app.command("forecast")(cost_anomalies.forecast)
app.command("advise")(costs_advice.advise)

_DAYS = 30


@app.command("report")
def report_cost(
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="The last so many; 30 when left out.")
    ] = None,
    month: Annotated[str | None, typer.Option(help="A month instead, as 2026-11.")] = None,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A single day instead.")
    ] = None,
    by: Annotated[
        Literal["model", "function", "variant", "day", "hour"],
        typer.Option(help="A line for each."),
    ] = "model",
    as_json: Json = False,
) -> None:
    """Show what was spent, per request and per successful task too, and where the budgets stand.

    Calls without a price are counted apart: their cost is unknown. Calls at a simulated price are
    in the cost, which then says so. Days are UTC.

    Example: mlops cost report --month 2026-11 --by function
    """
    with one_line_errors():
        from shared.costs.budgeting import budgets as all_budgets
        from shared.costs.budgeting import standings
        from shared.costs.report import By, report
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        today = datetime.now(UTC).date()
        start, end_before = _window(days, month, None if on is None else on.date(), today)
        with tenant_session(current_tenant()) as session:
            found = report(session, start, end_before, By(by))
            stand = standings(session, all_budgets(session), today)
    if as_json:
        print_json(
            {
                "start": start,
                "end_before": end_before,
                "by": by,
                "rows": [_described(line) for line in found.lines],
                "total": None if found.total is None else _described(found.total),
                "budgets": [budgets.described(one) for one in stand],
            }
        )
        return
    _print(found)
    out.print()
    budgets.print_standings(stand, today)


def _window(days: int | None, month: str | None, on: date | None, today: date) -> tuple[date, date]:
    """The first day and the one after the last."""
    if sum(one is not None for one in (days, month, on)) > 1:
        raise complain("give one of --days, --month and --on", Exit.USAGE)
    if month is not None:
        try:
            first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError:
            raise complain(f"--month {month!r}: expected one like 2026-11", Exit.USAGE) from None
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        return first, _day_after(last)
    if on is not None:
        return on, _day_after(on)
    from shared.costs.report import days_until

    return days_until(today, days or _DAYS)


def _day_after(day: date) -> date:
    if day == date.max:
        raise complain(f"{day} is the last day there is", Exit.USAGE)
    return day + timedelta(days=1)


def _described(line: Line) -> dict[str, Any]:
    interval = line.success_interval
    return {
        "name": line.name or None,
        "cost_nanos": line.cost_nanos,
        "cost": _cost(line),
        "llm_calls": line.llm_calls,
        "unpriced_calls": line.unpriced_calls,
        "simulated_calls": line.simulated_calls,
        "nanos_per_request": line.nanos_per_request,
        "tasks": line.tasks,
        "successes": line.successes,
        "success_rate": line.success_rate,
        "success_interval": interval and (interval.low, interval.high),
        "nanos_per_success": line.nanos_per_success,
    }


def _print(found: CostReport) -> None:
    last = found.end_before - timedelta(days=1)
    if found.total is None:
        say(f"nothing was spent, and no task ended, from {found.start} to {last} (UTC)")
        return
    shown = [*found.lines, found.total]
    print_table(
        [found.by.value, "cost", "calls", "per request", "successes (95 %)", "per success"],
        [
            (
                line.name or ("all" if line is found.total else "none"),
                _cost(line),
                f"{line.llm_calls:,}",
                _dollars(line.nanos_per_request),
                _successes(line),
                _dollars(line.nanos_per_success),
            )
            for line in shown
        ],
        title=f"Cost from {found.start} to {last} (UTC), of the calls that have a price",
    )


def _cost(line: Line) -> str:
    if not line.llm_calls:
        return "no calls"
    return cost_text(line.cost_nanos, line.unpriced_calls, simulated=line.simulated_calls > 0)


def _successes(line: Line) -> str | None:
    interval = line.success_interval
    if interval is None:
        return None
    low, high = round(100 * interval.low), round(100 * interval.high)
    return f"{line.successes:,} of {line.tasks:,} ({low} to {high} %)"


def _dollars(nanos: float | None) -> str | None:
    return None if nanos is None else dollars(nanos)
