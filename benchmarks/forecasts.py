"""How often the interval of `shared.costs.forecasting` holds what a simulated month then cost.

The months are those of `benchmarks.anomalies.simulate`, without spikes: seasons, a level that
wanders, autocorrelated days, bunches of requests. Some of them grow by 1 % a day on top.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from benchmarks.anomalies import HOURS_PER_DAY, STARTS_AT, simulate
from benchmarks.measure import Figure
from shared.costs.forecasting import forecast
from shared.costs.hourly import HourlySeries

CONFIDENCE = 0.9
MONTH = 30
HISTORIES = (14, 28, 56, 91)
"Days before the month."
GONE = (0, 7, 20)
"Days of the month that are over when the forecast is made, and ten hours."
RUNS = 200


@dataclass(frozen=True)
class Coverage:
    """Of many forecasts: the share that held, the median half width and the mean error of the
    figure, both in relation to what the month cost."""

    held: float
    half_width: float
    error: float


def coverage(volume: float, growth: float, history: int, gone: int, runs: int = RUNS) -> Coverage:
    """Forecasts `gone` days into a month, after `history` days; `growth` is per day."""
    held, widths, errors = 0, [], []
    first = history * HOURS_PER_DAY
    now = first + gone * HOURS_PER_DAY + 10
    starts_at = STARTS_AT + timedelta(days=history)
    for run in range(runs):
        rng = np.random.default_rng([run, history, gone])
        series = simulate(rng, volume, first + MONTH * HOURS_PER_DAY)
        grown = np.exp(growth * np.arange(series.size) / HOURS_PER_DAY)
        cost = np.rint(series.cost_nanos * grown).astype(np.int64)
        so_far = HourlySeries(
            STARTS_AT, cost[:now], series.known[:now], series.requests[:now], series.unpriced[:now]
        )
        found = forecast(so_far, starts_at, starts_at + timedelta(days=MONTH), CONFIDENCE)
        total, low, high = found.total_nanos, found.low_nanos, found.high_nanos
        assert total is not None
        assert low is not None
        assert high is not None
        came = int(cost[first:].sum())
        held += low <= came <= high
        widths.append((high - low) / 2 / came)
        errors.append(total / came - 1)
    return Coverage(held / runs, float(np.median(widths)), float(np.mean(errors)))


def figures() -> Iterator[Figure]:
    """What the interval says of itself beside what is true."""
    for name, growth in (("month_held", 0.0), ("growing_month_held", 0.01)):
        found = coverage(50, growth, 56, 7)
        yield Figure(
            name, 100 * found.held, 100 * CONFIDENCE, "%", "stated", 0.95, more_is_better=True
        )


def report() -> Iterator[str]:
    """A table in Markdown, line by line."""
    heads = " | ".join(f"after {gone} days" for gone in GONE)
    yield f"| requests/h | growth per day | days of history | {heads} |"
    yield "|---" * (len(GONE) + 3) + "|"
    for volume, growth in ((50, 0.0), (5, 0.0), (50, 0.005), (50, 0.01), (50, 0.02)):
        for history in HISTORIES:
            cells = (coverage(volume, growth, history, gone) for gone in GONE)
            shown = " | ".join(
                f"{cell.held:.0%} (+-{cell.half_width:.0%}, {cell.error:+.0%})" for cell in cells
            )
            yield f"| {volume} | {growth:.1%} | {history} | {shown} |"


if __name__ == "__main__":
    for line in report():
        print(line)
