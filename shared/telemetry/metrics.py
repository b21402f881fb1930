"""What is monitored: what rollups count in histograms, and the shares of what they count."""

from __future__ import annotations

from enum import StrEnum


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


class Share(StrEnum):
    """What is judged as a share of two counts of `model_performance`."""

    SUCCESS = "success"
    ERROR_RATE = "error_rate"


class Category(StrEnum):
    """What is counted by kind in `model_performance`."""

    ERROR_TYPES = "error_types"
