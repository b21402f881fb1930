"""Exposures: that a unit was given its variant of an A/B test, once for each test and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.telemetry.events import ExposureEvent


def expose(session: Session, exposures: Sequence[ExposureEvent]) -> int:
    """Store those that say something new, and return how many units were not exposed before.

    The earliest time holds, and the variant that came first. A unit that is given another variant
    later is `mixed` for good.
    """
    found = session.execute(
        _EXPOSE,
        {
            "tests": [one.test_id for one in exposures],
            "units": [one.unit_id for one in exposures],
            "variants": [one.variant for one in exposures],
            "times": [one.occurred_at for one in exposures],
            "slots": [one.slot for one in exposures],
        },
    )
    return sum(row.is_new for row in found)


# One row for each key, or ON CONFLICT would meet its own; in the order of the key, so that two
# batches cannot wait for each other. What says nothing new writes nothing: most exposures are told
# by many processes.
_EXPOSE: Final = sa.text(
    """
    WITH told AS (
        SELECT test_id, unit_id, min(exposed_at) AS exposed_at, min(slot) AS slot,
            (array_agg(variant ORDER BY exposed_at, variant))[1] AS variant,
            min(variant) <> max(variant) AS mixed
        FROM unnest(
            CAST(:tests AS uuid[]), CAST(:units AS uuid[]), CAST(:variants AS text[]),
            CAST(:times AS timestamptz[]), CAST(:slots AS bigint[])
        ) AS told (test_id, unit_id, variant, exposed_at, slot)
        GROUP BY test_id, unit_id
    )
    INSERT INTO mlops.exposures AS known
        (tenant_id, test_id, unit_id, variant, slot, exposed_at, mixed)
    SELECT CAST(current_setting('app.tenant') AS uuid),
        test_id, unit_id, variant, slot, exposed_at, mixed
    FROM told ORDER BY test_id, unit_id
    ON CONFLICT (tenant_id, test_id, unit_id) DO UPDATE
    SET slot = coalesce(known.slot, excluded.slot),
        exposed_at = least(known.exposed_at, excluded.exposed_at),
        mixed = known.mixed OR excluded.mixed OR known.variant <> excluded.variant,
        changed = true
    WHERE excluded.exposed_at < known.exposed_at OR known.slot IS NULL AND excluded.slot >= 0
        OR NOT known.mixed AND (excluded.mixed OR known.variant <> excluded.variant)
    RETURNING xmax = 0 AS is_new
    """
)
