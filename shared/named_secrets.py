"""Secrets that are told by their name: `password=...`, `"api_key": "..."`, `--token ...`.

A name, what stands between it and its value, and where the value ends: a quoted value ends with
its quote, also one that is escaped because the JSON is in a string, a list or an object with its
bracket, anything else with its word. Names of headers take what a header takes.

Every step goes forward: a pattern begins with a name and repeats nothing without a bound, and
where a value has no end it is the rest of the text. So the time grows with the length of a text,
whatever is in it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"

# "tokens: 12" is a count, and what follows a name may turn it into another: `token_count`.
_NAME: Final = (
    r"(?P<header>(?:proxy-)?authorization|(?:set-)?cookies?2?)"
    r"|(?:secret|passw(?:or)?d|passwort|pwd|passphrase|passcode|credential|(?P<token>token(?!s))"
    r"|(?:api|app|access|account|auth|private|secret|sign(?:ing|ature)|encryption|master|consumer"
    r"|subscription|licen[cs]e|deploy|ssh)[ _-]?key|sess(?:ion)?[_-]?id|access[_-]?signature)"
    r"(?:s|\d{1,3})?(?P<more>[_-]\w{1,40}+|(?-i:[A-Z])\w{0,40}+)?+"
    r"|(?<![a-z0-9])(?P<short>sig|signature|auth|jwt|hmac)(?![a-z0-9])"
)

_QUOTE: Final = r"\\{0,16}[\"'`]|\\{0,16}u0022|\\{0,16}u0027|&quot;|&\#34;|%22"

_BETWEEN: Final = (
    rf"(?P<quote>{_QUOTE})?\]?"
    # "API key provided: ...", and the sign of a block in YAML.
    r"(?:(?P<sign>(?:\s{1,3}(?:provided|given|supplied|received|used|value))?"
    r"\s{0,8}(?::=|=>|[:=]|%3[ad]|\\{1,16}u003d)\s{0,8}(?:[|>][-+]?\s{1,8})?)"
    r"|(?P<says>\s{1,3}(?:is|was)\s{0,3}:?\s{1,3})"
    rf"|(?P<beside>(?:\s{{0,8}},\s{{0,8}}|\s{{1,8}})(?:{_QUOTE})?value(?:{_QUOTE})?\s{{0,8}}[:=]\s{{0,8}})"
    r"|(?P<pair>\s{0,8},\s{0,8})"
    r"|(?P<element>>)"
    r"|(?P<space>[ \t]{1,3}))"
)

_NAMED: Final = re.compile(rf"(?:{_NAME})(?:{_BETWEEN})", re.IGNORECASE)
_NAME_ALONE: Final = re.compile(_NAME, re.IGNORECASE)

_BEFORE: Final = 60
"So much before a name says what it stands in."
_OPTION: Final = re.compile(r"--[\w-]*\Z")
_PAIR: Final = re.compile(rf"[(\[{{]\s*[bru]{{0,2}}(?:{_QUOTE})[#.\w-]*\Z", re.IGNORECASE)
_ELEMENT: Final = re.compile(r"<[\w:.-]*\Z")

_OF_ANOTHER_KIND: Final = frozenset({
    "age", "attempt", "attempts", "budget", "bytes", "change", "changed", "cost", "count",
    "counts", "endpoint", "error", "errors", "expiration", "expired", "expires", "expiry",
    "field", "fields", "file", "format", "has", "in", "index", "input", "is", "kind", "len",
    "length", "limit", "limits", "max", "min", "name", "names", "out", "path", "per", "policy",
    "position", "prefix", "price", "rate", "required", "reset", "rotation", "rule", "rules",
    "size", "status", "strength", "total", "ttl", "type", "types", "uri", "url", "usage",
    "used", "valid", "window",
})  # fmt: skip
"What follows the name of a secret in the name of something else: `token_count`, `password_file`."

_NO_SECRET: Final = frozenset({
    "a", "an", "and", "are", "as", "at", "bad", "be", "been", "blank", "but", "by", "can",
    "cannot", "changed", "correct", "could", "denied", "disabled", "does", "empty", "enabled",
    "error", "expired", "expires", "fail", "failed", "failing", "failure", "false", "for",
    "forbidden", "from", "had", "has", "have", "if", "in", "incomplete", "incorrect", "invalid",
    "is", "it", "link", "locked", "malformed", "mandatory", "mismatch", "missing", "must",
    "nan", "nil", "no", "none", "not", "null", "of", "off", "ok", "okay", "on", "optional",
    "or", "out", "refused", "rejected", "required", "reset", "revoked", "set", "should", "str",
    "string", "that", "the", "this", "to", "too", "true", "unauthorized", "undefined",
    "unknown", "unset", "unsupported", "valid", "was", "weak", "when", "with", "without",
    "wrong", "yes",
})  # fmt: skip
"Words that follow the name of a secret in a sentence, or say that there is none."

_WORD: Final = re.compile(r"[a-z']+(?![\w+/=-])", re.IGNORECASE)
_QUOTED: Final = re.compile(rf"[bBrRuUfF]{{0,2}}(?P<quote>{_QUOTE})", re.IGNORECASE)
_BRACKETS: Final = re.compile(r"[(\[{)\]}]")
# A comma, semicolon or ampersand is part of a password unless something begins after it.
_BARE: Final = re.compile(
    r"(?:[^\s,;&\"'`<>}\\]|}(?=\w)|[,;&](?!\s|\Z|[\w.-]{1,40}\s?[=:])|\\(?![\"'`nrt]|u00))+"
)
_ELEMENT_TEXT: Final = re.compile(r"[^<]+")
_COOKIE: Final = re.compile(r"(?:=\"[^\"\r\n]*\"|[^\r\n\"'\\]|\\(?![\"'nr]))+")
_CREDENTIALS: Final = re.compile(r"[^\r\n\"'`,\\]+")
# What these schemes are made of is separated by commas, and some of it quoted.
_PARTS: Final = re.compile(r"(?:digest|aws4|hawk|oauth|signature|hmac)[^\r\n]*", re.IGNORECASE)
# "token: Bearer ...", where the word is no secret and what follows is.
_SCHEME: Final = re.compile(r"(?:bearer|basic|token|apikey|digest)\s{1,4}", re.IGNORECASE)
_OPENERS: Final = ("(", "[", "{")
_SHORTEST_PLAIN: Final = 20
"So many letters without a digit are no word that follows a name in a sentence."


def without_named(text: str) -> str:
    """`text` with the values of what is named like a secret replaced by `[redacted]`."""
    kept: list[str] = []
    done = at = 0
    search = _NAMED.search
    while found := search(text, at):
        value = _value(text, found.end(), found)
        if value is None:
            # What follows the name may be a name itself.
            at = max(found.start("quote"), found.start() + 1)
            continue
        kept += (text[done : value.start], REDACTED)
        done = at = value.stop
    return "".join((*kept, text[done:])) if kept else text


@lru_cache(maxsize=20_000)
def tells_secret(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value."""
    for found in _NAME_ALONE.finditer(name):
        if found["header"] is not None:
            if found.end() == len(name):
                return True
        elif found["short"] is None and not _of_another_kind(found):
            return True
    return False


def _of_another_kind(found: re.Match[str]) -> bool:
    more = found["more"]
    return more is not None and more.lstrip("_-").partition("_")[0].lower() in _OF_ANOTHER_KIND


def _value(text: str, start: int, found: re.Match[str]) -> slice | None:
    """Where the value is that begins at `start`; None if it is no secret."""
    between = found.lastgroup
    before = text[max(0, found.start() - _BEFORE) : found.start()]
    if not _belongs(found, between, before) or text.startswith(REDACTED, start):
        return None
    if between == "element":
        return _run(_ELEMENT_TEXT, text, start)
    quoted = _QUOTED.match(text, start)
    if quoted is not None:
        within = _in_quotes(text, quoted)
        inner = text[within]
        # "Unexpected token 'x'" is of a parser: there it has to look like a secret.
        doubtful = found["short"] is not None or (between == "space" and not _is_option(before))
        unlike = doubtful and not _looks_random(inner)
        return None if unlike or inner == REDACTED or _says_none(inner) else within
    if found["header"] is not None:
        return _of_header(text, start, found["header"].lower())
    if between == "space" and not _is_option(before):
        return None
    scheme = _SCHEME.match(text, start)
    bare = _run(_BARE, text, start if scheme is None else scheme.end())
    if bare is None:
        return None
    bare = slice(start, bare.stop)
    value = text[bare]
    if value[0] in _OPENERS or value[-1] in _OPENERS:
        # A list, an object, or a call with the secret in it.
        return None if found["short"] is not None else _in_brackets(text, start)
    said = value if scheme is None else value[len(scheme[0]) :]
    return bare if _is_secret(said, found, between, before) else None


def _belongs(found: re.Match[str], between: str | None, before: str) -> bool:
    """Whether what stands between a name and a value ties them together."""
    if _of_another_kind(found):
        return False
    quoted = found["quote"] is not None
    match between:
        case "sign":
            # A custom property of a style sheet looks like an option: `--token: #fff`.
            return quoted or not (_is_option(before) and ":" in found["sign"])
        case "pair":
            return quoted and (found["header"] is not None or _PAIR.search(before) is not None)
        case "beside":
            return quoted
        case "element":
            return not quoted and _ELEMENT.search(before) is not None
        case "space":
            return not quoted and found["header"] is None
        case _:
            return not quoted and found["header"] is None and found["short"] is None


def _is_option(before: str) -> bool:
    return _OPTION.search(before) is not None


def _is_secret(value: str, found: re.Match[str], between: str | None, before: str) -> bool:
    """Whether a value without quotes is one: not in a sentence, and no count of tokens."""
    bare = value.rstrip(".!?)]:")
    if _says_none(bare):
        return False
    if found["short"] is not None:
        return _looks_random(bare)
    if between == "says":
        # An identifier of a line or a length may follow as well: "the token is 5 characters".
        has_digit = any(character.isdigit() for character in bare)
        return (has_digit and len(bare) >= 5) or len(bare) >= _SHORTEST_PLAIN
    if found["token"] is not None and found["more"] is None:
        # The name of a count: `first_token=0.35`.
        number = bare.replace(".", "", 1).isdecimal()
        return not (number and (before.endswith(("_", "-")) or len(bare) < 6))
    return not (between == "space" and bare.startswith("-"))


def _looks_random(value: str) -> bool:
    """Whether it is long, and no words or number: for names that are not of secrets alone."""
    if len(value) < 12 or " " in value:
        return False
    kinds = any(c.isdigit() for c in value) + any(c.isalpha() for c in value)
    return kinds == 2 or len(value) >= 2 * _SHORTEST_PLAIN


def _says_none(value: str) -> bool:
    """Whether it is a word of a sentence, or a row of stars that hides one."""
    return value.lower() in _NO_SECRET or not value.strip("*.x#-_ ")


def _of_header(text: str, start: int, name: str) -> slice | None:
    """The value of `Authorization` or `Cookie`, without quotes: what is in its line."""
    if text[start : start + 1] in _OPENERS:
        return _in_brackets(text, start)
    word = _WORD.match(text, start)
    if word is not None and word[0].lower() in _NO_SECRET:
        return None
    if "cookie" not in name:
        return _run(_PARTS, text, start) or _run(_CREDENTIALS, text, start)
    value = _run(_COOKIE, text, start)
    if value is not None and name.endswith("s") and "=" not in text[value]:
        return None  # "cookies: 3"
    return value


def _run(kind: re.Pattern[str], text: str, start: int) -> slice | None:
    found = kind.match(text, start)
    return None if found is None else slice(start, found.end())


def _in_quotes(text: str, opening: re.Match[str]) -> slice:
    """What is in the quotes; without a closing one, the rest of the text.

    A quote with more backslashes before it than the first one has is within the value.
    """
    quote = opening["quote"]
    start = opening.end()
    end = text.find(quote, start)
    while end > start and text[end - 1] == "\\":
        end = text.find(quote, end + 1)
    return slice(start, end if end >= 0 else len(text))


def _in_brackets(text: str, start: int) -> slice:
    """From `start` until its first bracket is closed; the rest of the text if it never is."""
    depth = 0
    for bracket in _BRACKETS.finditer(text, start):
        depth += 1 if bracket[0] in _OPENERS else -1
        if depth <= 0:
            return slice(start, bracket.end())
    return slice(start, len(text))
