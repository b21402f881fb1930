"""What a sweep says of the texts of queries: their words and their signs."""

from __future__ import annotations

import re
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy.orm import Session

from shared.drift.drawing.metric import draw_metric
from shared.drift.effects import Effect
from shared.drift.query_words import vocabularies
from shared.drift.reading import newest_findings
from shared.drift.recalling import recalled
from shared.drift.showing import Distribution, NewWords, quantile
from shared.drift.sweep import detect
from shared.drift.verdicts import DriftState
from shared.telemetry.reading import Window
from shared.telemetry.texts import measure_text
from shared.telemetry.word_counts import WordCounts
from tests.shared.drift.rollups import (
    JOB,
    WALKER,
    Values,
    latencies,
    roll_up,
)


def queries(seed: int, n: int, new: float = 0.0) -> list[str]:
    """Texts of eight words by Zipf's law, a share `new` of which are from elsewhere."""
    rng = np.random.default_rng(seed)
    ranks = rng.zipf(1.3, (n, 8)).clip(max=3_000)
    elsewhere = rng.random(ranks.shape) < new
    return [
        " ".join(f"{'un' if other else ''}word{rank}" for rank, other in zip(*both, strict=True))
        for both in zip(ranks, elsewhere, strict=True)
    ]


def of_queries(texts: list[str]) -> tuple[Values, dict[str, bytes]]:
    """What a rollup holds of them."""
    measured = [measure_text(text) for text in texts]
    words = WordCounts.of_hashes([one for text in measured for one in text.hashes])
    return {"query_words": [one.words for one in measured]}, {"query_vocabulary": words.to_bytes()}


def test_an_hour_that_is_summed_again_amid_a_sweep_does_not_end_it(session: Session) -> None:
    few, counted = of_queries(queries(1, 40))
    roll_up(session, JOB.current.start, few, **counted)
    # Fewer texts were seen before than there are words in them now.
    window = Window(JOB.current.start, JOB.current.end)
    ((_, found),) = vocabularies(session, window, {("shop", WALKER): 3}).items()
    assert found.texts >= found.counts.max() > 3


def test_other_words_in_queries_are_drift_and_those_that_are_always_new_are_none(
    session: Session,
) -> None:
    for function, new in (("shop", 0.3), ("search", 0.0)):
        for hour, (values, words) in (
            (JOB.baseline.start, of_queries(queries(1, 900))),
            (JOB.current.start, of_queries(queries(2, 300, new))),
        ):
            roll_up(session, hour, values, function=function, **words)
    found = {
        finding.function: finding
        for finding in detect(session, JOB, uuid4()).findings
        if finding.metric == "query_vocabulary"
    }
    moved, same = found["shop"].verdict, found["search"].verdict
    assert (moved.state, same.state) == (DriftState.DRIFT, DriftState.STABLE)
    assert (moved.n_baseline, moved.n_current) == (900, 300)
    assert moved.effect_name is Effect.UNSEEN_WORDS
    assert "of words new beyond what is usual (matters from 5 %)" in found["shop"].explanation
    assert re.match(r"[\d.]+ % of words are new, [\d.]+ % expected; ", found["shop"].explanation)
    shown = {
        one.function: one.metrics[0].shape
        for one in recalled(
            session, newest_findings(session, metric="query_vocabulary"), with_history=False
        )
    }
    shape = shown["shop"]
    assert isinstance(shape, NewWords)
    assert (shape.baseline.texts, shape.current.texts) == (900, 300)
    assert shape.unseen is not None
    assert shape.expected is not None
    # What is new is not told from what is always new by that it is new.
    assert shape.unseen > 2 * shape.expected > 0


def test_without_texts_nothing_is_known_of_their_words(session: Session) -> None:
    few, counted = of_queries(queries(1, 20))
    for hour in (JOB.baseline.start, JOB.current.start):
        roll_up(session, hour, few, **counted)
        roll_up(session, hour, {"query_words": [0] * 90}, function="signs")
        roll_up(session, hour, {"tokens": latencies(1)}, function="quiet")
    found = {
        finding.function: (finding.verdict.state, finding.explanation)
        for finding in detect(session, JOB, uuid4()).findings
        if finding.metric == "query_vocabulary"
    }
    assert found == {
        "shop": (
            DriftState.INSUFFICIENT,
            "the baseline window holds 20 values; expected at least 30",
        ),
        "signs": (DriftState.INSUFFICIENT, "no text of the baseline window holds a word"),
        "quiet": (DriftState.NO_DATA, "the baseline window is empty"),
    }
    # What the windows held can be shown all the same.
    for one in recalled(session, newest_findings(session), with_history=True):
        (words,) = (m for m in one.metrics if m.verdict.metric_name == "query_vocabulary")
        assert isinstance(words.shape, NewWords)
        assert draw_metric(words, 80)


def test_lengths_of_words_and_shares_of_signs_are_shown_in_their_units(session: Session) -> None:
    for hour, length, share in ((JOB.baseline.start, 450, 2_000), (JOB.current.start, 640, 5_000)):
        roll_up(
            session, hour, {"query_word_length": [length] * 40, "query_non_letters": [share] * 40}
        )
    detect(session, JOB, uuid4())
    (shown,) = recalled(session, newest_findings(session), with_history=False)
    shapes = {one.verdict.metric_name: one.shape for one in shown.metrics}
    for name, value, unit in (
        ("query_word_length", 6.4, "characters"),
        # A share says by itself what it is.
        ("query_non_letters", 0.5, ""),
    ):
        shape = shapes[name]
        assert isinstance(shape, Distribution)
        assert shape.unit == unit
        assert quantile(shape.positions, shape.current, 0.5) == pytest.approx(value, rel=0.004)
