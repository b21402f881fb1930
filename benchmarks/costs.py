"""Whether what is told of costs can be trusted: anomalies that are found, forecasts that hold."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import anomalies, forecasts
from benchmarks.measure import Figure


def figures() -> Iterator[Figure]:
    """Also prints the tables of both, which say more than a figure."""
    for subject in (anomalies, forecasts):
        for line in subject.report():
            print(line, flush=True)
        yield from subject.figures()
