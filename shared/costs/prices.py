"""What a model call cost, in integer nano-dollars, or why that is not known.

The embedded table is the `genai-prices` package as installed; it is never updated over the
network. Own entries come before it, and behind them those that come with this package. Rates are
looked up once per provider, model and day; a call is then priced with integers and rounded once,
to the nearest nano-dollar.

Every token is charged once, at the rate of its class. `input_tokens` are all input tokens: of
them `cached_input_tokens` were read from the provider's cache and `cache_write_tokens` written to
it, as in OpenAI's `usage`. A provider that counts them apart (Anthropic) has them added up by
whoever records the call. Of the tokens written, `cache_write_1h_tokens` are kept for an hour, which
Anthropic charges at twice the rate of its input instead of one and a quarter ("Prompt caching",
section "Pricing"). `reasoning_tokens` are part of `output_tokens`.

Who names no provider means the only one that has a model of that name, if there is only one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from shared.costs.overrides import PriceOverride, read_overrides
from shared.telemetry.gaps import Gap

SHIPPED = Path(__file__).with_name("prices.yaml")
_MOST_TOKENS = 10**9
"Of one call. Beyond any context there is, so it is a mistake and not a bill."
_CLASSES = ("input", "cached input", "cache write", "one-hour cache write", "output", "reasoning")


class PricedCall(Protocol):
    """What is priced; `shared.evaluation.protocol.LlmCall` is one. None is unknown.

    Who reports no `cache_write_tokens` (None) is taken to have written none: providers that charge
    for writing to their cache report it, and with the others it costs what other input does. So
    the worst that this misses is the surcharge for writing; the tokens are charged as input.
    """

    @property
    def provider(self) -> str | None: ...
    @property
    def llm_model(self) -> str | None: ...
    @property
    def input_tokens(self) -> int | None: ...
    @property
    def cached_input_tokens(self) -> int | None: ...
    @property
    def cache_write_tokens(self) -> int | None: ...
    @property
    def cache_write_1h_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def reasoning_tokens(self) -> int | None: ...


@dataclass(frozen=True)
class Price:
    """The cost of one call. A simulated one is no real money and must be shown as such."""

    nanos: int
    simulated: bool
    version: str
    "The table that gave it: `PriceTable.version`; and the provider, where it was not named."
    provider: str | None = None
    "That of the model's name, where the call names none."


@dataclass(frozen=True)
class Unpriced:
    """The cost is not known, which is not the same as nothing. `reason` begins with a `Gap`."""

    reason: str


class Origin(StrEnum):
    """Who says what a model costs."""

    OWN = "own"
    SHIPPED = "shipped"
    EMBEDDED = "embedded"


@dataclass(frozen=True)
class Rate:
    """Dollars per million tokens, by the size of the input.

    `steps` are (above, dollars): the last whose `above` is below the number of input tokens holds
    for all tokens of the class. The first is above -1.
    """

    steps: tuple[tuple[int, Decimal], ...]


@dataclass(frozen=True)
class Quote:
    """What a model costs at a time, and who says so. A rate of None: as other input or output."""

    provider: str
    model: str
    origin: Origin
    source: str
    starts: date | None
    "Of an entry of our own; None where the table says when."
    simulated: bool
    input: Rate
    cached_input: Rate | None
    cache_write: Rate | None
    cache_write_1h: Rate | None
    output: Rate
    reasoning: Rate | None
    request_nanos: int
    "For the call itself."


@dataclass(frozen=True)
class _Tariff:
    """A rate by size of the input: from more than `above` input tokens on, `femtos` each.

    In femto-dollars (10**-15): a price per million tokens with nine decimals is an integer.
    """

    steps: tuple[tuple[int, int], ...]

    def at(self, input_tokens: int) -> int:
        if len(self.steps) == 1:
            return self.steps[0][1]
        return next(femtos for above, femtos in reversed(self.steps) if input_tokens > above)

    def shown(self) -> Rate:
        return Rate(tuple((above, Decimal(femtos) / 10**9) for above, femtos in self.steps))


@dataclass(frozen=True)
class _Rates:
    """Of the classes that may be None, that they cost what others of their direction do."""

    input: _Tariff
    cached_input: _Tariff | None
    cache_write: _Tariff | None
    cache_write_1h: _Tariff | None
    output: _Tariff
    reasoning: _Tariff | None
    request: int
    "Femto-dollars for the call itself."
    simulated: bool
    origin: Origin
    source: str
    starts: date | None = None


class PriceTable:
    """Own prices, behind them those that come with this package, behind them the embedded ones."""

    def __init__(
        self, own: Iterable[PriceOverride] = (), shipped: Iterable[PriceOverride] = ()
    ) -> None:
        self.own = tuple(sorted(own, key=lambda entry: entry.key))
        self.shipped = tuple(sorted(shipped, key=lambda entry: entry.key))
        self._rates_on = lru_cache(maxsize=4096)(self._look_up)

    @cached_property
    def version(self) -> str:
        """Names the prices exactly: the embedded package's version and a hash of the entries."""
        said = f"{_embedded_version()}, overrides {_digest(self.shipped)}"
        return f"{said}, own {_digest(self.own)}" if self.own else said

    def price(self, call: PricedCall, at: datetime) -> Price | Unpriced:
        """What `call`, made at the instant `at`, cost. ValueError if `at` has no time zone."""
        provider, model = call.provider, call.llm_model
        if model is None:
            return Unpriced(Gap.NO_MODEL)
        by_name = None
        if provider is None:
            only = self.provider_of(model)
            if isinstance(only, Unpriced):
                return only
            provider = by_name = only
        rates = self._rates(provider, model, _utc(at))
        if isinstance(rates, Unpriced):
            return rates
        found = self._charge(call, rates)
        if by_name is None or isinstance(found, Unpriced):
            return found
        said = f"{found.version}, {by_name} by the model's name"
        return replace(found, version=said, provider=by_name)

    def provider_of(self, model: str) -> str | Unpriced:
        """The only provider that has a model of this name: of own entries, else of others."""
        for entries in (self.own, self.shipped):
            providers = {entry.provider for entry in entries if entry.model == model}
            if providers:
                return _the_only_one(sorted(providers), model)
        return _embedded_provider(model)

    def quote(self, provider: str, model: str, at: datetime) -> Quote | Unpriced:
        """The rates of a model at the instant `at`. ValueError if `at` has no time zone."""
        rates = self._rates(provider, model, _utc(at))
        if isinstance(rates, Unpriced):
            return rates
        return Quote(
            provider=provider,
            model=model,
            origin=rates.origin,
            source=rates.source,
            starts=rates.starts,
            simulated=rates.simulated,
            input=rates.input.shown(),
            cached_input=_shown(rates.cached_input),
            cache_write=_shown(rates.cache_write),
            cache_write_1h=_shown(rates.cache_write_1h),
            output=rates.output.shown(),
            reasoning=_shown(rates.reasoning),
            request_nanos=_nanos(rates.request),
        )

    def _charge(self, call: PricedCall, rates: _Rates) -> Price | Unpriced:
        input_tokens, output_tokens = call.input_tokens, call.output_tokens
        # Where a class has no rate of its own it does not matter how many tokens were of it.
        cached, reasoning = call.cached_input_tokens, call.reasoning_tokens
        if cached is None and rates.cached_input is None:
            cached = 0
        if reasoning is None and rates.reasoning is None:
            reasoning = 0
        written = call.cache_write_tokens or 0
        for_an_hour = call.cache_write_1h_tokens or 0
        # Every event of every batch comes by here: one look tells that nothing is wrong.
        if (
            input_tokens is None
            or cached is None
            or output_tokens is None
            or reasoning is None
            or cached < 0
            or not 0 <= for_an_hour <= written
            or not cached + written <= input_tokens <= _MOST_TOKENS
            or not 0 <= reasoning <= output_tokens <= _MOST_TOKENS
        ):
            return _uncountable(
                (input_tokens, cached, written, for_an_hour, output_tokens, reasoning)
            )
        femtos = (
            rates.request
            + (input_tokens - cached - written) * rates.input.at(input_tokens)
            + (output_tokens - reasoning) * rates.output.at(input_tokens)
        )
        if cached:
            femtos += cached * (rates.cached_input or rates.input).at(input_tokens)
        if written:
            femtos += (written - for_an_hour) * (rates.cache_write or rates.input).at(input_tokens)
        if for_an_hour:
            for_long = rates.cache_write_1h
            if for_long is None:
                name = f"{call.provider or ''}/{call.llm_model}"
                return Unpriced(f"{Gap.NO_PRICE} for one-hour cache writes of {name[:200]}")
            femtos += for_an_hour * for_long.at(input_tokens)
        if reasoning:
            femtos += reasoning * (rates.reasoning or rates.output).at(input_tokens)
        return Price(_nanos(femtos), rates.simulated, self.version)

    def _rates(self, provider: str, model: str, at: datetime) -> _Rates | Unpriced:
        rates = self._rates_on(provider, model, at.date())
        # None: they change within the day.
        return self._embedded(provider, model, at) if rates is None else rates

    def _look_up(self, provider: str, model: str, day: date) -> _Rates | Unpriced | None:
        for origin, entries in ((Origin.OWN, self.own), (Origin.SHIPPED, self.shipped)):
            begun = [
                entry
                for entry in entries
                if (entry.provider, entry.model) == (provider, model) and entry.starts <= day
            ]
            if begun:
                return _from_override(begun[-1], origin)
        found = _find(provider, model)
        if not isinstance(found, Unpriced) and _changes_within_a_day(found):
            return None
        return self._embedded(provider, model, datetime(day.year, day.month, day.day, tzinfo=UTC))

    def _embedded(self, provider: str, model: str, at: datetime) -> _Rates | Unpriced:
        found = _find(provider, model)
        if isinstance(found, Unpriced):
            return found
        return _from_embedded(found, at, f"{provider[:100]}/{model[:100]}")


@lru_cache(maxsize=1)
def shipped_prices() -> PriceTable:
    """The embedded table with the entries that come with this package, read once."""
    return PriceTable(shipped=read_overrides(SHIPPED))


def embedded_models(containing: str) -> list[tuple[str, str]]:
    """Provider and model of the embedded table whose `provider/model` holds the text, sorted.

    Raises ImportError where the package genai-prices is not installed.
    """
    wanted = containing.lower()
    return sorted(
        (provider.id, model.id)
        for provider in _snapshot().providers
        for model in provider.models
        if wanted in f"{provider.id}/{model.id}".lower()
    )


def _embedded_version() -> str:
    try:
        return f"genai-prices {metadata.version('genai-prices')}"
    except metadata.PackageNotFoundError:
        return "no embedded table"


def _digest(entries: tuple[PriceOverride, ...]) -> str:
    text = "\n".join(entry.model_dump_json() for entry in entries)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _uncountable(counts: tuple[int | None, ...]) -> Unpriced:
    """What is wrong with the numbers of tokens, in the order of `_CLASSES`."""
    for name, tokens in zip(_CLASSES, counts, strict=True):
        if tokens is None:
            return Unpriced(f"{Gap.NO_COUNT} {name} tokens is unknown")
        if not 0 <= tokens <= _MOST_TOKENS:
            return _impossible(f"{tokens} {name} tokens; expected 0 to {_MOST_TOKENS}")
    input_tokens, cached, written, for_an_hour, output_tokens, reasoning = counts
    if (reasoning or 0) > (output_tokens or 0):
        parts, whole = f"{reasoning} reasoning", f"{output_tokens} output"
    elif (for_an_hour or 0) > (written or 0):
        parts, whole = f"{for_an_hour} written for an hour", f"{written} written"
    else:
        parts = f"{cached} cached" + (f" and {written} written" if written else "")
        whole = f"{input_tokens} input"
    return _impossible(f"{parts} of {whole} tokens; expected no more")


def _impossible(said: str) -> Unpriced:
    return Unpriced(f"{Gap.IMPOSSIBLE_COUNT}: {said}")


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"time {at.isoformat()} has no zone; expected UTC")
    return at.astimezone(UTC)


def _shown(tariff: _Tariff | None) -> Rate | None:
    return None if tariff is None else tariff.shown()


def _nanos(femtos: int) -> int:
    return (femtos + 500_000) // 1_000_000


def _from_override(entry: PriceOverride, origin: Origin) -> _Rates:
    return _Rates(
        input=_flat(entry.input),
        cached_input=None if entry.cached_input is None else _flat(entry.cached_input),
        cache_write=None if entry.cache_write is None else _flat(entry.cache_write),
        cache_write_1h=_flat(_first(entry.cache_write_1h, entry.cache_write, entry.input)),
        output=_flat(entry.output),
        reasoning=None,
        request=0,
        simulated=entry.simulated,
        origin=origin,
        source=entry.source,
        starts=entry.starts,
    )


def _first(*rates: Decimal | None) -> Decimal:
    return next(rate for rate in rates if rate is not None)


def _flat(dollars_per_million: Decimal) -> _Tariff:
    return _Tariff(((-1, _femtos(dollars_per_million, per=10**6)),))


def _femtos(dollars: Decimal, per: int) -> int:
    # Rounded, because some of the embedded prices carry the noise of a float (1.0399999999999998).
    return int((dollars * 10**15 / per).to_integral_value())


@lru_cache(maxsize=1)
def _snapshot() -> Any:
    # A snapshot of our own: the package's global one may be replaced by an update.
    from genai_prices.data import providers
    from genai_prices.data_snapshot import DataSnapshot

    return DataSnapshot(providers=providers, from_auto_update=False)


@lru_cache(maxsize=4096)
def _find(provider: str, model: str) -> Any:
    """The embedded table's model, or `Unpriced`."""
    try:
        _, found = _snapshot().find_provider_model(model, None, provider, None)
    except ImportError:
        return Unpriced(f"{Gap.NO_TABLE}, the package genai-prices, is not installed")
    except LookupError:
        return Unpriced(f"{Gap.NO_PRICE} for {provider[:100]}/{model[:100]}")
    if not found.prices:
        return Unpriced(f"{Gap.NO_PRICE} for {provider[:100]}/{model[:100]}")
    return found


@lru_cache(maxsize=4096)
def _embedded_provider(model: str) -> str | Unpriced:
    """By the embedded table's own patterns of the names of models."""
    try:
        providers = _snapshot().providers
    except ImportError:
        return Unpriced(f"{Gap.NO_TABLE}, the package genai-prices, is not installed")
    name = model.lower()
    matches = [one.id for one in providers if one.model_match and one.model_match.is_match(name)]
    return _the_only_one(matches, model)


def _the_only_one(providers: Sequence[str], model: str) -> str | Unpriced:
    if len(providers) == 1:
        return providers[0]
    whose = f"{', '.join(providers)} have" if providers else "no provider is known to have"
    return Unpriced(f"{Gap.NO_PROVIDER}, and {whose} a model called {model[:100]}: pass provider=")


def _changes_within_a_day(model: Any) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    return isinstance(model.prices, list) and any(
        isinstance(entry.constraint, TimeOfDateConstraint) for entry in model.prices
    )


def _from_embedded(model: Any, at: datetime, name: str) -> _Rates | Unpriced:
    prices = model.get_prices(at)
    if prices.input_mtok is None or prices.output_mtok is None:
        return Unpriced(f"{Gap.OTHER_UNIT}: {name}")
    request = prices.requests_kcount
    return _Rates(
        input=_tariff(prices.input_mtok),
        cached_input=_tariff_if_any(prices, "cache_read_mtok"),
        cache_write=_tariff_if_any(prices, "cache_write_mtok"),
        cache_write_1h=_tariff_if_any(prices, "cache_write_1h_mtok"),
        output=_tariff(prices.output_mtok),
        reasoning=_tariff_if_any(prices, "output_reasoning_mtok"),
        request=0 if request is None else _femtos(request, per=1000),
        simulated=False,
        origin=Origin.EMBEDDED,
        source=_embedded_version(),
    )


def _tariff_if_any(prices: Any, name: str) -> _Tariff | None:
    price = getattr(prices, name, None)
    return None if price is None else _tariff(price)


def _tariff(price: Any) -> _Tariff:
    """A plain price, or one whose rate for all tokens depends on the size of the input."""
    if isinstance(price, Decimal):
        return _flat(price)
    steps = [(-1, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    return _Tariff(tuple((above, _femtos(rate, per=10**6)) for above, rate in steps))
