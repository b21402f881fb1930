"""`mlops drift effect`: from where on a difference matters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mlops.console import Exit, Json, complain, one_line_errors, print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="From where on the difference of a metric matters.")

Metric = Annotated[str, typer.Argument(help="As `mlops drift list` names it.")]


@app.command("set")
def set_effect(
    metric: Metric,
    effect: Annotated[
        float,
        typer.Argument(
            help="The share of values that differ, such as 0.1; of request_volume times the"
            " expected, such as 1.5."
        ),
    ],
) -> None:
    """Say from where on a metric matters, in every function and model, from the next sweep on.

    Where the baseline varies by more of itself, that holds.

    Example: mlops drift effect set error_rate 0.02
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.minimum_effects import set_minimum_effect
        from shared.drift.wording import magnitude_said
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = set_minimum_effect(session, metric, effect)
    say(f"{found.metric} matters from {magnitude_said(found.effect, found.minimum_effect)}")


@app.command("remove")
def remove(metric: Metric) -> None:
    """Go back to what is built in.

    Example: mlops drift effect remove error_rate
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.minimum_effects import remove_minimum_effect
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            removed = remove_minimum_effect(session, metric)
    if not removed:
        raise complain(
            f"no effect was set of {metric[:100]!r}; `mlops drift effect list` shows those that"
            " were",
            Exit.NOT_FOUND,
        )
    say(f"{metric}: as built in")


@app.command("list")
def list_effects(as_json: Json = False) -> None:
    """List the effects that were set.

    Example: mlops drift effect list
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.minimum_effects import minimum_effects
        from shared.drift.wording import magnitude_said
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            found = minimum_effects(session)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    print_table(
        ["metric", "matters from", "set"],
        [
            (
                one.metric,
                magnitude_said(one.effect, one.minimum_effect),
                f"{one.changed_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
        empty="none was set: all matters from where it is built in (docs/drift-statistics.md)",
    )
