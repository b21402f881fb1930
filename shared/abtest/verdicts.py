"""What an A/B test has shown so far: a state, a sentence, and what both rest on (see `judging`).

Every interval and p-value that decides holds at any time, so a test may be looked at as often as
one likes and stopped when it has shown enough. Beside them stand what one look at the end would
say, and how probable it is that each variant is the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared.abtest.inference.bayes import Posterior
from shared.abtest.inference.estimates import Moments
from shared.abtest.inference.fixed_horizon import OneLook
from shared.evaluation.intervals import Interval
from shared.telemetry.histograms import Histogram

MISMATCH_BELOW: Final = 0.001
"A sample ratio this unlikely means that units got lost, not that chance was odd."
MOST_MIXED: Final = 0.01
"Of the units may have been given two variants; of more the assignment cannot be trusted."
MOST_UNKNOWN: Final = 0.05
"Of a variant's units may be left out of a metric because part of it is unknown."


class Standing(StrEnum):
    """Of a guardrail: what is known of the harm that its plan tolerates, none unless it says so."""

    OPEN = "open"
    HARMED = "harmed"
    "It is worse by more than that."
    HELD = "held"
    "It is not."


class AbState(StrEnum):
    COLLECTING = "collecting"
    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    "None that matters, by what the plan says or its guardrail tolerates."
    UNDECIDED = "undecided"
    "The planned units are there, and neither a difference nor that there is none is shown."
    SAMPLE_RATIO_MISMATCH = "sample_ratio_mismatch"
    INVALID = "invalid"


@dataclass(frozen=True)
class MetricSums:
    """Of one metric of one variant: sums over the units of whom it is known."""

    moments: Moments
    unknown: int = 0
    spread: Histogram | None = None
    capped: int = 0
    "Units above the plan's cap, which count as if they were it."


@dataclass(frozen=True)
class VariantSums:
    """`units` are distinct and in no other variant; `mixed` are those that were in another too.

    `weight` is the share of the units that its slots are to bring it, and `most` the largest that
    they were to since the test began: at a small coverage whole slots are not quite the weights.
    None is that it has always been the same.
    """

    name: str
    weight: float
    units: int
    mixed: int = 0
    metrics: Mapping[str, MetricSums] = field(default_factory=dict)
    most: float | None = None


@dataclass(frozen=True)
class VariantFigure:
    """One metric of one variant, in the metric's unit; `reason` says why it is unknown."""

    variant: str
    metric: str
    units: int
    value: float | None
    interval: Interval | None
    "Always valid."
    reason: str | None = None
    unit: str = ""
    capped: int | None = None
    "How many of the units are above the plan's cap; None where it has none."


@dataclass(frozen=True)
class Comparison:
    """One metric of a variant minus that of the control, in the metric's unit.

    `interval` and `p_value` hold at any time, `p_adjusted` for all comparisons of the test (Holm).
    The interval is at the level at which Holm compares, so that it leaves 0 out just where the
    difference is told. `one_look` is for whoever looks once, at the end.

    Of a guardrail with a margin the p-values are that the harm is just as large as the margin; its
    state is worse where it is larger, and no_difference only where that is ruled out: where it is
    held.
    """

    variant: str
    metric: str
    state: AbState
    difference: float | None
    interval: Interval | None
    confidence: float | None
    p_value: float | None
    p_adjusted: float | None
    one_look: OneLook | None
    reason: str | None = None
    unit: str = ""
    standing: Standing | None = None
    "None of what is no guardrail."
    two_proportions_p: float | None = None
    "As one look's p-value, of shares of units with one trial each."


@dataclass(frozen=True)
class Outlook:
    """Of the success metric: what the test can show now, and what it takes to show what matters.

    As the verdict shows it: at any time, and among all comparisons, of whichever variant takes the
    most. Units are of all variants together, shared as they are now; None where it is not known.
    """

    minimum_detectable_effect: float | None
    required_units: int | None
    days_left: float | None


@dataclass(frozen=True)
class Verdict:
    """The first variant is the control. `harmed` are guardrails, as (variant, metric)."""

    state: AbState
    verdict: str
    units: int
    sample_ratio_p: float | None
    "Of one look; None where there is no one split to hold the units to."
    sample_ratio_sequential_p: float | None
    figures: tuple[VariantFigure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    harmed: tuple[tuple[str, str], ...] = ()
    best: Mapping[str, Posterior] = field(default_factory=dict)
    outlook: Outlook | None = None
    units_of: Mapping[str, int] = field(default_factory=dict)
    "By variant; `units` is of all."
    remarks: tuple[str, ...] = ()
    "What whoever reads the figures has to know of how they came about."
