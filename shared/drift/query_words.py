"""Words of queries in both windows of functions and models, read for those alone that have any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy.orm import Session

from shared.drift.vocabulary import Vocabulary, VocabularyComparison, compare_vocabulary
from shared.drift.windows import LookedAt, Subject
from shared.telemetry.metrics import Metric, Words
from shared.telemetry.reading import Seen, Window, word_counts
from shared.telemetry.word_counts import WordCounts

COUNTED_TEXTS: Final = Metric.QUERY_WORDS
"Every text that was measured has a number of words, if 0."

Key = tuple[str, str]
"Function and model."
Texts = Mapping[Key, int]
"How many texts of each were measured."


def compare_words(
    session: Session, looked_at: Sequence[LookedAt]
) -> Mapping[Subject, VocabularyComparison]:
    """What is new of each current window's words. Needs the histograms of `COUNTED_TEXTS`."""
    texts: defaultdict[Window, dict[Key, int]] = defaultdict(dict)
    for each in looked_at:
        for window, key, seen in _sides(each):
            texts[window][key] = texts_of(seen)
    found = {window: vocabularies(session, window, counted) for window, counted in texts.items()}
    return {
        each.windows.subject: compare_vocabulary(
            *(found[window][key] for window, key, _ in _sides(each))
        )
        for each in looked_at
    }


NO_QUERY: Final = compare_vocabulary(*(Vocabulary.empty(),) * 2)
"Of who is not among them: nothing is known."


def vocabularies(session: Session, window: Window, texts: Texts) -> dict[Key, Vocabulary]:
    """The words of each function and model, which have so many texts.

    Where an hour is summed again between the reading of both, a word may be in more of them.
    """
    some = [key for key, number in texts.items() if number]
    found = word_counts(session, window, Words.QUERY_VOCABULARY, some) if some else {}
    nothing = WordCounts.empty()
    return {
        key: Vocabulary(max(number, counts.texts.max(initial=0)), counts.hashes, counts.texts)
        for key, number in texts.items()
        for counts in (found.get(key, nothing),)
    }


def texts_of(seen: Seen | None) -> int:
    return 0 if seen is None else seen.histograms[COUNTED_TEXTS].total


def _sides(each: LookedAt) -> Iterator[tuple[Window, Key, Seen | None]]:
    windows = each.windows
    for window, seen in ((windows.baseline, each.baseline), (windows.current, each.current)):
        key = window.function or "", window.model or windows.subject.model
        yield Window(window.start, window.end), key, seen
