"""What was done in the last hours, from the hourly sums: in all, and by function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mlops.telemetry.requiring import require_name, require_number
from shared.evaluation.intervals import Interval, wilson
from shared.money import NANOS, known_nanos
from shared.telemetry.histograms import Histogram
from shared.telemetry.metrics import Metric

if TYPE_CHECKING:
    from shared.telemetry.reading import Sums

MOST_HOURS: Final = 24 * 366
_LATENCIES: Final = (
    Metric.LLM_LATENCY,
    Metric.FIRST_TOKEN,
    Metric.STEP_LATENCY,
    Metric.PAGE_LOAD,
)


class Seconds(NamedTuple):
    """Percentiles of a duration, within 0.5 % and a millisecond; None where there was none."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True)
class Performance(Mapping[str, Any]):
    """Figures of one function, or of all; each can be read as an attribute or by its name.

    Unknown is None. `tasks` have ended and said whether they were a success, which
    `success_interval` is the 95 % Wilson interval of. `cost_nanos` and `cost`, in nano-dollars and
    dollars, are those of the calls that have a price; `unpriced_calls` are not in it,
    `simulated_calls` are in it at no real price. `uncounted_calls` are not in the tokens.

    A class of tokens is the sum of what calls have stated, and None where that is nothing: the
    sums do not say whether calls stated that they were none or stated nothing.
    """

    tasks_started: int
    tasks: int
    successes: int
    success_rate: float | None
    success_interval: Interval | None
    actions: int
    action_errors: int
    action_error_rate: float | None
    action_latency: Seconds
    page_loads: int
    page_load_time: Seconds
    llm_calls: int
    llm_errors: int
    llm_error_rate: float | None
    error_rate: float | None
    "Of the actions and model calls together."
    errors_by_category: Mapping[str, int]
    llm_latency: Seconds
    first_token: Seconds
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    uncounted_calls: int
    cost: float | None
    cost_nanos: int | None
    unpriced_calls: int
    simulated_calls: int

    def __getitem__(self, name: str) -> Any:
        if name in _names(self):
            return getattr(self, name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self))

    def __len__(self) -> int:
        return len(_names(self))

    def to_dict(self) -> dict[str, Any]:
        """As dicts and plain values."""
        return asdict(self)


@dataclass(frozen=True)
class PerformanceSummary(Performance):
    """The figures of all functions together, and of each."""

    since: datetime
    "The hours begin here."
    until: datetime
    as_of: datetime | None
    "When the newest of the sums was made; later events are not in it. None if there are no sums."
    functions: Mapping[str, Performance]


def read_summary(
    hours: int, *, model: str | None, function: str | None, variant: str | None
) -> PerformanceSummary:
    """The current hour, and as many before it as make `hours`, of this process's tenant.

    A filter that is None is none. Raises ValueError, or TypeError, in one line.
    """
    from mlops.monitoring.windows import last_hours
    from shared.database import tenant_session
    from shared.telemetry import reading
    from shared.tenancy.tenants import current_tenant

    require_number("hours", hours, 1, MOST_HOURS, whole=True)
    for field, name in (("model", model), ("function", function), ("variant", variant)):
        require_name(field, name)
    now = datetime.now(UTC)
    window = last_hours(now, hours)
    chosen = (model, function, variant)
    by = reading.Group.FUNCTION
    with tenant_session(current_tenant()) as session:
        sums = reading.sums(session, window, *chosen, by=by)
        latencies = {
            metric: reading.histograms(session, window, metric, *chosen, by=by)
            for metric in _LATENCIES
        }
        as_of = reading.computed_at(session, window, *chosen)
    everything = _figures(
        list(sums.values()), {m: Histogram.sum(found.values()) for m, found in latencies.items()}
    )
    functions = {
        name: Performance(
            **_figures([one], {m: found[name] for m, found in latencies.items() if name in found})
        )
        for name, one in sorted(sums.items())
    }
    return PerformanceSummary(
        **everything, since=window.start, until=now, as_of=as_of, functions=functions
    )


def _figures(parts: Sequence[Sums], latencies: Mapping[Metric, Histogram]) -> dict[str, Any]:
    """The fields of `Performance`, over all of `parts`."""

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    counts = {
        name: total(name)
        for name in (
            "tasks_started", "tasks", "successes", "actions", "action_errors", "page_loads",
            "llm_calls", "llm_errors", "uncounted_calls", "unpriced_calls", "simulated_calls",
        )
    }  # fmt: skip
    calls = counts["llm_calls"]
    # Of calls none of which was counted or priced, and of no calls, nothing is known.
    counted = calls > counts["uncounted_calls"]
    tokens = {
        name: (total(name) or None) if counted else None
        for name in (
            "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens",
            "reasoning_tokens",
        )
    }  # fmt: skip
    nanos = known_nanos(total("cost_nanos"), calls, counts["unpriced_calls"]) if calls else None
    return {
        **counts,
        **tokens,
        "success_rate": _rate(counts["successes"], counts["tasks"]),
        "success_interval": wilson(counts["successes"], counts["tasks"]),
        "action_error_rate": _rate(counts["action_errors"], counts["actions"]),
        "llm_error_rate": _rate(counts["llm_errors"], calls),
        "error_rate": _rate(
            counts["action_errors"] + counts["llm_errors"], counts["actions"] + calls
        ),
        "errors_by_category": dict(sum((Counter(p.errors_by_category) for p in parts), Counter())),
        "action_latency": _seconds(latencies.get(Metric.STEP_LATENCY)),
        "page_load_time": _seconds(latencies.get(Metric.PAGE_LOAD)),
        "llm_latency": _seconds(latencies.get(Metric.LLM_LATENCY)),
        "first_token": _seconds(latencies.get(Metric.FIRST_TOKEN)),
        "cost_nanos": nanos,
        "cost": None if nanos is None else nanos / NANOS,
    }


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _seconds(histogram: Histogram | None) -> Seconds:
    if histogram is None:
        return Seconds(None, None, None)
    found = (histogram.quantile(q) for q in (0.5, 0.95, 0.99))
    return Seconds(*(None if value is None else value / 1000 for value in found))


def _names(performance: Performance) -> list[str]:
    return [field.name for field in fields(performance)]
