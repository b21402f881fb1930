"""Writing values: checked, and stored as rows that are added and never changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.redaction import redacted, redacted_name
from shared.telemetry.events import FURTHEST_AHEAD
from shared.telemetry.features.built_in import BY_NAME
from shared.telemetry.features.definitions import DataType, Feature, UnfitFeatureError, Value
from shared.telemetry.features.registering import find_features

LONGEST_ENTITY: Final = 200
LONGEST_VALUE: Final = 10_000
"Characters of a text."

EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)

_AT_ONCE: Final = 10_000
"Rows of one statement."

_EXACT: Final = 2**53


class UnfitRowError(UnfitFeatureError):
    """A value that cannot be written. `row` counts from 1, `reason` is what is wrong with it."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason


@dataclass(frozen=True)
class Written:
    """What came of writing: rows that are stored, and those that changed nothing.

    `unchanged` were there just like that, or a later row of the same call took their place.
    """

    stored: int
    unchanged: int


def write_values(
    session: Session,
    reference: str,
    rows: Iterable[tuple[str, datetime, Value]],
    now: datetime,
) -> Written:
    """Write (entity, event time, value) of a feature, all of them or none; any number in one call.

    A value holds for its entity from its event time on. One that is written again for the same
    time takes the place of the one before, which stays readable as what was known until then; of
    two in one call the later one counts. The same value again changes nothing. Secrets in texts
    are redacted. `now` (aware) is when they are written; an event time may be an hour ahead of it.

    Raises `UnfitRowError` for the first row that is not fit, `UnknownFeatureError`, and
    `UnfitFeatureError` for a feature whose values are measured from events.
    """
    (feature,) = find_features(session, [reference])
    if feature.name in BY_NAME:
        raise UnfitFeatureError(
            f"{feature.name} is measured from events, and its values are in the rollups: write to"
            " a feature of your own"
        )
    latest = now.astimezone(UTC) + FURTHEST_AHEAD
    last: dict[tuple[str, datetime], Value] = {}
    given = 0
    for given, row in enumerate(rows, start=1):
        try:
            entity, event_time, value = _three(row)
            key = _entity(entity), _event_time(event_time, latest)
            last[key] = fit_value(feature.data_type, value)
        except UnfitFeatureError as error:
            raise UnfitRowError(given, str(error)) from None
    keys, values = list(last), list(last.values())
    stored = 0
    for start in range(0, len(keys), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        stored += _store(session, feature, keys[some], values[some], now)
    return Written(stored, given - stored)


def fit_entity(entity: str) -> str:
    """`entity` as it is; raises `UnfitFeatureError` for one that cannot be stored."""
    if not isinstance(entity, str) or not 1 <= len(entity) <= LONGEST_ENTITY:
        raise UnfitFeatureError(f"an entity is a text of 1 to {LONGEST_ENTITY} characters")
    if not entity.isprintable():
        raise UnfitFeatureError("the entity has a character that cannot be printed")
    return entity


def fit_time(time: datetime) -> datetime:
    """`time` in UTC; raises `UnfitFeatureError` unless it is aware and there is such a time."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise UnfitFeatureError(f"time {time}: expected a datetime with its time zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise UnfitFeatureError(f"time {time} is out of range in UTC") from None


def fit_value(data_type: DataType, value: Any) -> Value:
    """`value` as it is stored; raises `UnfitFeatureError` unless it is of that type."""
    if data_type is DataType.BOOLEAN and isinstance(value, bool):
        return value
    if data_type is DataType.TEXT and isinstance(value, str):
        return _text(value)
    if data_type is DataType.NUMBER and not isinstance(value, bool) and isinstance(value, Real):
        return _number(value)
    # The value itself may be a secret, or endless.
    raise UnfitFeatureError(f"a value of the type {type(value).__name__}; expected a {data_type}")


def _three(row: Any) -> tuple[Any, Any, Any]:
    try:
        entity, event_time, value = row
    except (TypeError, ValueError):
        raise UnfitFeatureError("expected an entity, an event time and a value") from None
    return entity, event_time, value


def _entity(entity: str) -> str:
    # Hidden, entities would become one.
    if redacted_name(fit_entity(entity)) != entity:
        raise UnfitFeatureError("the entity holds what looks like a secret; expected an identifier")
    return entity


def _event_time(event_time: datetime, latest: datetime) -> datetime:
    utc = fit_time(event_time)
    if utc > latest:
        raise UnfitFeatureError(f"event time {event_time} is more than 1 hour in the future")
    if utc < EARLIEST:
        raise UnfitFeatureError(f"event time {event_time} is before {EARLIEST:%Y}")
    return utc


def _text(value: str) -> str:
    if len(value) > LONGEST_VALUE:
        raise UnfitFeatureError(
            f"a text of {len(value)} characters; expected at most {LONGEST_VALUE}"
        )
    if "\x00" in value:
        raise UnfitFeatureError("a text with a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UnfitFeatureError("a text with half a character (a lone surrogate)")
    return redacted(value)


def _number(value: Any) -> float:
    if isinstance(value, Integral) and abs(int(value)) > _EXACT:
        raise UnfitFeatureError("a whole number beyond 2**53, which a double does not hold exactly")
    number = float(value)
    if not math.isfinite(number):
        raise UnfitFeatureError(f"the number {number}; expected a finite one")
    return number


COLUMNS: Final[Mapping[DataType, tuple[str, str]]] = {
    DataType.NUMBER: ("number_value", "double precision"),
    DataType.TEXT: ("text_value", "text"),
    DataType.BOOLEAN: ("boolean_value", "boolean"),
}
"Where the values of a type are, and what they are there."

# A correction is later than what it corrects, also by a clock that is behind.
_STORE: Final = {
    data_type: sa.text(
        f"""
        INSERT INTO mlops.feature_values
            (tenant_id, feature, version, entity, event_time, written_at, {column})
        SELECT CAST(current_setting('app.tenant') AS uuid), :feature, :version, given.entity,
            given.event_time, greatest(CAST(:now AS timestamptz), before.written_at), given.value
        FROM unnest(CAST(:entities AS text[]), CAST(:times AS timestamptz[]),
                    CAST(:values AS {type_name}[])) AS given (entity, event_time, value)
        LEFT JOIN LATERAL (
            SELECT v.written_at, v.{column} AS value FROM mlops.feature_values v
            WHERE v.feature = :feature AND v.version = :version AND v.entity = given.entity
                AND v.event_time = given.event_time
            ORDER BY v.written_at DESC, v.id DESC LIMIT 1
        ) AS before ON true
        WHERE before.value IS DISTINCT FROM given.value
        RETURNING 1
        """  # noqa: S608 (the columns above)
    )
    for data_type, (column, type_name) in COLUMNS.items()
}


def _store(
    session: Session,
    feature: Feature,
    keys: list[tuple[str, datetime]],
    values: list[Value],
    now: datetime,
) -> int:
    written = {
        "feature": feature.name,
        "version": feature.version,
        "now": now,
        "entities": [entity for entity, _ in keys],
        "times": [time for _, time in keys],
        "values": values,
    }
    return len(session.execute(_STORE[feature.data_type], written).all())
