"""How many false alarms a tenant is ready to bear in a week, and what that asks of each sweep."""

from __future__ import annotations

import math
from typing import Final

DEFAULT_BUDGET: Final = 1.0
"False alarms in a week that are expected at most."
LARGEST_RATE: Final = 0.05
"No sweep is allowed more, however few there are."


def false_discovery_rate(sweeps_per_week: float, budget: float = DEFAULT_BUDGET) -> float:
    """The rate q for each sweep, so that at most `budget` sweeps a week are expected to be wrong.

        q = min(budget / sweeps_per_week, 0.05)

    Why that holds. Let nothing drift. Then every rejection is false, the share of false ones among
    those rejected is 1 as soon as there is one, and its mean, which Benjamini and Hochberg keep at
    most q, is the chance that the sweep alarms at all (JRSS B 57, 1995, section 2.2: weak control
    of the familywise error). Means add up whatever depends on what, so the number of alarming
    sweeps in a week has a mean of at most sweeps_per_week * q <= budget, also where windows overlap
    and sweeps say nearly the same. An alert is raised once per episode, and an episode has one
    alarming sweep or more, so there are at most as many: overlap only makes them fewer. That an
    effect must be large as well only makes them fewer again.

    What it does not say: how many metrics one alarming sweep names (they may share their data), and
    how many are wrongly named beside metrics that do drift: there it is the share q of those named.

    ValueError unless both are above 0 and finite.
    """
    for name, value in (("sweeps per week", sweeps_per_week), ("budget", budget)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} {value}; expected above 0")
    return min(budget / sweeps_per_week, LARGEST_RATE)


def expected_false_alarms(sweeps_per_week: float, rate: float) -> float:
    """Alarming sweeps in a week if nothing drifts, at most: what is shown beside the budget.

    ValueError unless sweeps are 0 or more and 0 < rate < 1.
    """
    if not (sweeps_per_week >= 0 and math.isfinite(sweeps_per_week)):
        raise ValueError(f"sweeps per week {sweeps_per_week}; expected 0 or more")
    if not 0 < rate < 1:
        raise ValueError(f"false discovery rate {rate}; expected between 0 and 1")
    return sweeps_per_week * rate
