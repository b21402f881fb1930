"""Where rare names were counted together, the cut is not taken for drift."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.drift.comparison import compare_categories
from shared.drift.cut_names import OTHER_NAMES, compare_names, least_moved
from shared.drift.effects import Effect, total_variation
from shared.drift.window_pair import WindowPair
from shared.telemetry.rollups import NAMES_AN_HOUR

MATTERS = 0.1


def counted(
    shares: npt.NDArray[np.float64], an_hour: int, hours: int, variants: int = 1
) -> Counter[str]:
    """What rollups hold of hours in which names come with these shares."""
    rng = np.random.default_rng(7)
    found: Counter[str] = Counter()
    for counts in rng.multinomial(an_hour // variants, shares, size=hours * variants):
        most_first = np.argsort(-counts, kind="stable")
        found.update({f"n{i}": int(counts[i]) for i in most_first[:NAMES_AN_HOUR] if counts[i]})
        found[OTHER_NAMES] += int(counts[most_first[NAMES_AN_HOUR:]].sum())
    return found


def moved(comparison: object) -> float:
    return float(comparison.effects[Effect.TOTAL_VARIATION])  # type: ignore[attr-defined]


ALIKE = np.full(200, 1 / 200)
WEEK = counted(ALIKE, 300, 168)


@pytest.mark.parametrize(("an_hour", "variants"), [(300, 1), (3_000, 1), (3_000, 4), (100, 1)])
def test_names_that_come_as_ever_have_not_moved_however_many_are_counted(
    an_hour: int, variants: int
) -> None:
    day = counted(ALIKE, an_hour, 24, variants)
    assert moved(compare_names(WEEK, day)) < 0.001
    if an_hour == 3_000:
        # Of the plain categories a tenth and more have.
        assert moved(compare_categories(WindowPair.from_categories(WEEK, day))) > MATTERS


def test_a_name_that_becomes_frequent_has_moved_though_others_are_cut() -> None:
    shares = 0.6 * ALIKE
    shares[3] += 0.4
    assert moved(compare_names(WEEK, counted(shares, 300, 24))) > 0.3


def test_names_that_are_all_counted_are_compared_as_categories() -> None:
    old, new = {"click": 500, "fill": 500}, {"click": 200, "fill": 700, "hover": 100}
    plain = compare_categories(WindowPair.from_categories(old, new))
    assert compare_names(old, new) == plain
    assert least_moved(old, new) == pytest.approx(moved(plain))


COUNTS = st.dictionaries(st.sampled_from([*"abc", OTHER_NAMES]), st.integers(0, 50))


@given(COUNTS, COUNTS)
def test_the_least_that_moved_is_a_share_and_no_more_than_what_is_seen(
    old: dict[str, int], new: dict[str, int]
) -> None:
    if not (sum(old.values()) and sum(new.values())):
        with pytest.raises(ValueError, match="at least one"):
            least_moved(old, new)
        return
    names = sorted(old.keys() | new.keys())
    seen = total_variation(
        np.array([old.get(n, 0) for n in names]), np.array([new.get(n, 0) for n in names])
    )
    assert 0 <= least_moved(old, new) <= seen + 1e-12
    assert least_moved(old, new) == pytest.approx(least_moved(new, old))
