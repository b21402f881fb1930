"""Reading values: the latest of each entity, and those that held at given times.

A read at a time is correct for that time: nothing that happened later is in it, so that what is
trained or judged on it does not know the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.definitions import Feature, UnfitFeatureError, Value
from shared.telemetry.features.registering import find_features
from shared.telemetry.features.tables import FeatureValueRow
from shared.telemetry.features.writing import fit_entity, fit_time

MOST_READINGS: Final = 1_000_000
"Points times features of one call."


class Knowledge(StrEnum):
    """Which writings of a value a read at a time looks at."""

    NOW = "now"
    "All there are: also what was written or corrected after the time of the point."
    THEN = "then"
    "Those that were written by the time of the point: what a reader would have got then."


@dataclass(frozen=True)
class Reading:
    """A value, the time since when it holds, and when it was written."""

    value: Value
    event_time: datetime
    written_at: datetime


@dataclass(frozen=True)
class FeatureVector:
    """What is known of an entity at a time, by the features as they were asked for.

    `at` is None for the latest. A reading is None where there is no value.
    """

    entity: str
    at: datetime | None
    readings: Mapping[str, Reading | None]

    @property
    def values(self) -> dict[str, Value | None]:
        return {
            name: None if reading is None else reading.value
            for name, reading in self.readings.items()
        }


def read_latest(
    session: Session, features: Sequence[str], entities: Sequence[str]
) -> tuple[FeatureVector, ...]:
    """The value with the newest event time of each feature, for each entity, in their order.

    Features are named `name@version`, or `name` for its newest version. Raises
    `UnknownFeatureError`, and `UnfitFeatureError` for a feature whose values are measured from
    events, or for too much at once.
    """
    points = [(fit_entity(entity), _END_OF_TIME) for entity in entities]
    readings = _read(session, features, points, Knowledge.NOW, None)
    return tuple(
        FeatureVector(entity, None, found) for entity, found in zip(entities, readings, strict=True)
    )


def read_as_of(
    session: Session,
    features: Sequence[str],
    points: Sequence[tuple[str, datetime]],
    knowledge: Knowledge = Knowledge.NOW,
    max_age: timedelta | None = None,
) -> tuple[FeatureVector, ...]:
    """For each (entity, time) the newest value of each feature with an event time up to that time.

    The order is that of `points`, times are aware. A value that is older at the time of its point
    than `max_age` counts as none. Of values for the same event time the one written last counts.
    One query. Raises as `read_latest` does, and `UnfitFeatureError` for a time without a zone.
    """
    if max_age is not None and max_age < timedelta(0):
        raise UnfitFeatureError(f"a greatest age of {max_age}; expected 0 or more")
    checked = [(fit_entity(entity), fit_time(time)) for entity, time in points]
    readings = _read(session, features, checked, knowledge, max_age)
    return tuple(
        FeatureVector(entity, time, found)
        for (entity, time), found in zip(checked, readings, strict=True)
    )


def stored_values(session: Session, feature: Feature) -> int | None:
    """How many values a version of a feature has, corrections counted; None where none can be."""
    if feature.name in BY_NAME:
        return None
    values = sa.select(sa.func.count()).where(
        FeatureValueRow.feature == feature.name, FeatureValueRow.version == feature.version
    )
    return int(session.scalar(values) or 0)


_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

# For each point one descent into the index of the values' key, read backwards: its first entry
# is the newest value, and of that the last one written.
_READ: Final = {
    knowledge: sa.text(
        f"""
        SELECT point.place, feature.place, newest.event_time, newest.written_at,
            newest.number_value, newest.text_value, newest.boolean_value
        FROM unnest(CAST(:entities AS text[]), CAST(:times AS timestamptz[]),
                    CAST(:earliest AS timestamptz[]))
            WITH ORDINALITY AS point (entity, time, earliest, place)
        CROSS JOIN unnest(CAST(:names AS text[]), CAST(:versions AS bigint[]))
            WITH ORDINALITY AS feature (name, version, place)
        CROSS JOIN LATERAL (
            SELECT v.event_time, v.written_at, v.number_value, v.text_value, v.boolean_value
            FROM mlops.feature_values v
            WHERE v.feature = feature.name AND v.version = feature.version
                AND v.entity = point.entity
                AND v.event_time <= point.time AND v.event_time >= point.earliest
                {known}
            ORDER BY v.event_time DESC, v.written_at DESC, v.id DESC LIMIT 1
        ) AS newest
        """  # noqa: S608 (the conditions below)
    )
    for knowledge, known in {
        Knowledge.NOW: "",
        Knowledge.THEN: "AND v.written_at <= point.time",
    }.items()
}


def _read(
    session: Session,
    references: Sequence[str],
    points: Sequence[tuple[str, datetime]],
    knowledge: Knowledge,
    max_age: timedelta | None,
) -> list[dict[str, Reading | None]]:
    """The readings of each point, by reference."""
    asked = tuple(dict.fromkeys(references))
    if not asked:
        raise UnfitFeatureError("no features; expected at least one")
    if len(asked) * len(points) > MOST_READINGS:
        raise UnfitFeatureError(
            f"{len(points)} points of {len(asked)} features; expected at most {MOST_READINGS}"
            " values in one call"
        )
    found = find_features(session, asked)
    measured = [feature.name for feature in found if feature.name in BY_NAME]
    if measured:
        raise UnfitFeatureError(
            f"{', '.join(measured)}: measured from events, by the hour and not by entity;"
            " `mlops monitor performance` reads the rollups"
        )
    rows = session.execute(
        _READ[knowledge],
        {
            "entities": [entity for entity, _ in points],
            "times": [time for _, time in points],
            "earliest": [_before(time, max_age) for _, time in points],
            "names": [feature.name for feature in found],
            "versions": [feature.version for feature in found],
        },
    )
    readings: list[dict[str, Reading | None]] = [dict.fromkeys(asked) for _ in points]
    for point, feature, event_time, written_at, number, text, boolean in rows:
        value = next(each for each in (number, text, boolean) if each is not None)
        readings[point - 1][asked[feature - 1]] = Reading(value, event_time, written_at)
    return readings


def _before(time: datetime, max_age: timedelta | None) -> datetime:
    if max_age is None:
        return _BEGINNING
    try:
        return time - max_age
    except OverflowError:
        return _BEGINNING
