"""Two runs or two experiments side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlops.console import note, print_json, print_table
from mlops.experiments.named_values import plain_number

if TYPE_CHECKING:
    from shared.tracking.comparing import Bounds, MetricComparison, Side


def print_comparison(
    base: str, other: str, found: Sequence[MetricComparison], *, as_json: bool
) -> None:
    """A line for each metric: both values, the difference with its interval, and by which test."""
    if as_json:
        print_json({"base": base, "other": other, "metrics": [_json(one) for one in found]})
        return
    print_table(
        ["metric", base, other, "difference", "95 % interval", "p", "by"],
        [
            [
                one.metric,
                _side(one.base),
                _side(one.other),
                None if one.difference is None else f"{one.difference:+.6g}",
                _interval(one.interval),
                None if one.p_value is None else f"{one.p_value:.3g}",
                one.note or _method(one),
            ]
            for one in found
        ],
        empty="neither has logged a metric",
    )
    if found and all(one.interval is None for one in found):
        note(
            "no interval: a run has one value of a metric; log_metric(..., episode=...) makes two"
            " runs comparable episode by episode, and several runs two experiments"
        )


def _method(one: MetricComparison) -> str:
    return one.method if one.pairs is None else f"{one.method}, {one.pairs} pairs"


def _side(side: Side) -> str | None:
    if side.value is None:
        return None
    return f"{side.value:.6g}" + (f" (n = {side.n})" if side.n > 1 else "")


def _interval(interval: Bounds | None) -> str | None:
    return None if interval is None else f"{interval.low:+.6g} to {interval.high:+.6g}"


def _json(one: MetricComparison) -> dict[str, Any]:
    told = asdict(one)
    for side in ("base", "other"):
        told[side]["value"] = plain_number(told[side]["value"])
    told["difference"] = plain_number(one.difference)
    return told
