"""What the units of a test did, judged: for tests of anything but agents on benchmark episodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.inference.estimates import Moments
from shared.abtest.judging import judge
from shared.abtest.metrics import COMPLETION_RATE, METRICS, SPREADS, Kind
from shared.abtest.plan import Plan
from shared.abtest.retention import MIXED
from shared.abtest.shares import shares_of
from shared.abtest.tables import AbLook, AbSum, AbTest, AbUnit
from shared.abtest.verdicts import MetricSums, VariantSums, Verdict
from shared.telemetry.histograms import Histogram

A_DAY: Final = timedelta(days=1)
"Units come by the hour of the day, so their rate is that of a whole one."


def judge_units(session: Session, test: AbTest, now: datetime) -> Verdict:
    """The verdict of the test's units as far as they are summed.

    It reads a dozen rows of each variant.
    """
    sums: defaultdict[str, dict[str, AbSum]] = defaultdict(dict)
    for row in session.scalars(sa.select(AbSum).where(AbSum.test_id == test.id)):
        sums[row.variant][row.metric] = row
    mixed = _mixed(session, test)
    shares, earlier = shares_of(session, test)
    variants = [
        VariantSums(
            variant["name"],
            share.now,
            _units(sums[variant["name"]]),
            mixed.get(variant["name"], 0),
            _metrics(sums[variant["name"]]),
            share.most,
        )
        for variant, share in zip(test.variants, shares, strict=True)
    ]
    return judge(
        plan_of(test),
        variants,
        split_changed=test.split_changed_at is not None,
        units_by_other_shares=earlier,
        units_a_day=units_a_day(session, test, variants, now),
    )


def plan_of(test: AbTest) -> Plan:
    """What was settled before the test began. ValueError for a metric that there is not."""
    return Plan.model_validate(test.plan | {"success_metric": test.success_metric})


def _units(of_metrics: Mapping[str, AbSum]) -> int:
    return of_metrics[COMPLETION_RATE].units if of_metrics else 0


def _metrics(of_metrics: Mapping[str, AbSum]) -> dict[str, MetricSums]:
    found = {
        name: MetricSums(moments_of(row), row.unknown, capped=row.capped)
        for name, row in of_metrics.items()
    }
    for metric in METRICS.values():
        if metric.kind is not Kind.QUANTILE:
            continue
        for name, (numerator, denominator) in SPREADS.items():
            same = (metric.numerator, metric.denominator) == (numerator, denominator)
            if same and name in of_metrics:
                spread = Histogram.from_bytes(of_metrics[name].histogram)
                found[metric.name] = MetricSums(Moments(0, 0.0, 0.0), spread=spread)
    return found


class StoredSums(Protocol):
    """Sums over `units` of whom y and x are known, as PostgreSQL has them."""

    @property
    def units(self) -> int: ...
    @property
    def y(self) -> Decimal: ...
    @property
    def x(self) -> Decimal: ...
    @property
    def yy(self) -> Decimal: ...
    @property
    def xx(self) -> Decimal: ...
    @property
    def xy(self) -> Decimal: ...


def moments_of(row: StoredSums) -> Moments:
    """Without loss: sums of squares of nano-dollars have more digits than a float."""
    if not row.units:
        return Moments(0, 0.0, 0.0)
    n, y, x = row.units, Fraction(row.y), Fraction(row.x)

    def centred(products: Decimal, one: Fraction, two: Fraction) -> float:
        return float(Fraction(products) - one * two / n)

    return Moments(
        n,
        float(y / n),
        centred(row.yy, y, y),
        float(x / n),
        centred(row.xx, x, x),
        centred(row.xy, x, y),
    )


def _mixed(session: Session, test: AbTest) -> dict[str, int]:
    found = session.execute(
        sa.select(AbUnit.variant, sa.func.count().label("n"))
        .where(AbUnit.test_id == test.id, AbUnit.mixed)
        .group_by(AbUnit.variant)
    )
    mixed = Counter({row.variant: row.n for row in found})
    # Of a test whose units are removed the numbers are kept.
    kept = session.execute(
        sa.select(AbSum.variant, AbSum.units).where(AbSum.test_id == test.id, AbSum.metric == MIXED)
    )
    mixed.update({row.variant: row.units for row in kept})
    return dict(mixed)


def units_a_day(
    session: Session, test: AbTest, variants: Sequence[VariantSums], now: datetime
) -> float | None:
    """Today's rate: since the newest kept look that is a day old; None where there is none yet."""
    then = session.execute(
        sa.select(AbLook.looked_at, AbLook.units)
        .where(AbLook.test_id == test.id, AbLook.looked_at <= now - A_DAY)
        .order_by(AbLook.looked_at.desc())
        .limit(1)
    ).one_or_none()
    if then is None:
        return None
    news: int = sum(one.units for one in variants) - then.units
    return max(0, news) / float((now - then.looked_at) / A_DAY)
