"""Runs in River's environment: its drift detectors, and the labelled series that it brings along.

A line is a question in JSON, and so is its answer. `{"series": true}` asks for the series as the
Turing Change Point Dataset has them, which is how their annotations count. Otherwise the question
names a detector, its parameters and the columns of a series, and the answer is, for each alarm of
any column, the index at which it came and that at which the detector places the change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from river import drift
from river.drift import datasets

Answer = dict[str, Any]


def series() -> Answer:
    """Values by row, and change points by annotator.

    River has three of them at another length than what was annotated: Apple and Brent are not
    thinned out (https://github.com/alan-turing-institute/TCPD, `get_apple.py`, `convert.py`), and
    Bitcoin goes on for five months.
    """
    brent = [(row, value) for row, value in datasets.BrentSpotPrice()][::10]
    first = next(n for n, (row, _) in enumerate(brent) if row["day"].year == 2000)
    rows = {
        "apple": [[y["Close"], y["Volume"]] for _, y in datasets.Apple()][1::3],
        "bitcoin": [[y] for _, y in datasets.Bitcoin()][:774],
        "brent_spot": [[y] for _, y in brent[first:]],
        "jfk_passengers": [[y] for _, y in datasets.AirlinePassengers()],
        "occupancy": [[y[f"V{n}"] for n in (1, 2, 3, 4)] for _, y in datasets.Occupancy()],
        "run_log": [[y["Pace"], y["Distance"]] for _, y in datasets.RunLog()],
        "uk_coal_employ": [[y] for _, y in datasets.UKCoalEmploy()],
    }
    labels = (
        datasets.Apple,
        datasets.Bitcoin,
        datasets.BrentSpotPrice,
        datasets.AirlinePassengers,
        datasets.Occupancy,
        datasets.RunLog,
        datasets.UKCoalEmploy,
    )
    return {
        name: {"values": values, "annotations": list(of().annotations.values())}
        for (name, values), of in zip(rows.items(), labels, strict=True)
    }


def watch(name: str, parameters: Mapping[str, Any], columns: Sequence[Sequence[float]]) -> Answer:
    """One detector for each column; an alarm of any of them is one."""
    found: dict[int, int] = {}
    for column in columns:
        for alarm, located in _WATCHES[name](parameters, column):
            found.setdefault(alarm, located)
    return {"alarms": sorted(found), "located": [found[alarm] for alarm in sorted(found)]}


def _adwin(parameters: Mapping[str, Any], values: Sequence[float]) -> list[tuple[int, int]]:
    """The change is where the window that is left begins."""
    detector, found = drift.ADWIN(**parameters), []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append((at, max(at + 1 - int(detector.width), 0)))
    return found


def _kswin(parameters: Mapping[str, Any], values: Sequence[float]) -> list[tuple[int, int]]:
    """The change is where the newer of its two windows begins."""
    detector, found = drift.KSWIN(**parameters, seed=0), []
    for at, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append((at, at + 1 - detector.stat_size))
    return found


def _page_hinkley(parameters: Mapping[str, Any], values: Sequence[float]) -> list[tuple[int, int]]:
    """The change follows the extreme of the sum that has crossed the threshold (Page 1954).

    River does not tell where that is, so it is seen from when its own extremes change.
    """
    detector, found = drift.PageHinkley(**parameters), []
    lowest = highest = 0
    for at, value in enumerate(values):
        before = (detector._min_increase, detector._max_decrease)
        started = detector.drift_detected
        detector.update(value)
        if started or detector._min_increase != before[0]:
            lowest = at
        if started or detector._max_decrease != before[1]:
            highest = at
        if detector.drift_detected:
            rose = detector._sum_increase - detector._min_increase > detector.threshold
            found.append((at, min((lowest if rose else highest) + 1, at)))
    return found


_WATCHES = {"ADWIN": _adwin, "KSWIN": _kswin, "PageHinkley": _page_hinkley}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "series" in asked:
            answer = series()
        else:
            answer = watch(asked["detector"], asked["parameters"], asked["columns"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
