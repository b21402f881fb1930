"""YAML to plain data, with the place of every key and value, and nothing a file could blow up by.

It is the YAML of people who write data: mappings with text keys, lists, texts, numbers, `true`,
`false` and `null` (as in YAML 1.2, so `no`, `on`, `12:30` and dates are texts). Refused, each with
its line: aliases and tags, keys that stand twice, more than one document, and more than `DEPTH`
levels. Reading is a loop over the parser's events and never a recursion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml
from yaml import events

from shared.evaluation.custom.definition import DEPTH, Where

FILE_BYTES: Final = 2_000_000
NODES_AT_MOST: Final = 50_000

_NULL: Final = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]{1,18}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?\Z")


class Place(NamedTuple):
    """In a file, counted from 1."""

    line: int
    column: int


class Mistake(NamedTuple):
    """What is wrong, and where."""

    place: Place
    where: Where
    "The way to it from the top of the document."
    said: str


@dataclass
class Document:
    """What a text says, and where it says it. `mistakes` is what had to be left out of `data`."""

    data: Any = None
    values: dict[Where, Place] = field(default_factory=dict)
    keys: dict[Where, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def place_of(self, where: Where) -> Place:
        """Of what stands there, or of the nearest thing around it."""
        for length in range(len(where), -1, -1):
            place = self.keys.get(where[:length]) or self.values.get(where[:length])
            if place is not None:
                return place
        return Place(1, 1)


class _StopError(Exception):
    """Nothing after this can be read."""


@dataclass
class _Open:
    """A mapping or list that has not ended yet."""

    value: dict[str, Any] | list[Any]
    where: Where
    key: str | None = None
    skipping: bool = False
    "The value of a key that could not be taken is read and dropped."


def read(data: bytes) -> Document:
    """The document in `data`. Never raises for what is in it: that is `mistakes`."""
    document = Document()
    start = Place(1, 1)
    if len(data) > FILE_BYTES:
        said = f"the file has {len(data)} bytes; at most {FILE_BYTES}"
        document.mistakes.append(Mistake(start, (), said))
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        said = f"the file is not UTF-8: byte 0x{data[error.start]:02x} does not belong here"
        document.mistakes.append(Mistake(Place(line, column), (), said))
        return document
    try:
        _Builder(document).build(text)
    except _StopError:
        pass
    except yaml.reader.ReaderError as error:
        before_it = text[: error.position]
        column = len(before_it.rpartition("\n")[2]) + 1
        place = Place(before_it.count("\n") + 1, column)
        said = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        document.mistakes.append(Mistake(place, (), said))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = start if mark is None else Place(mark.line + 1, mark.column + 1)
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        document.mistakes.append(Mistake(place, (), f"no valid YAML: {said}"))
    return document


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._stack: list[_Open] = []
        self._nodes = 0
        self._documents = 0

    def build(self, text: str) -> None:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            self._take(event)
        if self._documents == 0:
            self._say(Place(1, 1), "the file is empty")

    def _take(self, event: events.Event) -> None:
        mark = event.start_mark
        assert mark is not None  # only events that are made by hand have none
        place = Place(mark.line + 1, mark.column + 1)
        match event:
            case events.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop(place, "a second document begins here; a file holds one")
            case events.AliasEvent():
                said = f"alias *{event.anchor}: aliases are not allowed, write it out"
                self._stop(place, said)
            case events.MappingStartEvent() | events.SequenceStartEvent():
                self._tagged(event, place)
                self._begin({} if isinstance(event, events.MappingStartEvent) else [], place)
            case events.MappingEndEvent() | events.SequenceEndEvent():
                closed = self._stack.pop()
                self._next(closed)
            case events.ScalarEvent():
                self._tagged(event, place)
                self._scalar(event, place)

    def _tagged(self, event: events.NodeEvent, place: Place) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._say(place, f"tag {tag}: tags are not allowed")

    def _begin(self, value: dict[str, Any] | list[Any], place: Place) -> None:
        where = self._where()
        if self._is_key():
            self._stop(place, "a key must be a text")
        if len(self._stack) >= DEPTH:
            self._stop(place, f"nested deeper than {DEPTH} levels")
        self._put(value, place)
        skipping = bool(self._stack) and self._stack[-1].skipping
        self._stack.append(_Open(value, where, skipping=skipping))

    def _scalar(self, event: events.ScalarEvent, place: Place) -> None:
        if self._is_key():
            self._key(event, place)
            return
        plain = event.style is None
        self._put(_resolved(event.value) if plain else event.value, place)
        if self._stack:
            self._next(None)

    def _key(self, event: events.ScalarEvent, place: Place) -> None:
        top = self._stack[-1]
        assert isinstance(top.value, dict)
        key = event.value
        if key == "<<":
            self._say(place, "`<<` is not allowed: write out what is merged")
            key = f"<< {place.line}:{place.column}"
            top.skipping = True
        elif key in top.value:
            first = self._document.keys[(*top.where, key)]
            self._say(place, f"{key!r} stands here a second time, first in line {first.line}")
            key = f"{key} {place.line}:{place.column}"
            top.skipping = True
        else:
            self._document.keys[(*top.where, key)] = place
        top.key = key

    def _put(self, value: Any, place: Place) -> None:
        self._nodes += 1
        if self._nodes > NODES_AT_MOST:
            self._stop(place, f"more than {NODES_AT_MOST} values")
        where = self._where()
        self._document.values[where] = place
        if not self._stack:
            self._document.data = value
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.skipping:
            assert top.key is not None
            top.value[top.key] = value

    def _next(self, closed: _Open | None) -> None:
        """A value has ended: a mapping goes on with a key."""
        if self._stack and isinstance(self._stack[-1].value, dict):
            top = self._stack[-1]
            top.key = None
            top.skipping = len(self._stack) > 1 and self._stack[-2].skipping

    def _is_key(self) -> bool:
        return bool(self._stack) and (
            isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None
        )

    def _where(self) -> Where:
        if not self._stack:
            return ()
        top = self._stack[-1]
        step = len(top.value) if isinstance(top.value, list) else (top.key or "")
        return (*top.where, step)

    def _say(self, place: Place, said: str) -> None:
        self._document.mistakes.append(Mistake(place, self._where(), said))

    def _stop(self, place: Place, said: str) -> None:
        self._say(place, said)
        raise _StopError


def _resolved(text: str) -> Any:
    """What a plain scalar stands for, by YAML 1.2's core schema."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text
