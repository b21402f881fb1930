"""What an event may be, and what is said of one that may not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from shared.telemetry.events import (
    KINDS,
    LINE_BYTES,
    MESSAGE_LENGTH,
    UNKNOWN,
    Event,
    LlmCallEvent,
    PageLoadEvent,
    Rejected,
    is_name,
    location_only,
    parse_events,
)

NOW = datetime(2026, 9, 14, 12, 30, tzinfo=UTC)
EARLIEST = NOW - timedelta(days=90)


def lines(*events: object) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def parsed(*events: object) -> tuple[list[Event], list[Rejected]]:
    return parse_events(lines(*events), NOW, EARLIEST)


def call(**changes: object) -> dict[str, Any]:
    return {
        "kind": "llm_call",
        "event_id": str(uuid4()),
        "occurred_at": NOW.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "provider": "openai",
        "llm_model": "gpt-4.1-mini",
        "latency_ms": 420,
        "input_tokens": 900,
        "output_tokens": 30,
    } | changes


def page(**changes: object) -> dict[str, Any]:
    return {
        "kind": "page_load",
        "event_id": str(uuid4()),
        "occurred_at": NOW.isoformat(),
        "model": "buyer@1",
        "function": "checkout",
        "latency_ms": 80,
    } | changes


def measured(**changes: object) -> dict[str, Any]:
    """A call with what was measured of a query of two words."""
    counts = {"characters": 13, "words": 2, "word_characters": 11, "letters": 10}
    return call(query_measures=counts | {"hashes": [7, 65_535]} | changes)


BAD = {
    "the text of a query": (call(query="find flights"), "query: Extra inputs"),
    "a text for its measures": (call(query_measures="find flights"), "query_measures"),
    "a text among its measures": (measured(text="find flights"), "query_measures.text"),
    "a hash of 17 bits": (measured(hashes=[7, 65_536]), "hashes.1: Input should be less than"),
    "a negative hash": (measured(hashes=[-1, 7]), "hashes.0"),
    "a hash twice": (measured(hashes=[7, 7]), "hashes of words do not rise"),
    "65 hashes": (
        measured(words=70, word_characters=900, characters=990, hashes=list(range(65))),
        "at most 64",
    ),
    "more hashes than words": (measured(hashes=[1, 2, 3]), "3 hashes of 2 words"),
    "words without hashes": (measured(hashes=[]), "0 hashes of 2 words"),
    "a negative count": (measured(letters=-1), "query_measures.letters"),
    "more letters than characters": (measured(letters=12), "12 letters in words of 11"),
    "more words than characters": (measured(words=12), "12 words with 11 characters"),
    "more than is measured": (measured(characters=4_001), "query_measures.characters"),
    "measures that lack one": (call(query_measures={"words": 1}), "query_measures"),
    "negative tokens": (call(input_tokens=-1), "input_tokens"),
    "absurd tokens": (call(output_tokens=10**9 + 1), "output_tokens"),
    "the year 1990": (call(occurred_at="1990-01-01T00:00:00Z"), "is before 2026-06-16"),
    "the year 1": (call(occurred_at="0001-01-01T00:00:00+14:00"), "is before 2026-06-16"),
    "the year 9999": (call(occurred_at="9999-12-31T23:59:59-14:00"), "in the future"),
    "two hours ahead": (
        call(occurred_at=(NOW + timedelta(hours=2)).isoformat()),
        "more than 1 hour in the future",
    ),
    "a time without a zone": (call(occurred_at="2026-09-14T12:00:00"), "timezone"),
    "a NUL in a name": (call(model="a\x00b"), "model"),
    "a NUL in an attribute": (call(attributes={"note": "\x00"}), "attributes.note"),
    "a NUL in the name of an attribute": (call(attributes={"\x00": "note"}), "attributes"),
    "half a surrogate pair": (call(function="\ud800"), "hex escape"),
    "an unknown kind": (call(kind="telepathy"), "expected one of llm_call, action"),
    "no kind": ({}, "expected one of llm_call, action"),
    "an unknown field": (call(mood="good"), "mood"),
    "a text of ten megabytes": (call(llm_model="x" * 10**7), f"at most {LINE_BYTES}"),
    "a long name": (call(llm_model="x" * 201), "llm_model"),
    "a metric that is no number": (
        call(kind="metric", name="speed", value=float("inf")),
        "value",
    ),
    "a metric whose square is none": (call(kind="metric", name="speed", value=1e200), "value"),
    "a name of too many bytes": (call(model="\N{HEAVY BLACK HEART}" * 200), "at most 500 bytes"),
    "an attribute that is a field": (page(attributes={"url": "x"}), "url is a field"),
    "a negative cost": (call(cost_dollars="-0.01"), "cost_dollars"),
    "a cost below the nano-dollar": (call(cost_dollars="0.0000000001"), "cost_dollars"),
    "a large attribute": (call(attributes={"note": "x" * 1001}), "attributes.note"),
    "many attributes": (call(attributes={str(n): n for n in range(33)}), "attributes"),
    "a nested attribute": (call(attributes={"note": {"a": 1}}), "attributes.note"),
    "an attribute that is no number": (call(attributes={"x": float("nan")}), "attributes.x"),
    "a confidence above 1": (call(confidence=1.01), "confidence"),
    "a confidence that is no number": (call(confidence=float("nan")), "confidence"),
    "an identifier of no kind": (call(event_id="seven"), "event_id"),
    "an address that is none": (page(url="http://[::1"), "url"),
    "a number instead of an event": (7, "object"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_event_is_refused_with_a_reason_and_the_rest_is_kept(case: str) -> None:
    bad, reason = BAD[case]
    before, after = call(), call()
    events, rejected = parsed(before, bad, after)
    assert [str(event.event_id) for event in events] == [before["event_id"], after["event_id"]]
    (refused,) = rejected
    assert reason in refused.reason
    assert len(refused.reason) <= 300
    assert refused.reason.isprintable()


NAMES = {
    "buyer@1.2.0": True,
    "a\N{NO-BREAK SPACE}b \N{IDEOGRAPHIC SPACE}c": True,
    "\N{DEVANAGARI LETTER KA}\N{DEVANAGARI SIGN VIRAMA}\N{ZERO WIDTH JOINER}": True,
    "x" * 200: True,
    "x" * 201: False,
    "\N{HEAVY BLACK HEART}" * 167: False,
    "": False,
    "a\nb": False,
    "a\n": False,
    "a\x7f": False,
    "a\x85b": False,
    "a\N{LINE SEPARATOR}b": False,
    "a\N{PARAGRAPH SEPARATOR}b": False,
    "\N{RIGHT-TO-LEFT OVERRIDE}cba": False,
    "a\N{FIRST STRONG ISOLATE}": False,
    "a\ud800": False,
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_a_name_is_one_everywhere(name: str) -> None:
    assert is_name(name) is NAMES[name]
    for event in (call(model=name), call(attributes={name: 1})):
        assert bool(parsed(event)[0]) is NAMES[name]


def test_a_name_that_cannot_be_seen_is_refused_with_what_it_may_not_have() -> None:
    _, (refused,) = parsed(call(variant="a\x9bb"))
    assert refused.reason.startswith("llm_call.variant: A name has no control characters, no")


def test_a_refused_event_is_named_by_its_identifier_or_its_place() -> None:
    known, nameless = call(input_tokens=-1), call(event_id=7)
    _, rejected = parsed(call(), known, nameless, "text")
    assert [refused.event for refused in rejected] == [known["event_id"], "#2", "#3"]


def test_a_reason_does_not_repeat_the_value() -> None:
    _, (refused,) = parsed(call(latency_ms="sk-secret"))
    assert "sk-secret" not in refused.reason


@pytest.mark.parametrize("at", [EARLIEST, NOW + timedelta(hours=1)])
def test_the_bounds_of_time_themselves_are_allowed(at: datetime) -> None:
    events, rejected = parsed(call(occurred_at=at.isoformat()))
    assert (len(events), rejected) == (1, [])


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://user:password@shop.test:8443/cart?token=1#top", "https://shop.test:8443/cart"),
        ("http://[::1]:80/a?b", "http://[::1]:80/a"),
        ("file:///tmp/page.html?x", "file:///tmp/page.html"),
        ("data:text/html,<b>secret</b>", "data:"),
        ("about:blank", "about:"),
    ],
)
def test_an_address_is_kept_without_what_may_be_secret(url: str, kept: str) -> None:
    assert location_only(url) == kept
    event = PageLoadEvent.model_validate(page(url=url))
    assert event.stored_attributes() == {"url": kept}


def test_a_long_query_does_not_make_an_address_too_long() -> None:
    events, _ = parsed(page(url="https://shop.test/?q=" + "x" * 5000))
    assert [event.stored_attributes() for event in events] == [{"url": "https://shop.test/"}]


def test_an_event_survives_the_way_through_json() -> None:
    event = LlmCallEvent.model_validate(call(attributes={"a": 1, "b": True, "c": 1.5, "d": None}))
    (again,), _ = parsed(event.model_dump(mode="json", exclude_none=True))
    assert again == event


def test_an_event_does_not_change() -> None:
    event = LlmCallEvent.model_validate(call())
    with pytest.raises(ValidationError, match="frozen"):
        event.latency_ms = 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"kind": "llm_call"',
        b"\xff\xfe",
        b'"\xc3\x28"',
        b"[" * 100_000,
        b"null",
        b"NaN",
    ],
    ids=["nothing", "a brace", "a part", "no UTF-8", "broken UTF-8", "depth", "null", "NaN"],
)
def test_a_line_that_is_no_json_is_refused_and_the_rest_is_kept(line: bytes) -> None:
    (good,) = lines(call())
    events, (refused,) = parse_events([line, good], NOW, EARLIEST)
    assert len(events) == 1
    assert (refused.event, refused.line) == ("#0", line)
    assert refused.reason.isprintable()


def test_every_kind_of_event_is_read() -> None:
    common = {"event_id": str(uuid4()), "occurred_at": NOW.isoformat()}
    events, rejected = parsed(
        common | {"kind": "llm_call"},
        common | {"kind": "action", "success": True},
        common | {"kind": "page_load"},
        common | {"kind": "task_start"},
        common | {"kind": "task_end", "success": None},
        common | {"kind": "metric", "name": "speed", "value": -0.5},
        common | {"kind": "system", "host": "a", "cpu_percent": 380.5},
        common
        | {"kind": "exposure", "test_id": str(uuid4()), "unit_id": str(uuid4()), "variant": "new"},
    )
    assert [event.kind for event in events] == list(KINDS)
    assert rejected == []
    assert {event.model for event in events} == {UNKNOWN}


def test_a_long_error_message_is_cut_and_a_nul_in_it_is_shown() -> None:
    (event,), _ = parsed(call(error_type="x", error_message="\x00" + "y" * 10_000))
    assert isinstance(event, LlmCallEvent)
    assert event.error_message == "\N{REPLACEMENT CHARACTER}" + "y" * (MESSAGE_LENGTH - 1)


def test_a_secret_that_is_cut_at_the_end_of_a_message_is_no_secret_any_more() -> None:
    key = "sk-" + "a" * 40
    (event,), _ = parsed(
        call(error_type="x", error_message="m" * (MESSAGE_LENGTH - 10) + " " + key)
    )
    assert isinstance(event, LlmCallEvent)
    assert event.error_message is not None
    assert "sk-a" not in event.error_message


def test_the_value_of_an_attribute_that_is_named_like_a_secret_is_one() -> None:
    (event,), _ = parsed(call(attributes={"api_key": "zebra", "note": "zebra", "n": 1}))
    assert event.attributes == {"api_key": "[redacted]", "note": "zebra", "n": 1}
