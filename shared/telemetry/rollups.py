"""Hours that changed, summed again: one row per hour x tenant x model x function x variant.

An hour is replaced and never added to, so summing it twice gives the same rows.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.database import IN_BINARY, tenant_of
from shared.telemetry.days import mark_days
from shared.telemetry.errors import ErrorCategory
from shared.telemetry.events import OF_NO_AGENT
from shared.telemetry.histograms import packed_runs
from shared.telemetry.metrics import HISTOGRAMS, SHARE_UNIT, Metric, OfOutcome, Words
from shared.telemetry.queries import Queries, unpack_queries
from shared.telemetry.tables import CustomMetric, DirtyHour, ErrorMessage, ModelPerformance
from shared.telemetry.word_counts import WordCounts

log = logging.getLogger(__name__)

HOURS_AT_ONCE: Final = 500
"How many hours one transaction sums: batches for the same hours wait for its end."

MESSAGES_AN_HOUR: Final = 200
"Different error messages of a tenant that are counted apart, the most frequent ones."


_CONFIDENCE: Final = f"CAST(round(confidence * {SHARE_UNIT}) AS bigint)"


class _Outcome(IntEnum):
    UNKNOWN = 0
    SUCCESS = 1
    FAILURE = 2


_OUTCOME_BITS: Final = 2
_OUTCOME: Final = (
    f"CASE WHEN success THEN {_Outcome.SUCCESS:d} WHEN NOT success THEN {_Outcome.FAILURE:d}"
    f" ELSE {_Outcome.UNKNOWN:d} END"
)


@dataclass(frozen=True)
class _Counted:
    """The values of a histogram: an expression, of which kind of event, and of which outcome."""

    expression: str
    kind: str | None = None
    "None where only one kind has it."
    outcome: _Outcome | None = None


_COUNTED: Final[Mapping[Metric | OfOutcome, _Counted]] = {
    Metric.STEP_LATENCY: _Counted("latency_ms", "action"),
    Metric.LLM_LATENCY: _Counted("latency_ms", "llm_call"),
    Metric.PAGE_LOAD: _Counted("latency_ms", "page_load"),
    Metric.FIRST_TOKEN: _Counted("first_token_ms"),
    Metric.QUERY_LENGTH: _Counted("query_length"),
    Metric.CONFIDENCE: _Counted(_CONFIDENCE, "llm_call"),
    Metric.QUALITY: _Counted(f"CAST(round(quality * {SHARE_UNIT}) AS bigint)"),
    Metric.TOKENS: _Counted("coalesce(total_tokens, input_tokens + output_tokens)"),
    Metric.DOM_NODES: _Counted("dom_nodes"),
    OfOutcome.CONFIDENCE_OF_SUCCESSES: _Counted(_CONFIDENCE, "task_end", _Outcome.SUCCESS),
    OfOutcome.CONFIDENCE_OF_FAILURES: _Counted(_CONFIDENCE, "task_end", _Outcome.FAILURE),
    OfOutcome.QUERY_LENGTH_OF_SUCCESSES: _Counted("query_length", "llm_call", _Outcome.SUCCESS),
    OfOutcome.QUERY_LENGTH_OF_ERRORS: _Counted("query_length", "llm_call", _Outcome.FAILURE),
}

_OF_QUERIES: Final[Mapping[Metric | OfOutcome, Callable[[Queries], npt.NDArray[np.int64]]]] = {
    Metric.QUERY_WORDS: attrgetter("words"),
    Metric.QUERY_WORD_LENGTH: attrgetter("word_lengths"),
    Metric.QUERY_NON_LETTERS: attrgetter("non_letters"),
}
"The values of histograms that are made from what was measured of queries."

# The values of a group travel end to end as big-endian 64-bit integers and are binned here: that
# is one pass over the hour, and several times faster than grouping by value in SQL. Where the
# outcome is asked for it travels in the lowest bits: a second list of the values of each outcome
# would take a third of the time more.
_EXPRESSIONS: Final = tuple(dict.fromkeys(one.expression for one in _COUNTED.values()))
_WITH_OUTCOME: Final = frozenset(
    one.expression for one in _COUNTED.values() if one.outcome is not None
)


def _packed(expression: str) -> str:
    if expression in _WITH_OUTCOME:
        expression = f"{expression} * {1 << _OUTCOME_BITS} + {_OUTCOME}"
    return f"string_agg(int8send({expression}), '')"


_PACKED: Final = ", ".join(
    f"{_packed(expression)} AS packed_{number}" for number, expression in enumerate(_EXPRESSIONS)
)

_BETWEEN_NAMES: Final = "\x1f"

Key = tuple[str, str, str]
"Model, function and variant."
Kinds = dict[str, sa.RowMapping]
"The sums of a group by kind of event."

TOLD_TRIES: Final = 3
"An hour that could not be summed so often is told of: that is no passing trouble."
_LONGEST_PAUSE: Final = timedelta(hours=1)
_MOST_SUMMED: Final = 2**63 - 1
"Of one hour, model, function and variant: of money 9.2 billion dollars."


class UnsummableHourError(ValueError):
    """The events of an hour have no sum that could be stored; the message is one line."""


def roll_up_dirty_hours(session: Session, at_most: int = HOURS_AT_ONCE) -> tuple[datetime, ...]:
    """Sum the tenant's changed hours again, the newest of them, and return which they were.

    The newest first, because budgets and alerts are about today: hours that come late by the
    hundred must not keep it waiting.

    Their marks go with the same transaction. As many as `at_most` hours mean that there may be
    more. An hour that cannot be summed stays marked with the reason, stops no other, and is tried
    again after a pause that doubles, an hour at most. Needs READ COMMITTED, PostgreSQL's default:
    each statement sees what was committed before it began.
    """
    hours = tuple(session.scalars(_LOCK_MARKS, {"at_most": at_most}).all())
    taken = {}
    if hours:
        # The marks are locked first and the events read by later statements: a batch that held a
        # mark has then committed and is seen, and one that comes now waits and marks again.
        taken = {row.hour: row for row in session.execute(_TAKE_MARKS, {"hours": list(hours)})}
    summed = []
    for hour in hours:
        failure = _why_not_summed(session, hour)
        if failure is None:
            summed.append(hour)
        else:
            log.error("the hour %s cannot be summed, and stays marked: %s", hour, failure)
            _mark_again(session, taken[hour], failure)
    mark_days(session, summed)
    return tuple(summed)


def _why_not_summed(session: Session, hour: datetime) -> str | None:
    """Sum an hour; or leave its sums as they were, and say why."""
    try:
        with session.begin_nested():
            _roll_up(session, hour)
    except DBAPIError as error:
        code = getattr(error.orig, "sqlstate", None) or ""
        # A lost connection, a deadlock, a full disk: the whole transaction is to be tried again.
        if error.connection_invalidated or code[:2] in ("", "08", "40", "53", "57"):
            raise
        return f"the database refused: {type(error.orig).__name__} (SQLSTATE {code})"
    except ValueError as error:
        return str(error)[:_FAILURE_LENGTH]
    return None


def _mark_again(session: Session, mark: sa.Row[Any], why: str) -> None:
    tries = mark.tries + 1
    pause = min(timedelta(minutes=2 ** min(tries, 10)), _LONGEST_PAUSE)
    session.execute(
        insert(DirtyHour)
        .values(
            tenant_id=tenant_of(session),
            hour=mark.hour,
            marked_at=mark.marked_at,
            tries=tries,
            failure=why,
            not_before=sa.func.now() + pause,
        )
        .on_conflict_do_nothing()
    )


@dataclass(frozen=True)
class Unsummed:
    """Hours that could not be summed though it was tried often enough."""

    hours: int
    oldest: datetime
    failure: str
    "Of the newest one."


def unsummed(session: Session) -> Unsummed | None:
    """What of the tenant's hours cannot be summed; None where that is nothing."""
    marks = session.execute(
        sa.select(DirtyHour.hour, DirtyHour.failure)
        .where(DirtyHour.tries >= TOLD_TRIES)
        .order_by(DirtyHour.hour)
    ).all()
    if not marks:
        return None
    return Unsummed(len(marks), marks[0].hour, marks[-1].failure or "")


_LOCK_MARKS: Final = sa.text(
    # Locked in the order in which batches mark them, so that neither waits for the other. Not
    # now(), which is when this transaction began: what was marked since then is due as well.
    "SELECT hour FROM mlops.dirty_hours WHERE hour IN"
    " (SELECT hour FROM mlops.dirty_hours WHERE not_before <= clock_timestamp()"
    " ORDER BY hour DESC LIMIT :at_most)"
    " ORDER BY hour FOR UPDATE"
)
_TAKE_MARKS: Final = sa.text(
    "DELETE FROM mlops.dirty_hours WHERE hour = ANY (CAST(:hours AS timestamptz[]))"
    " RETURNING hour, marked_at, tries"
)

_FAILURE_LENGTH: Final = 200

_SUMMED: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_nanos",
)

# By kind as well, so that nothing has to be asked of every event but what it holds. Names travel
# end to end as values do: grouping by them would have PostgreSQL sort the hour.
_SUMS: Final = sa.text(
    f"""
    SELECT model, function, variant, kind,
        count(*) AS events, count(success) AS judged, count(*) FILTER (WHERE success) AS succeeded,
        count(error_type) + count(error_category) AS errors,
        count(cost_nanos) AS priced, count(*) FILTER (WHERE price_simulated) AS simulated,
        count(coalesce(total_tokens, input_tokens + output_tokens)) AS counted,
        {", ".join(f"sum({name}) AS {name}" for name in _SUMMED)},
        string_agg(coalesce(llm_model, action), chr({ord(_BETWEEN_NAMES)})) AS names,
        string_agg(query_measures, '') AS queries,
        {_PACKED}
    FROM mlops.events WHERE occurred_at >= :start AND occurred_at < :end
    GROUP BY model, function, variant, kind
    """  # noqa: S608 (the expressions above)
)

_CLEAR: Final = tuple(
    sa.text(f"DELETE FROM {table} WHERE hour = :start")  # noqa: S608 (the tables below)
    for table in (ModelPerformance.__table__, ErrorMessage.__table__, CustomMetric.__table__)
)
# Of the table and not of the class: the ORM's own work on a dozen rows takes as long as theirs.
_INSERT: Final = sa.insert(cast("sa.Table", ModelPerformance.__table__))

_ERRORS: Final = sa.text(
    """
    SELECT model, function, variant, kind, error_type, error_category, count(*) AS number
    FROM mlops.events
    WHERE occurred_at >= :start AND occurred_at < :end
        AND (error_type IS NOT NULL OR error_category IS NOT NULL)
    GROUP BY model, function, variant, kind, error_type, error_category
    """
)

NAMES_AN_HOUR: Final = 50
"Different actions, and language models, of a row that are counted apart, the most frequent ones."

# What is not among the most frequent is counted together: a sender whose messages are all
# different must not make the rollup as large as the events.
_MESSAGES: Final = sa.text(
    """
    INSERT INTO mlops.error_messages
        (tenant_id, hour, model, function, variant, kind, category, message, n, latest_at)
    SELECT CAST(current_setting('app.tenant') AS uuid), :start, model, function, variant, kind,
        error_category, CASE WHEN place <= :at_most THEN error_shape ELSE :others END AS message,
        sum(n), max(latest_at)
    FROM (
        SELECT model, function, variant, kind, error_category, error_shape, count(*) AS n,
            max(occurred_at) AS latest_at, row_number() OVER (ORDER BY count(*) DESC) AS place
        FROM mlops.events
        WHERE occurred_at >= :start AND occurred_at < :end AND error_shape IS NOT NULL
        GROUP BY model, function, variant, kind, error_category, error_shape
    ) AS counted
    GROUP BY model, function, variant, kind, error_category, message
    """
)

# A sample of a machine is as many metrics as it holds numbers.
_CUSTOM: Final = sa.text(
    """
    INSERT INTO mlops.custom_metrics (tenant_id, hour, model, function, variant, host, name,
        n, mean, variance, minimum, maximum, latest, latest_at)
    SELECT CAST(current_setting('app.tenant') AS uuid), :start, model, function, variant, host,
        name, count(*), avg(value), coalesce(var_pop(value), 0), min(value), max(value),
        (array_agg(value ORDER BY occurred_at DESC, event_id))[1], max(occurred_at)
    FROM (
        SELECT model, function, variant, '' AS host, name, value, occurred_at, event_id
        FROM mlops.events
        WHERE occurred_at >= :start AND occurred_at < :end AND kind = 'metric'
        UNION ALL
        SELECT model, function, variant, host, 'system.' || sampled.key,
            CAST(sampled.value AS double precision), occurred_at, event_id
        FROM mlops.events CROSS JOIN LATERAL jsonb_each_text(attributes) AS sampled
        WHERE occurred_at >= :start AND occurred_at < :end AND kind = 'system'
            AND sampled.key IN ('cpu_percent', 'memory_percent', 'memory_bytes', 'disk_percent')
    ) AS measured
    GROUP BY model, function, variant, host, name
    """
)

_OTHER_MESSAGES: Final = "(other messages)"


def _roll_up(session: Session, hour: datetime) -> None:
    window = {"start": hour, "end": hour + timedelta(hours=1)}
    found = session.execute(_SUMS, window, execution_options=IN_BINARY).mappings().all()
    for clear in _CLEAR:
        session.execute(clear, window)
    if any(row["kind"] in OF_NO_AGENT for row in found):
        session.execute(_CUSTOM, window)
    by_type, by_category = _no_errors(), _no_errors()
    if any(row["errors"] for row in found):
        session.execute(
            _MESSAGES, window | {"at_most": MESSAGES_AN_HOUR, "others": _OTHER_MESSAGES}
        )
        for error in session.execute(_ERRORS, window):
            key = error.model, error.function, error.variant
            if error.error_type is not None:
                by_type[key][f"{error.kind}.{error.error_type}"] += error.number
            by_category[key][error.error_category or ErrorCategory.OTHER] += error.number
    groups: defaultdict[Key, Kinds] = defaultdict(dict)
    for row in found:
        if row["kind"] not in OF_NO_AGENT:
            groups[row["model"], row["function"], row["variant"]][row["kind"]] = row
    if not groups:
        return
    fixed = {"tenant_id": tenant_of(session), "hour": hour}
    rows = [
        fixed
        | dict(zip(("model", "function", "variant"), key, strict=True))
        | _counts(kinds)
        | histograms
        | {"errors_by_type": by_type[key], "errors_by_category": by_category[key]}
        | {"names": _names(kinds)}
        for (key, kinds), histograms in zip(
            groups.items(), _histograms(groups.values()), strict=True
        )
    ]
    session.execute(_INSERT, rows)


_NAMED: Final = ("action", "llm_call")
OTHER_NAMES: Final = "(other)"


def _names(kinds: Kinds) -> dict[str, int]:
    """How often each kind of action was done and each language model asked: `action.click`."""
    names: dict[str, int] = {}
    for kind in _NAMED:
        together = kinds[kind]["names"] if kind in kinds else None
        counts = Counter(together.split(_BETWEEN_NAMES) if together else ())
        most = dict(counts.most_common(NAMES_AN_HOUR))
        others = counts.total() - sum(most.values())
        if others:
            # A sender may call one of its own so.
            most[OTHER_NAMES] = most.get(OTHER_NAMES, 0) + others
        names |= {f"{kind}.{name}": number for name, number in most.items()}
    return names


_NOTHING: Final = dict.fromkeys(
    ("events", "judged", "succeeded", "priced", "simulated", "counted"), 0
)


def _no_errors() -> defaultdict[Key, Counter[str]]:
    return defaultdict(Counter)


def _counts(kinds: Kinds) -> dict[str, int]:
    """The counts and sums of one group, from those of its kinds of events."""
    starts, ends, actions, pages, calls = (
        kinds.get(kind, _NOTHING)
        for kind in ("task_start", "task_end", "action", "page_load", "llm_call")
    )
    summed = {name: sum(int(row[name] or 0) for row in kinds.values()) for name in _SUMMED}
    for name, total in summed.items():
        if total > _MOST_SUMMED:
            raise UnsummableHourError(f"{name} of the hour come to {total}: more than 2**63 - 1")
    return {
        "tasks_started": starts["events"],
        # An end without a verdict says nothing of the agent: neither success nor failure.
        "tasks": ends["judged"],
        "successes": ends["succeeded"],
        "actions": actions["events"],
        "action_errors": actions["events"] - actions["succeeded"],
        "page_loads": pages["events"],
        "llm_calls": calls["events"],
        "llm_errors": calls["events"] - calls["succeeded"],
        "uncounted_calls": calls["events"] - calls["counted"],
        "unpriced_calls": calls["events"] - calls["priced"],
        "simulated_calls": calls["simulated"],
    } | summed


def _histograms(groups: Collection[Kinds]) -> Iterator[dict[str, bytes]]:
    """The packed histograms of each group, by metric, and its words."""
    asked = [_queries(kinds) for kinds in groups]
    runs = [
        _OF_QUERIES[name](queries) if name in _OF_QUERIES else _values(_COUNTED[name], kinds)
        for kinds, queries in zip(groups, asked, strict=True)
        for name in HISTOGRAMS
    ]
    found = iter(packed_runs(np.concatenate(runs), [run.size for run in runs]))
    for queries in asked:
        hashes = queries.hashes
        words = WordCounts.of_hashes(hashes).to_bytes() if hashes.size else b""
        histograms = {name.value: next(found) for name in HISTOGRAMS}
        yield histograms | {Words.QUERY_VOCABULARY.value: words}


def _queries(kinds: Kinds) -> Queries:
    return unpack_queries(kinds["llm_call"]["queries"] or b"" if "llm_call" in kinds else b"")


def _values(counted: _Counted, kinds: Kinds) -> npt.NDArray[np.int64]:
    column = f"packed_{_EXPRESSIONS.index(counted.expression)}"
    packed = b"".join(
        row[column] or b""
        for kind, row in kinds.items()
        if counted.kind is None or kind == counted.kind
    )
    values = np.frombuffer(packed, dtype=">i8").astype(np.int64)
    if counted.expression not in _WITH_OUTCOME:
        return values
    if counted.outcome is not None:
        values = values[values % (1 << _OUTCOME_BITS) == counted.outcome]
    return values >> _OUTCOME_BITS
