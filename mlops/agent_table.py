"""The table of agents: how often each succeeds, how fast it is, and what it spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops.console import print_table
from shared.money import call_count, cost_text, known_nanos

if TYPE_CHECKING:
    from shared.evaluation.reading import AgentSummary

TITLE = "Agents: Wilson intervals; latency of a step; environment errors are not scored"


def agent_row(summary: AgentSummary, *, simulated: bool) -> dict[str, Any]:
    """An agent's figures as JSON has them; `simulated` says that its price is no real one."""
    cost = known_nanos(summary.cost_nanos, summary.llm_calls, summary.unpriced_calls)
    uncounted = 0 < summary.llm_calls == summary.uncounted_calls
    return {
        "agent": summary.model,
        "episodes": summary.episodes,
        "scored": summary.scored,
        "successes": summary.successes,
        "success_rate": summary.success_rate,
        "interval": summary.interval and (summary.interval.low, summary.interval.high),
        "environment_errors": summary.environment_errors,
        "mean_steps": summary.mean_steps,
        "p50_ms": summary.step_latency.quantile(0.5),
        "p95_ms": summary.step_latency.quantile(0.95),
        # Tokens that no endpoint reported are unknown.
        "input_tokens": None if uncounted else summary.input_tokens,
        "output_tokens": None if uncounted else summary.output_tokens,
        "llm_calls": summary.llm_calls,
        "uncounted_calls": summary.uncounted_calls,
        "unpriced_calls": summary.unpriced_calls,
        "cost_nanos": cost,
        "cost": cost_text(cost, summary.unpriced_calls, simulated=simulated),
    }


def print_agents(rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of `agent_row` as a table for people."""
    print_table(
        ["agent", "success (95 %)", "steps", "p50 / p95", "tokens", "cost"],
        [
            (
                row["agent"],
                _rate(row),
                None if row["mean_steps"] is None else f"{row['mean_steps']:.1f}",
                None if row["p50_ms"] is None else f"{row['p50_ms']:.0f} / {row['p95_ms']:.0f} ms",
                _tokens(row),
                row["cost"] if row["llm_calls"] else "no calls",
            )
            for row in rows
        ],
        title=TITLE,
    )


def _rate(row: Mapping[str, Any]) -> str | None:
    """The rate with its interval and what it is of; None where nothing was scored."""
    if row["interval"] is None:
        return None
    low, high = (round(100 * end) for end in row["interval"])
    return f"{row['success_rate']:.0%} ({low} to {high}) of {row['scored']}"


def _tokens(row: Mapping[str, Any]) -> str:
    if not row["llm_calls"]:
        return "none"
    if row["input_tokens"] is None:
        return "-"
    missing = row["uncounted_calls"]
    more = f" + uncounted: {call_count(missing)}" if missing else ""
    return f"{row['input_tokens'] + row['output_tokens']:,}{more}"
