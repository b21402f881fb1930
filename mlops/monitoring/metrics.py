"""`mlops monitor metrics`: what senders measure under names of their own, and machines."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlops import freshness
from mlops.console import Json, one_line_errors, print_json, print_table
from mlops.monitoring.windows import Hours, last_hours


def metrics(
    hours: Hours = 24,
    name: Annotated[str | None, typer.Option(help="This metric alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show metrics of your own: how often each was measured, its mean, spread and latest value.

    Samples of machines are metrics as well; their names begin with `system.`.

    Example: mlops monitor metrics --name basket
    """
    with one_line_errors():
        from shared.costs.freshness import freshness as look
        from shared.database import tenant_session
        from shared.telemetry.custom_metrics import custom_metrics
        from shared.telemetry.seen import require_seen
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        window = last_hours(now, hours)
        with tenant_session(current_tenant()) as session:
            require_seen(session, "name", name, called="metric")
            fresh = look(session, now)
            found = custom_metrics(session, window, name)
    if as_json:
        print_json(
            {
                "from": window.start,
                "to": window.end,
                **freshness.described(fresh),
                "metrics": [asdict(one) for one in found],
            }
        )
        return
    print_table(
        ["metric", "of", "function", "times", "mean", "sd", "least", "greatest", "latest", "at"],
        [
            (
                one.name,
                one.host or one.model,
                one.function,
                f"{one.n:,}",
                f"{one.mean:.4g}",
                f"{one.standard_deviation:.4g}",
                f"{one.minimum:.4g}",
                f"{one.maximum:.4g}",
                f"{one.latest:.4g}",
                f"{one.latest_at:%Y-%m-%d %H:%M}",
            )
            for one in found
        ],
        empty=f"no metric in the last {hours} h: `MetricsCollector.record_metric` records them",
    )
    freshness.tell(fresh)
