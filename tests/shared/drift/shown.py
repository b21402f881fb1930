"""Metrics as they are shown, for the tests of drawings and of the page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from shared.drift.comparison import compare
from shared.drift.effects import Effect
from shared.drift.showing import Distribution, PastSweep, Period, Shape, ShownMetric
from shared.drift.verdicts import ComparedMetric, DriftState, MetricVerdict, judge
from shared.drift.window_pair import WindowPair

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
BASELINE = Period(NOW - timedelta(days=29), NOW - timedelta(days=1), "the last accepted one")
CURRENT = Period(NOW - timedelta(days=1), NOW)

HOSTILE = (
    "</text></svg></style></title></details><script>window.pwned=1</script>"
    "<img src=x onerror=window.pwned=2><svg onload=window.pwned=3>"
    '"onmouseover="window.pwned=4" \' {{ 7*7 }} {% raw %} \x1b[2J \u202egnp.exe'
)


def points(values, current, unit=""):
    """Raw values of both windows as a distribution."""
    positions = np.unique(np.concatenate((values, current)))
    counts = [
        np.bincount(np.searchsorted(positions, window), minlength=positions.size)
        for window in (values, current)
    ]
    return Distribution(positions, *counts, unit=unit)


def verdict_on(shape: Distribution, function="search", metric="latency_ms") -> MetricVerdict:
    pair = WindowPair.from_counts(shape.baseline, shape.current, shape.positions)
    return judge([ComparedMetric(function, metric, compare(pair))])[0]


def metric(
    shape: Shape | None = None,
    state: DriftState = DriftState.DRIFT,
    *,
    function="search",
    name="latency_ms",
    model="mini@2.0.0",
    reason: str | None = None,
    history: tuple[PastSweep, ...] = (),
) -> ShownMetric:
    drifted = verdict_on(points(np.arange(100), np.arange(50, 150)))
    verdict = replace(
        drifted, function_name=function, metric_name=name, state=state, reason=reason,
        effect_name=Effect.KS_DISTANCE,
    )  # fmt: skip
    return ShownMetric(model, verdict, BASELINE, CURRENT, shape, history)


def sweeps(*effects: float | None) -> tuple[PastSweep, ...]:
    """One an hour: drift from 0.1 on, no data where there is no effect."""
    return tuple(
        PastSweep(
            NOW + timedelta(hours=i),
            DriftState.NO_DATA
            if effect is None
            else DriftState.DRIFT
            if effect >= 0.1
            else DriftState.STABLE,
            effect,
        )
        for i, effect in enumerate(effects)
    )
