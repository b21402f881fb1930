"""`mlops monitor performance`: throughput, errors, latency, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops import freshness
from mlops.console import Json, one_line_errors, print_json, print_table
from mlops.monitoring.windows import Hours, last_hours, rate, shown_rate
from shared.money import cost_text, known_nanos, money_fields

if TYPE_CHECKING:
    from shared.telemetry.histograms import Histogram
    from shared.telemetry.reading import Sums


class By(StrEnum):
    MODEL = "model"
    FUNCTION = "function"
    VARIANT = "variant"


def performance(
    hours: Hours = 24,
    by: Annotated[By, typer.Option(help="A row for each of these.")] = By.MODEL,
    model: Annotated[str | None, typer.Option(help="Of this model alone.")] = None,
    function: Annotated[str | None, typer.Option(help="Of this function alone.")] = None,
    as_json: Json = False,
) -> None:
    """Show throughput, errors, latency, tokens and cost, with intervals where there are rates.

    Comes from rollups, which are up to a minute behind.

    Example: mlops monitor performance --hours 24 --by function
    """
    with one_line_errors():
        from shared.costs.freshness import freshness as look
        from shared.database import tenant_session
        from shared.telemetry.metrics import Metric
        from shared.telemetry.reading import Group, histograms, sums
        from shared.telemetry.seen import require_seen
        from shared.tenancy.tenants import current_tenant

        now = datetime.now(UTC)
        window = last_hours(now, hours)
        group = Group(by.value)
        with tenant_session(current_tenant()) as session:
            require_seen(session, "model", model)
            require_seen(session, "function", function)
            fresh = look(session, now)
            found = sums(session, window, model, function, by=group)
            measured = {
                metric: histograms(session, window, metric, model, function, by=group)
                for metric in (
                    Metric.LLM_LATENCY,
                    Metric.FIRST_TOKEN,
                    Metric.STEP_LATENCY,
                    Metric.CONFIDENCE,
                )
            }
    seconds = (now - window.start).total_seconds()
    rows = [
        {by.value: name}
        | _performance(found[name], {m.value: of[name] for m, of in measured.items()}, seconds)
        for name in sorted(found, key=lambda name: (-found[name].llm_calls, name))
    ]
    if as_json:
        print_json({"from": window.start, "to": now, **freshness.described(fresh), "rows": rows})
        return
    print_table(
        [by.value, "calls", "per hour", "errors (95 %)", "tasks solved (95 %)",
         "call p50 / p95 / p99", "step p50 / p95", "tokens in / out", "cost"],
        [_performance_cells(row, by.value) for row in rows],
        title=f"The last {hours} h, {window.start:%Y-%m-%d %H:%M} to {now:%H:%M} UTC",
        empty=f"no telemetry in the last {hours} h: what `mlops.MetricsCollector` records shows "
        "here within a minute or two",
    )  # fmt: skip
    freshness.tell(fresh)


def _performance(sums: Sums, measured: Mapping[str, Histogram], seconds: float) -> dict[str, Any]:
    """The figures of one group; a rate or quantile of nothing is None."""
    tried, errors = sums.llm_calls + sums.actions, sums.llm_errors + sums.action_errors
    # Where no call says its tokens, nothing is known of them.
    cost = known_nanos(sums.cost_nanos, sums.llm_calls, sums.unpriced_calls)
    counted = sums.llm_calls > sums.uncounted_calls
    confidence = measured["confidence"]
    return {
        "llm_calls": sums.llm_calls,
        "calls_per_second": sums.llm_calls / seconds,
        "calls_per_minute": 60 * sums.llm_calls / seconds,
        "calls_per_hour": 3600 * sums.llm_calls / seconds,
        "actions": sums.actions,
        "page_loads": sums.page_loads,
        "errors": errors,
        "error_rate": rate(errors, tried),
        "tasks_started": sums.tasks_started,
        "tasks": sums.tasks,
        "successes": sums.successes,
        "success_rate": rate(sums.successes, sums.tasks),
        "llm_latency_ms": _quantiles(measured["llm_latency_ms"]),
        "first_token_ms": _quantiles(measured["first_token_ms"]),
        "step_latency_ms": _quantiles(measured["step_latency_ms"]),
        "mean_confidence": float((confidence.values * confidence.counts).sum())
        / confidence.total
        / 10_000
        if confidence.total
        else None,
        # No call has none: where only totals were stated, the parts are not known.
        "input_tokens": (sums.input_tokens or None) if counted else None,
        "output_tokens": (sums.output_tokens or None) if counted else None,
        "uncounted_calls": sums.uncounted_calls,
        **money_fields(cost=cost if sums.llm_calls else None),
        "unpriced_calls": sums.unpriced_calls,
        "simulated_calls": sums.simulated_calls,
    }


def _quantiles(histogram: Histogram) -> dict[str, Any] | None:
    if not histogram.total:
        return None
    return {
        "p50": histogram.quantile(0.5),
        "p95": histogram.quantile(0.95),
        "p99": histogram.quantile(0.99),
        "n": histogram.total,
    }


def _performance_cells(row: Mapping[str, Any], by: str) -> list[object]:
    cost = row["cost_nanos"]
    tokens = (row["input_tokens"], row["output_tokens"])
    return [
        row[by] or "(none)",
        f"{row['llm_calls']:,}",
        f"{row['calls_per_hour']:,.1f}",
        shown_rate(row["error_rate"]),
        shown_rate(row["success_rate"]),
        _latency_cell(row["llm_latency_ms"], ("p50", "p95", "p99")),
        _latency_cell(row["step_latency_ms"], ("p50", "p95")),
        None if None in tokens or not row["llm_calls"] else " / ".join(f"{n:,}" for n in tokens),
        cost_text(
            cost,
            row["unpriced_calls"],
            simulated=row["simulated_calls"] > 0,
        )
        if row["llm_calls"]
        else "no calls",
    ]


def _latency_cell(found: Mapping[str, Any] | None, of: Sequence[str]) -> str | None:
    return None if found is None else " / ".join(f"{found[q]:,.0f}" for q in of) + " ms"
