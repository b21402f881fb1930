"""Streams with known changes, and our windows moving over them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.drift_streams import EVERY, GRADUAL, LENGTH, STRAY, streams
from benchmarks.drift_windows import Windows, split, watch

WITHOUT = EVERY - STRAY
"So many values before and after a change there is no other."


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_each_change_begins_where_it_is_said_to() -> None:
    made = streams(1)

    for change in made["abrupt"].changes:
        before, after = (
            made["abrupt"].values[part].mean()
            for part in (slice(change - WITHOUT, change), slice(change, change + WITHOUT))
        )
        assert abs(after - before) == pytest.approx(1, abs=0.25)
    ramp = made["gradual"]
    for change in ramp.changes:
        half = slice(change + GRADUAL // 4, change + 3 * GRADUAL // 4)
        assert ramp.values[half].mean() == pytest.approx(0.5, abs=0.35)
    assert made["noise"].changes == ()
    assert all(stream.values.shape == (LENGTH,) for stream in made.values())


def test_streams_come_from_their_seed() -> None:
    assert np.array_equal(streams(3)["gradual"].values, streams(3)["gradual"].values)


def test_a_shift_is_found_late_and_placed_where_it_was(rng: np.random.Generator) -> None:
    values = rng.normal(size=200)
    values[120:] += 3

    found = watch(values[:, None], Windows(alpha=1e-3))

    assert len(found.alarms) == 1
    assert 120 <= found.alarms[0] < 140
    assert abs(found.located[0] - 120) <= 3


def test_one_of_several_columns_is_enough(rng: np.random.Generator) -> None:
    columns = rng.normal(size=(160, 3))
    columns[100:, 1] *= 8

    found = watch(columns, Windows(alpha=1e-3))

    assert found.alarms
    assert 100 <= found.alarms[0] < 130


def test_constant_and_short_series_raise_no_alarm(rng: np.random.Generator) -> None:
    assert watch(np.ones((200, 1)), Windows()).alarms == ()
    assert watch(rng.normal(size=(59, 1)), Windows()).alarms == ()


def test_a_series_falls_apart_where_its_spread_changes(rng: np.random.Generator) -> None:
    values = np.concatenate((rng.normal(0, 1, 120), rng.normal(0, 10, 120)))

    assert abs(split(values) - 120) <= 20


def test_a_split_leaves_something_on_both_sides(rng: np.random.Generator) -> None:
    assert 5 <= split(rng.normal(size=40)) <= 35
