"""A rollup equals what is computed from the events directly, however often it is made."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.local.ephemeral import TemporaryServices
from shared.telemetry import rollups
from shared.telemetry.errors import categorize
from shared.telemetry.events import LlmCallEvent
from shared.telemetry.histograms import Histogram
from shared.telemetry.ingestion import CallCost, ingest
from shared.telemetry.metrics import HISTOGRAMS, Metric, OfOutcome, Words
from shared.telemetry.reading import (
    Sums,
    Window,
    by_function_and_model,
    histograms,
    sums,
    word_counts,
)
from shared.telemetry.rollups import NAMES_AN_HOUR, OTHER_NAMES, roll_up_dirty_hours
from shared.telemetry.tables import CustomMetric, DirtyHour, ErrorMessage, ModelPerformance
from shared.telemetry.texts import measure_text
from shared.tenancy.tenants import create_tenant

NOW = datetime.now(UTC)
HOUR = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
NO_SUMS = dict.fromkeys(
    set(Sums.__dataclass_fields__) - {"errors_by_type", "errors_by_category", "names"}, 0
)
UNPRICED = "unheard-of"
ROW_KEY = ("hour", "model", "function", "variant")


TEXTS = [None, "", "?!", "find a flight to Zürich", "row 12, seat 4", "a much longer question " * 9]


def measures(text: str | None) -> dict[str, Any] | None:
    """What is sent of a query."""
    if text is None:
        return None
    found = measure_text(text)
    counts = {name: getattr(found, name) for name in ("words", "word_characters", "letters")}
    return counts | {"characters": found.measured, "hashes": found.hashes}


def event(kind: str, at: datetime = HOUR, **fields: object) -> dict[str, Any]:
    required: Mapping[str, dict[str, Any]] = {
        "llm_call": {"provider": "p", "llm_model": "m", "latency_ms": 400},
        "action": {"success": True, "latency_ms": 700},
        "page_load": {"latency_ms": 90},
        "task_start": {},
        "task_end": {"success": True},
        "metric": {},
        "system": {},
    }
    common = {"model": "buyer@1", "function": "checkout", "event_id": str(uuid4())}
    return {"kind": kind, "occurred_at": at.isoformat()} | common | required[kind] | fields


def priced(call: LlmCallEvent) -> CallCost:
    if call.llm_model == UNPRICED:
        return CallCost(None, "no price is known")
    nanos = (call.input_tokens or 0) * 400 + (call.output_tokens or 0) * 1600
    return CallCost(nanos, "a price", simulated=call.provider == "stand-in")


def send(tenant: TenantId, batch: Sequence[object]) -> None:
    with tenant_session(tenant) as session:
        lines = [json.dumps(event).encode() for event in batch]
        assert not ingest(session, lines, priced, NOW).rejected


def roll_up(tenant: TenantId) -> tuple[datetime, ...]:
    with tenant_session(tenant) as session:
        return roll_up_dirty_hours(session)


def rows(session: Session) -> list[dict[str, Any]]:
    found = session.execute(sa.select(ModelPerformance.__table__)).mappings()
    kept = [{k: v for k, v in row.items() if k != "computed_at"} for row in found]
    return sorted(kept, key=lambda row: tuple(row[name] for name in ROW_KEY))


def some_traffic(seed: int, number: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        common = {
            "at": HOUR + timedelta(seconds=rng.uniform(0, 3 * 3600 - 1)),
            "model": rng.choice(["buyer@1", "buyer@2"]),
            "function": rng.choice(["checkout", "search"]),
            "variant": rng.choice(["", "a", "b"]),
        }
        match rng.choice(["llm_call", "action", "page_load", "task_start", "task_end"]):
            case "llm_call":
                more: dict[str, Any] = {
                    "latency_ms": int(rng.lognormvariate(7, 1)),
                    "provider": rng.choice(["openai", "stand-in"]),
                    "llm_model": rng.choice(["m", UNPRICED]),
                    "input_tokens": rng.choice([None, rng.randrange(20_000)]),
                    "cached_input_tokens": rng.choice([None, 0, 5]),
                    "output_tokens": rng.choice([None, rng.randrange(900)]),
                    "query_length": rng.choice([None, rng.randrange(50_000)]),
                    "query_measures": measures(rng.choice(TEXTS)),
                    "confidence": rng.choice([None, rng.random()]),
                    "quality": rng.choice([None, rng.random()]),
                    "first_token_ms": rng.choice([None, rng.randrange(900)]),
                    "cache_write_tokens": rng.choice([None, 3]),
                    "reasoning_tokens": rng.choice([None, 20]),
                    "error_type": rng.choice([None, None, "timeout", "rate_limit"]),
                }
                made.append(event("llm_call", **common, **more))
            case "action":
                fine = rng.random() < 0.8
                more = {"success": fine, "error_type": None if fine else "timeout"}
                more |= {"latency_ms": int(rng.lognormvariate(6, 1)), "dom_nodes": rng.randrange(9)}
                made.append(event("action", **common, **more))
            case "page_load":
                more = {"latency_ms": rng.randrange(4000), "dom_nodes": rng.randrange(5000)}
                made.append(event("page_load", **common, **more))
            case "task_start":
                made.append(event("task_start", **common))
            case "task_end":
                made.append(event("task_end", **common, success=rng.choice([True, False, None])))
    return made


def directly(batch: Sequence[dict[str, Any]]) -> tuple[dict[str, Sums], dict[str, dict[str, Any]]]:
    """The sums, and the values of each metric, of each model, from the events themselves."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    errors: defaultdict[str, Counter[str]] = defaultdict(Counter)
    categories: defaultdict[str, Counter[str]] = defaultdict(Counter)
    values: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for sent in batch:
        of, kind, seen = counts[sent["model"]], sent["kind"], values[sent["model"]]
        if sent.get("error_type"):
            errors[sent["model"]][f"{kind}.{sent['error_type']}"] += 1
            categories[sent["model"]][categorize(sent["error_type"])] += 1
        if sent.get("dom_nodes") is not None:
            seen["dom_nodes"].append(sent["dom_nodes"])
        if kind == "task_start":
            of["tasks_started"] += 1
        elif kind == "task_end":
            of["tasks"] += sent["success"] is not None
            of["successes"] += sent["success"] is True
        elif kind == "action":
            of["actions"] += 1
            of["action_errors"] += not sent["success"]
            seen["step_latency_ms"].append(sent["latency_ms"])
        elif kind == "page_load":
            of["page_loads"] += 1
            seen["page_load_ms"].append(sent["latency_ms"])
        else:
            call = LlmCallEvent.model_validate(sent)
            cost = priced(call)
            of["llm_calls"] += 1
            of["llm_errors"] += call.error_type is not None
            of["cost_nanos"] += cost.nanos or 0
            of["unpriced_calls"] += cost.nanos is None
            of["simulated_calls"] += cost.simulated
            of["uncounted_calls"] += call.input_tokens is None or call.output_tokens is None
            for name in (
                "input_tokens",
                "cached_input_tokens",
                "cache_write_tokens",
                "output_tokens",
                "reasoning_tokens",
            ):
                of[name] += getattr(call, name) or 0
            assert call.latency_ms is not None
            seen["llm_latency_ms"].append(call.latency_ms)
            if call.first_token_ms is not None:
                seen["first_token_ms"].append(call.first_token_ms)
            if call.quality is not None:
                seen["quality"].append(round(call.quality * 10_000))
            if call.query_length is not None:
                seen["query_length"].append(call.query_length)
            if (query := call.query_measures) is not None:
                seen["query_words"].append(query.words)
                if query.words:
                    mean = query.word_characters / query.words
                    seen["query_word_length"].append(int(100 * mean + 0.5))
                if query.characters:
                    others = 1 - query.letters / query.characters
                    seen["query_non_letters"].append(int(10_000 * others + 0.5))
            if call.confidence is not None:
                seen["confidence"].append(round(call.confidence * 10_000))
            if call.input_tokens is not None and call.output_tokens is not None:
                seen["tokens"].append(call.input_tokens + call.output_tokens)
    models = {
        model: Sums(
            **(NO_SUMS | dict(of)),
            errors_by_type=dict(errors[model]),
            errors_by_category=dict(categories[model]),
        )
        for model, of in counts.items()
    }
    return models, {model: dict(seen) for model, seen in values.items()}


def test_a_rollup_equals_the_events(tenant: TenantId) -> None:
    batch = some_traffic(seed=7, number=3000)
    send(tenant, batch)
    assert roll_up(tenant) == tuple(HOUR + timedelta(hours=n) for n in range(3))
    expected, values = directly(batch)
    window = Window(HOUR, HOUR + timedelta(hours=3))
    with tenant_session(tenant) as session:
        assert sums(session, window) == expected
        for metric in Metric:
            found = histograms(session, window, metric)
            assert set(found) == set(expected)
            for model, histogram in found.items():
                assert histogram == Histogram.from_values(values[model][metric.value])


def test_outcomes_are_counted_by_what_was_known_before_them(tenant: TenantId) -> None:
    """Tasks by how sure the agent was, calls by the length of their query."""
    ends = [(0.9, True), (0.9, False), (0.2, False), (None, True), (0.5, None)]
    batch = [event("task_end", confidence=sure, success=success) for sure, success in ends]
    batch += [
        event("llm_call", query_length=length, error_type=error, confidence=0.7)
        for length, error in ((10, None), (20, "timeout"), (None, "timeout"))
    ]
    send(tenant, batch)
    roll_up(tenant)
    window = Window(HOUR, HOUR + timedelta(hours=1))
    with tenant_session(tenant) as session:
        ((_, seen),) = by_function_and_model(session, window, HISTOGRAMS).items()
    for name, values in (
        (OfOutcome.CONFIDENCE_OF_SUCCESSES, [9000]),
        (OfOutcome.CONFIDENCE_OF_FAILURES, [9000, 2000]),
        (OfOutcome.QUERY_LENGTH_OF_SUCCESSES, [10]),
        (OfOutcome.QUERY_LENGTH_OF_ERRORS, [20]),
        (Metric.QUERY_LENGTH, [10, 20]),
        # A task's confidence is not one of a call.
        (Metric.CONFIDENCE, [7000, 7000, 7000]),
    ):
        assert seen.histograms[name] == Histogram.from_values(values), name


def test_actions_and_language_models_are_counted_by_name(tenant: TenantId) -> None:
    batch = [event("action", action=name, success=True) for name in ("click", "click", "fill")]
    batch += [event("action", success=True), event("llm_call", llm_model="gpt-4.1")]
    # An attribute of a call is no action.
    batch.append(event("llm_call", llm_model=None, attributes={"action": "click"}))
    # Of very many names the most frequent ones are counted apart.
    batch += [event("action", action=f"kind-{n}", success=True) for n in range(60)]
    # A name of the sender's own that is that of what is counted together is counted with it.
    batch += [event("action", action=OTHER_NAMES, success=True) for _ in range(2)]
    send(tenant, batch)
    roll_up(tenant)
    window = Window(HOUR, HOUR + timedelta(hours=1))
    with tenant_session(tenant) as session:
        ((_, seen),) = by_function_and_model(session, window, ()).items()
    names = seen.sums.names
    assert (names["action.click"], names["llm_call.gpt-4.1"]) == (2, 1)
    assert len(names) == NAMES_AN_HOUR + 1
    assert sum(number for name, number in names.items() if name.startswith("action.")) == 65
    assert names[f"action.{OTHER_NAMES}"] == 2 + 63 - NAMES_AN_HOUR


def test_words_are_counted_by_the_queries_that_hold_them(tenant: TenantId) -> None:
    texts = ("to Zürich", "to Basel, to Bern", "?!", None)
    send(tenant, [event("llm_call", query_measures=measures(text)) for text in texts])
    send(tenant, [event("llm_call", query_measures=measures("to Bern"), function="search")])
    send(tenant, [event("llm_call", model="nobody@1")])
    roll_up(tenant)
    window = Window(HOUR, HOUR + timedelta(hours=1))
    with tenant_session(tenant) as session:
        seen = by_function_and_model(session, window, (Metric.QUERY_WORDS,))
        words = word_counts(session, window, Words.QUERY_VOCABULARY, seen)
        one = word_counts(session, window, Words.QUERY_VOCABULARY, [("search", "buyer@1")])
    assert one.keys() == {("search", "buyer@1")}
    counted = {key: dict(zip(one.hashes, one.texts, strict=True)) for key, one in words.items()}
    to, zurich, basel, bern = (
        measure_text(word).hashes[0] for word in ["to", "Zürich", "Basel", "Bern"]
    )
    assert counted["checkout", "buyer@1"] == {to: 2, zurich: 1, basel: 1, bern: 1}
    assert counted["search", "buyer@1"] == {to: 1, bern: 1}
    assert counted.keys() == seen.keys() - {("checkout", "nobody@1")}
    assert seen["checkout", "buyer@1"].histograms[Metric.QUERY_WORDS].total == 3


def test_quantiles_of_a_rollup_are_within_half_a_percent(tenant: TenantId) -> None:
    batch = some_traffic(seed=11, number=3000)
    send(tenant, batch)
    roll_up(tenant)
    _, values = directly(batch)
    with tenant_session(tenant) as session:
        for metric in Metric:
            found = histograms(session, Window(HOUR, HOUR + timedelta(hours=3)), metric)
            for model, histogram in found.items():
                for q in (0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0):
                    exact = np.quantile(values[model][metric.value], q, method="inverted_cdf")
                    assert histogram.quantile(q) == pytest.approx(exact, rel=0.005)


def test_reading_filters_by_model_function_and_variant(tenant: TenantId) -> None:
    batch = some_traffic(seed=3, number=800)
    send(tenant, batch)
    roll_up(tenant)
    chosen = {"model": "buyer@2", "function": "search", "variant": "b"}
    wanted = [sent for sent in batch if chosen.items() <= sent.items()]
    expected, values = directly(wanted)
    window = Window(HOUR, HOUR + timedelta(hours=3))
    with tenant_session(tenant) as session:
        assert sums(session, window, **chosen) == expected
        found = histograms(session, window, Metric.DOM_NODES, **chosen)
    assert found == {"buyer@2": Histogram.from_values(values["buyer@2"]["dom_nodes"])}


def test_a_window_holds_its_first_hour_and_not_its_end(tenant: TenantId) -> None:
    send(tenant, [event("action", HOUR + timedelta(minutes=59, hours=n)) for n in range(4)])
    roll_up(tenant)
    window = Window(HOUR + timedelta(hours=1), HOUR + timedelta(hours=3))
    with tenant_session(tenant) as session:
        assert sums(session, window)["buyer@1"].actions == 2
        assert sums(session, Window(NOW, NOW + timedelta(hours=1))) == {}


def test_a_window_has_a_time_zone_and_an_order() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Window(NOW.replace(tzinfo=None), NOW)
    with pytest.raises(ValueError, match="expected after"):
        Window(NOW, NOW)


def test_the_same_batch_twice_gives_the_same_rollup(tenant: TenantId) -> None:
    batch = some_traffic(seed=5, number=400)
    send(tenant, batch)
    roll_up(tenant)
    with tenant_session(tenant) as session:
        before = rows(session)
    send(tenant, batch)
    assert roll_up(tenant) == ()
    with tenant_session(tenant) as session:
        # Even an hour that is marked for nothing comes out the same.
        session.execute(
            sa.insert(DirtyHour).values(tenant_id=before[0]["tenant_id"], hour=before[0]["hour"])
        )
        assert roll_up_dirty_hours(session) == (before[0]["hour"],)
        assert rows(session) == before


def test_a_late_event_changes_its_old_hour_alone(tenant: TenantId) -> None:
    hours = [HOUR, HOUR + timedelta(hours=1)]
    send(tenant, [event("action", at) for at in hours])
    roll_up(tenant)
    send(tenant, [event("action", HOUR + timedelta(minutes=30))])
    assert roll_up(tenant) == (HOUR,)
    with tenant_session(tenant) as session:
        assert [(row["hour"], row["actions"]) for row in rows(session)] == [
            (hours[0], 2),
            (hours[1], 1),
        ]


def test_a_group_that_vanished_leaves_no_row(tenant: TenantId, services: TemporaryServices) -> None:
    def take_out(model: str) -> None:
        # The application may not; whoever owns the database may.
        with psycopg.connect(services.database_owner_url) as connection:
            connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
            taken = connection.execute("DELETE FROM mlops.events WHERE model = %s", [model])
            assert taken.rowcount == 1

    gone = event("action", model="mistake@1")
    send(tenant, [gone, event("action")])
    roll_up(tenant)
    take_out("mistake@1")
    with tenant_session(tenant) as session:
        session.execute(
            sa.insert(DirtyHour).values(tenant_id=rows(session)[0]["tenant_id"], hour=HOUR)
        )
        roll_up_dirty_hours(session)
        assert [row["model"] for row in rows(session)] == ["buyer@1"]
    take_out("buyer@1")
    with tenant_session(tenant) as session:
        session.execute(
            sa.insert(DirtyHour).values(tenant_id=rows(session)[0]["tenant_id"], hour=HOUR)
        )
        roll_up_dirty_hours(session)
        assert rows(session) == []


def test_unpriced_calls_are_counted_apart_and_cost_nothing_known(tenant: TenantId) -> None:
    tokens = {"input_tokens": 10, "output_tokens": 1}
    send(
        tenant,
        [
            event("llm_call", **tokens),
            event("llm_call", llm_model=UNPRICED, **tokens),
            event("llm_call", provider="stand-in", **tokens),
        ],
    )
    roll_up(tenant)
    with tenant_session(tenant) as session:
        found = sums(session, Window(HOUR, HOUR + timedelta(hours=1)))["buyer@1"]
    assert (found.llm_calls, found.unpriced_calls, found.simulated_calls) == (3, 1, 1)
    assert found.cost_nanos == 2 * (10 * 400 + 1600)


def test_many_hours_are_taken_a_part_at_a_time_the_newest_first(tenant: TenantId) -> None:
    send(tenant, [event("action", HOUR + timedelta(hours=n)) for n in range(5)])
    with tenant_session(tenant) as session:
        assert roll_up_dirty_hours(session, at_most=3) == tuple(
            HOUR + timedelta(hours=n) for n in range(2, 5)
        )
    assert len(roll_up(tenant)) == 2
    assert roll_up(tenant) == ()


def test_tenants_do_not_see_each_others_rollups(tenant: TenantId) -> None:
    other = create_tenant(f"other-{uuid4()}")
    send(tenant, [event("action")])
    send(other, [event("action"), event("action")])
    assert roll_up(tenant) == (HOUR,)
    window = Window(HOUR, HOUR + timedelta(hours=1))
    with tenant_session(other) as session:
        assert sums(session, window) == {}
    assert roll_up(other) == (HOUR,)
    with tenant_session(tenant) as session:
        assert sums(session, window)["buyer@1"].actions == 1
        assert histograms(session, window, Metric.STEP_LATENCY)["buyer@1"].total == 1


def custom(session: Session) -> dict[tuple[str, str], CustomMetric]:
    return {(row.host, row.name): row for row in session.scalars(sa.select(CustomMetric))}


def test_custom_metrics_are_summed_by_hour_and_take_no_row_of_their_own(tenant: TenantId) -> None:
    values = [3.5, -1.25, 8.0]
    send(
        tenant,
        [
            event("metric", HOUR + timedelta(minutes=n), name="speed", value=value)
            for n, value in enumerate(values)
        ],
    )
    roll_up(tenant)
    with tenant_session(tenant) as session:
        found = custom(session)["", "speed"]
        assert rows(session) == []
    assert (found.n, found.minimum, found.maximum, found.latest) == (3, -1.25, 8.0, 8.0)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.variance == pytest.approx(np.var(values))
    assert found.latest_at == HOUR + timedelta(minutes=2)


def test_samples_of_machines_are_metrics_of_their_hosts(tenant: TenantId) -> None:
    samples = [("a", 10.0), ("a", 30.0), ("b", 50.0)]
    send(
        tenant,
        [
            event("system", HOUR + timedelta(minutes=n), host=host, cpu_percent=cpu)
            for n, (host, cpu) in enumerate(samples)
        ],
    )
    roll_up(tenant)
    with tenant_session(tenant) as session:
        found = custom(session)
    assert {key: (row.n, row.mean) for key, row in found.items()} == {
        ("a", "system.cpu_percent"): (2, 20.0),
        ("b", "system.cpu_percent"): (1, 50.0),
    }


def test_the_most_frequent_messages_are_counted_apart_and_the_rest_together(
    tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MESSAGES_AN_HOUR", 2)

    def failing(message: str, times: int) -> list[dict[str, Any]]:
        return [
            event("action", success=False, error_type="Error", error_message=f"{message} {n}")
            for n in range(times)
        ]

    batch = failing("crashed", 5) + failing("network", 4) + failing("odd", 2) + failing("rare", 1)
    send(tenant, batch)
    for _ in range(2):
        roll_up(tenant)
        with tenant_session(tenant) as session:
            found = session.execute(
                sa.select(ErrorMessage.category, ErrorMessage.message, ErrorMessage.n)
            ).all()
            session.execute(sa.insert(DirtyHour).values(tenant_id=tenant, hour=HOUR))
        assert sorted(map(tuple, found)) == [
            ("browser_crash", "crashed <n>", 5),
            ("network", "network <n>", 4),
            ("other", "(other messages)", 3),
        ]


def test_an_hour_that_cannot_be_summed_stays_marked_and_stops_no_other(
    tenant: TenantId, services: TemporaryServices
) -> None:
    later = HOUR + timedelta(hours=1)
    send(tenant, [event("metric", name="speed", value=1.0), event("action", later)])
    with psycopg.connect(services.database_owner_url) as connection:
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant)])
        connection.execute("SELECT set_config('role', 'mlops_app', true)")
        # As an earlier version might have stored it.
        connection.execute(
            "INSERT INTO mlops.events (tenant_id, event_id, occurred_at, kind, model, function,"
            " variant, host, attributes) VALUES (%s, gen_random_uuid(), %s, 'system', 'm', 'f', '',"
            """ 'h', '{"cpu_percent": "n/a"}')""",
            [str(tenant), HOUR],
        )
    assert roll_up(tenant) == (later,)
    with tenant_session(tenant) as session:
        assert session.scalars(sa.select(DirtyHour.hour)).all() == [HOUR]
        assert [row["hour"] for row in rows(session)] == [later]


def test_what_failed_without_a_word_is_an_error_too(tenant: TenantId) -> None:
    send(
        tenant,
        [
            event("action", success=False),
            event("page_load", success=False),
            event("llm_call", error_message="it broke"),
            event("task_end", success=False),
        ],
    )
    roll_up(tenant)
    with tenant_session(tenant) as session:
        found = sums(session, Window(HOUR, HOUR + timedelta(hours=1)))["buyer@1"]
    assert found.errors_by_category == {"other": 3}
    assert (found.llm_errors, found.action_errors) == (1, 1)
