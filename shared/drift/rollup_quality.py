"""What rollups say of the data of each function and model, for the checks of its quality."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from shared.drift.baselines import baseline_of, baselines
from shared.drift.monitored import CATEGORIES
from shared.drift.quality import ColumnCounts, FunctionCounts, QualityFinding, check_quality
from shared.drift.windows import Subject
from shared.telemetry.metrics import Category, Metric
from shared.telemetry.reading import Seen, Sums, Window, by_function_and_model

OF_CALLS: Final = (
    Metric.LLM_LATENCY,
    Metric.FIRST_TOKEN,
    Metric.QUERY_LENGTH,
    Metric.CONFIDENCE,
    Metric.QUALITY,
    Metric.TOKENS,
)
"Fields of a model call; the step's latency is one of an action."


def check_functions(
    session: Session, current: Window
) -> Mapping[Subject, tuple[QualityFinding, ...]]:
    """Each function and model that has rows in the window, against its baseline.

    Fields that neither window has are not asked for. What is out of range is refused when it
    comes (`mlops monitor rejected`), and duplicates are absorbed: neither is in a rollup.
    """
    own = baselines(session)
    read: dict[tuple[datetime, datetime], Mapping[tuple[str, str], Seen]] = {}

    def seen(window: Window) -> Mapping[tuple[str, str], Seen]:
        key = window.start, window.end
        if key not in read:
            read[key] = by_function_and_model(session, window, tuple(Metric))
        return read[key]

    found = {}
    for (function, model), new in sorted(seen(current).items(), key=lambda item: item[0]):
        baseline = baseline_of(own, function, model)
        old = seen(baseline.before(current)).get((function, baseline.model or model))
        found[Subject(function, model)] = check_quality(*_counted(old, new))
    return found


def _counted(old: Seen | None, new: Seen) -> tuple[FunctionCounts | None, FunctionCounts]:
    columns = [{} if one is None else _columns(one) for one in (old, new)]
    # What nobody ever reports is no column.
    held = {name for found in columns for name, column in found.items() if column.values}
    before, after = (
        {name: column for name, column in found.items() if name in held} for found in columns
    )
    return (
        None if old is None else FunctionCounts(_events(old.sums), before),
        FunctionCounts(_events(new.sums), after),
    )


def _events(sums: Sums) -> int:
    return sums.tasks_started + sums.tasks + sums.actions + sums.page_loads + sums.llm_calls


def _columns(seen: Seen) -> dict[str, ColumnCounts]:
    sums = seen.sums
    columns = {
        metric.value: _of_histogram(seen, metric, events)
        for metric, events in (
            *((metric, sums.llm_calls) for metric in OF_CALLS),
            (Metric.STEP_LATENCY, sums.actions),
            (Metric.PAGE_LOAD, sums.page_loads),
            (Metric.DOM_NODES, sums.actions + sums.page_loads),
        )
        if events
    }
    for category, events in (
        (Category.ACTIONS, sums.actions),
        (Category.LLM_MODELS, sums.llm_calls),
    ):
        if events:
            names = CATEGORIES[category](seen)
            missing = max(events - sum(names.values()), 0)
            columns[category.value] = ColumnCounts(events, missing, categories=names)
    return columns


def _of_histogram(seen: Seen, metric: Metric, events: int) -> ColumnCounts:
    histogram = seen.histograms[metric]
    there = min(histogram.total, events)
    return ColumnCounts(events, events - there, distinct=histogram.bins.size)
