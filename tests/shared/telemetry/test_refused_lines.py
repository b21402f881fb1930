"""Of a line that was refused one sees why, and nothing of what was asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.telemetry.refused_lines import LINE_SHOWN, shown

ASKED = "find me a quokka"
EVENT = {"kind": "llm_call", "model": "buyer@1", "latency_ms": -1}

FIELDS: dict[str, dict[str, Any]] = {
    "a text": {"query": ASKED},
    "messages": {"query": [{"role": "user", "content": ASKED}]},
    "texts": {"query": [ASKED]},
    "an object": {"query": {"text": ASKED}},
    "a text as a name": {"query": {ASKED: 1}},
    "another case": {"Query": ASKED},
    "another name": {"query_text": ASKED},
    "another field": {"prompt": ASKED, "messages": [{"content": ASKED}]},
    "a field named like a text": {ASKED: 1},
    "measures of text": {"query_measures": ASKED},
    "measures that hold text": {"query_measures": {"text": ASKED, "words": ASKED, "hashes": 7}},
    "hashes of text": {"query_measures": {"hashes": [ASKED, {"a": ASKED}]}},
    "a length of text": {"query_length": ASKED},
    "an attribute": {"attributes": {"Query": ASKED, "query_text": [ASKED]}},
    "an attribute with text within": {"attributes": {"messages": [{"content": ASKED}]}},
    "attributes of text": {"attributes": [ASKED]},
    "a field in an object": {"function": {"name": ASKED}},
}


@pytest.mark.parametrize("case", FIELDS)
@pytest.mark.parametrize("length", [1, 500], ids=["short", "long"])
def test_of_a_query_no_text_is_kept(case: str, length: int) -> None:
    event = json.loads(json.dumps(EVENT | FIELDS[case]).replace(ASKED, ASKED * length))
    for line in (
        json.dumps(event),
        json.dumps(event).replace('"query', r'"qu\u0065ry'),
        json.dumps([event, ASKED]),
    ):
        kept = shown(line.encode())
        assert "quokka" not in kept
        assert '"latency_ms": -1' in kept


@pytest.mark.parametrize("asked", ["query", "Query", "query_text", r"qu\u0065ry", r"qu\\u0065ry"])
@pytest.mark.parametrize("quote", ["'", '"', '\\"', ""])
def test_what_is_no_json_breaks_off_where_a_query_begins(asked: str, quote: str) -> None:
    fields = {"latency_ms": "-1", "query_length": "16", asked: f"[{quote}{ASKED}{quote}]"}
    line = "{" + ", ".join(f"{quote}{name}{quote}: {value}" for name, value in fields.items())
    kept = shown(line.encode())
    assert "quokka" not in kept
    assert f"latency_ms{quote}: -1" in kept
    assert f"query_length{quote}: 16" in kept


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_in_another_encoding_it_is_not_kept_either(encoding: str) -> None:
    line = json.dumps(EVENT | {"query": ASKED}).encode(encoding)
    for one in (line, line[:-4]):
        assert "u\\x00o\\x00k" not in shown(one)
        assert "quokka" not in shown(one).replace("\\x00", "")


def test_what_one_needs_to_see_why_is_kept() -> None:
    measures = {"characters": 3, "words": 9, "hashes": [2, 1]}
    event = EVENT | {"query_measures": measures, "query_length": 3, "success": "yes"}
    assert json.loads(shown(json.dumps(event).encode())) == event
    unknown = json.loads(shown(json.dumps(EVENT | {"colour": "red"}).encode()))
    assert unknown == EVENT | {"colour": "[not stored]"}


def test_of_a_line_of_any_length_little_is_kept() -> None:
    long = b'{"model": "' + b"x" * 2**21 + b'"}'
    assert len(shown(long)) <= LINE_SHOWN
    assert len(shown(long[: 2**16])) <= LINE_SHOWN
