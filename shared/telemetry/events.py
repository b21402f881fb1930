"""What an agent reports: model calls, actions, page loads and episodes.

The sender makes the identifier and states the time, so an event that is sent again is the same
event. Unknown is None, never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from shared.jobs.contracts import Name, one_line

OLDEST: Final = timedelta(days=400)
"An older event is refused."
FURTHEST_AHEAD: Final = timedelta(hours=1)
"Clocks differ; more than this into the future is a mistake."

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


Count = Annotated[int, Field(ge=0, le=10**9)]
Milliseconds = Annotated[int, Field(ge=0, le=10**9)]
Variant = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Url = Annotated[str, BeforeValidator(location_only), Field(max_length=2000, pattern=r"^[^\x00]*$")]
AttributeValue = (
    Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
    | bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | None
)
Attributes = Annotated[dict[Name, AttributeValue], Field(max_length=32)]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    IN_ATTRIBUTES: ClassVar[tuple[str, ...]] = ()
    "Fields without a column of their own: they are stored among the attributes."

    event_id: UUID
    occurred_at: AwareDatetime
    model: Name
    "The registered model, `name@version`."
    function: Name
    variant: Variant = ""
    "The variant of an A/B test; empty outside of one."
    episode_id: UUID | None = None
    attributes: Attributes = Field(default_factory=dict)

    def stored_attributes(self) -> dict[str, Any]:
        """`attributes` and the known fields of `IN_ATTRIBUTES`, as one JSON object."""
        if not self.IN_ATTRIBUTES:
            return self.attributes
        own = {name: getattr(self, name) for name in self.IN_ATTRIBUTES}
        return self.attributes | {name: value for name, value in own.items() if value is not None}


class LlmCallEvent(_Event):
    """One call of a language model. It failed if it has an `error_type`."""

    kind: Literal["llm_call"] = "llm_call"
    provider: Name
    llm_model: Name
    latency_ms: Milliseconds
    input_tokens: Count | None = None
    "All input tokens, cached ones included."
    cached_input_tokens: Count | None = None
    "How many of `input_tokens` the provider read from its cache."
    output_tokens: Count | None = None
    query_length: Count | None = None
    "Characters sent."
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    error_type: Name | None = None

    @property
    def success(self) -> bool:
        return self.error_type is None


class ActionEvent(_Event):
    """One step of an agent. Its latency is observing + thinking + acting."""

    IN_ATTRIBUTES = ("action",)

    kind: Literal["action"] = "action"
    action: Name | None = None
    "What was done: click, fill, scroll and so on."
    success: bool
    latency_ms: Milliseconds
    dom_nodes: Count | None = None
    error_type: Name | None = None


class PageLoadEvent(_Event):
    """One page that was opened. Its URL is stored without user, query and fragment."""

    IN_ATTRIBUTES = ("url",)

    kind: Literal["page_load"] = "page_load"
    url: Url | None = None
    success: bool = True
    latency_ms: Milliseconds | None = None
    "Until the page was loaded; None if it never was."
    dom_nodes: Count | None = None
    error_type: Name | None = None


class EpisodeEvent(_Event):
    """One task from start to end. `success` is None when the end says nothing of the agent."""

    IN_ATTRIBUTES = ("outcome",)

    kind: Literal["episode"] = "episode"
    success: bool | None
    outcome: Name | None = None
    latency_ms: Milliseconds | None = None
    error_type: Name | None = None


Event = Annotated[
    LlmCallEvent | ActionEvent | PageLoadEvent | EpisodeEvent, Field(discriminator="kind")
]

KINDS: Final = ("llm_call", "action", "page_load", "episode")

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True)
class Rejected:
    """An event that was not stored: its own identifier, or `#n` by its place in the batch."""

    event: str
    reason: str


def parse_events(raw: Sequence[object], now: datetime) -> tuple[list[Event], list[Rejected]]:
    """The events of a batch from their JSON, and those that are refused with the reason.

    One bad event does not spoil the batch. `now` (aware) is what times are compared with.
    """
    oldest, newest = now - OLDEST, now + FURTHEST_AHEAD
    events: list[Event] = []
    rejected: list[Rejected] = []
    validate = _adapter.validate_python
    for index, item in enumerate(raw):
        try:
            event = validate(item)
        except ValidationError as error:
            rejected.append(Rejected(_named(item, index), _reason(error)))
            continue
        if event.occurred_at < oldest:
            reason = f"occurred_at: is more than {OLDEST.days} days ago"
        elif event.occurred_at > newest:
            reason = "occurred_at: is more than 1 hour in the future"
        else:
            events.append(event)
            continue
        rejected.append(Rejected(str(event.event_id), reason))
    return events, rejected


def _named(item: object, index: int) -> str:
    try:
        return str(UUID(item["event_id"]))  # type: ignore[index]
    except (TypeError, KeyError, ValueError, AttributeError):
        return f"#{index}"


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"kind: expected one of {', '.join(KINDS)}"
    # A field's name is the sender's text, and the reason is stored and printed.
    shown = one_line(error)[:_REASON_LENGTH]
    return "".join(character if character.isprintable() else "?" for character in shown)
