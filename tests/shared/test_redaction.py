"""Secrets of every kind that people put where they should not are taken out; the rest stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.redaction import REDACTED, redacted, redacted_json, redacted_value
from tests.shared.canaries import CANARIES, SECRETS

S = "S3cr3tV4lue9999"
"Stands for the secret; none of these is a real one."


@pytest.mark.parametrize("kind", CANARIES)
def test_a_secret_is_taken_out_wherever_it_stands(kind: str) -> None:
    canary, secret = CANARIES[kind], SECRETS[kind]
    for text in (canary, f"failed with {canary}", f"{canary} was refused", f"({canary})"):
        assert secret not in redacted(text), text
        assert REDACTED in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        # Signed URLs, and passwords in URLs.
        f"https://x.test/a?sig={S}",
        f"https://x.test/a?b=1&key={S}",
        f"https://b.test/x?X-Amz-Signature={S}&x=1",
        f"X-Amz-Credential=AKIA/{S}/us-east-1/s3/aws4_request",
        f"X-Goog-Signature: {S}",
        f"https://user:{S}@host/x",
        f"https://user:p@{S}@host/x",
        f"postgresql://app:pa/{S}@db/x",
        rf"https:\/\/user:{S}@host\/x",
        # What is named.
        f"password: {S}",
        f"Password={S};User=x",
        f"password=hunter2,{S}",
        f"password=a}}{S}",
        f'password: "{S} with words"',
        f"password=b'{S}'",
        f"password=SecretStr('{S}')",
        f"the token is {S}",
        f"Incorrect API key provided: {S}.",
        f"Invalid token '{S}'",
        f"access_token: Bearer {S}",
        f"password: |\n  {S}",
        f"export GH_TOKEN={S}",
        f"MYSQL_PWD={S} mysql",
        f"-Dpassword={S}",
        f"The API key was {S}.",
        f"SLACK_BOT_TOKEN={S}",
        f"_authToken={S}",
        f"apiKey: {S}",
        f"api_key%3D{S}",
        f"access_token={S}&token_type=bearer",
        f"AccountName=a;AccountKey={S}abc+/==;EndpointSuffix=core",
        f"SharedAccessSignature sr=x&sig={S}&se=1",
        f"Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey={S}=",
        f"<password>{S}</password>",
        f'<input name="password" value="{S}">',
        f"page.fill('#password', '{S}')",
        # Options of commands.
        f"psql --password {S} -h db",
        f"run --token={S}",
        f"run --db-password '{S}'",
        f"curl -u bob:{S} https://x.test",
        # JSON, also in strings, and lists.
        rf"{{\"api_key\": \"{S}\"}}",
        rf"{{\\\"api_key\\\": \\\"{S}\\\"}}",
        f"password&quot;:&quot;{S}&quot;",
        f'"password": ["{S}", "x"]',
        f'"credentials": {{"user": "x", "pw": "{S}"}}',
        f'{{"name": "password", "value": "{S}"}}',
        # Headers.
        f"Authorization: Bearer {S}",
        f"Authorization: AWS4-HMAC-SHA256 Credential=AKIA/2020, Signature={S}",
        f'Authorization: Digest username="Mufasa", response="{S}"',
        f'("Authorization", "Bearer {S}")',
        f'{{"name":"Authorization","value":"Bearer {S}"}}',
        f"headers['X-Api-Key'] = '{S}'",
        f'["Cookie", "sid={S}"]',
        f"Set-Cookie: a=1; sid={S}; Path=/",
        f'Cookie: a="b"; sid={S}',
        f"'cookies': [{{'name': 'sid', 'value': '{S}'}}]",
        # Tokens by their looks, and addresses that are secrets.
        f"ghp_{S}abcd",
        f"github_pat_11AAA_{S}",
        f"glpat-{S}-xyz",
        f"glrt-{S}-xyz",
        f"sk_live_{S}",
        f"rk_test_{S}",
        f"AIza{S}{S}",
        f"hf_{S}{S}",
        f"npm_{S}{S}",
        f"pypi-AgEI{S}",
        f"SG.{S}.{S}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ.{S}",
        f"https://discord.com/api/webhooks/123456/{S}",
        f"https://x.webhook.office.com/webhookb2/{S}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{S}",
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{S}\n-----END PGP PRIVATE KEY BLOCK-----",
    ],
)
def test_a_secret_of_any_shape_goes(text: str) -> None:
    shown = redacted(text)
    assert "S3cr3t" not in shown
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Timeout 30000ms exceeded.",
        "max_tokens: 4096, input_tokens=17, tokens: 5",
        "first_token=0.35, token_count: 5",
        "Unexpected token } in JSON at position 4",
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
        "basic authentication is required",
        "the bearer of bad news",
        "click the pass button",
        "the token is invalid",
        "Unexpected token 'export'",
        "API key provided: none",
        "the token is expired, sign in again",
        "token: missing",
        "the password is too short",
        "password field not found",
        "password_strength: weak",
        "passwordless: true, secretary: Bob, tokenizer: gpt2",
        'missing "token", "name" and "id"',
        "Authorization: required",
        "auth: failed",
        "cookies: 3",
        "Cookie banner: accept",
        "a key is missing, an api key missing",
        "key=value pairs",
        "key: Enter",
        "KeyError: 'price'",
        "Key (id)=(42) already exists.",
        "signature: (self, x) -> None",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "550e8400-e29b-41d4-a716-446655440000",
        "2026-11-22T12:00:00Z",
        "$12.34 per 1,000 tokens, cost: 0.003 USD",
        ".token { color: red; margin: 0 auto }",
        "--token-color: #fff; --primary-token: #fff",
        "locator('[data-token]') and input[name=\"password\"]",
        '<label for="password">Password</label>',
        "https://shop.test/cart",
        "https://shop.test/?q=red+shoes&page=2",
        "https://blog.test/@user/post",
        "net::ERR_CONNECTION_REFUSED at http://127.0.0.1:8000/@me",
        "docker run -u 1000:1000 image",
        "data:image/png;base64,iVBORw0KGgo",
        "task-completion-rate",
        "gpt-4.1-mini@1.0.0",
        "ask-a-question-that-is-long",
        "pk_customer_orders_created_at_idx",
        "npm_config_registry_url_for_all",
        "sk-learn-compatible-estimator-checks",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_what_stands_before_a_secret_still_says_what_went_wrong() -> None:
    said = redacted("cannot connect to postgresql://app:hunter2@db/mlops: refused")
    assert said == f"cannot connect to postgresql://{REDACTED}@db/mlops: refused"
    assert json.loads(redacted('{"api_key": "a\\"b", "n": 1}')) == {"api_key": REDACTED, "n": 1}


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@given(st.text(max_size=50), st.sampled_from(sorted(CANARIES)), st.text(max_size=50))
def test_no_surroundings_hide_a_secret(before: str, kind: str, after: str) -> None:
    text = f"{before} {CANARIES[kind]} {after}"
    assert SECRETS[kind] not in redacted(text)


@pytest.mark.parametrize("value", ["correct horse battery staple", "a,b;c&d", "'x", '"', "1"])
def test_the_value_of_a_field_that_is_named_like_a_secret_goes_whole(value: str) -> None:
    assert redacted_value("password", value) == REDACTED
    assert redacted_value("db_api_key", value) == REDACTED
    assert redacted_value("Authorization", value) == REDACTED
    assert redacted_value("note", value) == value
    assert redacted_value("token_count", value) == value


def test_a_quoted_secret_with_quotes_in_it_goes_whole() -> None:
    assert "battery" not in redacted(r'{"password": "correct \"horse battery"}')


def test_in_json_a_name_tells_of_all_that_it_holds() -> None:
    event = {
        "headers": [["Authorization", "plain"], ["Accept", "text/html"]],
        "entries": [{"name": "X-Api-Key", "value": "plain"}, {"name": "size", "value": "7"}],
        "credentials": {"user": "plain", "more": ["plain", {"x": "plain"}], "tries": 3},
        "body": '{"password": "plain"}',
        "note": "it stays",
    }
    shown = redacted_json(event)
    assert "plain" not in json.dumps(shown)
    assert shown["headers"][1] == ["Accept", "text/html"]
    assert shown["entries"][1] == {"name": "size", "value": "7"}
    assert (shown["credentials"]["tries"], shown["note"]) == (3, "it stays")


@pytest.mark.parametrize(
    "words",
    [
        "a-", "key", "password_", "tokenA", "sk-", "://", "a://b:", "Bearer ", "bearer:", "eyJ",
        'token:"', "token:(", "token=a,b", "secret is ", "--token ", "<token>", 'cookie: a="',
        "&sig", "\\", '\\"token\\":', "-----BEGIN PRIVATE KEY",
    ],
)  # fmt: skip
def test_a_long_text_of_hints_comes_to_an_end(words: str) -> None:
    """What grows with the square of the length would not, within the time of a test."""
    text = ("key token " + words * 100_000)[:200_000]
    assert len(redacted(text)) <= len(text) * len(REDACTED)
