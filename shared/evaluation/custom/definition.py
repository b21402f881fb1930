"""A custom benchmark: what a YAML file says, what the SDK builds, and what travels to a worker.

CustomBenchmark(
    name="help-desk",
    tasks=[
        CustomTask(
            name="close-ticket",
            task_prompt="Close ticket {{number}}.",
            start={"html": "<button onclick=\\"this.textContent = 'Closed'\\">Close</button>"},
            cases=[{"number": 1}, {"number": 2}],
            success_criteria={"element": {"selector": "button", "has_text": "Closed"}},
        )
    ],
).definition()
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from shared.evaluation.custom.criteria import CRITERIA_AT_MOST, Criterion, Judge
from shared.evaluation.custom.parts import (
    Part,
    Scalar,
    Short,
    Storable,
    Words,
    mistakes_of,
    placeholders,
    texts_in,
)
from shared.evaluation.egress.origins import OriginError, origin
from shared.evaluation.protocol import WEB_ACTIONS, Address, Task
from shared.jobs.contracts import DEFINITION_BYTES

DEPTH: Final = 50
FILLED: Final = (".html", ".htm", ".xhtml", ".svg")
"The files of a fixture that values are filled into, if that is asked for."
BUILT_IN_VALUES: Final = ("origin", "seed")
"Values that every task has: the origin of its start, and the seed."

Where = tuple[str | int, ...]


def _file_path(path: str) -> str:
    if path.startswith("/") or "\\" in path or not re.fullmatch(r"[^\x00-\x1f?#]+", path):
        raise ValueError(f"{path[:100]!r} is no path of a file inside a folder")
    if any(step in ("", ".", "..") for step in path.split("/")):
        raise ValueError(f"{path[:100]!r} must not hold '.', '..' or empty steps")
    return path


def _origin(text: str) -> str:
    wrong = ValueError("must look like https://example.com or http://example.com:8080")
    try:
        found, parts = origin(text), urlsplit(text)
    except OriginError:
        raise wrong from None
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme != found.scheme or not bare:
        raise wrong
    return str(found)


Name = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$")]
ValueName = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FilePath = Annotated[Short, AfterValidator(_file_path)]
Origin = Annotated[Short, AfterValidator(_origin)]
Tag = Annotated[Short, Field(max_length=100)]
ActionKind = Literal[
    "click", "double_click", "hover", "fill", "select_option", "press", "drag", "scroll", "wait",
    "report_infeasible", "goto", "back", "forward", "new_tab", "close_tab", "focus_tab", "answer",
]  # fmt: skip


class Content(Part):
    """A file of a fixture; a plain text is `text`."""

    text: Annotated[Storable, Field(max_length=DEFINITION_BYTES)] | None = None
    base64: Annotated[str, Field(max_length=DEFINITION_BYTES)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        return {"text": given} if isinstance(given, str) else given

    @field_validator("base64")
    @classmethod
    def _decodes(cls, value: str | None) -> str | None:
        try:
            base64.b64decode(value or "", validate=True)
        except binascii.Error:
            raise ValueError("is not base64") from None
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        return self._exactly_one_of("text", "base64")

    def data(self) -> bytes:
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        return (self.text or "").encode()


class Start(Part):
    """Where a task begins: an address, or a fixture that is served on a loopback origin.

    `file` and `folder` are read beside the YAML and become `files`; a plain text is `url`.
    """

    url: Address | None = None
    html: Annotated[Storable, Field(min_length=1, max_length=DEFINITION_BYTES)] | None = None
    file: FilePath | None = None
    folder: FilePath | None = None
    files: dict[FilePath, Content] | None = Field(default=None, min_length=1, max_length=500)
    page: Short = "index.html"
    "The file that is opened first, with a query or a fragment if wanted."
    fill_values: bool = False
    "Whether `{{name}}` in the HTML files is replaced by the value, escaped."

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        return {"url": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one(self) -> Self:
        self._exactly_one_of("url", "html", "file", "folder", "files")
        if self.files is not None and self.first_page not in self.files:
            known = ", ".join(sorted(self.files)[:10])
            raise ValueError(f"page {self.page!r} is none of its files: {known}")
        return self

    @property
    def first_page(self) -> str:
        """The file of `page`, without its query and fragment."""
        return re.split(r"[?#]", self.page, maxsplit=1)[0]

    @property
    def travels(self) -> bool:
        """Whether it is whole: what lies in a file beside the YAML is not."""
        return self.file is None and self.folder is None

    def filled(self) -> Iterator[tuple[Where, str]]:
        """The texts that values are filled into, with the way to each."""
        if self.html is not None:
            yield ("html",), self.html
        for path, content in (self.files or {}).items():
            if content.text is not None and path.endswith(FILLED):
                yield ("files", path), content.text

    def contents(self) -> dict[str, bytes]:
        """The files of the fixture by path; empty for an address."""
        if self.html is not None:
            return {self.first_page: self.html.encode()}
        return {path: content.data() for path, content in (self.files or {}).items()}


class Request(Part):
    """An HTTP request to the task's own origin. A redirect is not followed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[Short, Field(pattern=r"^/([^/].*)?$")]
    headers: dict[str, Words] = Field(default_factory=dict, max_length=50)
    json_: JsonValue = Field(default=None, alias="json")
    body: Words | None = None
    status: int | None = Field(default=None, ge=100, le=599)
    "What it must answer; any 2xx when left out."

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.json_ is not None and self.body is not None:
            raise ValueError("has both json and body")
        return self


class Hook(Part):
    """What is done before or after an episode, in this order for `setup`.

    Requests first; if there are any, the start page is loaded again; then the JavaScript, in the
    page's own world, where `values` holds the task's. `teardown` goes the other way round.
    """

    requests: tuple[Request, ...] = Field(default=(), max_length=50)
    javascript: Words | None = None


class Choices(Part):
    """What a value is drawn from by the seed; a plain list is `one_of`."""

    one_of: tuple[Scalar, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    low: int | None = Field(default=None, alias="from", ge=-(10**12), le=10**12)
    high: int | None = Field(default=None, alias="to", ge=-(10**12), le=10**12)

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, given: Any) -> Any:
        return {"one_of": given} if isinstance(given, (list, tuple)) else given

    @model_validator(mode="after")
    def _list_or_range(self) -> Self:
        whole = self.low is not None and self.high is not None
        if (self.one_of is None) != whole or (self.one_of is not None and self.low is not None):
            raise ValueError("needs a list, or both from and to")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"from {self.low} is above to {self.high}")
        return self


class Defaults(Part):
    """What holds for every task that does not say otherwise."""

    category: Name | None = None
    difficulty: Literal["easy", "medium", "hard"] | None = None
    max_steps: int | None = Field(default=None, ge=1, le=1000)
    timeout_seconds: float | None = Field(default=None, gt=0, le=3600)
    tags: tuple[Tag, ...] | None = None
    origins: tuple[Origin, ...] | None = None
    actions: tuple[ActionKind, ...] | None = None
    start: Start | None = None


class CustomTask(Part):
    """One task: where it starts, what is asked, and when it is solved."""

    name: Name
    description: Words = ""
    task_prompt: Annotated[Words, Field(min_length=1, max_length=20_000)]
    "The goal, as the agent is told it."
    category: Name = "custom"
    difficulty: Literal["easy", "medium", "hard"] = "medium"
    tags: tuple[Tag, ...] = Field(default=(), max_length=50)
    max_steps: int = Field(default=30, ge=1, le=1000)
    timeout_seconds: float = Field(default=120, gt=0, le=3600)
    actions: tuple[ActionKind, ...] = Field(default=WEB_ACTIONS, min_length=1)
    origins: tuple[Origin, ...] = Field(default=(), max_length=100)
    "Besides the start's own: what the page may talk to."
    start: Start
    values: dict[ValueName, Choices] = Field(default_factory=dict, max_length=100)
    "Drawn by the seed, each for itself."
    cases: tuple[dict[ValueName, Scalar], ...] = Field(default=(), max_length=10_000)
    "Values that belong together; seed 0 takes the first, and so on round."
    setup: Hook = Hook()
    teardown: Hook = Hook()
    success_criteria: Criterion

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        found = [*self._cross_mistakes(), *self._unknown_values()]
        if found:
            raise mistakes_of("CustomTask", found)
        return self

    def _cross_mistakes(self) -> Iterator[tuple[Where, str]]:
        criteria = self.success_criteria
        count = sum(1 for _ in criteria.walk())
        if count > CRITERIA_AT_MOST:
            yield ("success_criteria",), f"has {count} criteria; at most {CRITERIA_AT_MOST}"
        if criteria.needs_answer and "answer" not in self.actions:
            said = "must hold `answer`: a criterion is only looked at when the agent answers"
            yield ("actions",), said
        if self.start.url is None:
            for name in ("setup", "teardown"):
                if getattr(self, name).requests:
                    yield (name, "requests"), "need a start url: a fixture is files and no server"
        names = [set(case) for case in self.cases]
        for number, these in enumerate(names):
            if these != names[0]:
                yield ("cases", number), "must have the same values as the first case"
        for name in sorted({*self.values} & {*(names[0] if names else ())}):
            yield ("values", name), f"{name!r} is drawn here and given by the cases as well"
        for name in BUILT_IN_VALUES:
            said = f"{name!r} is a value that every task has already"
            if name in self.values:
                yield ("values", name), said
            if names and name in names[0]:
                yield ("cases", 0, name), said

    def _unknown_values(self) -> Iterator[tuple[Where, str]]:
        known = {*self.values, *BUILT_IN_VALUES, *(self.cases[0] if self.cases else ())}
        filled = ("task_prompt", "success_criteria", "setup", "teardown")
        dumped = self.model_dump(include={*filled}, by_alias=True, exclude_none=True)
        texts = texts_in(dumped)
        if self.start.url is not None:
            texts.append((("start", "url"), self.start.url))
        if self.start.fill_values:
            texts += [(("start", *where), text) for where, text in self.start.filled()]
        for where, text in texts:
            if where[-1] in ("javascript", "expression"):
                continue
            for name in dict.fromkeys(placeholders(text)):
                if name not in known:
                    there = ", ".join(sorted(known))
                    yield where, f"there is no value {name!r}; there is: {there}"

    def judges(self) -> list[Judge]:
        """Those that its criteria ask, in their order."""
        return [one.judge for _, one in self.success_criteria.walk() if one.judge is not None]

    def task(self, benchmark: str) -> Task:
        """Its place in the catalogue."""
        return Task(
            benchmark=benchmark,
            name=self.name,
            category=self.category,
            difficulty=self.difficulty,
            max_steps=self.max_steps,
            timeout_seconds=self.timeout_seconds,
            tags=self.tags,
            actions=self.actions,
        )

    def definition(self) -> dict[str, Any]:
        """Its JSON, from which any worker can run it. Raises ValueError if it is not whole."""
        if not self.start.travels:
            raise ValueError(f"task {self.name!r}: its files were not read in")
        # With every null: for a judge's key it means none, and not the usual one.
        return self.model_dump(mode="json", by_alias=True)


class CustomBenchmark(Part):
    """A set of tasks under one name."""

    name: Name
    description: Words = ""
    defaults: Defaults | None = Field(default=None, exclude=True)
    tasks: tuple[CustomTask, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _give_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("tasks"), (list, tuple)):
            return given
        if given.get("defaults") and any(isinstance(one, CustomTask) for one in given["tasks"]):
            raise ValueError("defaults are for tasks that are written as mappings")
        try:
            defaults = Defaults.model_validate(given.get("defaults") or {})
        except ValidationError:
            return given  # it is told where it stands, once and not once for every task
        common = defaults.model_dump(mode="json", by_alias=True, exclude_none=True)
        tasks = [{**common, **one} if isinstance(one, dict) else one for one in given["tasks"]]
        return {**given, "tasks": tasks}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        seen: set[str] = set()
        found: list[tuple[Where, str]] = []
        for number, task in enumerate(self.tasks):
            if task.name in seen:
                found.append((("tasks", number, "name"), f"there are two tasks {task.name!r}"))
            seen.add(task.name)
        if found:
            raise mistakes_of("CustomBenchmark", found)
        return self

    def definition(self) -> dict[str, Any]:
        """Its JSON; equal to that of the same benchmark from a file or from Python.

        Raises ValueError when a task is not whole, or all of it is above `DEFINITION_BYTES`.
        """
        whole = {
            "name": self.name,
            "description": self.description,
            "tasks": [task.definition() for task in self.tasks],
        }
        size = len(canonical(whole))
        if size > DEFINITION_BYTES:
            raise ValueError(f"the definition has {size} bytes; at most {DEFINITION_BYTES}")
        return whole


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON in one order and one spelling, for digests and sizes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(definition: Mapping[str, Any]) -> str:
    """SHA-256 of a task's definition: a task that is defined anew is another task."""
    return hashlib.sha256(canonical(definition)).hexdigest()


def parse(definition: object) -> CustomBenchmark:
    """A benchmark from its JSON. Raises ValueError, in one line, with the first mistake.

    What lies in files must have been read in.
    """
    if not isinstance(definition, dict):
        raise ValueError("a definition is a mapping with `name` and `tasks`")
    _limit_depth(definition)
    try:
        benchmark = CustomBenchmark.model_validate(definition)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"definition {where}: {said}" if where else said) from None
    benchmark.definition()
    return benchmark


def _limit_depth(value: object) -> None:
    level: list[object] = [value]
    for _ in range(DEPTH + 2):
        level = [
            inner
            for one in level
            for inner in (
                one.values()
                if isinstance(one, dict)
                else one
                if isinstance(one, (list, tuple))
                else ()
            )
        ]
        if not level:
            return
    raise ValueError(f"the definition is nested deeper than {DEPTH} levels")


assert set(get_args(ActionKind)) == set(WEB_ACTIONS)
