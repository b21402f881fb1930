"""What is kept of the line of an event that was refused: so much that one sees why it was.

Nothing of a query's text is: of a line that is JSON the values of fields that events have are
kept, and none but numbers of a field whose name begins with "query", however it is written. What
is no JSON breaks off where the word first comes.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from shared.redaction import redacted, redacted_json
from shared.telemetry.events import FIELDS, QueryMeasures

LINE_SHOWN: Final = 2_000
"So many characters are kept."
NOT_STORED: Final = "[not stored]"

_LONGEST_READ: Final = 2**20
"Bytes. What is far longer than an event may be is not worth the memory to read it as JSON."
_EVENTS_SHOWN: Final = 20
"Of a list of events, which is no event."
_LONGEST_FIELD: Final = 40

_ESCAPED: Final = re.compile(r"\\+u([0-9a-fA-F]{4})")
# In UTF-16 and UTF-32 there are NULs between the letters. What is followed by a number is no text.
_QUERY: Final = re.compile(
    r"\x00{0,3}".join("query")
    + r"(?!\w{0,40}[\"'\\]{0,4}\s{0,9}:\s{0,9}-?\d[\d.]{0,20}\s{0,9}[,}])",
    re.IGNORECASE,
)


def shown(line: bytes) -> str:
    """The beginning of a line, as text that can be stored, without secrets and queries."""
    text = _broken(line)
    if len(line) <= _LONGEST_READ:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            pass
        else:
            text = json.dumps(redacted_json(_event(event)), ensure_ascii=False)
            text = text[: 2 * LINE_SHOWN]
    said = redacted(text.replace("\x00", "\\x00"))[:LINE_SHOWN]
    return said.encode("utf-8", "backslashreplace").decode()


def _broken(line: bytes) -> str:
    text = line[: 2 * LINE_SHOWN].decode("utf-8", "backslashreplace")
    text = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    found = _QUERY.search(text)
    return text if found is None else f'{text[: found.end()]}": "{NOT_STORED}"'


def _event(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _field(name, inner) if name in FIELDS else NOT_STORED
            for name, inner in value.items()
            # A field that there is not is named by the reason too, but a text may be used as one.
            if name in FIELDS or _looks_like_a_field(name)
        }
    if isinstance(value, list):
        return [
            _event(each) if isinstance(each, dict) else _number(each)
            for each in value[:_EVENTS_SHOWN]
        ]
    return _number(value)


def _looks_like_a_field(name: str) -> bool:
    return len(name) <= _LONGEST_FIELD and name.isascii() and name.isidentifier()


def _field(name: str, value: Any) -> Any:
    if name == "query_measures" and isinstance(value, dict):
        known = QueryMeasures.model_fields
        return {
            key: list(map(_number, inner)) if isinstance(inner, list) else _number(inner)
            for key, inner in value.items()
            if key in known
        }
    if name == "attributes" and isinstance(value, dict):
        return {key: _single(key, inner) for key, inner in value.items()}
    return _single(name, value)


def _single(name: str, value: Any) -> Any:
    """A value as it came, unless it is of a query or has values within."""
    if name.strip().lower().startswith("query"):
        return _number(value)
    return value if isinstance(value, str) else _number(value)


def _number(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else NOT_STORED
