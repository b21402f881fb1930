"""What a call cost: once for every token, to the nano-dollar, or unknown with a reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from shared.costs.overrides import PriceTableError, read_overrides, written
from shared.costs.prices import (
    Origin,
    Price,
    PriceTable,
    Unpriced,
    embedded_models,
    shipped_prices,
)
from shared.telemetry.gaps import Gap

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKENS = st.integers(0, 400_000)


@dataclass(frozen=True)
class Call:
    provider: str | None
    llm_model: str | None
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = 0
    cache_write_1h_tokens: int | None = None


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
        # Anthropic, "Pricing": claude-sonnet-4-5 at $3, 5-minute cache writes $3.75, cache hits
        # $0.30, output $15 per million.
        (
            Call("anthropic", "claude-sonnet-4-5", 1000, 600, 10, 300),
            100 * 3000 + 600 * 300 + 300 * 3750 + 10 * 15_000,
        ),
        # The same page: 1-hour cache writes cost twice the base input, $6 per million.
        (
            Call("anthropic", "claude-sonnet-4-5", 1000, 600, 10, 300, 0, 200),
            100 * 3000 + 600 * 300 + 100 * 3750 + 200 * 6000 + 10 * 15_000,
        ),
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
    st.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS),
)
def test_integer_prices_are_the_embedded_tables_decimals(name, at, tokens):
    provider, model = name
    fresh, cached, write, answer, reasoning = tokens
    call = Call(
        provider, model, fresh + cached + write, cached, answer + reasoning, write, reasoning
    )
    found = shipped_prices().price(call, at)
    if isinstance(found, Unpriced) and "not priced by input and output tokens" in found.reason:
        return
    usage = genai_prices.Usage(
        input_tokens=fresh + cached + write,
        cache_read_tokens=cached,
        cache_write_tokens=write,
        output_tokens=answer + reasoning,
        output_reasoning_tokens=reasoning,
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


def usage_of(provider, flavor, response):
    """A call as its provider's documentation shows the usage of one."""
    found = genai_prices.extract_usage(response, provider_id=provider, api_flavor=flavor)
    said = vars(found.usage)
    return Call(
        provider,
        response.get("model") or response["modelVersion"],
        said["input_tokens"],
        said.get("cache_read_tokens"),
        said["output_tokens"],
        said.get("cache_write_tokens"),
        said.get("output_reasoning_tokens"),
        said.get("cache_write_1h_tokens"),
    )


# Each with the numbers that the page shows or explains, and what its own price list makes of them.
@pytest.mark.parametrize(
    ("provider", "flavor", "response", "counts", "nanos"),
    [
        pytest.param(
            # OpenAI, guide "Prompt caching", section "Requirements": the usage of a chat
            # completion. `cached_tokens` is a part of `prompt_tokens`.
            "openai",
            "chat",
            {
                "model": "gpt-4o",
                "usage": {
                    "prompt_tokens": 2006,
                    "completion_tokens": 300,
                    "total_tokens": 2306,
                    "prompt_tokens_details": {"cached_tokens": 1920},
                    "completion_tokens_details": {
                        "reasoning_tokens": 0,
                        "accepted_prediction_tokens": 0,
                        "rejected_prediction_tokens": 0,
                    },
                },
            },
            (2006, 1920, None, 300, 0),
            86 * 2500 + 1920 * 1250 + 300 * 10_000,
            id="openai chat",
        ),
        pytest.param(
            # OpenAI, guide "Reasoning models", section "How reasoning works": the usage of a
            # response. Reasoning tokens are a part of `output_tokens` and "billed as output".
            "openai",
            "responses",
            {
                "model": "o3",
                "usage": {
                    "input_tokens": 75,
                    "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens": 1186,
                    "output_tokens_details": {"reasoning_tokens": 1024},
                    "total_tokens": 1261,
                },
            },
            (75, 0, None, 1186, 1024),
            75 * 2000 + 1186 * 8000,
            id="openai responses",
        ),
        pytest.param(
            # Anthropic, "Prompt caching", section "Tracking cache performance": "total input
            # tokens = cache_read_input_tokens + cache_creation_input_tokens + input_tokens", with
            # 100,000 read, none written and 50 after the last cache breakpoint.
            "anthropic",
            "default",
            {
                "model": "claude-sonnet-4-5",
                "usage": {
                    "input_tokens": 50,
                    "cache_read_input_tokens": 100_000,
                    "cache_creation_input_tokens": 0,
                    "output_tokens": 503,
                },
            },
            (100_050, 100_000, 0, 503, None),
            50 * 3000 + 100_000 * 300 + 503 * 15_000,
            id="anthropic reads",
        ),
        pytest.param(
            # Anthropic, "Prompt caching", section "1-hour cache duration": 1,800 read, 248 written
            # and 2,048 others; of those written, 100 for an hour, at twice the base rate.
            "anthropic",
            "default",
            {
                "model": "claude-sonnet-4-5",
                "usage": {
                    "input_tokens": 2048,
                    "cache_read_input_tokens": 1800,
                    "cache_creation_input_tokens": 248,
                    "output_tokens": 503,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 148,
                        "ephemeral_1h_input_tokens": 100,
                    },
                },
            },
            (4096, 1800, 248, 503, None),
            2048 * 3000 + 1800 * 300 + 148 * 3750 + 100 * 6000 + 503 * 15_000,
            id="anthropic writes",
        ),
        pytest.param(
            # Google, "Gemini API reference: UsageMetadata": `promptTokenCount` "includes the
            # number of tokens in the cached content", `thoughtsTokenCount` stands beside
            # `candidatesTokenCount`, and thinking tokens are priced as output.
            "google",
            "default",
            {
                "modelVersion": "gemini-2.5-flash",
                "usageMetadata": {
                    "promptTokenCount": 1000,
                    "cachedContentTokenCount": 200,
                    "candidatesTokenCount": 50,
                    "thoughtsTokenCount": 30,
                    "totalTokenCount": 1080,
                },
            },
            (1000, 200, None, 80, 30),
            800 * 300 + 200 * 30 + 80 * 2500,
            id="gemini",
        ),
    ],
)
def test_usage_as_a_provider_documents_it_is_counted_once(
    provider, flavor, response, counts, nanos
):
    call = usage_of(provider, flavor, response)
    assert (
        call.input_tokens,
        call.cached_input_tokens,
        call.cache_write_tokens,
        call.output_tokens,
        call.reasoning_tokens,
    ) == counts
    assert shipped_prices().price(call, AT).nanos == nanos


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_every_input_token_is_charged_once_whatever_its_class(fresh, read, write, output):
    name = ("anthropic", "claude-3-5-haiku-latest")
    found = shipped_prices().price(Call(*name, fresh + read + write, read, output, write), AT)
    assert found.nanos == fresh * 800 + read * 80 + write * 1000 + output * 4000


def test_who_reports_no_cache_writes_is_charged_for_input_and_not_left_unpriced():
    name = ("anthropic", "claude-3-5-haiku-latest")
    told = shipped_prices().price(Call(*name, 1000, 0, 0, 0), AT)
    assert shipped_prices().price(Call(*name, 1000, 0, 0, None), AT) == told
    # Where writing costs what reading anew does, it does not matter.
    assert shipped_prices().price(Call("openai", "gpt-4o", 10, 0, 0, 10), AT).nanos == 10 * 2500


def test_a_provider_that_is_not_named_is_the_only_one_with_such_a_model(tmp_path):
    table = shipped_prices()
    named = table.price(Call("openai", "gpt-4o", 10, 0, 1), AT)
    found = table.price(Call(None, "gpt-4o", 10, 0, 1), AT)
    assert (found.nanos, found.version) == (
        named.nanos,
        f"{named.version}, openai by the model's name",
    )
    assert table.price(Call(None, "stand-in", 10, 0, 1), AT).simulated
    own = table_of(tmp_path, entry(model="gpt-4o"))
    assert own.price(Call(None, "gpt-4o", 1, 0, 0), AT).version.endswith(", p by the model's name")
    both = table_of(tmp_path, entry(), entry(provider="q"))
    assert both.price(Call(None, "m", 1, 0, 0), AT) == Unpriced(
        "no provider was named, and p, q have a model called m: pass provider="
    )


def test_own_one_hour_writes_cost_what_is_said_or_what_other_writes_do(tmp_path):
    call = Call("p", "m", 10, 0, 0, 10, 0, 4)
    said = table_of(tmp_path, entry(cache_write="2", cache_write_1h="3"))
    assert said.price(call, AT).nanos == 6 * 2000 + 4 * 3000
    assert table_of(tmp_path, entry(cache_write="2")).price(call, AT).nanos == 10 * 2000
    assert table_of(tmp_path, entry()).price(call, AT).nanos == 10 * 1000


def test_reasons_are_of_a_few_classes():
    reasons = [
        found.reason
        for call in (
            Call("openai", "gpt-99", 1, 0, 1),
            Call(None, "llama-3", 1, 0, 1),
            Call("openai", None, 1, 0, 1),
            Call("openai", "gpt-4o", None, 0, 1),
            Call("openai", "gpt-4o", 5, 10, 1),
        )
        if isinstance(found := shipped_prices().price(call, AT), Unpriced)
    ]
    classes = [next(gap for gap in Gap if reason.startswith(gap)) for reason in reasons]
    assert classes == [
        Gap.NO_PRICE,
        Gap.NO_PROVIDER,
        Gap.NO_MODEL,
        Gap.NO_COUNT,
        Gap.IMPOSSIBLE_COUNT,
    ]


def test_reasoning_with_a_rate_of_its_own_is_not_charged_as_other_output_as_well():
    # Perplexity, "Pricing": sonar-deep-research at $2, output $8, reasoning $3 per million.
    name = ("perplexity", "sonar-deep-research")
    found = shipped_prices().price(Call(*name, 100, 0, 50, 0, 40), AT)
    assert found.nanos == 100 * 2000 + 10 * 8000 + 40 * 3000
    unknown = shipped_prices().price(Call(*name, 100, 0, 50, 0, None), AT)
    assert unknown == Unpriced("the number of reasoning tokens is unknown")


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
        (Call("openai", "gpt-4o", 9, 5, 1, 5), "5 cached and 5 written of 9 input tokens"),
        (Call("openai", "gpt-4o", 9, 0, 1, -5), "-5 cache write tokens; expected 0 to"),
        (Call("openai", "o3", 9, 0, 1, 0, 2), "2 reasoning of 1 output tokens"),
        (
            Call(None, "llama-3", 1, 0, 1),
            "no provider was named, and no provider is known to have a",
        ),
        (Call(None, "gpt-99", 1, 0, 1), "no price is known for openai/gpt-99"),
        (
            Call("anthropic", "claude-sonnet-4-5", 9, 0, 1, 5, 0, 6),
            "impossible numbers of tokens: 6 written for an hour of 5 written tokens",
        ),
        (
            Call("openai", "gpt-4o", 9, 0, 1, 5, 0, 5),
            "no price is known for one-hour cache writes of openai/gpt-4o",
        ),
        (Call("openai", None, 1, 0, 1), "no model was named"),
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
    return PriceTable(read_overrides(file))


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
    assert PriceTable(shipped=shipped_prices().shipped).version == version
    one = table_of(tmp_path, entry()).version
    assert table_of(tmp_path, entry(input="7")).version != one != version
    assert table_of(tmp_path, entry(input="1.00")).version == one


def test_an_own_entry_comes_before_one_that_is_shipped(tmp_path):
    own = table_of(tmp_path, entry(provider="stand-in", model="stand-in", starts="2026-03-01"))
    both = PriceTable(own.own, shipped_prices().shipped)
    before = datetime(2026, 2, 28, tzinfo=UTC)
    assert both.quote("stand-in", "stand-in", AT).origin is Origin.OWN
    assert both.quote("stand-in", "stand-in", before).origin is Origin.SHIPPED
    assert both.version.startswith(shipped_prices().version + ", own ")


def test_a_quote_says_what_each_class_costs_and_who_says_so(tmp_path):
    found = shipped_prices().quote("anthropic", "claude-sonnet-4-5", AT)
    assert found.origin is Origin.EMBEDDED
    assert found.source.startswith("genai-prices ")
    assert found.input.steps == ((-1, Decimal(3)), (200_000, Decimal(6)))
    assert found.cache_write.steps[0] == (-1, Decimal("3.75"))
    assert found.reasoning is None
    own = table_of(tmp_path, entry(cache_write="1.25")).quote("p", "m", AT)
    assert (own.source, own.starts, own.simulated) == ("a contract", date(2026, 1, 1), False)
    assert own.cache_write.steps == ((-1, Decimal("1.25")),)
    nobody = shipped_prices().quote("nobody", "m", AT)
    assert nobody == Unpriced("no price is known for nobody/m")


def test_the_embedded_models_can_be_looked_through():
    found = embedded_models("openai/GPT-4.1")
    assert ("openai", "gpt-4.1-mini") in found
    assert all("openai/gpt-4.1" in f"{provider}/{model}" for provider, model in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry(input="-1"), ":5:3: [0].input: Input should be greater than or equal to 0"),
        (entry(output="nan"), ":6:3: [0].output: Input should be a finite number"),
        (entry(starts="soon"), ":3:3: [0].starts: Input should be a valid date"),
        (entry(colour="red"), ":7:3: [0].colour: unknown key 'colour': it takes provider, model,"),
        (entry(input="0.0000001"), ":5:3: [0].input: Decimal input should have no more than 6"),
        (entry(source="1"), ":4:3: [0].source: must be a text; put it in quotes"),
        (entry() + "\n" + entry(), ":7:3: [1]: p/m has a price from 2026-01-01 on already, in"),
        ("- provider: p", ":1:3: [0].model: 'model' is missing (and 4 more mistakes)"),
        ("- 5", ":1:3: [0]: must be a mapping"),
        ("provider: p", ":1:1: expected a list of entries"),
        ("- [", ":1:4: no valid YAML"),
        ("- &a {}\n- *a", ":2:3: [1]: alias *a: aliases are not allowed"),
        ("", ":1:1: the file is empty"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_line(tmp_path, text, message):
    with pytest.raises(PriceTableError) as raised:
        table_of(tmp_path, text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PriceTableError, match="No such file"):
        read_overrides(tmp_path / "none.yaml")


def test_what_is_written_reads_back_as_the_same(tmp_path):
    entries = [entry(), entry(model="n", simulated="true", cached_input="0.1", cache_write="1.5")]
    own = table_of(tmp_path, *entries).own
    file = tmp_path / "again.yaml"
    file.write_text(written(own))
    assert read_overrides(file) == own
    file.write_text(written(()))
    assert read_overrides(file) == ()


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
