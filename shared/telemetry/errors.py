"""What kind of error an error is, and which messages are the same but for their numbers."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final


class ErrorCategory(StrEnum):
    """Why something failed, in the classes that call for different answers."""

    TIMEOUT = "timeout"
    NAVIGATION = "navigation"
    ELEMENT_NOT_FOUND = "element_not_found"
    MODEL_REFUSED = "model_refused"
    PARSE = "parse"
    RATE_LIMIT = "rate_limit"
    NETWORK = "network"
    BROWSER_CRASH = "browser_crash"
    OTHER = "other"


# The first that fits counts, so what is told by a surer sign stands first: a page that crashed may
# be reported as a timeout, a rate limit as a network error.
_SIGNS: Final = (
    (
        ErrorCategory.BROWSER_CRASH,
        r"crash|target (?:page, context or browser )?(?:has been )?closed|browser has been closed|"
        r"browser.*disconnected|targetclosed|sigsegv|out of memory",
    ),
    (
        ErrorCategory.RATE_LIMIT,
        r"rate.?limit|too many requests|\b429\b|quota|overloaded|throttl|\b529\b",
    ),
    (
        ErrorCategory.MODEL_REFUSED,
        r"refus(?!ed to connect)|content.?(?:filter|policy)|moderation|safety|policy.?violation|"
        r"i (?:can(?:no|')t|am unable to) (?:help|assist)",
    ),
    (
        ErrorCategory.PARSE,
        r"pars|json|invalid (?:action|response|format|tool)|malformed|unexpected token|"
        r"decod|validation|schema|makes no sense",
    ),
    (
        ErrorCategory.ELEMENT_NOT_FOUND,
        r"element|selector|locator|no such node|not (?:attached|visible|found on)|strict mode|"
        r"no node|stale",
    ),
    (
        ErrorCategory.NAVIGATION,
        r"navigat|err_(?:aborted|too_many_redirects|blocked)|page\.goto|redirect|\b40[34]\b|"
        r"frame was detached",
    ),
    (
        ErrorCategory.NETWORK,
        r"network|connect|connection|dns|net::|err_|ssl|tls|certificate|socket|unreachable|"
        r"econn|\b50[0234]\b|name resolution|broken pipe",
    ),
    (ErrorCategory.TIMEOUT, r"time.?d?.?out|deadline|took too long"),
)
_COMPILED: Final = tuple((category, re.compile(sign, re.I)) for category, sign in _SIGNS)
_TIMED_OUT: Final = re.compile(r"time.?d?.?out|deadline", re.I)

_MESSAGE_LOOKED_AT: Final = 500
_FOLDED_LENGTH: Final = 200


@lru_cache(maxsize=10_000)
def _of_type(error_type: str) -> ErrorCategory | None:
    """By the type alone; None where it says nothing, as `Error` or `Exception`."""
    if _TIMED_OUT.search(error_type):
        return ErrorCategory.TIMEOUT
    return next((category for category, sign in _COMPILED if sign.search(error_type)), None)


def categorize(error_type: str | None, message: str | None = None) -> ErrorCategory:
    """The category by the type's name, and by the message where the type says nothing.

    A type names what the program knew; a message quotes the world and may hold any word.
    """
    known = _of_type(error_type) if error_type else None
    if known is not None or not message:
        return known or ErrorCategory.OTHER
    looked_at = message[:_MESSAGE_LOOKED_AT]
    return next(
        (category for category, sign in _COMPILED if sign.search(looked_at)), ErrorCategory.OTHER
    )


_FOLDS: Final = (
    (re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>)]+"), "<url>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<id>"),
    (re.compile(r"\b(?=\w*\d)(?=\w*[a-zA-Z])\w{12,}\b"), "<id>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def folded(message: str) -> str:
    """`message` with addresses, identifiers and numbers replaced, so that the same error counts
    as one; at most 200 characters of its first line."""
    line = message.strip().partition("\n")[0][:_MESSAGE_LOOKED_AT]
    for pattern, by in _FOLDS:
        line = pattern.sub(by, line)
    return line.strip()[:_FOLDED_LENGTH]
