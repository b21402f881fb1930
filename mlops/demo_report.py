"""What a demonstration shows at its end."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from mlops import budgets
from mlops.agent_table import agent_row, print_agents
from mlops.console import out, print_json
from mlops.demo import AB_TEST
from mlops.drift.tables import described, print_findings
from mlops.services import state_folder
from shared.money import cost_text

if TYPE_CHECKING:
    from mlops.demo import Demo
    from shared.costs.budgets import Standing
    from shared.drift.reading import StoredFinding
    from shared.local.state import FlowerRecord

_SIMULATED = sa.text(
    "SELECT model, sum(simulated_calls)::bigint AS calls FROM mlops.model_performance"
    " GROUP BY model"
)


def show(demo: Demo, flower: FlowerRecord | None, *, as_json: bool) -> None:
    """The figures as tables on stdout, or as one JSON object."""
    report = _figures(demo)
    drift = _findings(demo)
    report["drift"] = [described(one) for one in drift]
    today = datetime.now(UTC).date()
    standings = _standings(demo, today)
    report["budgets"] = [budgets.described(one) for one in standings]
    report["flower"] = None if flower is None else f"http://127.0.0.1:{flower.port}"
    if as_json:
        print_json(report)
        return
    out.print()
    print_agents(report["agents"])
    out.print(f"A/B test {AB_TEST}: {report['ab_test']['verdict']}", markup=False)
    out.print()
    print_findings(
        drift,
        "Drift of the traffic window against the benchmark window; n of baseline / current",
        empty="no sweep has compared anything",
    )
    costs = ", ".join(f"{period} {text}" for period, text in report["costs"].items())
    out.print(f"Cost: {costs}", markup=False)
    out.print()
    budgets.print_standings(standings, today)
    for card in report["cards"]:
        out.print(f"Model card: {card}", markup=False, soft_wrap=True)
    folder = state_folder()
    if report["flower"]:
        out.print(
            f"Flower: {report['flower']} (user {flower.user if flower else ''}, its password is in"
            f" {folder}/services.json)",
            markup=False,
            soft_wrap=True,
        )
    out.print(f"State folder: {folder}", markup=False, soft_wrap=True)
    out.print(f"Look further: MLOPS_TENANT={demo.tenant} mlops job list", markup=False)


def _figures(demo: Demo) -> dict[str, Any]:
    from shared.costs.reading import totals
    from shared.database import tenant_session
    from shared.evaluation.reading import summarize

    with tenant_session(demo.tenant_id) as session:
        periods = totals(session, datetime.now(UTC).date())
        simulated = {row.model: row.calls for row in session.execute(_SIMULATED)}
        return {
            "tenant": demo.tenant,
            "runs": demo.runs,
            "agents": [
                agent_row(row, simulated=bool(simulated.get(row.model)))
                for row in summarize(session, demo.runs)
            ],
            "ab_test": demo.ab_analysis,
            "costs": {
                name: cost_text(
                    period.cost_nanos, period.unpriced_calls, simulated=period.simulated_calls > 0
                )
                if period.llm_calls
                else "no calls"
                for name, period in (
                    ("day", periods.day),
                    ("week", periods.week),
                    ("month", periods.month),
                )
            },
            "cards": [str(path) for path in demo.cards],
        }


def _findings(demo: Demo) -> tuple[StoredFinding, ...]:
    from shared.database import tenant_session
    from shared.drift.reading import findings_of

    with tenant_session(demo.tenant_id) as session:
        return findings_of(session, UUID(demo.sweep["sweep_id"]))


def _standings(demo: Demo, today: date) -> tuple[Standing, ...]:
    from shared.costs.budgeting import budgets as all_budgets
    from shared.costs.budgeting import standings
    from shared.database import tenant_session

    with tenant_session(demo.tenant_id) as session:
        return standings(session, all_budgets(session), today)
