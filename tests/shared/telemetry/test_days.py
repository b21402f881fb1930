"""A look at days gives what a look at their hours gives, at every moment."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from shared.database import TenantId, tenant_session
from shared.telemetry.days import sum_past_days
from shared.telemetry.histograms import Histogram
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.metrics import Metric, Words
from shared.telemetry.reading import (
    Group,
    Sums,
    Window,
    by_function_and_model,
    by_model_and_function,
    histograms,
    sums,
    word_counts,
)
from shared.telemetry.rollups import roll_up_dirty_hours
from shared.telemetry.tables import DailyPerformance, DirtyDay

NOW = datetime.now(UTC)
TODAY = NOW.replace(hour=0, minute=0, second=0, microsecond=0)


def send(tenant: TenantId, *times: datetime) -> None:
    rng = random.Random(len(times))
    lines = [
        json.dumps(
            {
                "kind": "llm_call",
                "event_id": str(uuid4()),
                "occurred_at": at.isoformat(),
                "model": rng.choice(["a@1", "b@1"]),
                "function": rng.choice(["f", "g"]),
                "latency_ms": rng.randrange(5000),
                "query_measures": {
                    "characters": 9,
                    "words": 1,
                    "word_characters": 9,
                    "letters": 9,
                    "hashes": [rng.randrange(9)],
                },
                "input_tokens": 10,
                "output_tokens": 1,
                "error_type": rng.choice([None, None, "timeout"]),
            }
        ).encode()
        for at in times
    ]
    with tenant_session(tenant) as session:
        ingest(session, lines, lambda _: CallCost(7, "a price"), NOW)
        roll_up_dirty_hours(session)


def add_up(tenant: TenantId) -> int:
    with tenant_session(tenant) as session:
        return len(sum_past_days(session, TODAY.date()))


def looked_at(
    tenant: TenantId, window: Window, by: Group = Group.MODEL
) -> tuple[dict[str, Sums], dict[str, Histogram]]:
    with tenant_session(tenant) as session:
        return sums(session, window, by=by), histograms(session, window, Metric.LLM_LATENCY, by=by)


def words_in(tenant: TenantId, window: Window) -> dict[tuple[str, str], bytes]:
    with tenant_session(tenant) as session:
        of = by_function_and_model(session, window, ())
        found = word_counts(session, window, Words.QUERY_VOCABULARY, of)
    return {key: words.to_bytes() for key, words in found.items()}


def hours_of_days(days: int) -> list[datetime]:
    """Every third hour of so many days before today, and of today."""
    since = TODAY - timedelta(days=days)
    return [since + timedelta(hours=n) for n in range(0, 24 * days + 1, 3)]


@pytest.mark.parametrize(
    ("start", "end"),
    [(-72, 1), (-72, 0), (-60, -1), (-71, -25), (-48, -24), (-20, -3), (-100, 30)],
    ids=str,
)
def test_days_that_were_added_up_change_no_answer(tenant: TenantId, start: int, end: int) -> None:
    send(tenant, *hours_of_days(3))
    window = Window(TODAY + timedelta(hours=start), TODAY + timedelta(hours=end))
    before = looked_at(tenant, window), looked_at(tenant, window, Group.FUNCTION)
    words = words_in(tenant, window)
    assert add_up(tenant) == 3
    assert (looked_at(tenant, window), looked_at(tenant, window, Group.FUNCTION)) == before
    assert before[0][0]
    assert words_in(tenant, window) == words
    assert len(words) == 4


def test_sums_by_model_and_function_are_parts_of_those_by_model(tenant: TenantId) -> None:
    send(tenant, *hours_of_days(2))
    add_up(tenant)
    window = Window(TODAY - timedelta(hours=30), TODAY + timedelta(hours=1))
    by_model, latencies = looked_at(tenant, window)
    with tenant_session(tenant) as session:
        found = by_model_and_function(session, window, (Metric.LLM_LATENCY, Metric.TOKENS))
        both = {key: sums(session, window, *key)[key[0]] for key in found}
    assert {function for _, function in found} == {"f", "g"}
    for key, (counted, histograms_of) in found.items():
        assert replace(both[key], errors_by_type={}, errors_by_category={}) == counted
        assert histograms_of[Metric.TOKENS].total == counted.llm_calls
    for model, whole in by_model.items():
        parts = [found[key] for key in found if key[0] == model]
        assert sum(counted.llm_calls for counted, _ in parts) == whole.llm_calls
        assert Histogram.sum(of[Metric.LLM_LATENCY] for _, of in parts) == latencies[model]


def test_a_late_event_is_in_the_answer_before_and_after_its_day_is_added_up_again(
    tenant: TenantId,
) -> None:
    send(tenant, *hours_of_days(2))
    add_up(tenant)
    window = Window(TODAY - timedelta(days=2), TODAY)

    def calls() -> int:
        return sum(found.llm_calls for found in looked_at(tenant, window)[0].values())

    assert calls() == 16
    send(tenant, TODAY - timedelta(hours=30))
    assert calls() == 17
    assert add_up(tenant) == 1
    assert calls() == 17


def test_a_day_that_is_not_over_is_not_added_up(tenant: TenantId) -> None:
    send(tenant, TODAY)
    assert add_up(tenant) == 0
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(DirtyDay.day)).all() == [TODAY.date()]


def test_adding_up_twice_gives_the_same_rows(tenant: TenantId) -> None:
    send(tenant, *hours_of_days(1))
    add_up(tenant)

    def rows() -> list[tuple[object, ...]]:
        columns = [c for c in DailyPerformance.__table__.columns if c.name != "computed_at"]
        with tenant_session(tenant) as session:
            return sorted(map(tuple, session.execute(sa.select(*columns))), key=str)

    before = rows()
    with tenant_session(tenant) as session:
        session.add(DirtyDay(tenant_id=tenant, day=(TODAY - timedelta(days=1)).date()))
        session.flush()
        session.execute(sa.delete(DailyPerformance))
    add_up(tenant)
    assert rows() == before


def test_looks_while_days_are_marked_and_added_up_miss_nothing(tenant: TenantId) -> None:
    send(tenant, *hours_of_days(2))
    window = Window(TODAY - timedelta(days=2), TODAY)
    seen: list[int] = []

    def look() -> None:
        for _ in range(40):
            found = looked_at(tenant, window)[0]
            seen.append(sum(of.llm_calls for of in found.values()))

    def change() -> None:
        for n in range(8):
            send(tenant, TODAY - timedelta(hours=5 + n))
            add_up(tenant)

    with ThreadPoolExecutor(2) as pool:
        for done in (pool.submit(look), pool.submit(change)):
            done.result()
    assert set(seen) <= set(range(16, 25))
    assert seen == sorted(seen)
