"""The monitored metrics as features: registered for every tenant, and what drift is looked for in.

Their values are measured from events and are in the rollups, so nobody writes them.
"""

from __future__ import annotations

from typing import Final

from shared.telemetry.features.definitions import DataType, Feature, Source, SourceKind
from shared.telemetry.metrics import (
    Category,
    Metric,
    Monitored,
    Relation,
    Share,
    Volume,
    Words,
)

OWNER: Final = "mlops"


def _monitored(metric: Monitored, unit: str, description: str) -> Feature:
    return Feature(
        name=metric.value,
        version=1,
        data_type=DataType.NUMBER,
        owner=OWNER,
        description=description,
        unit=unit,
        source=Source(SourceKind.ROLLUP, metric.value),
    )


MONITORED: Final = (
    _monitored(Metric.STEP_LATENCY, "ms", "How long an action in the browser took."),
    _monitored(Metric.LLM_LATENCY, "ms", "How long a model call took."),
    _monitored(Metric.FIRST_TOKEN, "ms", "How long a model call took to its first token."),
    _monitored(Metric.PAGE_LOAD, "ms", "How long a page took to load."),
    _monitored(Metric.QUERY_LENGTH, "characters", "How long the query of a model call was."),
    _monitored(Metric.CONFIDENCE, "0 to 1", "How sure the agent said it was."),
    _monitored(Metric.QUALITY, "0 to 1", "How good the answer of a model call was judged to be."),
    _monitored(Metric.TOKENS, "tokens", "Input and output tokens of a model call."),
    _monitored(Metric.DOM_NODES, "nodes", "How many nodes the DOM of a page had."),
    _monitored(Metric.QUERY_WORDS, "words", "How many words the text of a query had."),
    _monitored(
        Metric.QUERY_WORD_LENGTH, "characters", "How long the words of a query were on average."
    ),
    _monitored(
        Metric.QUERY_NON_LETTERS, "0 to 1", "Share of a query that was digits, signs and blanks."
    ),
    _monitored(Share.SUCCESS, "share", "Share of tasks that succeed."),
    _monitored(Share.ERROR_RATE, "share", "Share of actions and model calls that end in an error."),
    _monitored(Category.ERROR_TYPES, "kinds", "What the errors of actions and calls were."),
    _monitored(Category.ACTIONS, "kinds", "What the agent did: click, fill, scroll and so on."),
    _monitored(Category.LLM_MODELS, "models", "Which language models were asked."),
    _monitored(
        Volume.REQUESTS, "calls an hour", "Model calls, beside the same hours of earlier weeks."
    ),
    _monitored(
        Relation.SUCCESS_GIVEN_CONFIDENCE,
        "share",
        "Share of tasks that succeed where the agent was as sure.",
    ),
    _monitored(
        Relation.ERROR_GIVEN_QUERY_LENGTH,
        "share",
        "Share of model calls that fail where the query was as long.",
    ),
    _monitored(Words.QUERY_VOCABULARY, "share", "Words of queries that there were none of before."),
)

BY_NAME: Final = {feature.name: feature for feature in MONITORED}
