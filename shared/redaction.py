"""Secrets taken out of text before it is stored, logged or shown: the one function that does it.

Two kinds are told: what its name tells (`shared.named_secrets`), and what its look tells. The looks
follow what each issuer says its tokens begin with, checked against the rules of gitleaks and the
plugins of detect-secrets; besides them JSON Web Tokens (RFC 7519), bearer and basic credentials
(RFC 6750, RFC 7617), passwords in URLs (RFC 3986, 3.2.1), signed URLs, webhooks whose address is
the secret, and private keys in PEM (RFC 7468). A secret with neither a name nor a look, such as a
plain word, cannot be told.

Why no library: detect-secrets and gitleaks look through files for a person to judge, to whom each
text that looks like chance is a finding: of an event they would take away hashes and identifiers.
detect-secrets took 2 ms for a line of 100 characters, on a machine where this takes about 10 us
without a secret and 50 with one, and all of an event has some 60; gitleaks is a process of its own.
Presidio and scrubadub look for persons.

No pattern goes through the same characters more than a bounded number of times: so the time grows
with the length of a text, whatever is in it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from shared.named_secrets import REDACTED as REDACTED
from shared.named_secrets import tells_secret, without_named

_PRIVATE_KEY: Final = re.compile(
    # What is between the words of a private key is its whole text; a cut one goes to the end.
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)

_IN_URL: Final = re.compile(
    # To the last @ before the path, so that a password may have one in it; a password with a
    # slash is no URL, and is told by what is not a port.
    r"(?P<user>\b[a-z][a-z0-9+.-]{0,30}:\\{0,8}/\\{0,8}/)"
    r"(?:[^\s/?#\"'<>\\]*@|[^\s:/@?#\"'<>]{1,100}:(?!\d{1,5}[/?#])[^\s\"'<>@?]{1,100}@)"
    r"|(?P<hook>hooks\.(?:slack(?:-gov)?\.com/(?:services|workflows|triggers)"
    r"|zapier\.com/hooks/catch)/|discord(?:app)?\.com/api/(?:v\d{1,3}/)?webhooks/"
    r"|webhook\.office\.com/webhookb2/|api\.telegram\.org/(?:file/)?bot)[^\s\"'<>?#\\]+"
    r"|(?P<query>(?:[?&;]|&amp;|\\u0026|%26)(?:key|sig|signature|sid|ticket|jwt|auth|pass|pw|otp"
    r"|assertion|samlresponse|code(?==[^&\s]{10})|x-(?:amz|goog)-(?:signature|credential))"
    r"(?:=|%3d|\\u003d))[^\s&\"'<>#\\]+"
    r"|(?P<signed>x-(?:amz|goog)-(?:signature|credential)[\"']?[:=]\s?[\"']?)[^\s&\"'<>#,\\]+",
    re.IGNORECASE,
)

_CREDENTIALS: Final = re.compile(
    r"\b(?P<scheme>bearer|basic)(?P<space>[\s:]{1,4}|%20|\+)(?P<said>[\w.~+/=-]{8,})",
    re.IGNORECASE,
)

_USER: Final = re.compile(
    # As of curl; numbers are those of a user and a group.
    r"(?P<option>(?<=\s)(?:-u|--user)[\s=][\"']?)(?!\d{1,9}:\d)[^\s:\"']+:(?!//)[^\s\"']+"
)

_TOKEN: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # Words may begin so too, such as the name of a constraint: `_is_no_word` tells.
    r"(?P<unsure>(?:[spr]k[-_]|pypi-|whsec_|xox[a-z]-|xoxe\.|xapp-|ya29\.|hv[sbr]\.|xai-|pplx-|pul-"
    r"|dp\.[a-z]{2,5}\.|gl[a-z]{2,6}-|tskey-|sbp_|lsv2_|ntn_|lin_api_|glc_|glsa_|shp[a-z]{2}_"
    r"|sntry[su]_|d[op][a-z]_v1_|dckr_pat_|rubygems_|pscale_|r8_|gsk_|figd_|api_org_|key-)"
    r"[\w-]{16,}(?:\.[\w-]+)?)"
    r"|(?P<jwt>eyJ[\w-]{8,}(?:\.[\w-]+){0,4})"
    r"|(?:gh[pousr]_|hf_|npm_|dapi)[A-Za-z0-9]{16,}"
    r"|github_pat_\w{16,}"
    r"|(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\w*"
    r"|(?:AIza|GOCSPX-|GR1348941|PMAK-|NRAK-|HRKU-|ATATT3|ABSK|sq0[a-z]{3}-|sha256~|SG\.)[\w.-]{16,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|ops_eyJ[\w+/=-]{16,}"
    # A private key in base64, as Kubernetes keeps it.
    r"|LS0tLS1CRUdJTi[\w+/=]{16,}"
    r"|\d{6,12}:AA[\w-]{30,}"
    r")"
)

# What a text without any of these holds, no pattern finds: most texts are done here. Looked for
# one by one in small letters, which takes a tenth of the time of one pattern of all of them.
_NAMES: Final = (
    "key", "secret", "passw", "passc", "passp", "pwd", "token", "credential", "sess", "cookie",
    "auth", "sig", "jwt", "hmac",
)  # fmt: skip
_LOOKS: Final = (
    "sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "eyj", "gh", "github_pat", "hf_", "npm_", "dapi",
    "a3t", "akia", "asia", "abia", "acca", "aiza", "gocspx", "gr1348941", "pmak-", "nrak-", "hrku-",
    "atatt3", "absk", "sq0", "sha256~", "sg.", "age-", "ls0t", ":aa", "pypi-", "whsec_", "xox",
    "xapp-", "ya29.", "hvs.", "hvb.", "hvr.", "xai-", "pplx-", "pul-", "dp.", "gl", "tskey-",
    "sbp_", "lsv2_", "ntn_", "lin_api_", "shp", "sntry", "_v1_", "dckr_pat_", "rubygems_",
    "pscale_", "r8_", "gsk_", "figd_", "api_org_",
)  # fmt: skip
_URLS: Final = ("://", ":\\/", "=", "%3d", "hooks.", "webhook", "x-amz-", "x-goog-")


def redacted(text: str) -> str:
    """`text` with every secret that can be told by its name or its look as `[redacted]`.

    What stands before a secret is kept, so that a message still says what went wrong. A text
    without secrets comes back as it is.
    """
    low = text.lower()
    if "private key" in low:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    for hint in _NAMES:
        if hint in low:
            text = without_named(text)
            break
    for hint in _URLS:
        if hint in low:
            text = _IN_URL.sub(_url_without, text)
            break
    if "bearer" in low or "basic" in low:
        text = _CREDENTIALS.sub(_scheme_only, text)
    if "-u" in low:
        text = _USER.sub(rf"\g<option>{REDACTED}", text)
    for hint in _LOOKS:
        if hint in low:
            return _TOKEN.sub(_token_hidden, text)
    return text


def redacted_value(name: str, value: str) -> str:
    """`redacted`, for the value of a field that its name may tell to be secret."""
    if tells_secret(name):
        return REDACTED if value else value
    return redacted(value)


def redacted_json(value: Any, name: str = "") -> Any:
    """A JSON value without secrets: those in its texts, and those that the names of fields tell.

    Every text within a field that is named like a secret goes, in lists and objects too. So does
    the value beside such a name, as headers are often written: `["Authorization", "..."]`, or
    `{"name": "Authorization", "value": "..."}`. Numbers and truth values stay.
    """
    if isinstance(value, str):
        return redacted_value(name, value)
    if isinstance(value, dict):
        named = next((value[key] for key in ("name", "key", "header") if key in value), None)
        beside = named if isinstance(named, str) and tells_secret(named) else None
        return {
            redacted(key): redacted_json(inner, _strongest(key, name, beside))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and tells_secret(value[0]):
            return [value[0], redacted_json(value[1], value[0])]
        return [redacted_json(inner, name) for inner in value]
    return value


@lru_cache(maxsize=20_000)
def redacted_name(name: str) -> str:
    """`redacted` for short texts that come again and again, such as names of models."""
    return redacted(name)


def _strongest(key: str, name: str, beside: str | None) -> str:
    """The name that says most of a field's value: that of what it is in, or its own."""
    if tells_secret(name):
        return name
    return beside if beside is not None and key == "value" else key


def _url_without(found: re.Match[str]) -> str:
    before = found["user"]
    if before is not None:
        return f"{before}{REDACTED}@"
    return f"{found['hook'] or found['query'] or found['signed']}{REDACTED}"


def _scheme_only(found: re.Match[str]) -> str:
    # "Basic authentication" is no credential: one has a digit, padding, or great length.
    said = found["said"]
    if len(said) < _LONG and "=" not in said and not _has_digit(said):
        return found[0]
    return f"{found['scheme']} {REDACTED}"


def _token_hidden(found: re.Match[str]) -> str:
    if found["unsure"] is not None:
        return REDACTED if _is_no_word(found["unsure"]) else found[0]
    if found["jwt"] is not None:
        # JSON in base64 is one only with a signature, or where there is much of it.
        return REDACTED if "." in found["jwt"] or len(found["jwt"]) >= 3 * _LONG else found[0]
    return REDACTED


def _is_no_word(token: str) -> bool:
    return _has_digit(token) or max(map(len, _SEPARATOR.split(token))) >= _LONG


def _has_digit(text: str) -> bool:
    return _DIGIT.search(text) is not None


_LONG: Final = 20
_DIGIT: Final = re.compile(r"\d")
_SEPARATOR: Final = re.compile(r"[-_.]")
