"""Unseen words: more than are always new, judged by texts and not by words."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shared.drift.effects import Effect, magnitude
from shared.drift.verdicts import ComparedMetric, DriftState, judge
from shared.drift.vocabulary import VOCABULARY_RULE, Vocabulary, compare_vocabulary

COMMON = 1 / np.arange(1, 20_001)
COMMON /= COMMON.sum()


def of(texts, counts):
    hashes = np.array(sorted(counts), dtype=np.int64)
    return Vocabulary(texts, hashes, np.array([counts[int(h)] for h in hashes], dtype=np.int64))


def vocabulary(texts):
    counts = {}
    for words in texts:
        for word in set(words):
            counts[word] = counts.get(word, 0) + 1
    return of(len(texts), counts)


def drawn(rng, texts, new=0.0, words=10):
    """Texts of ten words by Zipf's law, a share `new` of which is from elsewhere."""
    chosen = rng.choice(COMMON.size, size=(texts, words), p=COMMON)
    elsewhere = 30_000 + rng.integers(0, 3_000, size=chosen.shape)
    return vocabulary(np.where(rng.random(chosen.shape) < new, elsewhere, chosen).tolist())


def verdict(found):
    return judge([ComparedMetric("shop", "query_words", found.comparison, VOCABULARY_RULE)])[0]


def test_words_that_are_always_new_are_no_drift():
    rng = np.random.default_rng(1)
    found = compare_vocabulary(drawn(rng, 1_000), drawn(rng, 300))
    assert found.unseen_rate > 0.05
    assert found.unseen_rate == pytest.approx(found.expected_rate, rel=0.15)
    assert verdict(found).state is DriftState.STABLE


def test_words_from_elsewhere_are_drift():
    rng = np.random.default_rng(2)
    found = compare_vocabulary(drawn(rng, 2_000), drawn(rng, 600, new=0.2))
    result = verdict(found)
    assert result.state is DriftState.DRIFT
    # Some of what is expected by chance is that which came from elsewhere.
    assert 0.1 < result.effect_size < 0.25


def test_the_expectation_is_the_mean_over_all_ways_to_choose_the_current_texts():
    texts = [[1, 2], [1, 3], [1, 2, 4], [5], [1, 5, 6], [7]]
    unseen = []
    for chosen in itertools.combinations(range(len(texts)), 2):
        current = vocabulary([texts[n] for n in chosen])
        baseline = vocabulary([text for n, text in enumerate(texts) if n not in chosen])
        found = compare_vocabulary(baseline, current)
        unseen.append(found.comparison.tests[0].statistic)
        expected = found.expected_rate * current.words
    assert expected == pytest.approx(np.mean(unseen))


def test_a_baseline_that_holds_half_of_all_hashes_hides_half_of_the_new_words():
    full = of(10**6, dict.fromkeys(range(0, 65_536, 2), 500))
    current = of(1_000, dict.fromkeys(range(40), 500))
    found = compare_vocabulary(full, current)
    assert found.held == 0.5
    assert found.unseen_rate == 0.5
    assert found.comparison.effects[Effect.UNSEEN_WORDS] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("baseline", "current", "state", "reason"),
    [
        ((0, {}), (50, {1: 3}), DriftState.NO_DATA, "the baseline window is empty"),
        ((50, {1: 3}), (0, {}), DriftState.NO_DATA, "the current window is empty"),
        (
            (50, {}),
            (50, {1: 3}),
            DriftState.INSUFFICIENT,
            "no text of the baseline window holds a word",
        ),
        (
            (50, dict.fromkeys(range(60_000), 1)),
            (50, {1: 3}),
            DriftState.INSUFFICIENT,
            "the baseline holds 92% of all hashes; expected at most 90%",
        ),
        (
            (50, {1: 3}),
            (12, {2: 3}),
            DriftState.INSUFFICIENT,
            "the current window holds 12 values; expected at least 30",
        ),
    ],
)
def test_vocabularies_that_cannot_be_compared_say_why(baseline, current, state, reason):
    found = compare_vocabulary(of(*baseline), of(*current))
    assert (verdict(found).state, verdict(found).reason) == (state, reason)


def test_the_same_words_again_are_no_drift():
    one = of(40, {1: 40, 2: 20})
    assert compare_vocabulary(one, one).comparison.tests[0].p_value == 1


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="hash 65536"):
        of(3, {65_536: 1})
    with pytest.raises(ValueError, match="a word in 4 of 3 texts"):
        of(3, {1: 4})
    with pytest.raises(ValueError, match="-1 texts"):
        of(-1, {})


def test_fewer_new_words_than_expected_are_none():
    assert magnitude(Effect.UNSEEN_WORDS, -0.2) == 0
