"""`mlops cost budget`: what may be spent, and how much of it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from mlops import freshness
from mlops.console import Exit, Json, complain, note, one_line_errors, out, plain, print_json, say
from shared.money import cost_text, dollars, money_fields

if TYPE_CHECKING:
    from shared.costs.budgets import Scope, Standing

app = typer.Typer(no_args_is_help=True, help="Budgets: of a day, week or month.")

Period = Annotated[
    Literal["day", "week", "month"], typer.Option(help="Of the UTC calendar; weeks from Monday.")
]
Model = Annotated[str | None, typer.Option(help="Of this registered model, as name@version.")]
Function = Annotated[str | None, typer.Option(help="Of this function.")]

_COLOURS = {"ok": "green", "50": "cyan", "80": "yellow", "exceeded": "red"}
_BAR_WIDTH = 16


@app.command("list")
def list_budgets(as_json: Json = False) -> None:
    """Show where the budgets stand in their current periods.

    Where none was set for all models, that of the settings holds.

    Example: mlops cost budget list
    """
    with one_line_errors():
        from shared.costs import budgeting
        from shared.costs.freshness import freshness as look
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        with tenant_session(current_tenant()) as session:
            found = budgeting.standings(session, budgeting.budgets(session), now.date())
            fresh = look(session, now)
    if as_json:
        print_json({**freshness.described(fresh), "budgets": [described(one) for one in found]})
    else:
        print_standings(found, now.date())
        freshness.tell(fresh)


@app.command("set")
def set_budget(
    amount: Annotated[str, typer.Argument(metavar="DOLLARS", help="Such as 5 or 2.50.")],
    period: Period,
    model: Model = None,
    function: Function = None,
    hard_stop: Annotated[
        bool, typer.Option("--hard-stop", help="Refuse calls once it is used up.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Set a budget, in place of the one for the same period, and judge all of them at once.

    An alert is raised at 50, 80 and 100 %. With a hard stop, episodes and tracked calls are
    refused beyond it.

    Example: mlops cost budget set 5 --period day

    Example: mlops cost budget set 2.50 --period month --model shopper@1.0.0 --hard-stop
    """
    with one_line_errors():
        from shared.alerts.spending import tell_of_spending
        from shared.costs import budgeting
        from shared.costs.aggregation import Period as Periods
        from shared.costs.budgets import Budget, nanos_of
        from shared.costs.reserving import LIMITS_SECONDS
        from shared.database import tenant_session
        from shared.telemetry.seen import NeverSeenError, require_seen
        from shared.tenancy.tenants import current_tenant

        scope, name = _scope(model, function)
        budget = Budget(Periods(period), nanos_of(amount), scope, name, hard_stop=hard_stop)
        now = datetime.now(UTC)
        doubt = None
        with tenant_session(current_tenant()) as session:
            before = budgeting.set_budget(session, budget)
            (standing,) = budgeting.standings(session, [budget], now.date())
            # What is spent already is told now, and not when the next hour is summed.
            told = tell_of_spending(session, (), now)
            try:
                require_seen(session, scope.value, name or None)
            except NeverSeenError as error:
                doubt = str(error)
    if as_json:
        print_json(
            described(standing)
            | {
                "known_everywhere_within_seconds": LIMITS_SECONDS if hard_stop else None,
                "alerts_raised": told.raised,
                "alerts_resolved": told.resolved,
            }
        )
    else:
        say(f"{budget} is set" + (f", instead of {before}" if before else ""))
        say(_stands(standing))
        if hard_stop:
            say(_hard_stop(standing, LIMITS_SECONDS))
        elif before is not None and before.hard_stop:
            say(f"calls are not refused any more, in every process after {LIMITS_SECONDS:g} s")
    if doubt is not None:
        note(f"{doubt}{'' if doubt.endswith('?') else ': is the name right?'}")


@app.command("remove")
def remove_budget(
    period: Period, model: Model = None, function: Function = None, as_json: Json = False
) -> None:
    """Remove a budget. For all models, that of the settings holds again.

    Example: mlops cost budget remove --period day
    """
    with one_line_errors():
        from shared.alerts.spending import tell_of_spending
        from shared.costs import budgeting
        from shared.costs.aggregation import Period as Periods
        from shared.database import tenant_session
        from shared.telemetry.seen import did_you_mean
        from shared.tenancy.tenants import current_tenant

        scope, name = _scope(model, function)
        with tenant_session(current_tenant()) as session:
            try:
                removed = budgeting.remove_budget(session, scope, name, Periods(period))
            except budgeting.NoBudgetError as error:
                names = {one.name for one in budgeting.own_budgets(session) if one.scope is scope}
                near = did_you_mean(name, names - {name})
                raise complain(f"{error}{near}", Exit.NOT_FOUND) from None
            tell_of_spending(session, (), datetime.now(UTC))
    if as_json:
        print_json({"removed": str(removed)})
    else:
        say(f"{removed} is removed")


def _scope(model: str | None, function: str | None) -> tuple[Scope, str]:
    from shared.costs.budgets import Scope

    if model is not None and function is not None:
        raise complain("give --model or --function, not both", Exit.USAGE)
    if model is not None:
        return Scope.MODEL, model
    return (Scope.TENANT, "") if function is None else (Scope.FUNCTION, function)


def _stands(standing: Standing) -> str:
    """What is spent of a budget that was just set."""
    spent, since = standing.spent, standing.starts_on
    if standing.share is None:
        return f"since {since} (UTC): {_state(standing)}"
    cost = cost_text(spent.known_nanos, spent.unpriced_calls, simulated=spent.simulated_calls > 0)
    return f"{100 * standing.share:.0f} % of it is spent since {since} (UTC): {cost}"


def _hard_stop(standing: Standing, known_after: float) -> str:
    """What a hard stop will do, and from when on."""
    whose, until = standing.budget.whose, f"until {standing.ends_before} 00:00 UTC"
    known = f"every process knows it within {known_after:g} s"
    if standing.state.value == "exceeded":
        return f"hard stop: it is used up, so calls of {whose} are refused {until}; {known}"
    return (
        f"hard stop: once it is used up, calls of {whose} are refused {until}; {known}. Episodes"
        " that have begun go on without it; in your own code, `obey_budgets=True` asks for it"
    )


def described(standing: Standing) -> dict[str, Any]:
    """Where a budget stands, as JSON has it."""
    budget, spent = standing.budget, standing.spent
    return {
        "scope": budget.scope.value,
        "name": budget.name or None,
        "period": budget.period.value,
        "from": datetime.combine(standing.starts_on, time(), UTC),
        "to": datetime.combine(standing.ends_before, time(), UTC),
        **money_fields(amount=budget.amount_nanos),
        "hard_stop": budget.hard_stop,
        "default": budget.default,
        **money_fields(spent=spent.nanos if spent.known else None),
        "llm_calls": spent.calls,
        "unpriced_calls": spent.unpriced_calls,
        "simulated_calls": spent.simulated_calls,
        "share": standing.share,
        "state": standing.state.value,
    }


def print_standings(standings: Sequence[Standing], today: date) -> None:
    """A bar for each budget, on stdout."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "budget", "of", "since", "spent", "used", "", "state",
        title=f"Budgets on {today} (UTC)", title_justify="left", header_style="bold",
    )  # fmt: skip
    for one in standings:
        budget, spent, share = one.budget, one.spent, one.share
        colour = _COLOURS.get(one.state.value, "white")
        cost = cost_text(
            spent.known_nanos,
            spent.unpriced_calls,
            simulated=spent.simulated_calls > 0,
        )
        kind = ", hard stop" if budget.hard_stop else ", default" if budget.default else ""
        table.add_row(
            f"{dollars(budget.amount_nanos)} a {budget.period}{kind}",
            escape(plain(budget.whose)),
            Text(str(one.starts_on), no_wrap=True),
            cost if spent.calls else "no calls",
            Text("-" if share is None else f"{100 * share:.0f} %", no_wrap=True),
            ProgressBar(
                total=1.0,
                completed=min(1.0, share or 0.0),
                width=_BAR_WIDTH,
                complete_style=colour,
                finished_style=colour,
            ),
            Text(_state(one), style=colour),
        )
    out.print(table)


def _state(standing: Standing) -> str:
    match standing.state.value:
        case "50" | "80" as reached:
            return f"over {reached} %"
        case "no_data":
            return "no data"
        case "unknown":
            return "unknown: no call has a price"
        case state:
            return state
