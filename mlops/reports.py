"""`mlops alert`: what is wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from mlops.console import Json, one_line_errors, out, print_json, print_table, say

_WIDE = 110

alert = typer.Typer(no_args_is_help=True, help="Alerts: what is wrong, once for each thing.")


@alert.command("list")
def list_alerts(
    every: Annotated[bool, typer.Option("--all", help="Those that are resolved as well.")] = False,
    as_json: Json = False,
) -> None:
    """List the open alerts, the newest first.

    Example: mlops alert list --all
    """
    with one_line_errors():
        import sqlalchemy as sa

        from shared.alerts.tables import Alert
        from shared.database import tenant_session
        from shared.tenancy.tenants import current_tenant

        fields = (
            "id", "severity", "kind", "message", "times_seen", "raised_at", "last_seen_at",
            "resolved_at", "details",
        )  # fmt: skip
        query = sa.select(Alert).order_by(Alert.raised_at.desc(), Alert.id)
        if not every:
            query = query.where(Alert.resolved_at.is_(None))
        with tenant_session(current_tenant()) as session:
            rows = [{f: getattr(row, f) for f in fields} for row in session.scalars(query)]
    if as_json:
        print_json(rows)
        return
    if out.width < _WIDE:
        # A command at the end of a message can be copied from a line, not from a narrow column.
        for row in rows:
            seen = f"seen {row['times_seen']} times, last {_minute(row['last_seen_at'])}"
            ended = row["resolved_at"]
            seen += "" if ended is None else f", resolved {_minute(ended)}"
            say(f"{row['severity']} {row['kind']}, raised {_minute(row['raised_at'])}, {seen}")
            say(f"  {row['message']}")
        if rows:
            return
    print_table(
        ["severity", "kind", "message", "seen", "raised", "last seen", "resolved"],
        [
            (
                row["severity"],
                row["kind"],
                row["message"],
                row["times_seen"],
                _minute(row["raised_at"]),
                _minute(row["last_seen_at"]),
                _minute(row["resolved_at"]),
            )
            for row in rows
        ],
        empty="no alerts" if every else "no open alerts: --all shows those that are resolved",
    )


def _minute(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M}"
