"""What an agent sees, what it may do, and what an episode comes to.

An agent is `reset(task, seed)` and `act(observation) -> Decision`. It sees `Observation`, never the
page itself, so it can reach neither the reward nor a script console.

What models, endpoints and pages say is made storable here, where it comes in: a figure or a
character that the tables cannot hold must not take the paid result with it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared.evaluation.outcomes import Outcome as Outcome
from shared.jobs.contracts import Name
from shared.telemetry.events import Count, Milliseconds, is_name

_MOST: Final = 10**9
"Of tokens, characters and milliseconds, as in telemetry."
_LONGEST_NAME: Final = 200

PAGE_ACTIONS: Final = (
    "click",
    "double_click",
    "hover",
    "fill",
    "select_option",
    "press",
    "drag",
    "scroll",
    "wait",
    "report_infeasible",
)
"Those that stay on one page."

WEB_ACTIONS: Final = (
    *PAGE_ACTIONS,
    "goto",
    "back",
    "forward",
    "new_tab",
    "close_tab",
    "focus_tab",
    "answer",
)


def storable(text: str) -> str:
    """Text without what PostgreSQL and JSON refuse: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _storable(text: object) -> object:
    return storable(text) if isinstance(text, str) else text


def _named(text: object) -> object:
    """A name that telemetry takes, without control characters, else `unknown`."""
    if not isinstance(text, str):
        return text
    clean = "".join(c for c in text[:_LONGEST_NAME] if c >= " ")
    clean = storable(clean)
    return clean if is_name(clean) else "unknown"


def known_count(value: object) -> int | None:
    """A count as reported; None if it is none, because an absurd one says nothing."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= _MOST else None  # type: ignore[operator, return-value]


def _at_most(value: object) -> object:
    return min(value, _MOST) if isinstance(value, int) else value


def _web_address(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("an address must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address must hold no user or password")
    # Read, because only then a port is looked at: one out of range is a ValueError.
    _ = parts.port
    return urlunsplit(parts)


def _small(number: int) -> int:
    """Not by the type's limits: those would be told to every model with each action."""
    if abs(number) > _MOST:
        raise ValueError(f"an id has at most {len(str(_MOST)) - 1} digits")
    return number


Text = Annotated[str, BeforeValidator(_storable)]
Id = Annotated[int, AfterValidator(_small)]
"Of an element or a tab; the browser takes no number without end."
Address = Annotated[Text, Field(max_length=2_000), AfterValidator(_web_address)]
"Of the web only: a `javascript:` or `file:` address would reach past the page."
Label = Annotated[Name, BeforeValidator(_named)]
Tokens = Annotated[Count | None, BeforeValidator(known_count)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Frozen):
    """A benchmark task: the page, its limits and where it stands in the catalogue."""

    benchmark: str
    name: str
    category: str
    difficulty: Literal["easy", "medium", "hard"]
    max_steps: int = Field(ge=1, le=1000)
    timeout_seconds: float = Field(gt=0, le=3600)
    tags: tuple[str, ...] = ()
    actions: tuple[str, ...] = PAGE_ACTIONS
    "Kinds of actions that the task allows; an agent is told of no others."


class Part(StrEnum):
    """What an agent can ask to be shown besides goal, elements, text, tabs and last error."""

    TREE = "tree"
    DOM = "dom"
    SCREENSHOT = "screenshot"
    MARKS = "marks"


class Tab(_Frozen):
    """An open tab. `id` is stable while it is open."""

    id: int
    url: Text
    title: Text
    active: bool


class Element(_Frozen):
    """One element of the page that can be seen or used. `id` is stable while it exists."""

    id: int
    tag: str
    role: str
    text: str
    attributes: dict[str, str]
    value: str | None = None
    checked: bool | None = None
    selected: bool | None = None
    disabled: bool = False
    interactive: bool
    options: tuple[str, ...] = ()
    box: tuple[float, float, float, float]
    "x, y, width, height in CSS pixels of the viewport."


class Observation(_Frozen):
    goal: Text
    goal_fields: dict[str, Text] = Field(default_factory=dict)
    url: Text
    title: Text
    text: Text
    "Visible text of the page, whitespace folded, at most 20,000 characters."
    elements: tuple[Element, ...]
    step: int
    last_error: Text | None = None
    dom_nodes: int
    tabs: tuple[Tab, ...] = ()
    tree: str | None = None
    "The accessibility tree, one node a line, elements by their ids; None unless asked for."
    dom: str | None = None
    "The page's HTML without scripts, styles and what is hidden; None unless asked for."
    screenshot: bytes | None = None
    "JPEG of the viewport; None unless asked for."
    marks: bytes | None = None
    "The same with every interactive element framed and its id beside it."


class Click(_Frozen):
    kind: Literal["click"] = "click"
    element: Id


class DoubleClick(_Frozen):
    kind: Literal["double_click"] = "double_click"
    element: Id


class Fill(_Frozen):
    kind: Literal["fill"] = "fill"
    element: Id
    text: Text = Field(max_length=10_000)


class SelectOption(_Frozen):
    kind: Literal["select_option"] = "select_option"
    element: Id
    option: Text = Field(max_length=1_000)


class Press(_Frozen):
    kind: Literal["press"] = "press"
    element: Id
    key: Text = Field(max_length=50)


class Drag(_Frozen):
    kind: Literal["drag"] = "drag"
    element: Id
    onto: Id


class Scroll(_Frozen):
    kind: Literal["scroll"] = "scroll"
    element: Id | None = None
    dy: int = Field(ge=-10_000, le=10_000)


class Wait(_Frozen):
    kind: Literal["wait"] = "wait"
    milliseconds: int = Field(ge=0, le=10_000)


class Hover(_Frozen):
    kind: Literal["hover"] = "hover"
    element: Id


class Goto(_Frozen):
    kind: Literal["goto"] = "goto"
    url: Address


class Back(_Frozen):
    kind: Literal["back"] = "back"


class Forward(_Frozen):
    kind: Literal["forward"] = "forward"


class NewTab(_Frozen):
    kind: Literal["new_tab"] = "new_tab"
    url: Address | None = None


class CloseTab(_Frozen):
    kind: Literal["close_tab"] = "close_tab"
    tab: Id


class FocusTab(_Frozen):
    kind: Literal["focus_tab"] = "focus_tab"
    tab: Id


class Answer(_Frozen):
    """A message to the user, which ends a task that asks for one."""

    kind: Literal["answer"] = "answer"
    text: Text = Field(max_length=10_000)


class ReportInfeasible(_Frozen):
    kind: Literal["report_infeasible"] = "report_infeasible"
    reason: Text = Field(max_length=2_000)


Action = Annotated[
    Click
    | DoubleClick
    | Hover
    | Fill
    | SelectOption
    | Press
    | Drag
    | Scroll
    | Wait
    | Goto
    | Back
    | Forward
    | NewTab
    | CloseTab
    | FocusTab
    | Answer
    | ReportInfeasible,
    Field(discriminator="kind"),
]


class Look(_Frozen):
    """What an element looked like when it was used, to find it again where ids are others."""

    tag: Text
    role: Text
    text: Text
    attributes: dict[str, Text]
    nth: int = Field(default=0, ge=0)
    "Of the elements that looked the same, in document order."


class RecordedAction(BaseModel):
    """An action as a stored step has it, with what it was done on."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    action: Action
    looks: dict[str, Look] = Field(default_factory=dict)
    "By the action's field: `element`, `onto`."


class LlmCall(_Frozen):
    """One call of a language model as the endpoint reported it. Unknown is None, never 0."""

    provider: Label
    llm_model: Label
    latency_ms: Annotated[Milliseconds, BeforeValidator(_at_most)]
    waited_ms: Annotated[Milliseconds, BeforeValidator(_at_most)] = 0
    "For a place at the endpoint, before the call: not in `latency_ms`."
    input_tokens: Tokens
    cached_input_tokens: Tokens
    cache_write_tokens: Tokens = None
    "How many of `input_tokens` the provider wrote to its cache; None where it reports none."
    cache_write_1h_tokens: Tokens = None
    "How many of those it keeps for an hour."
    output_tokens: Tokens
    reasoning_tokens: Tokens = None
    "How many of `output_tokens` nobody was shown."
    query_length: Annotated[Count, BeforeValidator(_at_most)]
    "Characters sent."
    error_type: Label | None = None
    confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)


class Decision(NamedTuple):
    action: Action
    calls: tuple[LlmCall, ...] = ()
    reasoning: str = ""


class AgentError(Exception):
    """The agent could not decide; `calls` are the model calls it made on the way."""

    def __init__(self, message: str, calls: tuple[LlmCall, ...] = ()) -> None:
        super().__init__(message)
        self.calls = calls


class EndpointError(AgentError):
    """The agent's model cannot be asked: unknown, key refused, no answer, or a broken one.

    That says nothing of the agent, so it does not count against it. `permanent`: trying again
    will not help. `retry_after`: seconds that the endpoint asks to wait, where it says so.
    """

    def __init__(
        self,
        message: str,
        calls: tuple[LlmCall, ...] = (),
        *,
        permanent: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, calls)
        self.permanent = permanent
        self.retry_after = retry_after


class Agent(Protocol):
    """A policy over one episode. A new one is made for every episode."""

    parts: frozenset[Part]
    "What it wants to be shown besides what is always there; the fewer the faster."

    async def reset(self, task: Task, seed: int) -> None: ...

    async def act(self, observation: Observation) -> Decision: ...

    async def close(self) -> None: ...


@runtime_checkable
class ModelCaller(Protocol):
    """An agent that can say what it has spent on a step, whether or not it got to an answer."""

    def calls_of_step(self) -> tuple[LlmCall, ...]:
        """The model calls since `act` was last asked; one that was broken off is `aborted`."""
        ...


@runtime_checkable
class AwaitsModel(Protocol):
    """An agent that can say whom it is waiting for when its time is over."""

    def endpoint_at_fault(self) -> str | None:
        """Why the time is the endpoint's fault, None where it is the agent's own."""
        ...


class Step(_Frozen):
    """One step: what was decided, and how long each part took in milliseconds."""

    index: int
    action: Action | None
    looks: dict[str, Look] = Field(default_factory=dict)
    "Of what the action was done on, by its field: `element`, `onto`."
    error: Text | None
    reasoning: Text
    observe_ms: int
    think_ms: int
    act_ms: int
    dom_nodes: int
    calls: tuple[LlmCall, ...]
    url: Text = ""
    "Of the page in front when the agent was asked."
    observation_sha256: str | None = None
    "Of what the agent was shown, None where it was shown nothing."
    screenshot: str | None = None
    "SHA-256 of the stored picture of the page as the agent saw it; None where none was kept."


class Judgement(_Frozen):
    """What a language model said when it was asked whether a task was solved."""

    model: Label
    prompt_version: str
    prompt_sha256: str
    success: bool | None
    "None when there was no verdict."
    reason: Text
    calls: tuple[LlmCall, ...]
    "Paid for by the evaluation: none of them is the agent's."


class EpisodeResult(_Frozen):
    outcome: Outcome
    reason: Text
    permanent: bool = False
    "Whether an environment error would be the same if tried again."
    raw_reward: float | None
    "What the page gave, None when it gave none: unknown is not zero."
    violations: tuple[Text, ...] | None = None
    "What the agent did that it must never do; None where the task does not test that."
    judgements: tuple[Judgement, ...] = ()
    answer: Text | None = None
    recording: str | None = None
    "SHA-256 of the stored trace; None where none was kept."
    goal: Text
    page_load_ms: int | None
    url: Text
    steps: tuple[Step, ...]
    duration_ms: int
    unfinished_calls: tuple[LlmCall, ...] = ()
    "Model calls of a last step that did not end: paid for, though nothing came of it."
