"""The feature store from Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.database import TenantId, tenant_session
from shared.telemetry.features import reading, registering, writing
from shared.telemetry.features.definitions import (
    DataType,
    Feature,
    Source,
    UnfitFeatureError,
    Value,
)
from shared.telemetry.features.reading import FeatureVector, Knowledge
from shared.telemetry.features.writing import Written
from shared.tenancy.tenants import current_tenant


@dataclass(frozen=True)
class FeatureStore:
    """The features of a tenant: of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given.

    Features are named `name@version`, or `name` for the newest version. Each call is a transaction.
    All raise `FeatureError`, which says in one line what is wrong.
    """

    tenant_id: TenantId | None = None

    def register(
        self,
        name: str,
        data_type: str = "number",
        *,
        source: str,
        owner: str,
        description: str,
        unit: str = "",
    ) -> Feature:
        """Register a feature; a changed one becomes the next version, the same one stays.

        `data_type` is "number", "text" or "boolean". `source` is `rollup:METRIC`,
        `event:KIND.FIELD`, or words that name the query the values come from.
        """
        if data_type not in list(DataType):
            raise UnfitFeatureError(
                f"a data type {data_type!r}; expected one of {', '.join(DataType)}"
            )
        with tenant_session(self._tenant()) as session:
            return registering.register_feature(
                session, name, DataType(data_type), Source.parse(source), owner, description, unit
            )

    def write(self, feature: str, rows: Iterable[tuple[str, datetime, Value]]) -> Written:
        """Write (entity, event time, value), all of them or none. Times are aware.

        A value that is written again for the same time takes the place of the one before.
        """
        with tenant_session(self._tenant()) as session:
            return writing.write_values(session, feature, rows, datetime.now(UTC))

    def latest(
        self, features: str | Sequence[str], entities: str | Sequence[str]
    ) -> tuple[FeatureVector, ...]:
        """The newest value of each feature for each entity; None where there is none."""
        with tenant_session(self._tenant()) as session:
            return reading.read_latest(session, _several(features), _several(entities))

    def as_of(
        self,
        features: str | Sequence[str],
        points: Sequence[tuple[str, datetime]],
        *,
        known_then: bool = False,
        max_age: timedelta | None = None,
    ) -> tuple[FeatureVector, ...]:
        """For each (entity, time) what held at that time: nothing that happened later.

        With `known_then` nothing that was written later either. A value that is older than
        `max_age` at the time of its point counts as none.
        """
        knowledge = Knowledge.THEN if known_then else Knowledge.NOW
        with tenant_session(self._tenant()) as session:
            return reading.read_as_of(session, _several(features), points, knowledge, max_age)

    def _tenant(self) -> TenantId:
        return self.tenant_id or current_tenant()


def _several(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names
