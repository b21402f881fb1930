"""What is monitored: what rollups count in histograms, and the shares of what they count."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SHARE_UNIT: Final = 10_000
"Shares, from 0 to 1, are counted in ten-thousandths."


class Metric(StrEnum):
    """What is counted in a histogram; the value is the column of `model_performance`."""

    STEP_LATENCY = "step_latency_ms"
    LLM_LATENCY = "llm_latency_ms"
    FIRST_TOKEN = "first_token_ms"  # noqa: S105 (no password)
    PAGE_LOAD = "page_load_ms"
    QUERY_LENGTH = "query_length"
    CONFIDENCE = "confidence"
    QUALITY = "quality"
    TOKENS = "tokens"
    DOM_NODES = "dom_nodes"
    QUERY_WORDS = "query_words"
    "Of the measured beginning of a query's text, as what follows."
    QUERY_WORD_LENGTH = "query_word_length"
    "The mean of each text, in hundredths of a character."
    QUERY_NON_LETTERS = "query_non_letters"
    "The share of each text, in ten-thousandths."


class Share(StrEnum):
    """What is judged as a share of two counts of `model_performance`."""

    SUCCESS = "success"
    ERROR_RATE = "error_rate"


class Category(StrEnum):
    """What is counted by name in `model_performance`."""

    ERROR_TYPES = "error_types"
    ACTIONS = "action_kinds"
    LLM_MODELS = "llm_models"


class Volume(StrEnum):
    """How much there is of something by the hour, which has seasons."""

    REQUESTS = "request_volume"


class Relation(StrEnum):
    """How an outcome hangs on an input, which may change though neither does by itself."""

    SUCCESS_GIVEN_CONFIDENCE = "success_given_confidence"
    ERROR_GIVEN_QUERY_LENGTH = "error_given_query_length"


class Words(StrEnum):
    """Words counted by their hashes; the value is the column of `model_performance`."""

    QUERY_VOCABULARY = "query_vocabulary"


class OfOutcome(StrEnum):
    """Histograms of what had one outcome alone: columns of `model_performance`, for relations."""

    CONFIDENCE_OF_SUCCESSES = "confidence_of_successes"
    CONFIDENCE_OF_FAILURES = "confidence_of_failures"
    QUERY_LENGTH_OF_SUCCESSES = "query_length_of_successes"
    QUERY_LENGTH_OF_ERRORS = "query_length_of_errors"


HISTOGRAMS: Final = (*Metric, *OfOutcome)
"All that is counted in histograms."

Monitored = Metric | Share | Category | Volume | Relation | Words
MONITORED: Final[tuple[Monitored, ...]] = (*Metric, *Share, *Category, *Volume, *Relation, *Words)
"What drift can be looked for in."
