"""What a model call cost, in integer nano-dollars, or why that is not known.

The embedded table is the `genai-prices` package as installed; it is never updated over the
network. Entries of a YAML file come before it. Rates are looked up once per provider, model and
day; a call is then priced with integers and rounded once, to the nearest nano-dollar.

`input_tokens` includes `cached_input_tokens`, as in OpenAI's `usage`: the cached ones are charged
at the cached rate and not again at the full one. A provider that counts them apart (Anthropic)
has them added up by whoever records the call. Reasoning tokens are part of `output_tokens`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

OVERRIDES = Path(__file__).with_name("prices.yaml")
_MOST_TOKENS = 10**9
"Of one call. Beyond any context there is, so it is a mistake and not a bill."


class PriceTableError(ValueError):
    """A price table cannot be read; the message is one line for the user."""


class PricedCall(Protocol):
    """What is priced; `shared.evaluation.protocol.LlmCall` is one."""

    @property
    def provider(self) -> str: ...
    @property
    def llm_model(self) -> str: ...
    @property
    def input_tokens(self) -> int | None: ...
    @property
    def cached_input_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...


@dataclass(frozen=True)
class Price:
    """The cost of one call. A simulated one is no real money and must be shown as such."""

    nanos: int
    simulated: bool
    version: str
    "The table that gave it: `PriceTable.version`."


@dataclass(frozen=True)
class Unpriced:
    """The cost is not known, which is not the same as nothing."""

    reason: str


class PriceOverride(BaseModel):
    """One entry of the YAML file: dollars per million tokens of a model from a day on (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1)
    starts: date
    simulated: bool = False
    source: str = Field(min_length=1)
    input: Decimal = Field(ge=0, max_digits=15, decimal_places=6, allow_inf_nan=False)
    cached_input: Decimal | None = Field(
        default=None, ge=0, max_digits=15, decimal_places=6, allow_inf_nan=False
    )
    output: Decimal = Field(ge=0, max_digits=15, decimal_places=6, allow_inf_nan=False)


@dataclass(frozen=True)
class _Tariff:
    """A rate by size of the input: from more than `above` input tokens on, `femtos` each.

    In femto-dollars (10**-15): a price per million tokens with nine decimals is an integer.
    """

    steps: tuple[tuple[int, int], ...]

    def at(self, input_tokens: int) -> int:
        return next(femtos for above, femtos in reversed(self.steps) if input_tokens > above)


@dataclass(frozen=True)
class _Rates:
    input: _Tariff
    cached_input: _Tariff | None
    "None if cached tokens cost what others do."
    output: _Tariff
    request: int
    "Femto-dollars for the call itself."
    simulated: bool


class PriceTable:
    """Prices of overrides and, behind them, of the embedded table."""

    def __init__(self, overrides: Iterable[PriceOverride] = ()) -> None:
        self.overrides = tuple(sorted(overrides, key=lambda entry: entry.starts))
        self._rates_on = lru_cache(maxsize=4096)(self._look_up)

    @classmethod
    def load(cls, path: Path = OVERRIDES) -> PriceTable:
        """The table with the overrides of a YAML file. PriceTableError names what is wrong."""
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
            return cls(TypeAdapter(list[PriceOverride]).validate_python(entries))
        except OSError as error:
            raise PriceTableError(f"price table {path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            first = str(error).partition("\n")[0]
            raise PriceTableError(f"price table {path}: not YAML: {first}") from None
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "the file"
            raise PriceTableError(f"price table {path}: entry {where}: {problem['msg']}") from None

    @cached_property
    def version(self) -> str:
        """Names the prices exactly: the embedded package's version and a hash of the overrides."""
        try:
            embedded = f"genai-prices {metadata.version('genai-prices')}"
        except metadata.PackageNotFoundError:
            embedded = "no embedded table"
        entries = "\n".join(entry.model_dump_json() for entry in self.overrides)
        digest = hashlib.sha256(entries.encode()).hexdigest()[:12]
        return f"{embedded}, overrides {digest}"

    def price(self, call: PricedCall, at: datetime) -> Price | Unpriced:
        """What `call`, made at the instant `at`, cost. ValueError if `at` has no time zone."""
        if at.tzinfo is None:
            raise ValueError(f"time {at.isoformat()} has no zone; expected UTC")
        rates = self._rates(call.provider, call.llm_model, at.astimezone(UTC))
        if isinstance(rates, Unpriced):
            return rates
        return self._charge(call, rates)

    def _charge(self, call: PricedCall, rates: _Rates) -> Price | Unpriced:
        # Without a rate of their own it does not matter how many tokens were cached.
        cached_tokens = call.cached_input_tokens
        if cached_tokens is None and rates.cached_input is None:
            cached_tokens = 0
        counts: list[int] = []
        for name, tokens in (
            ("input", call.input_tokens),
            ("cached input", cached_tokens),
            ("output", call.output_tokens),
        ):
            if tokens is None:
                return Unpriced(f"the number of {name} tokens is unknown")
            if not 0 <= tokens <= _MOST_TOKENS:
                return Unpriced(f"{tokens} {name} tokens; expected 0 to {_MOST_TOKENS}")
            counts.append(tokens)
        input_tokens, cached, output_tokens = counts
        if cached > input_tokens:
            return Unpriced(f"{cached} cached of {input_tokens} input tokens; expected no more")
        cached_tariff = rates.cached_input or rates.input
        femtos = (
            (input_tokens - cached) * rates.input.at(input_tokens)
            + cached * cached_tariff.at(input_tokens)
            + output_tokens * rates.output.at(input_tokens)
            + rates.request
        )
        return Price((femtos + 500_000) // 1_000_000, rates.simulated, self.version)

    def _rates(self, provider: str, model: str, at: datetime) -> _Rates | Unpriced:
        rates = self._rates_on(provider, model, at.date())
        # None: they change within the day.
        return self._embedded(provider, model, at) if rates is None else rates

    def _look_up(self, provider: str, model: str, day: date) -> _Rates | Unpriced | None:
        own = [
            entry
            for entry in self.overrides
            if (entry.provider, entry.model) == (provider, model) and entry.starts <= day
        ]
        if own:
            return _from_override(own[-1])
        found = _find(provider, model)
        if not isinstance(found, Unpriced) and _changes_within_a_day(found):
            return None
        return self._embedded(provider, model, datetime(day.year, day.month, day.day, tzinfo=UTC))

    def _embedded(self, provider: str, model: str, at: datetime) -> _Rates | Unpriced:
        found = _find(provider, model)
        if isinstance(found, Unpriced):
            return found
        return _from_embedded(found, at, f"{provider}/{model}")


@lru_cache(maxsize=1)
def shipped_prices() -> PriceTable:
    """The embedded table with the overrides that come with this package, read once."""
    return PriceTable.load()


def _from_override(entry: PriceOverride) -> _Rates:
    cached = None if entry.cached_input is None else _flat(entry.cached_input)
    return _Rates(_flat(entry.input), cached, _flat(entry.output), 0, entry.simulated)


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
        return Unpriced("the embedded price table, the package genai-prices, is not installed")
    except LookupError:
        return Unpriced(f"no price is known for {provider[:100]}/{model[:100]}")
    if not found.prices:
        return Unpriced(f"no price is known for {provider[:100]}/{model[:100]}")
    return found


def _changes_within_a_day(model: Any) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    return isinstance(model.prices, list) and any(
        isinstance(entry.constraint, TimeOfDateConstraint) for entry in model.prices
    )


def _from_embedded(model: Any, at: datetime, name: str) -> _Rates | Unpriced:
    prices = model.get_prices(at)
    if prices.input_mtok is None or prices.output_mtok is None:
        return Unpriced(f"{name} is not priced by input and output tokens")
    request = prices.requests_kcount
    return _Rates(
        input=_tariff(prices.input_mtok),
        cached_input=None if prices.cache_read_mtok is None else _tariff(prices.cache_read_mtok),
        output=_tariff(prices.output_mtok),
        request=0 if request is None else _femtos(request, per=1000),
        simulated=False,
    )


def _tariff(price: Any) -> _Tariff:
    """A plain price, or one whose rate for all tokens depends on the size of the input."""
    if isinstance(price, Decimal):
        return _flat(price)
    steps = [(-1, price.base), *((tier.start, tier.price) for tier in price.tiers)]
    return _Tariff(tuple((above, _femtos(rate, per=10**6)) for above, rate in steps))
