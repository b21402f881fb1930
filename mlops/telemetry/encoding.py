"""A record, as the caller's thread left it, into one line of NDJSON.

Whatever JSON cannot say is said as text: the service then puts that one event aside with its
reason, where dropping it here would leave no trace. Texts are bounded in the caller's thread and
cut to the size of their field here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import uuid4

from mlops.telemetry import usage
from shared.redaction import redacted, redacted_name, redacted_value
from shared.telemetry.texts import measure_text
from shared.telemetry.units import UnitError, unit_digest

Record = tuple[str, float, dict[str, Any]]
"The kind, the time (seconds since the epoch), and the fields by their names in `MetricsCollector`."

KEPT_LENGTH: Final = 4_000
"Characters of any text in memory: more than are sent, so that no secret is cut in half."

MOST_ATTRIBUTES: Final = 32

_MESSAGE_LENGTH: Final = 2_000
_NAME_LENGTH: Final = 200
_ATTRIBUTE_LENGTH: Final = 1_000
_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_NANO: Final = Decimal("1e-9")


def encode(record: Record) -> bytes:
    """The line of one event, without a newline. Raises what a caller's odd object raises."""
    kind, recorded_at, fields = record
    fields = _with_usage(fields)
    event: dict[str, Any] = {
        "kind": kind,
        "event_id": str(fields.pop("event_id", None) or uuid4()),
        "occurred_at": _time(fields.pop("occurred_at", None), recorded_at),
    }
    for name, value in fields.items():
        if value is None and name != "success":
            continue
        sent_as, convert = _FIELDS[name]
        said = convert(value)
        if said is not None or name == "success":
            event[sent_as] = said
    return _json(event).encode()


def _with_usage(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with what a tracked response says, where the caller has said nothing."""
    fields = dict(fields)
    parts = fields.pop("response", None)
    if parts:
        for name, value in usage.read(parts).items():
            if fields.get(name) is None:
                fields[name] = value
    return fields


def _time(stated: object, recorded_at: float) -> str:
    if stated is None:
        return datetime.fromtimestamp(recorded_at, UTC).isoformat()
    return stated.isoformat() if isinstance(stated, datetime) else _name(stated)


def _plain(value: Any) -> Any:
    """A number of numpy or the like as Python's own."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _milliseconds(value: Any) -> int | str:
    seconds = value.total_seconds() if isinstance(value, timedelta) else _plain(value)
    if isinstance(seconds, int | float | Decimal) and math.isfinite(seconds):
        return round(seconds * 1000)
    return _name(seconds)


def _count(value: Any) -> int | float | str:
    number = _plain(value)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return _number(number)


def _number(value: Any) -> int | float | str:
    number = _plain(value)
    if isinstance(number, Decimal):
        number = float(number)
    if isinstance(number, int | float) and math.isfinite(number):
        return number
    return _name(number)


def _dollars(value: Any) -> str:
    """A decimal down to the nano-dollar: a float's seventeenth digit is noise."""
    try:
        return f"{Decimal(str(_plain(value))).quantize(_NANO):f}"
    except InvalidOperation:
        return _name(value)


def _flag(value: Any) -> Any:
    """A truth value; None says nothing of success, and is to be said."""
    flag = _plain(value)
    return flag if flag is None or isinstance(flag, bool) else _name(flag)


def _measures(query: str) -> dict[str, Any]:
    """What is measured of a text, and never what it says."""
    found = measure_text(query)
    return {
        "characters": found.measured,
        "words": found.words,
        "word_characters": found.word_characters,
        "letters": found.letters,
        "hashes": found.hashes,
    }


def _text_of(value: Any) -> str:
    """The text as UTF-8 and PostgreSQL can hold it: without lone surrogates and NUL."""
    text = value if type(value) is str else str(value)
    text = text[:KEPT_LENGTH]
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _name(value: Any) -> str:
    return _cut(redacted_name(_text_of(value)), _NAME_LENGTH)


def _message(value: Any) -> str:
    # Redacted here too: what waits on disk is stored as well.
    return _cut(redacted(_text_of(value)), _MESSAGE_LENGTH)


def _url(value: Any) -> str | None:
    """The URL without what may hold a secret; None, unknown, where it cannot be read as one."""
    from shared.telemetry.events import location_only

    try:
        return _message(location_only(_text_of(value)))
    except ValueError:
        return None


def _unit(value: Any) -> str:
    try:
        return str(unit_digest(value))
    except UnitError:
        # No digest is made of what is no identifier: the service says so of this event. What was
        # given may be anybody's, and stays here.
        return "no unit id"


def _attributes(value: Any) -> dict[str, Any] | str:
    if not isinstance(value, Mapping):
        return _name(value)
    # One more than are allowed, so that the service refuses the event with its reason.
    first = list(value.items())[: MOST_ATTRIBUTES + 1]
    return {(key := _name(name)): _attribute(key, one) for name, one in first}


def _attribute(name: str, value: Any) -> Any:
    value = _plain(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _cut(redacted_value(name, _text_of(value)), _ATTRIBUTE_LENGTH)


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "model": ("model", _name),
    "function": ("function", _name),
    "variant": ("variant", _name),
    "task_id": ("task_id", _name),
    "unit_id": ("unit_id", _unit),
    "test_id": ("test_id", _name),
    "slot": ("slot", _count),
    "attributes": ("attributes", _attributes),
    "success": ("success", _flag),
    "error_type": ("error_type", _name),
    "error_message": ("error_message", _message),
    "latency": ("latency_ms", _milliseconds),
    "first_token": ("first_token_ms", _milliseconds),
    "provider": ("provider", _name),
    "llm_model": ("llm_model", _name),
    "input_tokens": ("input_tokens", _count),
    "cached_input_tokens": ("cached_input_tokens", _count),
    "cache_write_tokens": ("cache_write_tokens", _count),
    "cache_write_1h_tokens": ("cache_write_1h_tokens", _count),
    "output_tokens": ("output_tokens", _count),
    "reasoning_tokens": ("reasoning_tokens", _count),
    "tokens_used": ("total_tokens", _count),
    "cost": ("cost_dollars", _dollars),
    "query": ("query_measures", _measures),
    "query_length": ("query_length", _count),
    "confidence": ("confidence", _number),
    "quality": ("quality", _number),
    "action": ("action", _name),
    "url": ("url", _url),
    "dom_complexity": ("dom_nodes", _count),
    "outcome": ("outcome", _name),
    "name": ("name", _name),
    "value": ("value", _number),
    "unit": ("unit", _name),
    "host": ("host", _name),
    "cpu_percent": ("cpu_percent", _number),
    "memory_percent": ("memory_percent", _number),
    "memory_bytes": ("memory_bytes", _count),
    "disk_percent": ("disk_percent", _number),
}
"What a keyword of `MetricsCollector` is called in the event, and how its value is said there."
