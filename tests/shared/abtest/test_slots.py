from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.abtest.hashing import SLOTS, fnv1a_32, slot_of
from shared.abtest.slots import SlotError, SlotTable, allocate, reallocate, slot_counts

splits = st.lists(st.integers(0, 1000), min_size=3, max_size=8).filter(any).map(
    lambda parts: [part / sum(parts) for part in parts]
)  # fmt: skip


def fits(weights: list[float]) -> bool:
    return all(weight == 0 or weight >= 2e-4 for weight in weights)


@pytest.mark.parametrize(
    ("text", "value"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_fnv1a_gives_its_published_values(text: str, value: int) -> None:
    # Test vectors of http://www.isthe.com/chongo/tech/comp/fnv/ (also RFC 9923).
    assert fnv1a_32(text) == value


@pytest.mark.parametrize(
    ("seed", "value", "bucket"),
    [("seed", "a", 0.0505), ("foo", "ab", 0.2575), ("seed", "b", 0.2696), ("foo", "def", 0.2019)],
)
def test_units_fall_where_growthbook_puts_them(seed: str, value: str, bucket: float) -> None:
    assert slot_of(seed, value) / SLOTS == bucket


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


@pytest.mark.parametrize(
    ("ends", "owners"), [((), ()), ((5000,), (0,)), ((6000, 5000, 10_000), (0, 1, 0))]
)
def test_ranges_that_do_not_cover_all_slots_are_no_table(
    ends: tuple[int, ...], owners: tuple[int, ...]
) -> None:
    with pytest.raises(SlotError, match="do not cover"):
        SlotTable(ends, owners)


@given(splits.filter(fits))
@settings(max_examples=30, deadline=None)
def test_every_slot_has_the_owner_its_range_says(weights: list[float]) -> None:
    table = allocate(weights)
    owners = table.owner_of_slots()
    assert len(owners) == SLOTS
    for slot in (0, SLOTS - 1, *table.ends[:-1], *(end - 1 for end in table.ends)):
        assert table.owner(slot) == owners[slot]
    assert SlotTable.from_owners(owners) == table


@given(st.lists(splits.filter(fits), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_change_of_weights_moves_only_the_slots_it_must(history: list[list[float]]) -> None:
    size = max(map(len, history))
    table = allocate(history[0])
    for weights in history[1:]:
        wanted = weights + [0.0] * (size - len(weights))
        before, after = table.owner_of_slots(), reallocate(table, wanted).owner_of_slots()
        held = [before.count(variant) for variant in range(size)]
        assert [after.count(variant) for variant in range(size)] == slot_counts(wanted)
        must = sum(max(0, h - w) for h, w in zip(held, slot_counts(wanted), strict=True))
        assert sum(a != b for a, b in zip(before, after, strict=True)) == must
        table = SlotTable.from_owners(after)


def test_a_table_cannot_lose_a_variant() -> None:
    with pytest.raises(SlotError, match="1 weights for 2 variants"):
        reallocate(allocate([0.5, 0.5]), [1.0])
