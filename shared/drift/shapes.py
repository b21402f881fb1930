"""What both windows of a metric held, in the shape that people are shown of it."""

from __future__ import annotations

from typing import Final

from shared.drift.monitored import CATEGORIES, SHARES
from shared.drift.showing import (
    Categories,
    Category,
    Distribution,
    Proportion,
    Tally,
    Volume,
    VolumeHour,
)
from shared.drift.volume import VolumeComparison
from shared.telemetry import metrics
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import SHARE_UNIT, Metric, Share
from shared.telemetry.reading import Seen

_SHARES_OF_ONE: Final = (Metric.CONFIDENCE, Metric.QUALITY, Metric.QUERY_NON_LETTERS)
"Counted in ten-thousandths."
_SCALES: Final = {**dict.fromkeys(_SHARES_OF_ONE, 1 / SHARE_UNIT), Metric.QUERY_WORD_LENGTH: 0.01}
"What one of the counted integers is, where that is not one."


def shape_of(
    metric: str, old: Seen | None, new: Seen | None
) -> Distribution | Proportion | Categories | None:
    """What was seen of a metric in the baseline and now; None of what rollups do not hold.

    Those are the values of a tenant's own features. Requests and words have shapes of their own.
    """
    if metric in list(Metric):
        return _distribution(Metric(metric), old, new)
    if metric in list(Share):
        count = SHARES[Share(metric)]
        return Proportion(*(Tally(had, without + had) for without, had in (count(old), count(new))))
    if metric in list(metrics.Category):
        names = CATEGORIES[metrics.Category(metric)]
        before, after = names(old), names(new)
        return Categories(
            tuple(
                Category(one, before.get(one, 0), after.get(one, 0))
                for one in sorted(before.keys() | after.keys())
            )
        )
    return None


def shape_of_volume(found: VolumeComparison, hours: tuple[VolumeHour, ...] = ()) -> Volume:
    """The requests of a window and what was expected of it, with its `hours` to be drawn."""
    return Volume(found.observed, found.expected, found.low, found.high, found.weeks, hours)


def _distribution(metric: Metric, old: Seen | None, new: Seen | None) -> Distribution:
    share = metric in _SHARES_OF_ONE
    return Distribution.of_histograms(
        Histogram.empty() if old is None else old.histograms[metric],
        Histogram.empty() if new is None else new.histograms[metric],
        "" if share else BY_NAME[metric].unit,
        scale=_SCALES.get(metric, 1.0),
        largest=1.0 if share else float("inf"),
    )
