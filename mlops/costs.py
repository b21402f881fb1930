"""`mlops cost`: what the calls of language models came to, and how much of the budgets that is."""

from __future__ import annotations

import typer

from mlops import budgets, cost_anomalies, cost_report, costs_advice, prices

app = typer.Typer(no_args_is_help=True, help="Cost: what the models' calls came to.")
app.add_typer(budgets.app, name="budget")
app.add_typer(prices.app, name="prices")
app.command("report")(cost_report.report_cost)
app.command("anomalies")(cost_anomalies.anomalies)
app.command("forecast")(cost_anomalies.forecast)
app.command("advise")(costs_advice.advise)
