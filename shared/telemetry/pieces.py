"""A window in pieces: what was done in each of its days, or of its shorter parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final, Self

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import IN_BINARY
from shared.telemetry.histograms import Histogram, IntArray, counts_of_runs
from shared.telemetry.metrics import Metric, OfOutcome
from shared.telemetry.reading import (
    DAY,
    SUMMED,
    Group,
    Only,
    Seen,
    Sums,
    Window,
    added_up,
    counts_in,
    midnight,
    rows_of_window,
    whole_days,
)

MOST_PIECES: Final = 28
"Of a window, the newest."


@dataclass(frozen=True, eq=False)
class Pieces:
    """What one model did within one function in each of k equal pieces of a window.

    `counts` are (k, m), over the m bins of the whole window's histogram.
    """

    sums: tuple[Sums, ...]
    counts: Mapping[Metric | OfOutcome, IntArray]


NO_PIECES: Final = Pieces((), {})


def in_pieces(
    session: Session,
    window: Window,
    metrics: Sequence[Metric | OfOutcome],
    length: timedelta,
    only: Only | None = None,
) -> dict[tuple[str, str], tuple[Seen, Pieces]]:
    """As `by_function_and_model`, and beside the whole window its newest pieces of this length.

    Pieces of a day are days (UTC) that lie in the window as a whole, and one of the hours before
    and after them where these are a day together, as they are in a window of whole days: so a week
    has seven. Shorter pieces end where the window does. Of a piece without rows there is none.
    """
    split = _Split.of(window, length, only)
    counted = {
        name: _counted_in_pieces(session, split, name) for name in ("errors_by_type", "names")
    }
    wanted = (*SUMMED, *(metric.value for metric in metrics))
    rows = split.rows((Group.FUNCTION.value, *wanted))
    of = (rows.c.name, rows.c[Group.FUNCTION.value], split.piece(rows))
    nothing = sa.literal(b"", sa.LargeBinary)
    packed = [sa.func.string_agg(rows.c[metric.value], nothing) for metric in metrics]
    found = session.execute(
        sa.select(*of, *added_up(rows), *packed).group_by(*of).order_by(*of),
        execution_options=IN_BINARY,
    )
    return {
        (function, model): split.seen(
            [tuple(part) for part in parts],
            metrics,
            {name: of_column.get((model, function), {}) for name, of_column in counted.items()},
        )
        for (model, function), parts in groupby(found, key=lambda row: (row[0], row[1]))
    }


@dataclass(frozen=True)
class _Split:
    """`number` pieces of a window from `origin` on; what is left of it is before or after them."""

    window: Window
    origin: datetime
    length: timedelta
    number: int
    only: Only | None

    @classmethod
    def of(cls, window: Window, length: timedelta, only: Only | None) -> Self:
        if length == DAY:
            first, last = whole_days(window)
            number = min(max((last - first).days, 0), MOST_PIECES)
            return cls(window, midnight(last) - number * length, length, number, only)
        number = min((window.end - window.start) // length, MOST_PIECES)
        return cls(window, window.end - number * length, length, number, only)

    @property
    def _ends_are_one(self) -> bool:
        """Whether what is before and after the pieces is as long as one of them together."""
        length = self.window.end - self.window.start
        return self.length == DAY and length - self.number * self.length == self.length

    def rows(self, columns: Sequence[str]) -> sa.Subquery:
        no_days_from = None if self.length == DAY else self.origin
        everyone = (None, None, None)
        return rows_of_window(self.window, columns, Group.MODEL, everyone, no_days_from, self.only)

    def piece(self, rows: sa.Subquery) -> sa.ColumnElement[int]:
        """Which piece a row is of; -1 and `number` are what lies before and after them."""
        seconds = sa.func.extract("epoch", rows.c.begins - self.origin)
        piece = sa.func.floor(seconds / self.length.total_seconds())
        return sa.cast(sa.func.least(sa.func.greatest(piece, -1), self.number), sa.Integer)

    def seen(
        self,
        parts: Sequence[tuple[Any, ...]],
        metrics: Sequence[Metric | OfOutcome],
        counted: Mapping[str, Mapping[int, dict[str, int]]],
    ) -> tuple[Seen, Pieces]:
        """`parts` are (model, function, piece, sums, histograms) of each piece."""
        begin = 3 + len(SUMMED)
        of_part = [
            Sums(
                **dict(zip(SUMMED, part[3:begin], strict=True)),
                errors_by_type=counted["errors_by_type"].get(part[2], {}),
                names=counted["names"].get(part[2], {}),
            )
            for part in parts
        ]
        whole = [row for row, part in enumerate(parts) if 0 <= part[2] < self.number]
        ends = [row for row in range(len(parts)) if row not in whole] if self._ends_are_one else []
        histograms: dict[Metric | OfOutcome, Histogram] = {}
        counts: dict[Metric | OfOutcome, IntArray] = {}
        for metric, packed in zip(metrics, list(zip(*parts, strict=True))[begin:], strict=True):
            bins, of_parts = counts_of_runs(packed)
            histograms[metric] = Histogram(bins, of_parts.sum(axis=0))
            counts[metric] = of_parts[whole]
            if ends:
                counts[metric] = np.vstack((counts[metric], of_parts[ends].sum(axis=0)))
        sums = [of_part[row] for row in whole]
        if ends:
            sums.append(_together([of_part[row] for row in ends]))
        pieces = Pieces(tuple(sums), counts)
        return Seen(_together(of_part), histograms), pieces


def _together(parts: Sequence[Sums]) -> Sums:
    counted: dict[str, Counter[str]] = {"errors_by_type": Counter(), "names": Counter()}
    for part in parts:
        for name, counts in counted.items():
            counts.update(getattr(part, name))
    summed = {name: sum(getattr(part, name) for part in parts) for name in SUMMED}
    return Sums(**summed, errors_by_type=counted["errors_by_type"], names=counted["names"])


def _counted_in_pieces(
    session: Session, split: _Split, column: str
) -> dict[tuple[str, str], dict[int, dict[str, int]]]:
    of_function = Group.FUNCTION.value
    rows = split.rows((of_function, column))
    found: dict[tuple[str, str], dict[int, dict[str, int]]] = {}
    groups = (rows.c.name, rows.c[of_function], split.piece(rows))
    for model, function, piece, kind, number in counts_in(session, rows, column, groups):
        found.setdefault((model, function), {}).setdefault(piece, {})[kind] = number
    return found
