from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.abtest.hashing import SLOTS, fnv1a_32, in_namespace, namespace_place, slot_of
from shared.abtest.slots import (
    NOBODY,
    SlotError,
    SlotTable,
    allocate,
    full_ranges,
    lost,
    ranges_of,
    reallocate,
    slot_counts,
    slots_in,
)

# Weights of whole slots, and a coverage that leaves whole slots of each.
splits = st.lists(st.integers(0, 33), min_size=3, max_size=3).map(
    lambda parts: [part / 100 for part in parts] + [(100 - sum(parts)) / 100]
)
coverages = st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.9, 1.0])
states = st.tuples(splits, coverages)


def held(table: SlotTable, variants: int = 4) -> list[int]:
    return [table.owners.count(variant) for variant in range(variants)]


@pytest.mark.parametrize(
    ("text", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_fnv1a_gives_its_published_values(text: str, value: int) -> None:
    # Test vectors of http://www.isthe.com/chongo/tech/comp/fnv/ (also RFC 9923).
    assert fnv1a_32(text) == value


@given(st.text(), st.text())
def test_fnv1a_goes_on_from_a_state_and_goes_unit_by_unit(first: str, second: str) -> None:
    units = (first + second).encode("utf-16-le")
    slow = 0x811C9DC5
    for low, high in zip(units[::2], units[1::2], strict=True):
        slow = ((slow ^ (low + 256 * high)) * 0x01000193) % 2**32
    assert fnv1a_32(second, fnv1a_32(first)) == fnv1a_32(first + second) == slow


@pytest.mark.parametrize(
    ("seed", "value", "bucket"),
    [("seed", "a", 0.0505), ("foo", "ab", 0.2575), ("seed", "b", 0.2696), ("foo", "def", 0.2019)],
)
def test_units_fall_where_growthbook_puts_them(seed: str, value: str, bucket: float) -> None:
    assert slot_of(seed, value) / SLOTS == bucket


# `inNamespace` of GrowthBook's cases.json.
@pytest.mark.parametrize(
    ("unit", "namespace", "low"),
    [
        *((str(unit), "namespace1", False) for unit in (1, 2, 3, 4)),
        *((str(unit), "namespace2", unit > 2) for unit in (1, 2, 3, 4)),
    ],
)
def test_namespaces_hold_the_units_that_growthbook_puts_there(
    unit: str, namespace: str, low: bool
) -> None:
    assert in_namespace(namespace, 0, 0.4, unit) is low
    assert in_namespace(namespace, 0.4, 1, unit) is not low


# `hash` of GrowthBook's cases.json, version 1 without a seed.
@pytest.mark.parametrize(
    ("value", "place"), [("a", 220), ("b", 77), ("ab", 946), ("def", 652), ("123", 11)]
)
def test_hash_version_1_is_growthbooks(value: str, place: int) -> None:
    assert fnv1a_32(value) % 1000 == place
    assert namespace_place("x", value) == fnv1a_32(f"{value}__x") % 1000 / 1000


# `getBucketRange` of GrowthBook's cases.json.
@pytest.mark.parametrize(
    ("weights", "coverage", "ranges"),
    [
        ([0.5, 0.5], 1, [(0, 5000), (5000, 10_000)]),
        ([0.5, 0.5], 0.5, [(0, 2500), (5000, 7500)]),
        ([0.5, 0.5], 0, [None, None]),
        ([0.25] * 4, 1, [(0, 2500), (2500, 5000), (5000, 7500), (7500, 10_000)]),
        ([0.4, 0.6], 1, [(0, 4000), (4000, 10_000)]),
        ([0.2, 0.3, 0.5], 1, [(0, 2000), (2000, 5000), (5000, 10_000)]),
        ([0.2, 0.3, 0.5], 0.2, [(0, 400), (2000, 2600), (5000, 6000)]),
    ],
)
def test_a_first_allocation_and_a_ramp_are_growthbooks_ranges(
    weights: list[float], coverage: float, ranges: list[tuple[int, int] | None]
) -> None:
    expected = [() if one is None else (one,) for one in ranges]
    for table in (
        allocate(weights, coverage),
        reallocate(allocate(weights, 0.01), weights, coverage),
        reallocate(allocate(weights, 1), weights, coverage),
    ):
        assert [table.ranges_of(variant) for variant in range(len(weights))] == expected


# `chooseVariation` of GrowthBook's cases.json.
@pytest.mark.parametrize(
    ("coverage", "bucket", "variant"),
    [
        *((1, bucket, 0) for bucket in (0, 0.2, 0.4)),
        *((1, bucket, 1) for bucket in (0.5, 0.6, 0.8)),
        *((0.5, bucket, 0) for bucket in (0.0, 0.2)),
        *((0.5, bucket, NOBODY) for bucket in (0.25, 0.4, 0.8)),
        *((0.5, bucket, 1) for bucket in (0.5, 0.6)),
    ],
)
def test_a_slot_has_the_variant_that_growthbook_chooses(
    coverage: float, bucket: float, variant: int
) -> None:
    assert allocate([0.5, 0.5], coverage).owners[round(bucket * SLOTS)] == variant


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ([0.5, 0.5], [5000, 5000]),
        ([0.4, 0.3, 0.3], [4000, 3000, 3000]),
        ([0.29, 0.71], [2900, 7100]),
        ([1 / 3, 1 / 3, 1 / 3], [3334, 3333, 3333]),
        ([0, 1], [0, 10_000]),
    ],
)
def test_weights_get_their_slots(weights: list[float], counts: list[int]) -> None:
    assert slot_counts(weights) == counts


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ([0.5, 0.4], r"the weights sum to 0\.9; they must sum to 1"),
        ([0.5, 0.5 + 1e-8], "they must sum to 1"),
        ([-0.5, 1.5], r"weight -0\.5 must be a number from 0 to 1"),
        ([math.nan, 1.0], "must be a number"),
        ([math.inf, 1.0], "must be a number"),
        ([1e-5, 1 - 1e-5], "less than one of 10000 slots"),
        ([], "sum to 0"),
    ],
)
def test_weights_that_are_no_split_are_refused(weights: list[float], complaint: str) -> None:
    with pytest.raises(SlotError, match=complaint):
        allocate(weights)


@pytest.mark.parametrize("coverage", [-0.1, 1.1, math.nan])
def test_a_coverage_that_is_no_share_is_refused(coverage: float) -> None:
    with pytest.raises(SlotError, match=r"coverage .* must be a number from 0 to 1"):
        allocate([0.5, 0.5], coverage)


@pytest.mark.parametrize(
    "ranges",
    [
        [[[0, 5000]], [[4999, 6000]]],
        [[[0, 10_001]]],
        [[[-1, 5]]],
        [[[5, 5]]],
        [[[5, 9], [7, 12]]],
        [[[0.0, 5.0]]],
    ],
)
def test_ranges_that_make_no_table_are_refused(ranges: list[list[list[int]]]) -> None:
    with pytest.raises(SlotError):
        SlotTable.of_ranges(ranges)


@given(states)
@settings(max_examples=30)
def test_a_table_is_its_ranges(state: tuple[list[float], float]) -> None:
    table = allocate(*state).marked(((0, 3), (9, 10)))
    again = SlotTable.of_ranges([table.ranges_of(variant) for variant in range(4)], table.moved)
    assert again == table
    assert ranges_of(sorted(slots_in(table.moved))) == table.moved


@given(st.lists(states, min_size=2, max_size=4))
@settings(max_examples=40)
def test_a_change_moves_only_the_slots_it_must(history: list[tuple[list[float], float]]) -> None:
    before = allocate(*history[0])
    for (old, old_coverage), (new, coverage) in itertools.pairwise(history):
        after = reallocate(before, new, coverage)
        wanted = slot_counts(new, coverage)
        assert held(after) == wanted
        gone = slots_in(lost(before, after))
        shrunk = [max(0, h - w) for h, w in zip(held(before), wanted, strict=True)]
        assert len(gone) == sum(shrunk)
        taken_from = {before.owners[slot] for slot in gone}
        assert taken_from == {variant for variant, number in enumerate(shrunk) if number}
        if all(o * old_coverage <= n * coverage for o, n in zip(old, new, strict=True)):
            assert not gone
        before = after


@given(splits, coverages, coverages)
@settings(max_examples=30)
def test_a_ramp_upwards_only_takes_from_nobody(
    weights: list[float], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    before = allocate(weights, low)
    after = reallocate(before, weights, high)
    assert lost(before, after) == ()
    assert after == allocate(weights, high)


def test_who_grows_takes_what_nobody_had_first_and_its_own_range_first() -> None:
    before = allocate([0.5, 0.5], 0.5)
    after = reallocate(before, [0.3, 0.7], 0.5)
    assert lost(before, after) == ((1500, 2500),)
    assert after.ranges_of(0) == ((0, 1500),)
    # 1,000 more: its range is 3,000 to 10,000 now, and what was given up is left alone.
    assert after.ranges_of(1) == ((3000, 4000), (5000, 7500))


def test_weights_that_are_no_whole_slots_move_one_slot_more_at_most() -> None:
    table = allocate([1 / 3, 1 / 3, 1 / 3])
    after = reallocate(table, [1 / 3, 0.3, 1 - 1 / 3 - 0.3])
    assert held(after, 3) == slot_counts([1 / 3, 0.3, 1 - 1 / 3 - 0.3])
    assert abs(len(slots_in(lost(table, after))) - 333) <= 1


def test_full_ranges_cover_all_slots() -> None:
    assert full_ranges([0.01] * 100)[-1] == (9900, 10_000)


def test_a_table_cannot_lose_a_variant() -> None:
    with pytest.raises(SlotError, match="1 weights for 2 variants"):
        reallocate(allocate([0.5, 0.5]), [1.0])
