"""`mlops drift` and `mlops alert`: what the workers have found out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.console import Json, one_line_errors, print_json, print_table, say

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

drift = typer.Typer(no_args_is_help=True, help="Drift: has an agent quietly changed?")
alert = typer.Typer(no_args_is_help=True, help="Alerts: what is wrong, once for each thing.")


@drift.command("list")
def list_drift(as_json: Json = False) -> None:
    """List the verdicts of each model's newest sweep, one per metric.

    Example: mlops drift list
    """
    with one_line_errors():
        from shared.database import tenant_session
        from shared.drift.wording import said
        from shared.tenancy.tenants import current_tenant

        with tenant_session(current_tenant()) as session:
            rows = _newest_verdicts(session)
    if as_json:
        print_json(rows)
        return
    print_table(
        ["model", "metric", "verdict", "effect", "adjusted p", "n"],
        [
            (
                row["model"],
                row["metric"],
                said(row["verdict"]),
                None
                if row["effect_size"] is None
                else f"{row['effect_name']} {row['effect_size']:.3f}",
                None if row["p_adjusted"] is None else f"{row['p_adjusted']:.2g}",
                f"{row['n_baseline']} / {row['n_current']}",
            )
            for row in rows
        ],
        title="The current window against the baseline; n of baseline / current",
        empty="no sweep yet: beat asks for one every hour once there is telemetry",
    )
    # Sentences beside seven columns would be wrapped to a word a line.
    for reason, metrics in _by_reason(rows).items():
        say(f"{reason}: {', '.join(metrics)}")


def _by_reason(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why there is no finding, with the metrics that it holds for: many share one reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["verdict"] in ("no_data", "insufficient"):
            found.setdefault(row["reason"], []).append(f"{row['model']} {row['metric']}")
    return found


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


def _newest_verdicts(session: Session) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    # The verdict and the reason are the metric's, the same in all of its tests. It is judged by
    # the smallest adjusted p-value, and by the one effect that has a minimum.
    query = sa.text(
        """
        SELECT function, model, metric, min(verdict) AS verdict,
               min(effect_name) FILTER (WHERE minimum_effect IS NOT NULL) AS effect_name,
               min(effect_size) FILTER (WHERE minimum_effect IS NOT NULL) AS effect_size,
               min(minimum_effect) AS minimum_effect,
               min(p_adjusted) AS p_adjusted, min(threshold) AS threshold,
               min(n_baseline) AS n_baseline, min(n_current) AS n_current,
               min(reason) AS reason, sweep_id, min(created_at) AS created_at
        FROM mlops.drift_detection d
        WHERE sweep_id = (
            SELECT sweep_id FROM mlops.drift_detection n WHERE n.model = d.model
            ORDER BY created_at DESC, sweep_id LIMIT 1)
        GROUP BY function, model, metric, sweep_id ORDER BY function, model, metric
        """
    )
    return [dict(row) for row in session.execute(query).mappings()]


def _minute(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M}"
