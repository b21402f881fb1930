"""Asking: the assigned variant's model, and the fallback's once where that gives nothing usable.

Nothing here touches PostgreSQL: an answer may take a minute, and no transaction waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from shared.costs.agents import most_nanos, why_unpriced
from shared.costs.allowances import Allowance, Cost
from shared.costs.prices import PriceTable
from shared.costs.pricing import tenant_prices
from shared.costs.reserving import hard_stops
from shared.database import TenantId, tenant_of
from shared.evaluation.agents.endpoint import Endpoint
from shared.evaluation.agents.parameters import EndpointParameters
from shared.evaluation.emission import judge_of
from shared.evaluation.protocol import EndpointError, LlmCall, storable
from shared.functions.assigning import Assigned, Unit, assign_variant, unit_of
from shared.functions.definition import FunctionError, FunctionJudge, FunctionVariant
from shared.functions.judging import Judged, judge_answer
from shared.functions.prompt import TemplateError, render
from shared.functions.quality import Assessed, assess
from shared.functions.registering import Registered, find

LONGEST_QUERY: Final = 1_000_000
_SLACK_SECONDS: Final = 5.0
"Of a busy worker: what was reserved is held for as long."


@dataclass(frozen=True)
class Request:
    """What is asked of a function. `query` and `context` are data, whatever they look like."""

    function: str
    "`name` for its newest version, or `name@version`."
    query: str
    context: Mapping[str, Any] = field(default_factory=dict)
    unit_id: str | None = None


@dataclass(frozen=True)
class Prepared:
    """A request with all that is needed to answer it."""

    id: UUID
    tenant_id: TenantId
    function: Registered
    unit: Unit
    assigned: Assigned
    query: str
    messages: Mapping[str, list[dict[str, str]]]
    "By variant: of the one that is assigned, and of the fallback."
    prices: PriceTable


@dataclass(frozen=True)
class Try:
    """What one variant gave."""

    variant: FunctionVariant
    began: datetime
    calls: tuple[LlmCall, ...]
    error: str | None = None
    "Why there is no answer at all."
    permanent: bool = False
    refused: bool = False
    "Whether it was not asked because a hard stop does not let it."
    retry_after: float | None = None
    "Seconds that its endpoint asks to wait, where it says so."
    text: str | None = None
    assessed: Assessed | None = None

    @property
    def usable(self) -> bool:
        return self.assessed is not None and self.assessed.fits


@dataclass(frozen=True)
class Answered:
    """What came of a request: one try, or two where the fallback was asked."""

    began: datetime
    seconds: float
    tries: tuple[Try, ...]
    judged: Judged | None = None
    "None where there is no judge, or no answer to judge."

    @property
    def chosen(self) -> Try:
        """The usable one, else the last that has a text at all, else the first."""
        usable = [one for one in self.tries if one.usable]
        told = [one for one in self.tries if one.text is not None]
        return (usable or told[-1:] or list(self.tries))[0]


def prepare(session: Session, request: Request, call: UUID) -> Prepared:
    """Find the function, assign the variant, render the prompts; `call` is this call's identifier.

    Raises `FunctionError`, in one line.
    """
    _check(request)
    function = find(session, request.function)
    definition = function.definition
    unit = unit_of(request.unit_id, request.context, call)
    # Of all of them: what one variant could not be asked must not be left out of a test, nor
    # depend on whose turn it is.
    messages = {one.name: _messages(one, request) for one in definition.variants}
    assigned = assign_variant(session, definition, unit, request.context)
    return Prepared(
        id=call,
        tenant_id=tenant_of(session),
        function=function,
        unit=unit,
        assigned=assigned,
        query=request.query,
        messages=messages,
        prices=tenant_prices(session),
    )


def _check(request: Request) -> None:
    """Raises `FunctionError`: what is asked may come from a caller without types."""
    for name, value, kind in (
        ("function", request.function, str),
        ("query", request.query, str),
        ("context", request.context, Mapping),
        ("unit_id", request.unit_id, str | None),
    ):
        if not isinstance(value, kind):
            wanted = "a mapping" if kind is Mapping else "text"
            raise FunctionError(f"{name} is of type {type(value).__name__}; expected {wanted}")
    if len(request.query) > LONGEST_QUERY:
        raise FunctionError(
            f"a query of {len(request.query)} characters; at most {LONGEST_QUERY:,}"
        )


def _messages(variant: FunctionVariant, request: Request) -> list[dict[str, str]]:
    templates = {"system": variant.system, "user": variant.prompt}
    try:
        return [
            {"role": role, "content": storable(render(template, request.query, request.context))}
            for role, template in templates.items()
            if template is not None
        ]
    except TemplateError as error:
        raise FunctionError(f"variant {variant.name!r}: {error}") from None


class Asking:
    """One request being answered. `so_far` may be asked at any time, also when it is cancelled."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._began = datetime.now(UTC)
        self._started = time.monotonic()
        self._tries: list[Try] = []
        self._open: tuple[FunctionVariant, datetime, Endpoint] | None = None
        self._judging: tuple[datetime, Endpoint] | None = None

    async def answer(self) -> Answered:
        """Ask the assigned variant, then the fallback if that gave nothing usable.

        The fallback has time of its own: as long as one call of it may take, and half of the
        deadline at most, is kept for it.
        """
        definition = self._prepared.function.definition
        first = definition.variant(self._prepared.assigned.variant)
        fallback = None
        if definition.fallback not in (None, first.name):
            fallback = definition.variant(str(definition.fallback))
        whole = definition.deadline_seconds
        kept = 0.0 if fallback is None else min(fallback.timeout_seconds, whole / 2)
        self._tries.append(await self._try(first, whole - kept))
        if fallback is not None and not self._tries[0].usable:
            self._tries.append(await self._try(fallback, whole - self._seconds()))
        answered = self.so_far()
        text = answered.chosen.text or ""
        if definition.judge is None or not text.strip():
            return answered
        # What the judge takes is not the answer's time.
        return replace(answered, judged=await self._judge(definition.judge, text))

    async def _judge(self, judge: FunctionJudge, text: str) -> Judged:
        name = judge_of(judge.model)
        allowance = await asyncio.to_thread(
            _allowance, self._prepared, judge, name, judge.timeout_seconds
        )
        refused = await _leave(allowance)
        if refused is not None:
            return Judged(datetime.now(UTC), (), None, f"the judge was not asked: {refused}")
        endpoint = Endpoint(judge)
        self._judging = (datetime.now(UTC), endpoint)
        try:
            return await judge_answer(judge, endpoint, self._prepared.query, text)
        finally:
            await _settle(allowance, self._prepared.prices, endpoint.calls)

    def so_far(self) -> Answered:
        """What has come of it; a call that was broken off is in it as `aborted`."""
        tries = list(self._tries)
        if self._open is not None:
            variant, began, endpoint = self._open
            tries.append(Try(variant, began, tuple(endpoint.calls), error="the caller has gone"))
        if not tries:
            assigned = self._prepared.assigned.variant
            first = self._prepared.function.definition.variant(assigned)
            tries.append(Try(first, self._began, (), error="nothing was asked yet"))
        judged = None
        if self._judging is not None:
            began, endpoint = self._judging
            judged = Judged(began, tuple(endpoint.calls), None, "the caller has gone")
        return Answered(self._began, self._seconds(), tuple(tries), judged)

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    async def _try(self, variant: FunctionVariant, seconds: float) -> Try:
        began = datetime.now(UTC)
        # Whoever asks first has the limits read from PostgreSQL.
        allowance = await asyncio.to_thread(
            _allowance, self._prepared, variant, variant.model, seconds
        )
        refused = await _leave(allowance)
        if refused is not None:
            return Try(variant, began, (), error=refused, permanent=True, refused=True)
        endpoint = Endpoint(variant)
        self._open = (variant, began, endpoint)
        try:
            done = await self._ask(variant, began, endpoint, seconds)
        finally:
            await endpoint.close()
            await _settle(allowance, self._prepared.prices, endpoint.calls)
        self._open = None
        return done

    async def _ask(
        self, variant: FunctionVariant, began: datetime, endpoint: Endpoint, seconds: float
    ) -> Try:
        definition = self._prepared.function.definition
        endpoint.begin_within(seconds)
        messages = self._prepared.messages[variant.name]
        try:
            reply = await endpoint.ask(
                list(messages), more=_more(definition.response_schema, variant)
            )
        except EndpointError as error:
            calls = tuple(endpoint.calls)
            return Try(
                variant,
                began,
                calls,
                error=str(error),
                permanent=error.permanent,
                retry_after=error.retry_after,
            )
        text = storable(reply.text)
        # A long answer takes a schema seconds, and others may share this loop.
        assessed = await asyncio.to_thread(assess, definition, text, cut_off=reply.cut_off)
        marks: dict[str, object] = {"confidence": assessed.confidence}
        if not assessed.fits:
            marks = {"error_type": "invalid_answer"}
        endpoint.calls[-1] = endpoint.calls[-1].model_copy(update=marks)
        return Try(variant, began, tuple(endpoint.calls), text=text, assessed=assessed)


def timed(calls: Iterable[LlmCall], began: datetime) -> Iterator[tuple[LlmCall, datetime]]:
    """Each call with the time that it began at, as far as it is known: one after the other."""
    at = began
    for call in calls:
        at += timedelta(milliseconds=call.waited_ms)
        yield call, at
        at += timedelta(milliseconds=call.latency_ms)


def _more(schema: Mapping[str, Any] | None, variant: FunctionVariant) -> dict[str, object]:
    """What a variant adds to a request."""
    more: dict[str, object] = {
        name: value
        for name, value in (("top_p", variant.top_p), ("seed", variant.seed))
        if value is not None
    }
    if variant.structured_output:
        more["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    return more


def _allowance(
    prepared: Prepared, asked: EndpointParameters, model: str, seconds: float
) -> Allowance | str | None:
    """What the tenant's hard stops leave for asking, or why they leave nothing; None without any.

    `model` is the name under which the calls are summed.
    """
    function = prepared.function.definition.name
    if not hard_stops(prepared.tenant_id, model, function):
        return None
    unpriced = why_unpriced(prepared.prices, asked)
    if unpriced is not None:
        # Without a price nothing would ever be counted, and nothing stopped.
        return f"a hard stop cannot be kept with {asked.model}: {unpriced}"
    return Allowance(prepared.tenant_id, model, function, lease_seconds=seconds + _SLACK_SECONDS)


async def _leave(allowance: Allowance | str | None) -> str | None:
    """Why the hard stops do not let it be asked; None where they do."""
    if not isinstance(allowance, Allowance):
        return allowance
    # Redis is asked, and others may share this loop.
    refused = await asyncio.to_thread(allowance.begin)
    return None if refused is None else refused.reason


async def _settle(
    allowance: Allowance | str | None, prices: PriceTable, calls: list[LlmCall]
) -> None:
    if isinstance(allowance, Allowance):
        await asyncio.to_thread(allowance.end, _at_most(prices, calls))


def _at_most(prices: PriceTable, calls: list[LlmCall]) -> Cost:
    now = datetime.now(UTC)
    nanos = [most_nanos(prices, call, now) for call in calls]
    known = [one for one in nanos if isinstance(one, int)]
    return Cost(sum(known), len(nanos) - len(known))
