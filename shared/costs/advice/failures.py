"""Model calls that failed, or were made again, and were paid for all the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from shared.costs.advice.observed import CallGroup, RecentCalls
from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Figure,
    Kind,
    Saving,
    Section,
    in_a_month,
    unknown,
)
from shared.evaluation.intervals import Interval, wilson
from shared.money import call_count, dollars

LEAST_CALLS: Final = 10
"Failed or repeated; fewer are no pattern."


def paid_failures(recent: RecentCalls) -> Section:
    """What calls with an error, and calls that say they are another attempt, are known to cost.

    The saving is the cost of those that failed. That of repeated ones which did not fail is beside
    it: had the first attempt held, one of the two would have been paid.
    """
    found: defaultdict[tuple[str, str], list[CallGroup]] = defaultdict(list)
    for group in recent.groups:
        found[group.model, group.function].append(group)
    advice = [
        one
        for (model, function), groups in found.items()
        if (one := _advise(model, function, groups, recent)) is not None
    ]
    failed = sum(group.failed for group in recent.groups)
    repeated = sum(group.repeated for group in recent.groups)
    missing = []
    if recent.calls and not repeated:
        missing.append(
            "no call says that it is a repetition (an attribute `attempt` above 1), so repetitions"
            " of calls that did not fail are not seen"
        )
    return Section(
        Kind.FAILED_CALLS,
        tuple(advice),
        f"{recent.source}: {failed:,} failed and {repeated:,} repeated of {recent.calls:,}",
        tuple(missing),
    )


def _advise(
    model: str, function: str, groups: Sequence[CallGroup], recent: RecentCalls
) -> Advice | None:
    calls = sum(group.calls for group in groups)
    failed = sum(group.failed for group in groups)
    repeated = sum(group.repeated for group in groups)
    failed_nanos = sum(group.failed_nanos for group in groups)
    repeated_nanos = sum(group.repeated_nanos for group in groups)
    unpriced = sum(group.failed_unpriced + group.repeated_unpriced for group in groups)
    if failed + repeated < LEAST_CALLS or not (failed_nanos + repeated_nanos or unpriced):
        return None
    figures = [
        Figure("calls that failed", failed / calls, "share", calls, recent.source,
               wilson(failed, calls)),
        Figure("known cost of the failed calls", failed_nanos, "nanos", failed, recent.source),
    ]  # fmt: skip
    if repeated:
        figures += [
            Figure("calls that were made again", repeated / calls, "share", calls, recent.source,
                   wilson(repeated, calls)),
            Figure("known cost of these", repeated_nanos, "nanos", repeated, recent.source),
        ]  # fmt: skip
    if unpriced:
        figures.append(
            Figure("of these without a price", unpriced, "calls", unpriced, recent.source)
        )
    worst = max(groups, key=lambda group: group.failed)
    error = f", most often with {worst.commonest_error}" if worst.commonest_error else ""
    return Advice(
        Kind.FAILED_CALLS,
        model,
        function,
        _saving(failed, failed_nanos, repeated_nanos, unpriced, recent),
        tuple(figures),
        f"Find out why calls of {model} in {function} fail{error}: {failed:,} of {calls:,} failed"
        f" and {repeated:,} were made again, and {dollars(failed_nanos + repeated_nanos)} is known"
        " to have been paid for these. Wait longer between attempts, and do not repeat what cannot"
        " succeed.",
        any(group.simulated for group in groups),
    )


def _saving(
    failed: int, failed_nanos: int, repeated_nanos: int, unpriced: int, recent: RecentCalls
) -> Saving:
    if not failed_nanos + repeated_nanos:
        return unknown(f"unpriced: {call_count(unpriced)}; none of them has a price")
    low = in_a_month(failed_nanos, recent.span)
    high = in_a_month(failed_nanos + repeated_nanos, recent.span)
    if unpriced:
        return Saving(
            Certainty.AT_LEAST,
            low,
            None,
            f"the known cost of the failed calls; unpriced: {call_count(unpriced)}",
        )
    if not failed:
        return Saving(
            Certainty.AT_MOST,
            high,
            Interval(0, high),
            "from nothing to all that the repeated calls cost: the attempts before them are not"
            " among the failed calls, and may have cost nothing",
        )
    return Saving(
        Certainty.ESTIMATE,
        low,
        Interval(low, high) if repeated_nanos else None,
        "the cost of the failed calls"
        + ("; the upper end has that of the repeated ones as well" if repeated_nanos else ""),
    )
