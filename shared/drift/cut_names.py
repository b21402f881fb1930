"""Names of which the rare ones were counted together, compared without taking the cut for drift.

A rollup counts the most frequent names of an hour apart and the others as one. Which those are
depends on how many events the hour had and on how they are spread over variants, so the share of
the others moves, and with it those of the names near the cut, though every name is as frequent as
ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shared.drift.comparison import Comparison, compare_categories
from shared.drift.effects import Effect
from shared.drift.window_pair import WindowPair
from shared.telemetry.rollups import NAMES_AN_HOUR, OTHER_NAMES

__all__ = ["LARGEST_CUT", "OTHER_NAMES", "compare_names", "least_moved"]

LARGEST_CUT: Final = 1 / (NAMES_AN_HOUR + 1)
"The largest share of an hour that a name can have which is not counted apart."


def compare_names(baseline: Mapping[str, int], current: Mapping[str, int]) -> Comparison:
    """`compare_categories`; where names were cut the effect is no larger than they let one know.

    Then the share of values that changed category is the least that explains the counts, whatever
    the others were: see `least_moved`.
    """
    found = compare_categories(WindowPair.from_categories(baseline, current))
    seen = found.effects.get(Effect.TOTAL_VARIATION)
    if seen is None or not (baseline.get(OTHER_NAMES) or current.get(OTHER_NAMES)):
        return found
    moved = min(seen, least_moved(baseline, current))
    tests = tuple(replace(test, effect_size=moved) for test in found.tests)
    return replace(found, tests=tests, effects=found.effects | {Effect.TOTAL_VARIATION: moved})


def least_moved(baseline: Mapping[str, int], current: Mapping[str, int]) -> float:
    """The smallest total variation, 0 to 1, of two windows of names whose others are anybody.

    A name gets of a window's others what it is short of in that window, up to `LARGEST_CUT` of all
    values, as far as the others last; what is left of the others of both windows is alike. With
    the gains G and the losses L of the names, and what the others (O of the baseline, o of now)
    give to make up for them, g <= O and l <= o, that is

        sum(G) - g + max(0, (o - l) - (O - g))

    ValueError if a window is empty.
    """
    n, m = sum(baseline.values()), sum(current.values())
    if not n or not m:
        raise ValueError(f"{n} and {m} values; expected at least one in each window")
    gained = lost = gains_made_up = losses_made_up = 0.0
    for name in (baseline.keys() | current.keys()) - {OTHER_NAMES}:
        more = current.get(name, 0) / m - baseline.get(name, 0) / n
        if more > 0:
            gained += more
            gains_made_up += min(more, LARGEST_CUT)
        else:
            lost -= more
            losses_made_up += min(-more, LARGEST_CUT)
    before, now = baseline.get(OTHER_NAMES, 0) / n, current.get(OTHER_NAMES, 0) / m
    gains_made_up, losses_made_up = min(gains_made_up, before), min(losses_made_up, now)
    left = (now - losses_made_up) - (before - gains_made_up)
    return min(max(gained - gains_made_up + max(left, 0.0), 0.0), 1.0)
