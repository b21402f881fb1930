"""What a call cost: once for every token, to the nano-dollar, or unknown with a reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from shared.costs.prices import Price, PriceTable, PriceTableError, Unpriced, shipped_prices

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKENS = st.integers(0, 400_000)


@dataclass(frozen=True)
class Call:
    provider: str
    llm_model: str
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None


@pytest.mark.parametrize(
    ("call", "nanos"),
    [
        # OpenAI, guide "Prompt caching": usage of 2,006 prompt tokens of which 1,920 were cached,
        # and 300 completion tokens; gpt-4o at $2.50, cached $1.25, output $10 per million.
        (Call("openai", "gpt-4o", 2006, 1920, 300), 86 * 2500 + 1920 * 1250 + 300 * 10_000),
        # xAI, guide "Prompt caching: usage and pricing": 125 prompt tokens of which 98 were
        # cached, and 48 completion tokens; grok-3 at $3, cached $0.75, output $15 per million.
        (Call("x-ai", "grok-3", 125, 98, 48), 27 * 3000 + 98 * 750 + 48 * 15_000),
        # OpenAI, model page of gpt-4.1-mini: $0.40, cached $0.10, output $1.60 per million.
        (Call("openai", "gpt-4.1-mini", 10**6, 0, 0), 400_000_000),
        (Call("openai", "gpt-4.1-mini", 10**6, 10**6, 0), 100_000_000),
        (Call("openai", "gpt-4.1-mini-2025-04-14", 0, 0, 10**6), 1_600_000_000),
        # Google, "Gemini Developer API pricing": gemini-2.5-pro costs $1.25 and $10 per million
        # for prompts up to 200,000 tokens, $2.50 and $15 for every token of a longer one.
        (Call("google", "gemini-2.5-pro", 200_000, 0, 1), 200_000 * 1250 + 10_000),
        (Call("google", "gemini-2.5-pro", 200_001, 0, 1), 200_001 * 2500 + 15_000),
    ],
)
def test_the_price_is_the_providers(call, nanos):
    assert shipped_prices().price(call, AT) == Price(nanos, False, shipped_prices().version)


@given(
    st.sampled_from(
        [
            (provider.id, model.id)
            for provider in providers
            if provider.id in {"openai", "anthropic", "google", "deepseek", "perplexity"}
            for model in provider.models
        ]
    ),
    st.datetimes(datetime(2024, 6, 1), datetime(2026, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    TOKENS,
    TOKENS,
    TOKENS,
)
def test_integer_prices_are_the_embedded_tables_decimals(name, at, fresh, cached, output):
    provider, model = name
    found = shipped_prices().price(Call(provider, model, fresh + cached, cached, output), at)
    if isinstance(found, Unpriced) and "not priced by input and output tokens" in found.reason:
        return
    usage = genai_prices.Usage(
        input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output
    )
    if isinstance(found, Unpriced):
        # Some entries are patterns: their own identifier is no model's name.
        with pytest.raises(LookupError):
            genai_prices.calc_price(usage, model, provider_id=provider)
        return
    exact = genai_prices.calc_price(
        usage, model, provider_id=provider, genai_request_timestamp=at
    ).total_price
    assert abs(found.nanos - exact * 10**9) <= Decimal("0.5")


@given(TOKENS, TOKENS, TOKENS)
def test_a_cached_token_is_counted_once(fresh, cached, output):
    found = shipped_prices().price(
        Call("openai", "gpt-4.1-mini", fresh + cached, cached, output), AT
    )
    assert found.nanos == fresh * 400 + cached * 100 + output * 1600


def test_the_stand_in_is_priced_as_gpt_4_1_mini_and_says_that_it_is_simulated():
    stand_in = shipped_prices().price(Call("stand-in", "stand-in", 2000, 500, 90), AT)
    model = shipped_prices().price(Call("openai", "gpt-4.1-mini", 2000, 500, 90), AT)
    assert stand_in.nanos == model.nanos
    assert (stand_in.simulated, model.simulated) == (True, False)


def test_less_than_a_nano_dollar_is_rounded_once(tmp_path):
    table = table_of(tmp_path, entry(input="0.000300", output="0.000200"))
    assert table.price(Call("p", "m", 1, 0, 1), AT).nanos == 1
    assert table.price(Call("p", "m", 1, 0, 0), AT).nanos == 0
    assert table.price(Call("p", "m", 10, 0, 0), AT).nanos == 3


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("openai", "gpt-99", 1, 0, 1), "no price is known for openai/gpt-99"),
        (Call("nobody", "gpt-4o", 1, 0, 1), "no price is known for nobody/gpt-4o"),
        (Call("openai", "gpt-4o", None, 0, 1), "the number of input tokens is unknown"),
        (Call("openai", "gpt-4o", 1, 0, None), "the number of output tokens is unknown"),
        (Call("openai", "gpt-4o", 1, None, 1), "the number of cached input tokens is unknown"),
        (Call("openai", "gpt-4o", 5, 10, 1), "10 cached of 5 input tokens"),
        (Call("openai", "gpt-4o", -5, 0, 1), "-5 input tokens; expected 0 to"),
        (Call("openai", "gpt-4o", 10**12, 0, 1), "1000000000000 input tokens; expected 0 to"),
        (Call("openai", "dall-e-3", 1, 0, 1), "dall-e-3"),
        (Call("x" * 10_000, "", 1, 0, 1), "no price is known for " + "x" * 100 + "/"),
    ],
)
def test_what_is_not_known_is_not_zero(call, reason):
    found = shipped_prices().price(call, AT)
    assert isinstance(found, Unpriced)
    assert found.reason.startswith(reason) or reason in found.reason
    assert len(found.reason) < 300


def test_cached_tokens_may_be_unknown_where_they_cost_the_same(tmp_path):
    table = table_of(tmp_path, entry())
    assert table.price(Call("p", "m", 10, None, 0), AT).nanos == 10 * 1000


def entry(**changes):
    fields = {"provider": "p", "model": "m", "starts": "2026-01-01", "source": "a contract"}
    fields |= {"input": '"1"', "output": '"2"'} | changes
    return "- " + "\n  ".join(f"{key}: {value}" for key, value in fields.items())


def table_of(folder, *entries):
    file = folder / "prices.yaml"
    file.write_text("\n".join(entries))
    return PriceTable.load(file)


def test_an_override_holds_from_its_day_in_utc(tmp_path):
    table = table_of(tmp_path, entry(starts="2026-02-01", input="3"), entry())
    call = Call("p", "m", 1, 0, 0)
    eastern = timezone(timedelta(hours=-5))
    assert table.price(call, datetime(2026, 1, 31, 23, 59, tzinfo=UTC)).nanos == 1000
    assert table.price(call, datetime(2026, 1, 31, 19, 0, tzinfo=eastern)).nanos == 3000
    assert isinstance(table.price(call, datetime(2025, 12, 31, tzinfo=UTC)), Unpriced)


def test_an_override_comes_before_the_embedded_table_and_only_once_it_has_begun(tmp_path):
    table = table_of(tmp_path, entry(provider="openai", model="gpt-4o", input="9"))
    call = Call("openai", "gpt-4o", 1, 0, 0)
    assert table.price(call, AT).nanos == 9000
    assert table.price(call, datetime(2025, 6, 1, tzinfo=UTC)).nanos == 2500


def test_the_version_names_the_prices(tmp_path):
    version = shipped_prices().version
    assert version.startswith("genai-prices ")
    assert PriceTable.load().version == version
    one = table_of(tmp_path, entry()).version
    assert table_of(tmp_path, entry(input="7")).version != one != version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(input="-1"), "entry 0.input: Input should be greater than or equal to 0"),
        (entry(output="nan"), "entry 0.output: Input should be a finite number"),
        (entry(starts="soon"), "entry 0.starts"),
        (entry(colour="red"), "entry 0.colour: Extra inputs are not permitted"),
        (entry(input="0.0000001"), "entry 0.input"),
        ("provider: p", "entry the file: Input should be a valid list"),
        ("- [", "not YAML"),
    ],
)
def test_a_mistake_in_the_file_is_named_in_one_line(tmp_path, text, message):
    with pytest.raises(PriceTableError) as raised:
        table_of(tmp_path, text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PriceTableError, match="No such file"):
        PriceTable.load(tmp_path / "none.yaml")


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="has no zone"):
        shipped_prices().price(Call("openai", "gpt-4o", 1, 0, 1), AT.replace(tzinfo=None))


def test_pricing_opens_no_connection():
    program = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(event)
sys.addaudithook(refuse)
from datetime import UTC, datetime
from shared.costs.prices import shipped_prices
from shared.evaluation.protocol import LlmCall
call = LlmCall(provider="openai", llm_model="gpt-4o", latency_ms=1, input_tokens=10,
               cached_input_tokens=0, output_tokens=1, query_length=4)
print(shipped_prices().price(call, datetime(2026, 1, 1, tzinfo=UTC)).nanos)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "35000"), done.stderr
