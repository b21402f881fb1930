"""What units did since they were exposed, added up: of each unit, and of each variant.

Every event of a unit waits in `mlops.unit_events` until it is in the sums, every exposure that is
news is marked. One transaction takes some of both: an event counts for the tests whose unit was
exposed before it and that had not ended by then, and an exposure that comes later than its unit's
events looks back for them. An event that is still waiting is not looked for, because it will be
taken: so each counts once, whatever comes first. What was before a test's end counts however late
it comes. Of a tenant one such transaction runs at a time.

The sums of a variant change by what its units' own change, so an analysis of ten million units
reads a dozen rows. A unit that was given two variants is in no sum, see `Exposure.mixed`. Where a
test's plan has a cap they change by the capped new value minus the capped old one: no cap changes
once its test has begun, so they stay the sums of the capped values.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.capping import capped
from shared.abtest.metrics import BEFORE, COMPONENTS, SPREADS, SUMMED, AbMetric
from shared.abtest.own_metrics import OwnMetric
from shared.abtest.tables import AbSum
from shared.telemetry.histograms import BINS, Histogram, bin_of

EVENTS_AT_ONCE: Final = 50_000
EXPOSURES_AT_ONCE: Final = 20_000
DAYS_BEFORE: Final = timedelta(days=7)
"How long before its exposure a unit is looked at: a week has all of its days."


@dataclass(frozen=True)
class Summed:
    """How much one transaction took; there may be more if either is as much as it takes."""

    events: int
    exposures: int

    @property
    def more(self) -> bool:
        return self.events == EVENTS_AT_ONCE or self.exposures == EXPOSURES_AT_ONCE


def sum_units(session: Session) -> Summed:
    """Add what has come to the sums of the units and of their variants."""
    one_at_a_time(session)
    session.execute(_ROOM)
    session.execute(_MAKE_CHANGED)
    session.execute(_NONE_CHANGED)
    told = session.execute(_TAKE_EXPOSURES, {"most": EXPOSURES_AT_ONCE}).all()
    fresh = _counted_from_now_on(session, told)
    limits = {"events": EVENTS_AT_ONCE, "before": DAYS_BEFORE}
    taken = session.execute(_ADD_UP, fresh | limits).scalar_one()
    _sum_variants(session)
    _spread(session)
    return Summed(taken, len(told))


def one_at_a_time(session: Session) -> None:
    """Wait until nobody else sums units of the tenant, or removes some; until the commit."""
    session.execute(_ONE_AT_A_TIME)


def _counted_from_now_on(session: Session, told: Sequence[sa.Row[Any]]) -> dict[str, list[Any]]:
    """Note the exposures, and return what is to be looked back for, as lists side by side."""
    columns = [list(column) for column in zip(*told, strict=True)] or [[] for _ in range(5)]
    keys = ("tests", "units", "variants", "times", "mixed")
    known = session.execute(_COUNT_FROM, dict(zip(keys, columns, strict=True))).all()
    names = ("tests", "units", "since", "until", "counted")
    return {name: [row[place] for row in known] for place, name in enumerate(names)}


_ONE_AT_A_TIME: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended("
    "'mlops.ab_units:' || current_setting('app.tenant'), 0))"
)

# What is taken at once is grouped and sorted without going to disk.
_ROOM: Final = sa.text("SET LOCAL work_mem = '64MB'")

# Locked in the order of the key, as who tells of exposures locks them.
_TAKE_EXPOSURES: Final = sa.text(
    """
    UPDATE mlops.exposures x SET changed = false
    FROM (
        SELECT tenant_id, test_id, unit_id FROM mlops.exposures
        WHERE changed ORDER BY test_id, unit_id LIMIT :most FOR UPDATE
    ) AS news
    WHERE (x.tenant_id, x.test_id, x.unit_id) = (news.tenant_id, news.test_id, news.unit_id)
    RETURNING x.test_id, x.unit_id, x.variant, x.exposed_at, x.mixed
    """
)

_END: Final = "least(t.ended_at, CAST(t.rules->>'ends_at' AS timestamptz))"
"When a test `t` has ended, by its author or by its rules; null where it has not."

# `before` sees the units as they were before this statement. An exposure to a test that there is
# not is nobody's, nor is one to a draft: it assigns none, and its caps are not settled; nor one
# that was after the test's end. One to a test whose units are removed would count its unit again.
_COUNT_FROM: Final = sa.text(
    f"""
    WITH news AS (
        SELECT told.*, {_END} AS ended_at FROM unnest(
            CAST(:tests AS uuid[]), CAST(:units AS uuid[]), CAST(:variants AS text[]),
            CAST(:times AS timestamptz[]), CAST(:mixed AS boolean[])
        ) AS told (test_id, unit_id, variant, exposed_at, mixed)
        JOIN mlops.ab_tests t ON t.id = told.test_id AND t.status <> 'draft'
            AND t.units_removed_at IS NULL
        WHERE {_END} IS NULL OR told.exposed_at < {_END}
    ),
    before AS (SELECT u.* FROM mlops.ab_units u JOIN news USING (test_id, unit_id)),
    noted AS (
        INSERT INTO mlops.ab_units AS u
            (tenant_id, test_id, unit_id, variant, mixed, counted_from)
        SELECT CAST(current_setting('app.tenant') AS uuid),
            test_id, unit_id, variant, mixed, exposed_at
        FROM news ORDER BY test_id, unit_id
        ON CONFLICT (tenant_id, test_id, unit_id) DO UPDATE
        SET counted_from = excluded.counted_from, mixed = excluded.mixed
    )
    SELECT news.test_id, news.unit_id, news.exposed_at AS since,
        least(before.counted_from, news.ended_at) AS until,
        before.unit_id IS NOT NULL AND NOT before.mixed AS counted
    FROM news LEFT JOIN before USING (test_id, unit_id)
    """  # noqa: S608 (a constant)
)


_SUMS: Final = ", ".join(
    f"CAST(coalesce(sum({amount}), 0) AS bigint) AS {name}" for name, amount in COMPONENTS.items()
)


def _each(pattern: str, names: Iterable[str]) -> str:
    return ", ".join(pattern.format(name) for name in names)


_ALL: Final = (*COMPONENTS, *(f"{name}_before" for name in BEFORE))

# As wide as what is put into it: of each unit that changed, what it was and what it is.
_MAKE_CHANGED: Final = sa.text(
    f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS ab_changed (
        test_id uuid, variant text, counted boolean, counts boolean,
        {_each("{0}_was bigint, {0}_is bigint", _ALL)}
    ) ON COMMIT DELETE ROWS
    """
)

# One statement has one look at what is waiting and at what is not. What it did to each unit is
# left in a table of the connection's own, for what follows from it.
_ADD_UP: Final = sa.text(
    f"""
    WITH fresh AS (
        SELECT * FROM unnest(
            CAST(:tests AS uuid[]), CAST(:units AS uuid[]), CAST(:since AS timestamptz[]),
            CAST(:until AS timestamptz[]), CAST(:counted AS boolean[])
        ) AS fresh (test_id, unit_id, since, until, counted)
    ),
    ended AS MATERIALIZED (
        SELECT t.id AS test_id, coalesce({_END}, 'infinity') AS at FROM mlops.ab_tests t
    ),
    -- Bounds that are known before it is looked for: other days are not looked at.
    earliest AS (SELECT min(since) AS since FROM fresh),
    latest AS (SELECT max(occurred_at) AS at FROM mlops.events),
    taken AS (
        DELETE FROM mlops.unit_events waiting USING (
            SELECT tenant_id, occurred_at, event_id FROM mlops.unit_events
            ORDER BY occurred_at, event_id LIMIT :events
        ) AS first
        WHERE (waiting.tenant_id, waiting.occurred_at, waiting.event_id)
            = (first.tenant_id, first.occurred_at, first.event_id)
        RETURNING waiting.tenant_id, waiting.occurred_at, waiting.event_id
    ),
    come AS (
        SELECT u.test_id, u.unit_id, {_SUMS}
        FROM taken JOIN mlops.events e USING (tenant_id, occurred_at, event_id)
        JOIN mlops.ab_units u ON u.unit_id = e.unit_id AND u.counted_from <= e.occurred_at
        JOIN ended ON ended.test_id = u.test_id AND e.occurred_at < ended.at
        GROUP BY u.test_id, u.unit_id
    ),
    looked_back AS (
        SELECT fresh.test_id, fresh.unit_id, {_SUMS}
        FROM fresh JOIN mlops.events e ON e.unit_id = fresh.unit_id
            AND e.occurred_at >= fresh.since
            AND (fresh.until IS NULL OR e.occurred_at < fresh.until)
            AND e.occurred_at >= (SELECT since FROM earliest)
            AND e.occurred_at <= (SELECT at FROM latest)
        WHERE NOT EXISTS (
            SELECT FROM mlops.unit_events w
            WHERE w.occurred_at = e.occurred_at AND w.event_id = e.event_id)
        GROUP BY fresh.test_id, fresh.unit_id
    ),
    before AS (
        SELECT fresh.test_id, fresh.unit_id, {_SUMS}
        FROM fresh JOIN mlops.events e ON e.unit_id = fresh.unit_id
            AND e.occurred_at >= fresh.since - CAST(:before AS interval)
            AND e.occurred_at < fresh.since
            AND e.occurred_at >= (SELECT since - CAST(:before AS interval) FROM earliest)
        GROUP BY fresh.test_id, fresh.unit_id
    ),
    -- Side by side and not joined: of lists that have no statistics a join would be a guess.
    touched AS (
        SELECT test_id, unit_id, bool_or(counted) AS counted,
            {_each("CAST(sum({0}) AS bigint) AS {0}", COMPONENTS)},
            {_each("CAST(sum({0}_before) AS bigint) AS {0}_before", BEFORE)}
        FROM (
            SELECT test_id, unit_id, CAST(NULL AS boolean) AS counted, {_each("{0}", COMPONENTS)},
                {_each("CAST(NULL AS bigint)", BEFORE)} FROM come
            UNION ALL
            SELECT test_id, unit_id, NULL, {_each("{0}", COMPONENTS)},
                {_each("NULL", BEFORE)} FROM looked_back
            UNION ALL
            SELECT test_id, unit_id, NULL, {_each("0", COMPONENTS)},
                {_each("{0}", BEFORE)} FROM before
            UNION ALL
            SELECT test_id, unit_id, counted, {_each("0", COMPONENTS)},
                {_each("0", BEFORE)} FROM fresh
        ) AS parts (test_id, unit_id, counted, {_each("{0}", COMPONENTS)},
            {_each("{0}_before", BEFORE)})
        GROUP BY test_id, unit_id
    ),
    added AS (
        UPDATE mlops.ab_units u
        SET {_each("{0} = u.{0} + touched.{0}", COMPONENTS)},
            {_each("{0}_before = coalesce(touched.{0}_before, u.{0}_before)", BEFORE)}
        FROM touched, mlops.ab_units was
        WHERE u.test_id = touched.test_id AND u.unit_id = touched.unit_id
            AND was.tenant_id = u.tenant_id AND was.test_id = u.test_id
            AND was.unit_id = u.unit_id
        RETURNING u.test_id, u.variant, coalesce(touched.counted, NOT u.mixed) AS counted,
            NOT u.mixed AS counts,
            {_each("was.{0} AS {0}_was, u.{0} AS {0}_is", _ALL)}
    ),
    kept AS (
        INSERT INTO pg_temp.ab_changed SELECT * FROM added WHERE counted OR counts
    )
    SELECT count(*) FROM taken
    """  # noqa: S608 (names of columns)
)

_NONE_CHANGED: Final = sa.text("DELETE FROM pg_temp.ab_changed")


_WITH_A_PLAN: Final = sa.text(
    """
    SELECT t.id, t.plan->'metrics' AS metrics, t.plan->'winsorize' AS winsorize
    FROM mlops.ab_tests t
    WHERE (t.plan->'metrics' <> '[]' OR t.plan->'winsorize' <> '{}')
        AND t.id IN (SELECT test_id FROM pg_temp.ab_changed)
    ORDER BY t.id
    """
)


def _sum_variants(session: Session) -> None:
    """Add what changed of the units to the sums of their variants.

    Most tests have no metrics and no caps of their own and are summed together; each of the others
    by itself, so that only who has caps pays for them.
    """
    planned = session.execute(_WITH_A_PLAN).all()
    alone = [test_id for test_id, _, _ in planned]
    session.execute(_summing(SUMMED, (), "test_id <> ALL (:tests)"), {"tests": alone})
    for test_id, metrics, winsorize in planned:
        own = tuple(OwnMetric.model_validate(one).made for one in metrics)
        caps = tuple((name, int(cap["at"])) for name, cap in sorted(winsorize.items()))
        summing = _summing((*SUMMED, *own), caps, "test_id = :test")
        session.execute(summing, {"test": test_id})


def _sums_of(metric: AbMetric, cap: int | None, tests: str) -> str:
    """What is to be added to a metric's sums, of each test and variant.

    Of each unit as it was and as it is: in it or not, unknown or not, y, x, above the cap or not.
    What one event changes of a unit is in few of its metrics; of the others nothing is added.
    """
    beside = metric.denominator or metric.before
    # What is stored is not beyond 64 bits, and quicker than numeric.
    wide = "{}" if cap is None else "CAST({} AS numeric)"
    values = []
    for when, counted in (("was", "counted"), ("is", "counts")):
        known = " AND ".join(f"{needed}_{when} = 0" for needed in metric.needs_none_of) or "true"
        y, x = (
            "0"
            if name is None
            else f"CASE WHEN {counted} AND {known} THEN {wide.format(f'{name}_{when}')} ELSE 0 END"
            for name in (metric.numerator, beside)
        )
        above = "0"
        if cap is not None:
            y, over = capped(metric, cap, y, x)
            above = f"CAST({over} AS integer)"
            # Who is far out was so before, and the two belong together.
            x = f"least({x}, {cap})" if metric.denominator is None else x
        values += [
            f"CAST({counted} AND {known} AS integer) AS in_{when}",
            f"CAST({counted} AND NOT ({known}) AS integer) AS unknown_{when}",
            f"{y} AS y_{when}",
            f"{x} AS x_{when}",
            f"{above} AS above_{when}",
        ]
    return f"""
        SELECT test_id, variant, '{metric.name}' AS metric,
            sum(in_is - in_was) AS units, sum(unknown_is - unknown_was) AS unknown,
            sum(y_is - y_was) AS y, sum(x_is - x_was) AS x,
            sum(CAST(y_is AS numeric) * y_is - CAST(y_was AS numeric) * y_was) AS yy,
            sum(CAST(x_is AS numeric) * x_is - CAST(x_was AS numeric) * x_was) AS xx,
            sum(CAST(x_is AS numeric) * y_is - CAST(x_was AS numeric) * y_was) AS xy,
            sum(above_is - above_was) AS capped
        FROM (
            SELECT test_id, variant, {", ".join(values)} FROM pg_temp.ab_changed WHERE {tests}
        ) AS changed
        WHERE (in_is, unknown_is, y_is, x_is, above_is)
            <> (in_was, unknown_was, y_was, x_was, above_was)
        GROUP BY test_id, variant
    """  # noqa: S608 (names of columns, and whole numbers)


@functools.lru_cache(maxsize=256)
def _summing(
    metrics: tuple[AbMetric, ...], caps: tuple[tuple[str, int], ...], tests: str
) -> sa.TextClause:
    """The statement for these metrics, with caps by their names, of such `tests`.

    Numbers of any size: the square of a unit's nano-dollars is beyond 64 bits.
    """
    most = dict(caps)
    added = " UNION ALL ".join(_sums_of(metric, most.get(metric.name), tests) for metric in metrics)
    return sa.text(
        f"""
        INSERT INTO mlops.ab_sums AS s
            (tenant_id, test_id, variant, metric, units, unknown, y, x, yy, xx, xy, capped)
        SELECT CAST(current_setting('app.tenant') AS uuid), added.* FROM ({added}) AS added
        ORDER BY test_id, variant, metric
        ON CONFLICT (tenant_id, test_id, variant, metric) DO UPDATE
        SET units = s.units + excluded.units, unknown = s.unknown + excluded.unknown,
            y = s.y + excluded.y, x = s.x + excluded.x,
            yy = s.yy + excluded.yy, xx = s.xx + excluded.xx, xy = s.xy + excluded.xy,
            capped = s.capped + excluded.capped
        """  # noqa: S608 (names of columns, and whole numbers)
    )


def _spread(session: Session) -> None:
    """Move the units that changed to where they are now in the histograms of their variants."""
    for name in SPREADS:
        moved = session.execute(_MOVED[name]).all()
        for test_id, variant, was, there in moved:
            _move(session, test_id, variant, name, was or [], there or [])


def _moved(numerator: str, denominator: str) -> sa.TextClause:
    of_unit = "array_agg({0}_{2} / {1}_{2}) FILTER (WHERE {3} AND {1}_{2} > 0)"
    was, there = (
        of_unit.format(numerator, denominator, *one)
        for one in (("was", "counted"), ("is", "counts"))
    )
    return sa.text(
        f"""
        SELECT test_id, variant, {was} AS was, {there} AS there FROM pg_temp.ab_changed
        GROUP BY test_id, variant ORDER BY test_id, variant
        """  # noqa: S608 (names of columns)
    )


_MOVED: Final = {name: _moved(*of) for name, of in SPREADS.items()}


def _move(
    session: Session,
    test_id: UUID,
    variant: str,
    metric: str,
    was: Sequence[int],
    there: Sequence[int],
) -> None:
    if not (was or there):
        return
    row = session.scalars(
        sa.select(AbSum).where(
            AbSum.test_id == test_id, AbSum.variant == variant, AbSum.metric == metric
        )
    ).one()
    held = Histogram.from_bytes(row.histogram)
    counts = np.zeros(BINS, dtype=np.int64)
    counts[held.bins] = held.counts
    counts += np.bincount(bin_of(there), minlength=BINS)
    counts -= np.bincount(bin_of(was), minlength=BINS)
    bins = np.flatnonzero(counts)
    row.histogram = Histogram.from_counts(bins, counts[bins]).to_bytes()
