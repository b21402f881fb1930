"""Who finds a spike and who cries wolf: the rules of `shared.costs.anomalies` on a simulated year.

What is simulated (`simulate`), per hour: the expected number of requests follows the hour of the
day and the day of the week, a level that wanders by the day (a random walk, and an autocorrelated
mood of 15 %), and hours that are busier than others by 10 %. Requests come in tasks of five on
average, so they come in bunches, and each costs a lognormal amount around a cent. Spikes multiply
the requests of 1 or 6 hours by 2, 4 or 6; shifts multiply the cost of every request from an hour
on. Everything comes from a seed.

A spike is found if any hour of it is called an anomaly, a shift if one of its first 24 hours is.
What is called one outside of all spikes, or later than two weeks after a shift, is false. The first
eight weeks are history and not counted.

Beside them two trivial rules, and all four on a real series with labels (`cost_per_click`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Figure, median_cpu_seconds
from shared.costs.anomalies import judge
from shared.costs.hourly import HOURS_PER_DAY, HOURS_PER_WEEK, HourlySeries

STARTS_AT = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
DAYS = 365
WARM_UP = 8 * HOURS_PER_WEEK
VOLUMES = (5, 50, 500)
FACTORS = (2, 4, 6)
LENGTHS = (1, 6)
SHIFTS = (1.2, 1.5, 2.0)
SERIES = 3
"Simulated years of each volume."
SPIKES_OF_A_KIND = 4
"In each year; 24 in all."

_LIMIT_MS = 5.0
_LIMIT_US = 300.0
_REPEATS = 10
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
    requests = tasks + rng.negative_binomial(np.maximum(tasks, 1), 1 / _CALLS_PER_TASK) * (
        tasks > 0
    )
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


def hour_of_week(series: HourlySeries) -> Bools:
    """The better rule."""
    return np.array([verdict.hour_of_week.anomalous for verdict in judge(series)])


def five_times(series: HourlySeries) -> Bools:
    """The literal rule."""
    return np.array([verdict.five_times.anomalous for verdict in judge(series)])


def per_request(series: HourlySeries) -> Bools:
    """The rule that looks at the cost per request."""
    return np.array([verdict.per_request.anomalous for verdict in judge(series)])


def three_deviations(series: HourlySeries) -> Bools:
    """Mean and three standard deviations of the eight weeks before, or of as many as there are."""
    cost = np.where(series.known, series.cost_nanos, 0).astype(np.float64)
    n, total, squares = (
        np.concatenate(([0.0], np.cumsum(values)))
        for values in (series.known.astype(np.float64), cost, cost * cost)
    )
    at = np.arange(series.size)
    start = np.maximum(at - WARM_UP, 0)
    known = np.maximum(n[at] - n[start], 1)
    mean = (total[at] - total[start]) / known
    variance = np.maximum((squares[at] - squares[start]) / known - mean**2, 0)
    return series.known & (at >= HOURS_PER_WEEK) & (cost > mean + 3 * np.sqrt(variance))


def three_times_last_week(series: HourlySeries) -> Bools:
    """Three times the same hour of the week before."""
    found = np.zeros(series.size, dtype=np.bool_)
    now, then = slice(HOURS_PER_WEEK, None), slice(None, -HOURS_PER_WEEK)
    found[now] = series.cost_nanos[now] > 3 * series.cost_nanos[then]
    found[now] &= series.known[now] & series.known[then]
    return found


DETECTORS: dict[str, Detector] = {
    "hour of week": hour_of_week,
    "five times": five_times,
    "mean + 3 sd": three_deviations,
    "3 x last week": three_times_last_week,
}
SHIFT_DETECTORS: dict[str, Detector] = {"per request": per_request, "hour of week": hour_of_week}


@dataclass(frozen=True)
class Outcome:
    """What a detector did on all years of one volume. Kinds are (factor, hours)."""

    detector: str
    volume: int
    found: dict[tuple[float, int], float]
    "The share of each kind that was found."
    false_hours: float
    "In 30 days."
    false_alarms: float
    "The same, counting hours less than six hours apart as one alarm."
    quiet_hours: int


class Event(NamedTuple):
    """What is to be found: an alarm in any hour from `start` to before `found_by`."""

    kind: tuple[float, int]
    start: int
    found_by: int
    quiet_from: int
    "From here on an alarm is a false one again."


def measure(
    volume: int, detectors: dict[str, Detector], years: list[tuple[HourlySeries, list[Event]]]
) -> list[Outcome]:
    """Every detector on the same series."""
    outcomes = []
    for name, detector in detectors.items():
        hits: dict[tuple[float, int], list[bool]] = {}
        quiet = false_hours = false_alarms = 0
        for series, events in years:
            outside = np.arange(series.size) >= WARM_UP
            for event in events:
                outside[event.start : event.quiet_from] = False
            alarms = detector(series)
            for event in events:
                hit = bool(alarms[event.start : event.found_by].any())
                hits.setdefault(event.kind, []).append(hit)
            at = np.flatnonzero(alarms & outside)
            quiet += int(outside.sum())
            false_hours += at.size
            false_alarms += int((np.diff(at) >= 6).sum()) + bool(at.size)
        months = quiet / (30 * HOURS_PER_DAY)
        outcomes.append(
            Outcome(
                name,
                volume,
                {kind: float(np.mean(found)) for kind, found in sorted(hits.items())},
                false_hours / months,
                false_alarms / months,
                quiet,
            )
        )
    return outcomes


def spiked_years(volume: int) -> list[tuple[HourlySeries, list[Event]]]:
    years = []
    for year in range(SERIES):
        rng = np.random.default_rng([volume, year])
        spikes = spikes_of_a_year(rng)
        events = [
            Event((factor, hours), start, start + hours, start + hours)
            for start, hours, factor in spikes
        ]
        years.append((simulate(rng, volume, spikes=spikes), events))
    return years


def shifted_years(volume: int) -> list[tuple[HourlySeries, list[Event]]]:
    """Each kind of shift in years of its own: up for four weeks, and back, again and again."""
    years = []
    for year, factor in enumerate(SHIFTS * SERIES):
        rng = np.random.default_rng([volume, year, 1])
        shifts, events = [], []
        for start in range(WARM_UP, DAYS * HOURS_PER_DAY - 4 * HOURS_PER_WEEK, 8 * HOURS_PER_WEEK):
            up = start + int(rng.integers(HOURS_PER_WEEK))
            down = up + 4 * HOURS_PER_WEEK
            shifts += [Shift(up, factor), Shift(down, 1.0)]
            events.append(Event((factor, 24), up, up + HOURS_PER_DAY, up + 14 * HOURS_PER_DAY))
        years.append((simulate(rng, volume, shifts=shifts), events))
    return years


def cost_per_click() -> HourlySeries:
    """A real series: see `series/README.md`."""
    text = (Path(__file__).parent / "series" / "cost_per_click.txt").read_text("ascii")
    cells = [cell for line in text.splitlines() for cell in line.split()[1:]]
    known = np.array([cell != "-" for cell in cells])
    # As if an hour had a hundred clicks, so that what strays is more than the least that matters.
    cost = np.array([0 if cell == "-" else int(cell) * 10**6 for cell in cells], dtype=np.int64)
    nothing = np.zeros(cost.size, dtype=np.int64)
    return HourlySeries(datetime(2011, 7, 1, tzinfo=UTC), cost, known, nothing, nothing)


LABELLED = (
    (datetime(2011, 7, 15, 6, tzinfo=UTC), datetime(2011, 7, 17, 12, tzinfo=UTC)),
    (datetime(2011, 7, 31, 18, tzinfo=UTC), datetime(2011, 8, 3, 2, tzinfo=UTC)),
    (datetime(2011, 8, 22, 5, tzinfo=UTC), datetime(2011, 8, 24, 11, tzinfo=UTC)),
)
"The windows of `cost_per_click` in which the source has an anomaly, first and last hour."


class RealOutcome(NamedTuple):
    detector: str
    windows_found: int
    alarms_inside: int
    alarms_outside: int
    outside_above_triple: int
    "Hours above three times the median of the series, which are odd all the same."


def real_outcomes() -> list[RealOutcome]:
    """All detectors on `cost_per_click`, its first week left out."""
    series = cost_per_click()
    triple = 3 * np.median(series.cost_nanos[series.known])
    outcomes = []
    for name, detector in DETECTORS.items():
        alarms = detector(series) & (np.arange(series.size) >= HOURS_PER_WEEK)
        inside = np.zeros(series.size, dtype=np.bool_)
        found = 0
        for first, last in LABELLED:
            window = slice(series.index_of(first), series.index_of(last) + 1)
            inside[window] = True
            found += bool(alarms[window].any())
        outside = alarms & ~inside
        outcomes.append(
            RealOutcome(
                name,
                found,
                int((alarms & inside).sum()),
                int(outside.sum()),
                int((series.cost_nanos[outside] > triple).sum()),
            )
        )
    return outcomes


def figures() -> Iterator[Figure]:
    """The better rule beside the literal one, and what a verdict costs."""
    busy = measure(500, DETECTORS, spiked_years(500))
    sparse = measure(5, DETECTORS, spiked_years(5))
    better, literal = (_found(outcome, 6) for outcome in busy[:2])
    yield Figure("recall_6x_500", better, literal, "%", "five times", 1.5, more_is_better=True)
    better, literal = (max(o.false_hours, 720 / o.quiet_hours) for o in sparse[:2])
    yield Figure("false_alarms_5", better, literal, "h/30 d", "five times", 10)
    series = simulate(np.random.default_rng(8), 50, WARM_UP + HOURS_PER_WEEK + 1)
    since = series.hour_at(series.size - 1)
    seconds = median_cpu_seconds(lambda: [judge(series, since) for _ in range(_REPEATS)], 15)
    yield Figure("judge_hour", seconds / _REPEATS * 1000, _LIMIT_MS, "CPU ms", "limit", 1)
    year = simulate(np.random.default_rng(9), 50)
    seconds = median_cpu_seconds(lambda: judge(year))
    yield Figure("judge_year", seconds / year.size * 1e6, _LIMIT_US, "CPU us/h", "limit", 1)


def _found(outcome: Outcome, factor: float) -> float:
    """Percent of the spikes of one size, of all lengths."""
    return 100 * float(
        np.mean([share for kind, share in outcome.found.items() if kind[0] == factor])
    )


def report() -> Iterator[str]:
    """Tables in Markdown, line by line."""
    kinds = [(factor, hours) for factor in FACTORS for hours in LENGTHS]
    heads = " | ".join(f"{factor}x {hours} h" for factor, hours in kinds)
    yield f"| requests/h | rule | {heads} | false hours in 30 days | false alarms |"
    yield "|---" * (len(kinds) + 4) + "|"
    for volume in VOLUMES:
        for outcome in measure(volume, DETECTORS, spiked_years(volume)):
            shares = " | ".join(f"{outcome.found[kind]:.0%}" for kind in kinds)
            yield _row(outcome, shares)
    yield ""
    heads = " | ".join(f"x {factor:g}" for factor in SHIFTS)
    yield f"| requests/h | rule | {heads} | false hours in 30 days | false alarms |"
    yield "|---" * (len(SHIFTS) + 4) + "|"
    for volume in VOLUMES:
        for outcome in measure(volume, SHIFT_DETECTORS, shifted_years(volume)):
            yield _row(outcome, " | ".join(f"{outcome.found[(f, 24)]:.0%}" for f in SHIFTS))
    yield ""
    yield "| rule | windows found of 3 | hours inside | hours outside | of which above 3x median |"
    yield "|---|---|---|---|---|"
    for real in real_outcomes():
        yield "| " + " | ".join(str(cell) for cell in real) + " |"


def _row(outcome: Outcome, shares: str) -> str:
    return (
        f"| {outcome.volume} | {outcome.detector} | {shares} | {outcome.false_hours:.1f} |"
        f" {outcome.false_alarms:.1f} |"
    )


if __name__ == "__main__":
    for line in report():
        print(line)
