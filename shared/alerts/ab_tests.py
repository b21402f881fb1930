"""Alerts of A/B tests: one for each thing that a look has found, from its first look to its last.

A split that does not hold, units with two variants, a guardrail that is harmed; and, as
information, that a test has come to a decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.abtest.sentences import size_of
from shared.abtest.states import AbStatus
from shared.abtest.tables import AbTest
from shared.abtest.unit_analysis import plan_of
from shared.abtest.verdicts import (
    MISMATCH_BELOW,
    MOST_MIXED,
    AbState,
    Comparison,
    Standing,
    Verdict,
)
from shared.alerts.names import bare, command, fingerprint, sayable
from shared.alerts.raising import Severity, raise_alert, resolve_alert
from shared.alerts.tables import Alert

KIND: Final = "ab_test"


class What(StrEnum):
    SAMPLE_RATIO = "sample_ratio"
    INVALID = "invalid"
    HARMED = "harmed"
    DECISION = "decision"


@dataclass(frozen=True)
class Told:
    """What telling of a test came to."""

    raised: int
    resolved: int


def tell_of_test(session: Session, test: AbTest, found: Verdict, now: datetime) -> Told:
    """Raise what the verdict shows, and resolve what it shows to be over.

    What it does not know is neither. A decision stays while the test goes on, unless its figures
    are withheld or it comes to another one: that nothing is told any more, of an interval that
    holds at any time, does not take it back.
    """
    opened = _opened(session, test)
    decided = any(details.get("decision") in _DECISIONS for details in opened.values())
    findings = {one.name: one for one in _findings(test, found, decided=decided)}
    for name, one in findings.items():
        since = opened[name]["since"] if name in opened else now.astimezone(UTC).isoformat()
        raise_alert(
            session,
            KIND,
            name,
            one.severity,
            _message(test, one, since),
            {
                **one.details,
                "test": test.name,
                "environment": test.environment,
                "what": one.what.value,
                "state": found.state.value,
                "units": found.units,
                "since": since,
            },
        )
    resolved = 0
    for name, details in opened.items():
        because = None if name in findings else _over(details, found)
        if because is not None:
            resolved += resolve_alert(session, name, because)
    return Told(len(findings), resolved)


def close_alerts_of(session: Session, test: AbTest) -> Told:
    """Resolve the alerts of a test that has ended."""
    winner = f" with {bare(test.winner)} as its winner" if test.winner else ""
    because = f"the test is {AbStatus(test.status)}{winner}"
    return Told(0, sum(resolve_alert(session, name, because) for name in _opened(session, test)))


def told_of(session: Session) -> frozenset[tuple[str, str]]:
    """The (environment, name) of tests with an open alert."""
    named = Alert.details["environment"].astext, Alert.details["test"].astext
    rows = session.execute(
        sa.select(*named).where(Alert.kind == KIND, Alert.resolved_at.is_(None)).distinct()
    )
    return frozenset((environment, name) for environment, name in rows)


@dataclass(frozen=True)
class _Finding:
    name: str
    what: What
    severity: Severity
    text: str
    details: Mapping[str, Any]


def _findings(test: AbTest, found: Verdict, *, decided: bool) -> Iterator[_Finding]:
    """`decided`: whether it was told before which way the test has gone."""
    p_value = found.sample_ratio_sequential_p
    if p_value is not None and p_value < MISMATCH_BELOW:
        yield _Finding(
            _name(test, What.SAMPLE_RATIO),
            What.SAMPLE_RATIO,
            Severity.CRITICAL,
            f"the units do not follow the weights: {_split(test, found)}, p = {p_value:.2g} (below"
            f" {MISMATCH_BELOW:g}), so no figure can be trusted",
            {"p_value": p_value, "threshold": MISMATCH_BELOW, "units_of": dict(found.units_of)},
        )
    if found.state is AbState.INVALID:
        yield _Finding(
            _name(test, What.INVALID),
            What.INVALID,
            Severity.CRITICAL,
            f"{found.verdict} (above {MOST_MIXED:.0%})",
            {"threshold": MOST_MIXED},
        )
    for one in found.comparisons:
        if (one.variant, one.metric) in found.harmed:
            yield _harm(test, found, one)
    if found.state in _DECISIONS or (found.state is AbState.UNDECIDED and not decided):
        yield _Finding(
            _name(test, What.DECISION, found.state.value),
            What.DECISION,
            Severity.INFO,
            f"{found.verdict}, {found.units:,} units",
            {"decision": found.state.value},
        )


def _harm(test: AbTest, found: Verdict, one: Comparison) -> _Finding:
    control, alpha = test.variants[0]["name"], plan_of(test).alpha
    units = {
        figure.variant: figure.units for figure in found.figures if figure.metric == one.metric
    }
    return _Finding(
        _name(test, What.HARMED, one.variant, one.metric),
        What.HARMED,
        Severity.WARNING,
        f"a guardrail is harmed, {one.metric} of {one.variant}: {size_of(one)} against {control},"
        f" adjusted p = {one.p_adjusted:.2g} (at most {alpha:g}), {units[one.variant]:,} and"
        f" {units[control]:,} units",
        {
            "variant": one.variant,
            "metric": one.metric,
            "difference": one.difference,
            "p_adjusted": one.p_adjusted,
            "threshold": alpha,
        },
    )


_DECISIONS: Final = (AbState.BETTER, AbState.WORSE, AbState.NO_DIFFERENCE)


def _split(test: AbTest, found: Verdict) -> str:
    slots = [sum(end - first for first, end in variant["slots"]) for variant in test.variants]
    return ", ".join(
        f"{found.units_of[variant['name']]:,} of {found.units:,} in {variant['name']} where"
        f" {found.units * held / max(1, sum(slots)):,.0f} were to be"
        for variant, held in zip(test.variants, slots, strict=True)
    )


def _over(details: Mapping[str, Any], found: Verdict) -> str | None:
    """Why what an open alert tells of is over; None where it is not, or nobody knows."""
    match What(details["what"]):
        case What.SAMPLE_RATIO:
            p_value = found.sample_ratio_sequential_p
            if p_value is None:
                return "the weights have changed: there is no one ratio that units should have"
            return f"the units follow the weights (p = {p_value:.2g})"
        case What.INVALID:
            return f"at most {MOST_MIXED:.0%} of the units were given two variants"
        case What.HARMED:
            return _harm_is_over(details, found)
        case What.DECISION:
            if found.state in (AbState.COLLECTING, AbState.UNDECIDED):
                return None
            return f"the test is {found.state.value} now"


def _harm_is_over(details: Mapping[str, Any], found: Verdict) -> str | None:
    """Over is what is not told even by itself: near the threshold it would come and go."""
    of = details["variant"], details["metric"]
    one = next((one for one in found.comparisons if (one.variant, one.metric) == of), None)
    if one is None or one.p_value is None:
        return None
    if one.standing is not Standing.HELD and one.p_value <= details["threshold"]:
        return None
    return f"{one.metric} of {one.variant} is not shown to be worse any more: {size_of(one)}"


def _opened(session: Session, test: AbTest) -> dict[str, Mapping[str, Any]]:
    """The details of the test's open alerts, by fingerprint."""
    rows = session.execute(
        sa.select(Alert.fingerprint, Alert.details).where(
            Alert.kind == KIND,
            Alert.resolved_at.is_(None),
            Alert.details["test"].astext == test.name,
            Alert.details["environment"].astext == test.environment,
        )
    )
    return {row.fingerprint: row.details for row in rows}


def _name(test: AbTest, what: What, *of: str) -> str:
    return fingerprint(KIND, what.value, test.environment, test.name, *of)


def _message(test: AbTest, one: _Finding, since: str) -> str:
    began = datetime.fromisoformat(since)
    return (
        f"{bare(f'A/B test {test.name} in {test.environment}: {one.text}')}; since"
        f" {began:%Y-%m-%d %H:%M} UTC; {_command(test)}"
    )


def _command(test: AbTest) -> str:
    """What shows more of it: the list, where a name cannot be said as it is."""
    shown = all(
        sayable(name) and not name.startswith("-") for name in (test.name, test.environment)
    )
    if not shown:
        return command(("mlops", "ab", "list"), {})
    return command(("mlops", "ab", "show", test.name), {"--environment": test.environment})
