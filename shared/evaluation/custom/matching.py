"""Whether a text, an address, a number or elements are what a criterion asks for. Pure.

A regular expression may take a second, in which other threads go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import regex

from shared.evaluation.benchmark import JudgingError
from shared.evaluation.custom.criteria import (
    AddressMatch,
    AnswerMatch,
    ElementMatch,
    TextMatch,
    is_on_own_origin,
)
from shared.evaluation.custom.parts import MATCH_SECONDS, fill, fill_pattern

if TYPE_CHECKING:
    from shared.evaluation.custom.looking import Found

_NUMBER: Final = re.compile(
    r"(?<![\w.,])[-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?(?!\d|[.,]\d)"
)


def searched(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Whether `pattern` is found in `text`. Raises `JudgingError` when that takes too long."""
    flags = regex.IGNORECASE if ignore_case else 0
    try:
        found = regex.search(pattern, text, flags, timeout=MATCH_SECONDS, concurrent=True)
    except TimeoutError:
        shown = pattern[:80]
        raise JudgingError(
            f"the regular expression {shown!r} did not end within {MATCH_SECONDS:g} s",
            permanent=True,
        ) from None
    return found is not None


def address_matches(match: AddressMatch, address: str, values: Mapping[str, str]) -> bool:
    """`values` holds `origin`, the scheme, host and port of the task's start."""
    if match.regex is not None:
        return searched(fill_pattern(match.regex, values), address)
    if match.glob is not None:
        wanted = _absolute(fill(match.glob, values), values)
        return searched(rf"\A{_globbed(wanted)}\Z", address)
    if match.prefix is not None:
        return _spelled(address).startswith(_absolute(fill(match.prefix, values), values))
    assert match.exact is not None
    return _spelled(address) == _spelled(_absolute(fill(match.exact, values), values))


def _absolute(address: str, values: Mapping[str, str]) -> str:
    return values["origin"] + address if is_on_own_origin(address) else address


def _spelled(address: str) -> str:
    """Scheme and host in lower case, and a path of at least `/`, as a browser spells it."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address
    if parts.scheme not in {"http", "https"}:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.lower(), path=parts.path or "/"))


def _globbed(pattern: str) -> str:
    # One `**` after another asks no more than one does.
    steps = re.split(r"(\*\*+|\*)", pattern)
    kinds: dict[str, str] = {"*": "[^/]*"}
    return "".join(
        kinds.get(step, ".*") if step.startswith("*") else re.escape(step) for step in steps
    )


def text_matches(match: TextMatch, text: str, values: Mapping[str, str]) -> bool:
    """Whitespace is folded on both sides."""
    return _words_match(text, match.exact, match.contains, match.regex, match.ignore_case, values)


def _words_match(
    text: str,
    exact: str | None,
    contains: str | None,
    pattern: str | None,
    ignore_case: bool,
    values: Mapping[str, str],
) -> bool:
    text = _folded(text)
    if pattern is not None:
        return searched(fill_pattern(pattern, values), text, ignore_case=ignore_case)
    wanted = _folded(fill((exact if exact is not None else contains) or "", values))
    if ignore_case:
        text, wanted = text.casefold(), wanted.casefold()
    return text == wanted if exact is not None else wanted in text


def _folded(text: str) -> str:
    return " ".join(text.split())


def answer_matches(match: AnswerMatch, answer: str, values: Mapping[str, str]) -> bool:
    """A number matches if it is the only one in the answer: who names several has not said."""
    if match.number is None:
        return _words_match(
            answer, match.exact, match.contains, match.regex, match.ignore_case, values
        )
    wanted = fill(match.number, values) if isinstance(match.number, str) else str(match.number)
    try:
        exact = Decimal(wanted.strip())
    except InvalidOperation:
        asked = f"the number that is asked for is {wanted[:50]!r}"
        raise JudgingError(asked, permanent=True) from None
    said = numbers_in(answer)
    return len(said) == 1 and abs(said.pop() - exact) <= Decimal(str(match.tolerance))


def numbers_in(text: str) -> set[Decimal]:
    """The different numbers of a text, written with a decimal point: 1,299.50 is one."""
    found = _NUMBER.findall(text)
    return {Decimal(one.replace(",", "").replace("\u2212", "-")) for one in found}


def elements_match(
    match: ElementMatch, total: int, found: Sequence[Found], values: Mapping[str, str]
) -> bool:
    """`found` may be the first ones only of `total`."""
    checks: list[Callable[[Found], bool]] = []
    if match.visible != "any":
        checks.append(lambda one: one.visible)
    if match.has_text is not None:
        text = match.has_text
        checks.append(lambda one: text_matches(text, one.text, values))
    if match.has_value is not None:
        value = match.has_value
        checks.append(lambda one: one.value is not None and text_matches(value, one.value, values))
    if match.count is None and match.visible is not False:
        return any(all(check(one) for check in checks) for one in found)
    if total > len(found) and checks:
        raise JudgingError(f"{match.selector[:80]!r} matches {total} elements, too many to count")
    count = sum(all(check(one) for check in checks) for one in found) if checks else total
    return count == (match.count if match.visible is not False else 0)
