"""Events as they came, the hours that changed, and one row of sums per hour."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base, WholeNumber
from shared.tenancy.tables import Tenant


class EventRow(Base):
    """Partitioned by the UTC day of `occurred_at`.

    The key holds the client-made event id, so that a resend is absorbed. A partitioned table's
    key must hold the partition column too: an event that is sent again has the same time.
    There is no foreign key to the tenant: it would be looked up for every event, and the row-level
    policy already ties each row to the tenant of its session.
    """

    __tablename__ = "events"
    # Time before identifier: one index finds an event that is sent again and the events of an
    # hour, and grows at its end, where identifiers made by chance would spread over all of it.
    __table_args__ = (
        sa.PrimaryKeyConstraint("tenant_id", "occurred_at", "event_id"),
        sa.Index(
            "events_unit_id_idx",
            "tenant_id",
            "unit_id",
            "occurred_at",
            postgresql_where=sa.text("unit_id IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (occurred_at)"},
    )

    tenant_id: Mapped[UUID]
    event_id: Mapped[UUID]
    occurred_at: Mapped[datetime]
    kind: Mapped[str]
    model: Mapped[str]
    function: Mapped[str]
    variant: Mapped[str]
    task_id: Mapped[UUID | None]
    unit_id: Mapped[UUID | None]
    "`units.unit_digest`"
    success: Mapped[bool | None]
    error_type: Mapped[str | None]
    error_message: Mapped[str | None]
    error_category: Mapped[str | None]
    error_shape: Mapped[str | None]
    "The message with its numbers and identifiers folded."
    latency_ms: Mapped[int | None]
    first_token_ms: Mapped[int | None]
    provider: Mapped[str | None]
    llm_model: Mapped[str | None]
    input_tokens: Mapped[int | None]
    cached_input_tokens: Mapped[int | None]
    cache_write_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    reasoning_tokens: Mapped[int | None]
    total_tokens: Mapped[int | None]
    query_length: Mapped[int | None]
    query_measures: Mapped[bytes | None]
    "`queries.pack_query`: counts and hashes, never the text."
    confidence: Mapped[float | None]
    quality: Mapped[float | None]
    dom_nodes: Mapped[int | None]
    action: Mapped[str | None]
    "What was done: `click`."
    host: Mapped[str | None]
    name: Mapped[str | None]
    "Of a metric."
    value: Mapped[float | None]
    cost_nanos: Mapped[int | None]
    cost_reason: Mapped[str | None]
    "Why the cost is unknown, or which price it was reckoned with."
    price_simulated: Mapped[bool] = mapped_column(server_default=sa.false())
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class EventBatch(Base):
    """A batch that was acknowledged and is not stored as events yet.

    The transaction that stores its events deletes it, so a batch is in one of the two places.
    """

    __tablename__ = "event_batches"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    "Made by the sender, so that a batch that is sent again is the same."
    received_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    events: Mapped[int]
    body: Mapped[bytes]
    "`batches.pack`"
    size_bytes: Mapped[int]
    "Of the body, so that summing them up does not read the bodies."


class RejectedEvent(Base):
    """An event that could not be stored, with the reason; the rest of its batch was."""

    __tablename__ = "rejected_events"
    __table_args__ = (sa.Index(None, "tenant_id", "received_at"),)

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    digest: Mapped[bytes] = mapped_column(primary_key=True)
    "SHA-256 of the line: one that is sent again is there once."
    received_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    event: Mapped[str]
    reason: Mapped[str]
    line: Mapped[str]
    "Its beginning, without secrets and queries: see `refused_lines`."


class EventFault(Base):
    """What was wrong with events as they came, where there was anything: see `arrivals`.

    By the hour in which they came, and not in which they happened: a rollup of that hour may have
    been looked at long ago.
    """

    __tablename__ = "event_faults"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    "In which they were received."
    fault: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    field: Mapped[str] = mapped_column(primary_key=True)
    "Whose value was out of range, as `kind.field`; empty of the other faults."
    happened: Mapped[datetime] = mapped_column(primary_key=True)
    "The hour in which they happened if they were late; of other faults that of `hour`."
    n: Mapped[int]


class Exposure(Base):
    """A unit and its variant of an A/B test, however often it was given it.

    No foreign keys: a tenant would be looked up for every row, and exposures come from wherever a
    test is assigned.
    """

    __tablename__ = "exposures"
    __table_args__ = (
        sa.Index(
            "exposures_changed_idx",
            "tenant_id",
            "test_id",
            "unit_id",
            postgresql_where=sa.text("changed"),
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    test_id: Mapped[UUID] = mapped_column(primary_key=True)
    unit_id: Mapped[UUID] = mapped_column(primary_key=True)
    variant: Mapped[str]
    "The one that came first here."
    slot: Mapped[int | None]
    "Of the unit in the test's table."
    exposed_at: Mapped[datetime]
    "The earliest time that was told."
    mixed: Mapped[bool] = mapped_column(server_default=sa.false())
    "Whether it was given another variant as well: it says nothing of either then."
    changed: Mapped[bool] = mapped_column(server_default=sa.true())
    "Whether that is news to whoever sums up what units did."


class UnitEvent(Base):
    """An event of a unit that is not in any unit's sums yet."""

    __tablename__ = "unit_events"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    occurred_at: Mapped[datetime] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)


class TelemetryName(Base):
    """A name that a tenant's events have used in a field, up to the cap of that field."""

    __tablename__ = "telemetry_names"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    field: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    first_seen_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())


class DirtyHour(Base):
    """An hour whose events changed since its rollup was made."""

    __tablename__ = "dirty_hours"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    marked_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    tries: Mapped[int] = mapped_column(server_default="0")
    "How often it could not be summed."
    failure: Mapped[str | None]
    "Why not, the last time."
    not_before: Mapped[datetime] = mapped_column(server_default=sa.func.now())
    "When it is tried again."


class _Sums:
    """What is summed of each model, function and variant.

    Histograms are `shared.telemetry.histograms` in bytes; `string_agg(column, '')` adds them up.
    """

    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    computed_at: Mapped[datetime] = mapped_column(server_default=sa.func.now())

    tasks_started: Mapped[int] = mapped_column(server_default="0")
    tasks: Mapped[int]
    "Those that ended, and whose end says something of the agent."
    successes: Mapped[int]
    actions: Mapped[int]
    action_errors: Mapped[int]
    page_loads: Mapped[int]
    llm_calls: Mapped[int]
    llm_errors: Mapped[int]
    errors_by_type: Mapped[dict[str, Any]]
    errors_by_category: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    input_tokens: Mapped[int]
    cached_input_tokens: Mapped[int]
    cache_write_tokens: Mapped[int] = mapped_column(server_default="0")
    output_tokens: Mapped[int]
    reasoning_tokens: Mapped[int] = mapped_column(server_default="0")
    uncounted_calls: Mapped[int] = mapped_column(server_default="0")
    "Calls of which not even the sum of the tokens is known."
    cost_nanos: Mapped[int]
    unpriced_calls: Mapped[int]
    simulated_calls: Mapped[int]
    "Calls whose price is stated as simulated."

    step_latency_ms: Mapped[bytes]
    llm_latency_ms: Mapped[bytes]
    first_token_ms: Mapped[bytes] = mapped_column(server_default="")
    page_load_ms: Mapped[bytes]
    query_length: Mapped[bytes]
    confidence: Mapped[bytes]
    quality: Mapped[bytes] = mapped_column(server_default="")
    tokens: Mapped[bytes]
    dom_nodes: Mapped[bytes]
    query_words: Mapped[bytes] = mapped_column(server_default="")
    query_word_length: Mapped[bytes] = mapped_column(server_default="")
    query_non_letters: Mapped[bytes] = mapped_column(server_default="")
    query_vocabulary: Mapped[bytes] = mapped_column(server_default="")
    "`shared.telemetry.word_counts` in bytes, which `string_agg` adds up as well."
    confidence_of_successes: Mapped[bytes] = mapped_column(server_default="")
    "Of tasks, as those of failures."
    confidence_of_failures: Mapped[bytes] = mapped_column(server_default="")
    query_length_of_successes: Mapped[bytes] = mapped_column(server_default="")
    "Of calls, as those of errors. Both are empty where hours were summed before there were any."
    query_length_of_errors: Mapped[bytes] = mapped_column(server_default="")
    names: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    "How often each kind of action was done and each language model asked: `action.click`."


class ModelPerformance(_Sums, Base):
    """Rollup: hour x tenant x model x function x variant."""

    __tablename__ = "model_performance"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)


class DailyPerformance(_Sums, Base):
    """The hours of a day that is over, added up, so that a look at a month reads days."""

    __tablename__ = "daily_performance"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    cost_nanos: Mapped[int] = mapped_column(WholeNumber)


class DirtyDay(Base):
    """A day of which an hour changed since its hours were added up, or that is not over."""

    __tablename__ = "dirty_days"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)


class CustomMetric(Base):
    """Rollup of what senders measure: hour x tenant x model x function x variant x host x name.

    Samples of machines are metrics too, with a `host` and names that begin with `system.`.
    """

    __tablename__ = "custom_metrics"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    mean: Mapped[float]
    variance: Mapped[float]
    "Of these values, not an estimate: `sum((x - mean)**2) / n`."
    minimum: Mapped[float]
    maximum: Mapped[float]
    latest: Mapped[float]
    latest_at: Mapped[datetime]


class ErrorMessage(Base):
    """Rollup of what errors said: messages that differ in numbers alone are one."""

    __tablename__ = "error_messages"

    tenant_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Tenant.id), primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    function: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True)
    message: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]
    latest_at: Mapped[datetime]
