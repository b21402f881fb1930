"""Secrets taken out of text before it is stored, logged or shown: the one function that does it.

The patterns follow how each issuer says its tokens look: OpenAI and Anthropic (`sk-`), AWS access
keys (`AKIA`), GitHub (`ghp_`, `github_pat_`), GitLab (`glpat-`), Slack (`xoxb-`), Google (`AIza`),
Hugging Face (`hf_`), Stripe (`sk_live_`), JSON Web Tokens (RFC 7519), bearer and basic credentials
(RFC 6750, RFC 7617), cookies (RFC 6265), passwords in URLs (RFC 3986, 3.2.1), private keys in PEM
(RFC 7468), and what is named like a secret and given a value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"

# "tokens: 12" is a count. What stands before the word is no part of the pattern, so that a text of
# nothing but words is gone through once.
_NAMED: Final = (
    r"(?:api[_-]?key|secret|passw(?:or)?d|pwd|passphrase|(?<!_)token(?!s)|access[_-]?key|"
    r"credential|session[_-]?id|(?:auth|access|refresh|id|csrf)[_-]?token)s?(?:[_-]\w{1,20})?"
)

_PATTERNS: Final = (
    # What is between the words of a private key is its whole text.
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", REDACTED),
    (r"(?i)\b((?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", rf"\1{REDACTED}"),
    (r"(?i)\b(authorization[\"']?\s*[:=]\s*)[^\r\n\"',]+", rf"\1{REDACTED}"),
    # "Basic authentication" is no credential: one has a digit, padding, or great length.
    (
        r"(?i)\b(bearer|basic)[\s:]+(?=\S*[\d=]|\S{20})[\w.~+/=-]{8,}",
        rf"\1 {REDACTED}",
    ),
    (r"\b([a-zA-Z][a-zA-Z0-9+.-]{0,30}://)[^\s/@\"'<>]+@", rf"\1{REDACTED}@"),
    (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", REDACTED),
    (r"\b(?:sk|pk|rk)[-_](?:[a-zA-Z]{1,20}[-_]){0,4}[\w-]{16,}", REDACTED),
    (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", REDACTED),
    (r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|npm_|pypi-)[\w-]{16,}", REDACTED),
    (r"\bxox[a-z]-[\w-]{10,}", REDACTED),
    (r"\bAIza[\w-]{30,}", REDACTED),
    (
        rf"(?i)({_NAMED}[\"']?\s*[:=]\s*)(?!\[redacted\])(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&\"'}}]+)",
        rf"\1{REDACTED}",
    ),
)

_COMPILED: Final = tuple((re.compile(found, re.DOTALL), by) for found, by in _PATTERNS)

_SECRET_NAME: Final = re.compile(_NAMED, re.IGNORECASE)

# A text without any of these holds nothing that a pattern could find: most texts are done here.
_HINT: Final = re.compile(
    r"(?i)://|eyJ|[sp]k[-_]|rk[-_]|AKIA|ASIA|gh[pousr]_|github_pat|glpat|hf_|npm_|pypi-|xox|AIza|"
    r"bearer|basic|authorization|cookie|PRIVATE KEY|key|secret|pass|pwd|token|credential|session"
)


def redacted(text: str) -> str:
    """`text` with every secret that can be told by its look replaced by `[redacted]`.

    What stands before a secret is kept, so that a message still says what went wrong. A text
    without secrets comes back as it is.
    """
    if _HINT.search(text) is None:
        return text
    for pattern, by in _COMPILED:
        text = pattern.sub(by, text)
    return text


def redacted_value(name: str, value: str) -> str:
    """`redacted`, for the value of a field that its name may tell to be secret."""
    if _SECRET_NAME.search(name):
        return REDACTED if value else value
    introduced = f"{name}={value}"
    shown = redacted(introduced)
    return value if shown == introduced else shown.removeprefix(f"{name}=")


@lru_cache(maxsize=20_000)
def redacted_name(name: str) -> str:
    """`redacted` for short texts that come again and again, such as names of models."""
    return redacted(name)
