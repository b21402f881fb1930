"""All advice for a tenant and a window, ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from shared.costs.advice.caching import unused_caching
from shared.costs.advice.failures import paid_failures
from shared.costs.advice.futility import never_succeeding
from shared.costs.advice.observed import SplitTest
from shared.costs.advice.pieces import Advice, Section, ranked
from shared.costs.advice.prompts import long_prompts
from shared.costs.advice.reading import (
    benchmark_functions,
    episodes,
    read_traffic,
    recent_calls,
    simulated_models,
    task_costs,
    trials,
)
from shared.costs.advice.substitutes import MARGIN, cheaper_models
from shared.costs.prices import PriceTable
from shared.telemetry.reading import Window


@dataclass(frozen=True)
class Advised:
    """Savings of several pieces are not to be added up: they may be about the same calls."""

    window: Window
    advice: tuple[Advice, ...]
    "The largest known saving first."
    sections: tuple[Section, ...]
    "Every kind, also those without advice: what was looked at, and what is missing."


def advise(
    session: Session,
    window: Window,
    prices: PriceTable,
    tests: Sequence[SplitTest] = (),
    *,
    now: datetime,
    margin: float = MARGIN,
) -> Advised:
    """Ranked advice from what the tenant's models did in the window.

    `prices` say what tokens cost at `now` (aware); `tests` are the A/B tests, which
    `shared.abtest.costing.split_tests` reads. ValueError for a margin that is not between 0 and 1.
    """
    traffic = read_traffic(session, window)
    recent = recent_calls(session, window, now)
    ended = episodes(session, window)
    simulated = simulated_models(session, window)
    span = window.end - window.start
    sections = (
        cheaper_models(
            trials(ended),
            tests,
            traffic,
            span,
            benchmark_functions=benchmark_functions(ended),
            simulated=simulated,
            margin=margin,
        ),
        unused_caching(recent, prices, now),
        paid_failures(recent),
        long_prompts(traffic, recent, prices, now),
        never_succeeding(traffic, task_costs(ended, window), simulated, span),
    )
    found = ranked(one for section in sections for one in section.advice)
    return Advised(window, found, sections)
