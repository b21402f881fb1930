"""`mlops cost report`: what was spent, why calls have no price, and as of when that is."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from mlops import budgets, freshness
from mlops.console import Exit, Json, complain, one_line_errors, out, print_json, print_table, say
from shared.money import call_count, cost_text, dollars, money_fields
from shared.telemetry.gaps import Gap

if TYPE_CHECKING:
    from shared.costs.llm_models import UnpricedCalls
    from shared.costs.report import CostReport, Line

_DAYS = 30
_MODELS_SHOWN = 3

REMEDIES: Final = {
    Gap.NO_PRICE: "`mlops cost prices import`, or state what a call cost (`cost=`)",
    Gap.NO_PROVIDER: "record calls with `provider=`, or with `response=`",
    Gap.NO_MODEL: "record calls with `llm_model=` and `provider=`, or with `response=`",
    Gap.NO_COUNT: "record calls with their tokens, or with `response=`; `tokens_used` has no price",
    Gap.IMPOSSIBLE_COUNT: "`input_tokens` hold cached and written ones, `output_tokens` reasoning",
    Gap.OTHER_UNIT: "state what a call cost (`cost=`)",
    Gap.BEYOND_A_CALL: "look for a wrong price (`mlops cost prices`) or a wrong number of tokens",
    Gap.NO_TABLE: "install the package genai-prices",
    Gap.OTHER: "`cost_reason` of `mlops.events` has the words",
}
"What can be done about it."


def report_cost(
    days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="The last so many; 30 when left out.")
    ] = None,
    month: Annotated[str | None, typer.Option(help="A month instead, as 2026-11.")] = None,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A single day instead.")
    ] = None,
    by: Annotated[
        Literal["model", "function", "variant", "llm_model", "day", "hour"],
        typer.Option(help="A line for each; llm_model is the language model that was billed."),
    ] = "model",
    as_json: Json = False,
) -> None:
    """Show what was spent, per request and per successful task too, and where the budgets stand.

    Calls without a price are counted apart, by reason: their cost is unknown. Calls at a simulated
    price are in the cost, which then says so. Days are UTC.

    Example: mlops cost report --month 2026-11 --by function
    """
    with one_line_errors():
        from shared.costs.budgeting import budgets as all_budgets
        from shared.costs.budgeting import standings
        from shared.costs.freshness import freshness as look
        from shared.costs.report import By, report
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        today = now.date()
        start, end_before = _window(days, month, None if on is None else on.date(), today)
        with tenant_session(current_tenant()) as session:
            found = report(session, start, end_before, By(by))
            stand = standings(session, all_budgets(session), today)
            fresh = look(session, now)
    if as_json:
        print_json(
            {
                "from": _midnight(start),
                "to": _midnight(end_before),
                **freshness.described(fresh),
                "by": by,
                "rows": [_described(line) for line in found.lines],
                "total": None if found.total is None else _described(found.total),
                "unpriced": [_reason(one) for one in found.unpriced],
                "untold_calls": found.untold_calls,
                "budgets": [budgets.described(one) for one in stand],
            }
        )
        return
    _print(found)
    freshness.tell(fresh)
    out.print()
    budgets.print_standings(stand, today)


def _window(days: int | None, month: str | None, on: date | None, today: date) -> tuple[date, date]:
    """The first day and the one after the last."""
    if sum(one is not None for one in (days, month, on)) > 1:
        raise complain("give one of --days, --month and --on", Exit.USAGE)
    if month is None and on is None:
        from shared.costs.report import days_until

        return days_until(today, days or _DAYS)
    first = last = on or today
    if month is not None:
        try:
            first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
        except ValueError:
            raise complain(f"--month {month!r}: expected one like 2026-11", Exit.USAGE) from None
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
    if first > today:
        raise complain(f"{month or first} is in the future: today is {today} (UTC)", Exit.USAGE)
    return first, last + timedelta(days=1)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _described(line: Line) -> dict[str, Any]:
    interval = line.success_interval
    return {
        "name": line.name or None,
        **money_fields(cost=line.cost_nanos),
        "llm_calls": line.llm_calls,
        "unpriced_calls": line.unpriced_calls,
        "simulated_calls": line.simulated_calls,
        **money_fields(cost_per_request=line.nanos_per_request),
        "tasks": line.tasks,
        "successes": line.successes,
        "success_rate": line.success_rate,
        "success_interval": interval and (interval.low, interval.high),
        **money_fields(cost_per_success=line.nanos_per_success),
        **_interval(line),
    }


def _interval(line: Line) -> dict[str, Any]:
    """Of the cost per success, or why there is none."""
    from shared.costs.ratios import NoInterval

    found = line.nanos_per_success_interval
    if isinstance(found, NoInterval):
        none = money_fields(cost_per_success_low=None, cost_per_success_high=None)
        return {**none, "no_interval": found.reason}
    ends = money_fields(cost_per_success_low=found.low, cost_per_success_high=found.high)
    return {**ends, "no_interval": None}


def _reason(found: UnpricedCalls) -> dict[str, Any]:
    return {
        "reason": found.gap.code,
        "explanation": found.gap.label,
        "llm_calls": found.llm_calls,
        "llm_models": [
            {"name": name or None, "llm_calls": number} for name, number in found.llm_models
        ],
        "remedy": REMEDIES[found.gap],
    }


def _print(found: CostReport) -> None:
    last = found.end_before - timedelta(days=1)
    if found.total is None:
        say(f"nothing was spent, and no task ended, from {found.start} to {last} (UTC)")
        return
    by_llm_model = found.by.value == "llm_model"
    print_table(
        [
            "language model" if by_llm_model else found.by.value,
            "cost",
            "calls",
            "per request",
            "successes (95 %)",
            "per success (95 %)",
        ],
        [
            (
                line.name or ("all" if line is found.total else "none"),
                _cost(line),
                f"{line.llm_calls:,}",
                None if line.nanos_per_request is None else dollars(line.nanos_per_request),
                _successes(line),
                _per_success(line),
            )
            for line in (*found.lines, found.total)
        ],
        title=f"Cost from {found.start} to {last} (UTC), of the calls that have a price",
    )
    why = _interval(found.total)["no_interval"]
    if why and found.total.nanos_per_success is not None:
        say(f"no interval of the cost per success: {why}")
    if found.unpriced:
        print_table(
            ["calls", "reason", "language models", "what can be done"],
            [
                (f"{one.llm_calls:,}", one.gap.label, _models(one), REMEDIES[one.gap])
                for one in found.unpriced
            ],
            title="Calls without a price",
        )
    if found.untold_calls:
        kept = "language models were" if by_llm_model else "the reasons were"
        say(f"{call_count(found.untold_calls)}: of hours that were closed before {kept} summed")


def _models(found: UnpricedCalls) -> str:
    shown = ", ".join(name or "none" for name, _ in found.llm_models[:_MODELS_SHOWN])
    more = len(found.llm_models) - _MODELS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


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


def _per_success(line: Line) -> str | None:
    from shared.costs.ratios import NoInterval

    if line.nanos_per_success is None:
        return None
    found = line.nanos_per_success_interval
    if isinstance(found, NoInterval):
        return dollars(line.nanos_per_success)
    return f"{dollars(line.nanos_per_success)} ({dollars(found.low)} to {dollars(found.high)})"
