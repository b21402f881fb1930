"""Who finds a spike and who cries wolf: the rules of `shared.costs.anomalies` on a simulated year.

What is simulated (`simulate`), per hour: the expected number of requests follows the hour of the
day and the day of the week, a level that wanders by the day (a random walk, and an autocorrelated
mood of 15 %), and hours that are busier than others by 10 %. Requests come in tasks of five on
average, so they come in bunches, and each costs a lognormal amount around a cent. Spikes multiply
the requests of 1 or 6 hours by 2, 4 or 6; shifts multiply the cost of every request from an hour
on. Everything comes from a seed.

A spike is found if any hour of it is called an anomaly. A false alarm is an hour outside of all
spikes that is. The first eight weeks are history and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.costs.anomalies import judge
from shared.costs.hourly import HOURS_PER_DAY, HOURS_PER_WEEK, HourlySeries

STARTS_AT = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
DAYS = 365
WARM_UP = 8 * HOURS_PER_WEEK
VOLUMES = (5, 50, 500)
FACTORS = (2, 4, 6)
LENGTHS = (1, 6)
SERIES = 3
"Simulated years of each volume."
SPIKES_OF_A_KIND = 4
"In each year; 24 in all."

_NANOS_PER_REQUEST = 10_000_000
_CALLS_PER_TASK = 5.0
_COST_SIGMA = 0.8
_MOOD, _MOOD_MEMORY, _WANDER, _BUSY = 0.15, 0.6, 0.01, 0.1
_WEEKEND = 0.35

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Spike(NamedTuple):
    start: int
    hours: int
    factor: float


class Shift(NamedTuple):
    start: int
    factor: float
    "Of the cost per request, in relation to the beginning."


def expected_requests(hours: int, volume: float) -> Floats:
    """The season alone, `volume` on average over a week from Monday on."""
    hour = np.arange(HOURS_PER_WEEK)
    of_day, day = hour % HOURS_PER_DAY, hour // HOURS_PER_DAY
    working = 0.25 + np.exp(-(((of_day - 14) / 4.5) ** 2))
    # Weekends are not only quieter: they begin later.
    late = 0.25 + np.exp(-(((of_day - 18) / 5.0) ** 2))
    week = np.where(day < 5, working, _WEEKEND * late)
    return np.resize(week / week.mean() * volume, hours)


def simulate(
    rng: np.random.Generator,
    volume: float,
    hours: int = DAYS * HOURS_PER_DAY,
    spikes: Sequence[Spike] = (),
    shifts: Sequence[Shift] = (),
) -> HourlySeries:
    """A series of `hours`, `volume` requests in an hour on average."""
    days = -(-hours // HOURS_PER_DAY)
    mood = np.zeros(days)
    steps = rng.normal(0, _MOOD * np.sqrt(1 - _MOOD_MEMORY**2), days)
    for day in range(1, days):
        mood[day] = _MOOD_MEMORY * mood[day - 1] + steps[day]
    level = np.exp(mood + np.cumsum(rng.normal(0, _WANDER, days)))
    rate = expected_requests(hours, volume) * np.repeat(level, HOURS_PER_DAY)[:hours]
    rate *= np.exp(rng.normal(0, _BUSY, hours))
    each = np.full(hours, float(_NANOS_PER_REQUEST))
    for spike in spikes:
        rate[spike.start : spike.start + spike.hours] *= spike.factor
    for shift in shifts:
        each[shift.start :] = _NANOS_PER_REQUEST * shift.factor
    tasks = rng.poisson(rate / _CALLS_PER_TASK)
    # A task has at least one call: the sum of geometric numbers of calls, mean five.
    requests = tasks + rng.negative_binomial(np.maximum(tasks, 1), 1 / _CALLS_PER_TASK) * (tasks > 0)
    calls = rng.lognormal(-(_COST_SIGMA**2) / 2, _COST_SIGMA, int(requests.sum()))
    ends = np.concatenate(([0.0], np.cumsum(calls)))[np.concatenate(([0], np.cumsum(requests)))]
    cost = np.rint(np.diff(ends) * each).astype(np.int64)
    return HourlySeries(
        STARTS_AT,
        cost,
        np.ones(hours, dtype=np.bool_),
        requests.astype(np.int64),
        np.zeros(hours, dtype=np.int64),
    )


def spikes_of_a_year(rng: np.random.Generator) -> list[Spike]:
    """Every kind as often, in random order, days apart, at any hour of the day."""
    kinds = [(hours, factor) for hours in LENGTHS for factor in FACTORS] * SPIKES_OF_A_KIND
    room = (DAYS * HOURS_PER_DAY - WARM_UP) // len(kinds)
    return [
        Spike(WARM_UP + place * room + int(rng.integers(room // 2)), *kinds[kind])
        for place, kind in enumerate(rng.permutation(len(kinds)))
    ]


Detector = Callable[[HourlySeries], Bools]


def five_times(series: HourlySeries) -> Bools:
    """The literal rule."""
    return np.array([verdict.five_times.anomalous for verdict in judge(series)])


def hour_of_week(series: HourlySeries) -> Bools:
    """The better rule."""
    return np.array([verdict.hour_of_week.anomalous for verdict in judge(series)])


def per_request(series: HourlySeries) -> Bools:
    """The rule that looks at the cost per request."""
    return np.array([verdict.per_request.anomalous for verdict in judge(series)])


def three_deviations(series: HourlySeries) -> Bools:
    """A fixed limit: mean and three standard deviations of the eight weeks of history."""
    history = series.cost_nanos[:WARM_UP].astype(np.float64)
    return series.cost_nanos > history.mean() + 3 * history.std()


def three_times_last_week(series: HourlySeries) -> Bools:
    """Three times the same hour of the week before."""
    found = np.zeros(series.size, dtype=np.bool_)
    cost = series.cost_nanos
    found[HOURS_PER_WEEK:] = cost[HOURS_PER_WEEK:] > 3 * cost[:-HOURS_PER_WEEK]
    return found


DETECTORS: dict[str, Detector] = {
    "hour of week": hour_of_week,
    "five times": five_times,
    "mean + 3 sd": three_deviations,
    "3 x last week": three_times_last_week,
}


@dataclass(frozen=True)
class Outcome:
    """What a detector did on all years of one volume."""

    detector: str
    volume: int
    found: dict[tuple[int, int], float]
    "The share of spikes found, by factor and hours."
    false_alarms: float
    "Hours in 30 days."


def outcomes(volume: int, detectors: dict[str, Detector] = DETECTORS) -> list[Outcome]:
    """All detectors on the same years."""
    found: dict[str, dict[tuple[int, int], list[bool]]] = {name: {} for name in detectors}
    false = dict.fromkeys(detectors, 0)
    quiet = 0
    for year in range(SERIES):
        rng = np.random.default_rng([volume, year])
        spikes = spikes_of_a_year(rng)
        series = simulate(rng, volume, spikes=spikes)
        outside = np.arange(series.size) >= WARM_UP
        for spike in spikes:
            outside[spike.start : spike.start + spike.hours] = False
        quiet += int(outside.sum())
        for name, detector in detectors.items():
            alarms = detector(series)
            false[name] += int(alarms[outside].sum())
            for spike in spikes:
                hit = bool(alarms[spike.start : spike.start + spike.hours].any())
                found[name].setdefault((int(spike.factor), spike.hours), []).append(hit)
    return [
        Outcome(
            name,
            volume,
            {kind: float(np.mean(hits)) for kind, hits in found[name].items()},
            false[name] / quiet * 30 * HOURS_PER_DAY,
        )
        for name in detectors
    ]


def report() -> Iterator[str]:
    """A table in Markdown, line by line."""
    kinds = [(factor, hours) for factor in FACTORS for hours in LENGTHS]
    heads = " | ".join(f"{factor}x {hours} h" for factor, hours in kinds)
    yield f"| requests/h | rule | {heads} | false alarms in 30 days |"
    yield "|---" * (len(kinds) + 3) + "|"
    for volume in VOLUMES:
        for outcome in outcomes(volume):
            shares = " | ".join(f"{outcome.found[kind]:.0%}" for kind in kinds)
            yield f"| {volume} | {outcome.detector} | {shares} | {outcome.false_alarms:.1f} |"


if __name__ == "__main__":
    for line in report():
        print(line)
