"""The units that a test has shown a variant, as PostgreSQL knows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.tables import AbTest

# Episodes of benchmark runs; what a unit met first is what it keeps.
_EXPOSED: Final = sa.text(
    """
    SELECT DISTINCT ON (e.unit_id) e.unit_id, e.variant
    FROM mlops.episodes e JOIN mlops.benchmark_runs r ON r.id = e.run_id
    WHERE r.specification->'ab'->>'test' = :name
      AND r.specification->'ab'->>'environment' = :environment
      AND e.variant IS NOT NULL
    ORDER BY e.unit_id, r.created_at, e.id
    """
)


def exposed_units(session: Session, test: AbTest) -> Iterator[tuple[str, str]]:
    """Each unit that has met a variant of the test, once, with that variant's name."""
    named = {"name": test.name, "environment": test.environment}
    for row in session.execute(_EXPOSED, named):
        yield row.unit_id, row.variant
