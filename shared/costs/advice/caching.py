"""Input that is sent again and again at the full price, where the provider has a cached one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.costs.advice.observed import CallGroup, RecentCalls
from shared.costs.advice.pieces import (
    Advice,
    Certainty,
    Figure,
    Kind,
    Saving,
    Section,
    in_a_month,
)
from shared.costs.prices import Price, PriceTable, Unpriced
from shared.evaluation.intervals import Interval

LEAST_CALLS: Final = 100
LEAST_INPUT: Final = 1_024
"Tokens of a call, on average: providers cache no shorter beginnings of prompts."
LOW_SHARE: Final = 0.2
"Of input tokens read from the cache: above it, caching is in use."


@dataclass(frozen=True)
class InputOnly:
    """A call as the price table takes it, without output: what its input costs."""

    provider: str
    llm_model: str
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class _Discount:
    nanos_per_token: float
    simulated: bool


def unused_caching(recent: RecentCalls, prices: PriceTable, at: datetime) -> Section:
    """Calls with much input and little of it read from the cache, where that would be cheaper.

    How much of a prompt is the same from call to call is not known, so the saving lies between
    nothing and all input at the cached rate. Rates are those of the instant `at` (aware).
    """
    advice, missing = [], []
    looked = 0
    for group in recent.groups:
        if group.calls < LEAST_CALLS:
            continue
        looked += 1
        name = f"{group.model} in {group.function}"
        if group.counted < LEAST_CALLS:
            if group.silent:
                missing.append(
                    f"{name}: {group.silent:,} of {group.calls:,} calls do not say how much of"
                    " their input was cached (cached_input_tokens)"
                )
            else:
                missing.append(
                    f"{name}: the tokens of only {group.counted:,} of {group.calls:,} calls"
                    " are known"
                )
            continue
        if (
            group.input_tokens < LEAST_INPUT * group.counted
            or group.cached_tokens > LOW_SHARE * group.input_tokens
        ):
            continue
        discount = _discount(group, prices, at)
        if isinstance(discount, Unpriced):
            missing.append(f"{name}: {discount.reason}")
        elif discount.nanos_per_token > 0:
            advice.append(_advise(group, recent, discount))
    return Section(
        Kind.PROMPT_CACHING,
        tuple(advice),
        f"{recent.source}: {looked} groups of model, function and endpoint with {LEAST_CALLS} calls"
        " or more",
        tuple(missing),
    )


def _discount(group: CallGroup, prices: PriceTable, at: datetime) -> _Discount | Unpriced:
    if group.provider is None or group.llm_model is None:
        return Unpriced("its events name no provider and model, so their rates are not known")
    tokens = round(group.input_tokens / group.counted)
    full, cached = (
        prices.price(InputOnly(group.provider, group.llm_model, tokens, read), at)
        for read in (0, tokens)
    )
    if not isinstance(full, Price):
        return full
    if not isinstance(cached, Price):
        return cached
    return _Discount((full.nanos - cached.nanos) / tokens, full.simulated)


def _advise(group: CallGroup, recent: RecentCalls, discount: _Discount) -> Advice:
    uncached = group.input_tokens - group.cached_tokens
    most = in_a_month(uncached * discount.nanos_per_token, recent.span)
    share = group.cached_tokens / group.input_tokens
    return Advice(
        Kind.PROMPT_CACHING,
        group.model,
        group.function,
        Saving(
            Certainty.AT_MOST,
            most,
            Interval(0, most),
            "from nothing to all input at the cached rate: how much of the prompts is the same from"
            " call to call is not known, and what writing to the cache costs is not taken off",
        ),
        (
            Figure(
                "input tokens of a call",
                group.input_tokens / group.counted,
                "tokens",
                group.counted,
                recent.source,
            ),
            Figure("input read from the cache", share, "share", group.counted, recent.source),
            Figure(
                "a million cached tokens cost less by",
                discount.nanos_per_token * 10**6,
                "nanos",
                1,
                f"price of {group.provider}/{group.llm_model}",
            ),
        ),
        f"Let {group.provider} cache the prompts of {group.model} in {group.function}: put what is"
        " the same in every call (instructions, tools, examples) first and what changes last, and"
        f" mark it where the provider asks for that; now {100 * share:.0f} % of"
        f" {group.input_tokens / group.counted:,.0f} input tokens a call are read from the cache.",
        discount.simulated,
    )


def input_nanos(
    groups: Sequence[CallGroup], prices: PriceTable, at: datetime, span: timedelta
) -> tuple[int, bool] | Unpriced:
    """What the input of these calls costs in 30 days, cached reads at their rate, and whether
    that is simulated; `span` is the time in which they came.

    Each group at the rates of its mean call. Unpriced if a group has no price or names none.
    """
    total, simulated = 0.0, False
    for group in groups:
        if not group.counted:
            return Unpriced("the tokens of its calls are not known")
        if group.provider is None or group.llm_model is None:
            return Unpriced("its events name no provider and model, so their rates are not known")
        call = InputOnly(
            group.provider,
            group.llm_model,
            round(group.input_tokens / group.counted),
            round(group.cached_tokens / group.counted),
        )
        price = prices.price(call, at)
        if isinstance(price, Unpriced):
            return price
        # Calls whose tokens are not known are taken to be like the others of their group.
        total += price.nanos * group.calls
        simulated |= price.simulated
    return in_a_month(total, span), simulated
