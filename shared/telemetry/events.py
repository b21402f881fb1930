"""What an agent reports: model calls, actions, page loads, tasks, and measurements of its own.

The sender makes the identifier and states the time, so an event that is sent again is the same
event. Unknown is None, never zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import ge
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from shared.jobs.contracts import one_line
from shared.redaction import redacted, redacted_name, redacted_value
from shared.telemetry.texts import MEASURED_CHARACTERS, MOST_WORDS, WORD_HASHES

UNKNOWN: Final = "unknown"
"The model or function of an event whose sender does not say."

FURTHEST_AHEAD: Final = timedelta(hours=1)
"Clocks differ; more than this into the future is a mistake."

LINE_BYTES: Final = 65_536
"The longest event, as JSON."

MESSAGE_LENGTH: Final = 2_000
"Of an error message; what is longer is cut."

_REASON_LENGTH = 300


def location_only(url: object) -> object:
    """A URL without what may hold a secret: its user, password, query and fragment.

    Of a scheme other than http, https and file only the scheme is kept, because in `data:` or
    `javascript:` the path is content. ValueError if it cannot be read as a URL.
    """
    if not isinstance(url, str):
        return url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "file"):
        return f"{parts.scheme}:"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _message(text: object) -> object:
    """What is stored of an error message: what PostgreSQL takes of it, and no more than fits.

    Cut after it is redacted: half a secret has lost its look.
    """
    if not isinstance(text, str):
        return text
    looked_at = text[: 2 * MESSAGE_LENGTH].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return redacted(looked_at.encode("utf-8", "replace").decode())[:MESSAGE_LENGTH]


NAME_BYTES: Final = 500
"Of a name, in UTF-8: several of them must fit into the key of an index."

LARGEST_VALUE: Final = 1e150
"Of a metric, either way: its square must still be a number."


NAME_LENGTH: Final = 200

# C0, DEL and C1, the separators of lines and paragraphs, what turns the direction of text around:
# none can be seen, and all change what is seen of what stands beside. Other blanks may be.
_IN_NO_NAME: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_OF_NAME: Final = f"^[^{_IN_NO_NAME}]*$"
_FITS: Final = re.compile(f"[^{_IN_NO_NAME}]*")


def is_name(text: str) -> bool:
    """Whether an event may have `text` as a name, such as that of its model or function."""
    if not (0 < len(text) <= NAME_LENGTH and _FITS.fullmatch(text)):
        return False
    try:
        return len(text.encode()) <= NAME_BYTES
    except UnicodeEncodeError:
        # Half of a surrogate pair is no text.
        return False


def _name(text: str) -> str:
    if not text.isascii() and len(text.encode()) > NAME_BYTES:
        raise ValueError(f"a name has at most {NAME_BYTES} bytes")
    return redacted_name(text)


Name = Annotated[
    str,
    Field(min_length=1, max_length=NAME_LENGTH, pattern=_OF_NAME),
    AfterValidator(_name),
]
Count = Annotated[int, Field(ge=0, le=10**9)]
Milliseconds = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Variant = Annotated[str, Field(max_length=NAME_LENGTH, pattern=_OF_NAME), AfterValidator(_name)]
Url = Annotated[
    str,
    BeforeValidator(location_only),
    Field(max_length=2000, pattern=r"^[^\x00]*$"),
    AfterValidator(redacted),
]
Message = Annotated[str, BeforeValidator(_message)]
StatedCost = Annotated[
    Decimal, Field(ge=0, le=10_000, max_digits=14, decimal_places=9, allow_inf_nan=False)
]
AttributeValue = (
    Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
    | bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | None
)


def _without_secrets(attributes: dict[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Values are redacted, also those that only their attribute's name tells to be secret."""
    return {
        name: redacted_value(name, value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }


Attributes = Annotated[
    dict[Name, AttributeValue], Field(max_length=32), AfterValidator(_without_secrets)
]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    IN_ATTRIBUTES: ClassVar[tuple[str, ...]] = ()
    "Fields without a column of their own: they are stored among the attributes."

    event_id: UUID
    occurred_at: AwareDatetime
    model: Name = UNKNOWN
    "The registered model, `name@version`."
    function: Name = UNKNOWN
    variant: Variant = ""
    "The variant of an A/B test; empty outside of one."
    task_id: UUID | None = None
    "The task that it is part of, from its start to its end; an episode's identifier is one."
    unit_id: UUID | None = None
    "For whom it was done, as `units.unit_digest`."
    attributes: Attributes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        for name in self.IN_ATTRIBUTES:
            if name in self.attributes:
                raise ValueError(f"{name} is a field of this event, and no attribute")
        return self

    def stored_attributes(self) -> dict[str, Any]:
        """`attributes` and the known fields of `IN_ATTRIBUTES`, as one JSON object."""
        stored = self.attributes
        for name in self.IN_ATTRIBUTES:
            value = getattr(self, name)
            if value is not None:
                stored = stored | {name: value}
        return stored


class _Fallible(_Event):
    """What can fail: the type names the error, the message is what it said."""

    error_type: Name | None = None
    error_message: Message | None = None


Measured = Annotated[int, Field(ge=0, le=MEASURED_CHARACTERS)]


class QueryMeasures(BaseModel):
    """What was measured of a query's text, as `texts.measure_text` does; never the text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    characters: Measured
    "Of the measured beginning; the whole has `query_length`."
    words: Measured
    word_characters: Measured
    letters: Measured
    "Of `word_characters`."
    hashes: Annotated[
        list[Annotated[int, Field(ge=0, lt=WORD_HASHES)]], Field(max_length=MOST_WORDS)
    ]
    "Distinct hashes of words, rising."

    @model_validator(mode="after")
    def _possible(self) -> Self:
        sizes = (self.words, self.word_characters, self.characters)
        if list(sizes) != sorted(sizes) or bool(self.words) != bool(self.word_characters):
            raise ValueError(
                f"{self.words} words with {self.word_characters} characters"
                f" in a text of {self.characters}"
            )
        if self.letters > self.word_characters:
            raise ValueError(f"{self.letters} letters in words of {self.word_characters}")
        hashes = self.hashes
        if any(map(ge, hashes, hashes[1:])):
            raise ValueError("hashes of words do not rise; expected distinct ones in their order")
        if not min(self.words, 1) <= len(hashes) <= self.words:
            raise ValueError(f"{len(hashes)} hashes of {self.words} words")
        return self


class LlmCallEvent(_Fallible):
    """One call of a language model. It failed if there is an error, by type or message."""

    IN_ATTRIBUTES = ("cache_write_1h_tokens",)

    kind: Literal["llm_call"] = "llm_call"
    provider: Name | None = None
    llm_model: Name | None = None
    latency_ms: Milliseconds | None = None
    first_token_ms: Milliseconds | None = None
    "Until the first token of a streamed answer."
    input_tokens: Count | None = None
    "All input tokens, those read from and written to the provider's cache included."
    cached_input_tokens: Count | None = None
    "How many of `input_tokens` the provider read from its cache."
    cache_write_tokens: Count | None = None
    "How many of `input_tokens` the provider wrote to its cache."
    cache_write_1h_tokens: Count | None = None
    "How many of `cache_write_tokens` it keeps for an hour."
    output_tokens: Count | None = None
    "All output tokens, reasoning included."
    reasoning_tokens: Count | None = None
    "How many of `output_tokens` were spent on reasoning."
    total_tokens: Count | None = None
    "Input and output, where only their sum is known."
    cost_dollars: StatedCost | None = None
    "What the caller says it cost; it comes before any price table."
    query_length: Count | None = None
    "Characters sent."
    query_measures: QueryMeasures | None = None
    confidence: Share | None = None
    quality: Share | None = None

    @property
    def success(self) -> bool:
        return self.error_type is None and self.error_message is None


class ActionEvent(_Fallible):
    """One step of an agent. Its latency is observing + thinking + acting."""

    kind: Literal["action"] = "action"
    action: Name | None = None
    "What was done: click, fill, scroll and so on."
    success: bool
    latency_ms: Milliseconds | None = None
    dom_nodes: Count | None = None


class PageLoadEvent(_Fallible):
    """One page that was opened. Its URL is stored without user, query and fragment."""

    IN_ATTRIBUTES = ("url",)

    kind: Literal["page_load"] = "page_load"
    url: Url | None = None
    success: bool = True
    latency_ms: Milliseconds | None = None
    "Until the page was loaded; None if it never was."
    dom_nodes: Count | None = None


class TaskStartEvent(_Event):
    """A task has begun. One without an end was never finished, or its process died."""

    kind: Literal["task_start"] = "task_start"


class TaskEndEvent(_Fallible):
    """A task has ended. `success` is None when the end says nothing of the agent."""

    IN_ATTRIBUTES = ("outcome",)

    kind: Literal["task_end"] = "task_end"
    success: bool | None
    outcome: Name | None = None
    latency_ms: Milliseconds | None = None
    confidence: Share | None = None
    "How sure the agent was of its task, or its calls on average."


class MetricEvent(_Event):
    """A measurement that the sender has named."""

    IN_ATTRIBUTES = ("unit",)

    kind: Literal["metric"] = "metric"
    name: Name
    value: Annotated[float, Field(ge=-LARGEST_VALUE, le=LARGEST_VALUE, allow_inf_nan=False)]
    unit: Annotated[Name, Field(max_length=20)] | None = None


class SystemEvent(_Event):
    """How a machine was doing; what could not be measured is None."""

    IN_ATTRIBUTES = ("cpu_percent", "memory_percent", "memory_bytes", "disk_percent")

    kind: Literal["system"] = "system"
    host: Name
    cpu_percent: Annotated[float, Field(ge=0, le=10**6)] | None = None
    memory_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    memory_bytes: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    disk_percent: Annotated[float, Field(ge=0, le=100)] | None = None


class ExposureEvent(_Event):
    """A unit was given its variant of an A/B test, and what it does from then on counts.

    Kept as one row of `mlops.exposures` for each test and unit, and not among the events.
    """

    kind: Literal["exposure"] = "exposure"
    test_id: UUID
    unit_id: UUID
    variant: Name
    slot: Annotated[int, Field(ge=0, lt=10_000)] | None = None
    "Of the test's table: without it a unit does not keep its variant when its slot moves."


Event = Annotated[
    LlmCallEvent
    | ActionEvent
    | PageLoadEvent
    | TaskStartEvent
    | TaskEndEvent
    | MetricEvent
    | SystemEvent
    | ExposureEvent,
    Field(discriminator="kind"),
]

FIELDS: Final = frozenset().union(*(kind.model_fields for kind in get_args(get_args(Event)[0])))
"Of an event of any kind."

KINDS: Final = tuple(kind.model_fields["kind"].default for kind in get_args(get_args(Event)[0]))

OF_NO_AGENT: Final = ("metric", "system")
"Kinds that are rolled up into `custom_metrics`, and into nothing that is of a model's agents."

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True)
class Rejected:
    """An event that was not stored: its own identifier, or `#n` by its place in the batch.

    `line` is its JSON as it came; `out_of_range` is the field, if that was all that was wrong, as
    `kind.field`.
    """

    event: str
    reason: str
    line: bytes
    out_of_range: str | None = None


def parse_events(
    lines: Sequence[bytes], now: datetime, earliest: datetime
) -> tuple[list[Event], list[Rejected]]:
    """The events of a batch, each from its line of JSON, and those that are refused.

    One bad event does not spoil the batch. An event from before `earliest` is refused, since the
    hours that far back are closed, and so is one that is far ahead of `now` (both aware).
    """
    latest = now + FURTHEST_AHEAD
    events: list[Event] = []
    rejected: list[Rejected] = []
    validate = _adapter.validate_json
    for index, line in enumerate(lines):
        if len(line) > LINE_BYTES:
            reason = f"{len(line)} bytes; an event has at most {LINE_BYTES}"
            rejected.append(Rejected(f"#{index}", reason, line))
            continue
        try:
            event = validate(line)
        except ValidationError as error:
            refused = Rejected(_named(line, index), _reason(error), line, _field_of(error))
            rejected.append(refused)
            continue
        if event.occurred_at < earliest:
            reason = (
                f"occurred_at: is before {earliest:%Y-%m-%d %H:%M}, and events are not kept longer"
            )
        elif event.occurred_at > latest:
            reason = "occurred_at: is more than 1 hour in the future"
        else:
            events.append(event)
            continue
        rejected.append(Rejected(str(event.event_id), reason, line, f"{event.kind}.occurred_at"))
    return events, rejected


_BEYOND: Final = frozenset(
    ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
)
"What pydantic calls a number that is out of range."


def _field_of(error: ValidationError) -> str | None:
    """`kind.field` of the value that is out of range, the first; None if anything else is wrong."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # Of all mistakes: whose event it is can be told only of one that can be read.
    if any(each["type"] not in _BEYOND or len(each["loc"]) < 2 for each in found):
        return None
    return ".".join(map(str, found[0]["loc"][:2]))


def _named(line: bytes, index: int) -> str:
    try:
        return str(UUID(json.loads(line)["event_id"]))
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
        return f"#{index}"


_NO_NAME: Final = (
    "A name has no control characters, no separators of lines or paragraphs, and nothing that"
    " turns the direction of text around"
)


def _reason(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    if found[0]["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"kind: expected one of {', '.join(KINDS)}"
    said = one_line(error)
    if found[0].get("ctx", {}).get("pattern") == _OF_NAME:
        said = said.replace(found[0]["msg"], _NO_NAME, 1)
    # A field's name is the sender's text, and the reason is stored and printed.
    shown = redacted(said)[:_REASON_LENGTH]
    return "".join(character if character.isprintable() else "?" for character in shown)
