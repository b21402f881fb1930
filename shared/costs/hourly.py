"""What one model and function cost hour by hour: what anomalies and forecasts are told from.

An hour whose cost is not known is not an hour that cost nothing, and the two are kept apart here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

HOURS_PER_DAY = 24
HOURS_PER_WEEK = 168
_HOUR = timedelta(hours=1)
MOST_NANOS = 2**53
"Of one hour: nine million dollars, and what a float still holds to the nano-dollar."


@dataclass(frozen=True)
class HourCost:
    """One hour (UTC). `cost_nanos` is the sum of the priced calls, None if that is not known.

    With `unpriced` calls beside it the sum is only the least that the hour cost.
    """

    starts_at: datetime
    cost_nanos: int | None
    requests: int
    unpriced: int = 0


@dataclass(frozen=True, eq=False)
class HourlySeries:
    """Consecutive hours from `starts_at` on; all arrays have one value per hour.

    `cost_nanos` is 0 where `known` is False and must not be read there.
    """

    starts_at: datetime
    cost_nanos: Ints
    known: Bools
    requests: Ints
    unpriced: Ints

    def __post_init__(self) -> None:
        # In a zone with summer time, two times would differ by what the clock on the wall shows.
        object.__setattr__(self, "starts_at", _utc_hour(self.starts_at))
        sizes = {self.cost_nanos.size, self.known.size, self.requests.size, self.unpriced.size}
        if len(sizes) != 1:
            raise ValueError(f"arrays of {sorted(sizes)} hours; expected equal lengths")
        for name, values, most in (
            ("cost", self.cost_nanos, MOST_NANOS),
            ("number of requests", self.requests, MOST_NANOS),
            ("number of unpriced calls", self.unpriced, MOST_NANOS),
        ):
            if values.size and not (values.min() >= 0 and values.max() <= most):
                wrong = values.min() if values.min() < 0 else values.max()
                raise ValueError(f"{name} {wrong} of an hour; expected 0 to {most}")

    @classmethod
    def from_hours(cls, hours: Iterable[HourCost], starts_at: datetime, ends_at: datetime) -> Self:
        """The hours from `starts_at` up to `ends_at`; one that is not given had no calls.

        ValueError for an hour that is given twice, lies outside, or does not begin on the hour.
        """
        size = _hours_between(starts_at, ends_at)
        if size < 0:
            raise ValueError(f"hours from {starts_at.isoformat()} to {ends_at.isoformat()}")
        cost, requests, unpriced = (np.zeros(size, dtype=np.int64) for _ in range(3))
        known = np.ones(size, dtype=np.bool_)
        seen = np.zeros(size, dtype=np.bool_)
        for hour in hours:
            index = _hours_between(starts_at, hour.starts_at)
            if not 0 <= index < size:
                raise ValueError(
                    f"hour {hour.starts_at.isoformat()}; expected {starts_at.isoformat()} to "
                    f"before {ends_at.isoformat()}"
                )
            if seen[index]:
                raise ValueError(f"hour {hour.starts_at.isoformat()} is given twice")
            seen[index] = True
            known[index] = hour.cost_nanos is not None
            cost[index] = hour.cost_nanos or 0
            requests[index] = hour.requests
            unpriced[index] = hour.unpriced
        return cls(starts_at, cost, known, requests, unpriced)

    @property
    def size(self) -> int:
        return self.cost_nanos.size

    @property
    def ends_at(self) -> datetime:
        """The end of the last hour."""
        return self.starts_at + self.size * _HOUR

    @property
    def complete(self) -> Bools:
        """Whether all that the hour cost is known."""
        return np.asarray(self.known & (self.unpriced == 0))

    def hour_at(self, index: int) -> datetime:
        """The beginning of the hour with this index."""
        return self.starts_at + index * _HOUR

    def index_of(self, hour: datetime) -> int:
        """The index of the hour that begins at `hour`, which may lie outside the series."""
        return _hours_between(self.starts_at, hour)


def _hours_between(first: datetime, second: datetime) -> int:
    return round((_utc_hour(second) - _utc_hour(first)) / _HOUR)


def _utc_hour(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"time {at.isoformat()} has no zone; expected UTC")
    utc = at.astimezone(UTC)
    if utc != utc.replace(minute=0, second=0, microsecond=0):
        raise ValueError(f"time {at.isoformat()}; expected the beginning of an hour")
    return utc
