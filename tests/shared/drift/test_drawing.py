"""Drift in a terminal: both windows alike, at every width, without colours and block characters."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from shared.drift.concept import CalibrationError
from shared.drift.drawing.categories import draw_categories
from shared.drift.drawing.distribution import draw_distribution
from shared.drift.drawing.history import draw_history
from shared.drift.drawing.metric import draw_concept, draw_metric
from shared.drift.drawing.proportion import draw_proportion
from shared.drift.drawing.signs import ASCII, BLOCKS, signs_for
from shared.drift.showing import (
    Categories,
    Category,
    Distribution,
    NewWords,
    OutcomeBin,
    Proportion,
    ShownConcept,
    Tally,
    Volume,
    VolumeHour,
    WordTally,
)
from shared.drift.verdicts import DriftState
from shared.evaluation.intervals import wilson
from shared.telemetry.histograms import Histogram
from tests.shared.drift.shown import BASELINE, CURRENT, HOSTILE, NOW, metric, points, sweeps

RNG = np.random.default_rng(1)
LATENCY = Distribution.of_histograms(
    Histogram.from_values(RNG.lognormal(6, 0.5, 9000).astype(int)),
    Histogram.from_values(RNG.lognormal(6.5, 0.5, 3000).astype(int)),
    "ms",
)
KINDS = Categories(
    (
        *(Category("click", 600, 40), Category("goto", 0, 10), Category("back", 5, 0)),
        *(Category(f"kind {i:02}", 3, 2) for i in range(40)),
        *(Category(HOSTILE, 9, 9), Category("日本語の名前", 9, 9), Category("", 1, 1)),
    )
)
ERRORS = Proportion(Tally(412, 10_000), Tally(79, 1000))
NOTHING = np.zeros(0, dtype=np.int64)
SHAPES = {
    "distribution": LATENCY,
    "logarithmic": points(10.0 ** np.arange(-3, 7), 10.0 ** np.arange(-3, 7), HOSTILE),
    "an empty window": points(np.arange(9), NOTHING, "tokens"),
    "two empty windows": points(NOTHING, NOTHING),
    "one value": points(np.array([7]), np.array([7])),
    "billions": Distribution([1.0, 2.0], [10**9, 1], [1, 10**9]),
    "the largest floats": points(np.array([-1e308, 0, 1e308]), np.array([1e308])),
    "categories": KINDS,
    "no categories": Categories(()),
    "categories of one window": Categories((Category("click", 3, 0),)),
    "proportion": ERRORS,
    "no proportion": Proportion(Tally(0, 0), Tally(0, 0)),
    "proportion of one window": Proportion(Tally(0, 5), Tally(0, 0)),
    "volume": Volume(
        90,
        210.4,
        150.0,
        280.2,
        4,
        tuple(
            VolumeHour(
                NOW + timedelta(hours=i), None if i == 3 else i, None if i == 4 else 9.5, 3, 16
            )
            for i in range(24)
        ),
    ),
    "volume without hours": Volume(0, 8.0, None, None, 3),
    "unknown volume": Volume(None, None, None, None, 1),
    "words": NewWords(WordTally(2_000, 12_345, 3_120), WordTally(300, 2_000, 900), 0.123, 0.041),
    "unknown words": NewWords(WordTally(0, 0, 0), WordTally(3, 9, 9), None, None),
    "not known": None,
}


def text(lines):
    return "\n".join(line.plain for line in lines)


def bars(distribution, width=80, height=4):
    """The bars of both windows, each as its lines."""
    lines = text(draw_distribution(distribution, width, height=height)).split("\n")
    starts = [
        next(i for i, line in enumerate(lines) if line.startswith(window)) + 1
        for window in ("baseline", "current")
    ]
    return [[line[8:] for line in lines[start : start + height]] for start in starts]


@pytest.mark.parametrize("width", [20, 39, 40, 56, 80, 200])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_line_fits_and_can_be_said(shape, width):
    shown = metric(
        shape, name=HOSTILE, function=HOSTILE, model="日本" * 30, reason=HOSTILE,
        history=sweeps(0.01, None, 0.3, 0.02),
    )  # fmt: skip
    for signs, encoding in ((BLOCKS, "utf-8"), (ASCII, "ascii")):
        for line in draw_metric(shown, width, signs):
            assert cell_len(line.plain) <= width
            line.plain.encode(encoding)
            assert "\x1b" not in line.plain
            assert "\u202e" not in line.plain


def test_equal_distributions_look_equal_though_their_sizes_differ():
    shares = np.array([1, 5, 30, 12, 2])
    shown = Distribution(np.arange(5.0), shares, shares * 10**7)
    baseline, current = bars(shown)
    assert baseline == current
    assert "furthest apart" not in text(draw_distribution(shown, 80))


def test_a_shift_is_seen_at_a_glance():
    baseline, current = bars(points(np.repeat(np.arange(10), 9), np.repeat(np.arange(5, 15), 9)))
    assert baseline[-1].startswith("█")
    assert current[-1].startswith(" ")
    assert current[-1].rstrip().endswith("█")


def test_what_is_there_is_seen_and_what_is_not_there_is_not():
    lonely = Distribution([0.0, 1.0, 2.0], [10**9, 1, 0], [10**9, 0, 1])
    baseline, current = bars(lonely)
    wide = len(baseline[-1].rstrip()) // 2
    assert set(baseline[-1][wide : 2 * wide]) == {"."}
    assert set(current[-1][wide : 2 * wide]) == {" "}


def test_heights_are_shares_to_one_scale():
    baseline, current = bars(Distribution([0.0, 1.0], [50, 50], [100, 0]), height=2)
    assert baseline[0].strip() == ""
    assert set(baseline[1].strip()) == {"█"}
    assert set(current[0].strip()) == set(current[1].strip()) == {"█"}


def test_median_and_tails_are_marked_and_said():
    told = text(draw_distribution(LATENCY, 80))
    assert "baseline  n 9,000  5 % 178 ms  median 402 ms  95 % 914 ms" in told
    assert told.count("├") == told.count("┤") == 2
    assert "500 ms" in told
    assert "furthest apart at" in told


def test_what_lies_beyond_the_axis_is_said():
    usual = np.arange(100, 200)
    told = text(draw_distribution(points(np.append(usual, 10**9), usual, "ms"), 80))
    assert "1 % right of the axis, up to 278 h" in told


def test_an_empty_window_is_said_and_is_not_drawn_as_zero():
    told = text(draw_distribution(SHAPES["an empty window"], 80))
    assert "current  n 0  the window is empty" in told
    assert told.count("┼") == 1


def test_categories_stand_side_by_side_the_largest_first_and_the_rest_as_one():
    lines = text(draw_categories(KINDS, 80, most=3)).split("\n")
    assert lines[3].startswith("click ")
    assert lines[3].count("%") == 2
    assert next(line for line in lines if line.startswith("goto")).endswith(" new")
    assert lines[-1].startswith("43 others")
    total = sum(float(line.split("%")[0].split()[-1]) for line in lines[3:])
    assert total == pytest.approx(100, abs=0.3)


def test_a_category_that_is_gone_is_said():
    lines = text(draw_categories(KINDS, 80, most=50)).split("\n")
    assert next(line for line in lines if line.startswith("back")).endswith(" gone")


def test_a_single_left_out_category_is_not_left_out():
    two = Categories((Category("a", 2, 2), Category("b", 1, 1)))
    assert two.largest(1) == (two.all, None)


def test_shares_come_with_wilsons_intervals():
    told = text(draw_proportion(ERRORS, 80))
    low, high = wilson(79, 1000)
    assert f"current  7.9 %  ({100 * low:.1f} to {100 * high:.1f} %)  79 of 1,000" in told
    assert told.count("├") == 2


def test_time_without_sweeps_is_a_gap_and_a_known_zero_is_none():
    history = sweeps(0.0, 0.2, None, 0.2, 0.2)
    later = tuple(replace(one, at=one.at + timedelta(hours=8)) for one in history)
    lines = text(draw_history(history + later, 0.1, "ks_distance", 80)).split("\n")
    assert lines[1] == ".█ ██   .█ ██"
    assert lines[2] == " D?DD    D?DD"


def test_an_endless_effect_is_drawn_as_high_as_there_is_room():
    lines = text(draw_history(sweeps(0.5, math.inf), 0.1, "volume_ratio", 80)).split("\n")
    assert lines[0].endswith("full height 1.5 times, matters from 1.1 times")
    assert lines[1] == "██"


def test_requests_that_are_not_known_are_a_gap_and_none_at_all_are_not():
    hours = [(5, 4.0, 2, 6), (None, 4.0, 2, 6), (0, None), (8, 4.0, 2, 6), (1, 4.0, 2, 6)]
    volume = Volume(
        13, 12.0, 8.0, 16.0, 4,
        tuple(VolumeHour(NOW + timedelta(hours=i), *hour) for i, hour in enumerate(hours)),
    )  # fmt: skip
    lines = text(draw_metric(metric(volume), 80)).split("\n")
    assert lines[1] == "13 requests, 12 expected (8 to 16 in 19 of 20 weeks)"
    assert lines[lines.index("expected  12 requests  4 weeks") + 1] == "▄▄ ▄▄"
    assert lines[lines.index("current  13 requests") + 1] == "▅ .█▁"
    assert lines[lines.index("current  13 requests") + 2] == "   +-"


def test_new_words_are_said_beside_those_that_are_always_new():
    lines = text(draw_metric(metric(SHAPES["words"]), 80)).split("\n")
    assert lines[1] == "12.3 % of words are new, 4.1 % expected"
    assert "baseline  2,000 queries  12,345 words  3,120 different ones" in lines
    assert "current  300 queries  2,000 words  900 different ones" in lines


def test_many_sweeps_in_few_cells_show_the_worst():
    history = sweeps(*[0.01] * 500, 0.4, *[0.01] * 499)
    told = text(draw_history(history, 0.1, "ks_distance", 20)).split("\n")
    assert [line for line in told if "█" in line] == ["." * 10 + "█" + "." * 9]
    assert [line for line in told if line.strip() == "D"] == [" " * 10 + "D"]


def test_the_verdict_stands_first_and_what_changed_second():
    lines = text(draw_metric(metric(LATENCY, name="latency_ms"), 80)).split("\n")
    assert lines[0] == "DRIFT  latency_ms  of search  by mini@2.0.0"
    assert lines[1] == "median 402 ms to 658 ms, 95 % 914 ms to 1.47 s"
    assert lines[2] == "at least 50 % of values differ (matters from 10 %)"


@pytest.mark.parametrize("state", [DriftState.NO_DATA, DriftState.INSUFFICIENT])
def test_no_effect_is_claimed_where_nothing_was_judged(state):
    told = text(draw_metric(metric(LATENCY, state, reason="too few"), 80))
    assert "why: too few" in told
    assert "of values differ" not in told
    assert "NO DRIFT" not in told


def test_concept_drift_shows_each_bin_of_the_input_and_what_other_inputs_explain():
    concept = ShownConcept(
        "mini@2.0.0", "success given confidence", metric().verdict,
        (
            OutcomeBin("0.0 to 0.5", Tally(20, 100), Tally(10, 100)),
            OutcomeBin("0.5 to 1.0", Tally(80, 100), Tally(0, 0)),
        ),
        BASELINE, CURRENT, difference=-0.1, explained_by_inputs=-0.02,
        calibration=(
            CalibrationError(0.01, 0.0, 0.03, 200), CalibrationError(0.15, 0.12, 0.18, 100),
        ),
    )  # fmt: skip
    told = text(draw_concept(concept, 80))
    assert "-10.0 points at the same inputs; other inputs explain -2.0 points more" in told
    assert "confidence off success by 1 % (0.0 to 3.0 %) before, 15 % (12.0 to 18.0 %) now" in told
    assert "0.5 to 1.0\nbaseline  80 %" in told
    assert "current  n 0  the window is empty" in told


def test_colour_only_repeats_what_is_said():
    lines = draw_metric(metric(LATENCY, history=sweeps(0.2, 0.3)), 80)
    outputs = []
    for no_color in (False, True):
        file = io.StringIO()
        console = Console(
            file=file, width=80, force_terminal=True, no_color=no_color, color_system="standard"
        )
        for line in lines:
            console.print(line)
        outputs.append(file.getvalue())
    assert "\x1b[36m" in outputs[0]
    assert "\x1b[36m" not in outputs[1]
    assert all(line.plain.strip() in outputs[1] for line in lines[-3:])


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [("utf-8", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII), ("no such", ASCII)],
)
def test_the_signs_are_those_that_the_encoding_has(encoding, signs):
    assert signs_for(encoding) is signs


def test_a_width_that_nothing_can_be_read_in_is_refused():
    with pytest.raises(ValueError, match="width 19; expected 20 or more"):
        draw_metric(metric(LATENCY), 19)
