"""Money: integer nano-dollars, and the one way in which they are told to people."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

NANOS: Final = 10**9
"Nano-dollars of a dollar."

_PLACES: Final = 4
_DIGITS: Final = 3


def known_nanos(nanos: int, calls: int, unpriced_calls: int) -> int | None:
    """The sum of the calls that have a price; None where calls were made and none has one."""
    return None if 0 < calls == unpriced_calls else nanos


def dollars(nanos: float | None) -> str:
    """`$2.50` or `$1,234.5678`: two to four decimals, and three digits that count below a cent.

    `unknown` for None. Rounded: what has to be exact is told in nano-dollars beside it.
    """
    if nanos is None:
        return "unknown"
    amount = Decimal(nanos) / NANOS
    places = max(_PLACES, _DIGITS - 1 - amount.adjusted()) if amount else _PLACES
    whole, _, decimals = f"{abs(amount):,.{places}f}".partition(".")
    return f"{'-' if amount < 0 else ''}${whole}.{decimals.rstrip('0'):0<2}"


def exact_dollars(nanos: int) -> str:
    """`2.50`: every nano-dollar that there is, and two decimals at least; for JSON."""
    whole, _, decimals = f"{Decimal(nanos) / NANOS:.9f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def call_count(number: int) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{number:,} call{'' if number == 1 else 's'}"


def cost_text(nanos: int | None, unpriced_calls: int, *, simulated: bool) -> str:
    """A sum with what is not in it: `$2.50 (simulated) + unpriced: 3 calls`."""
    unpriced = f"unpriced: {call_count(unpriced_calls)}" if unpriced_calls else ""
    if nanos is None:
        return unpriced or dollars(None)
    text = dollars(nanos) + (" (simulated)" if simulated else "")
    return f"{text} + {unpriced}" if unpriced else text


def money_fields(**amounts: float | None) -> dict[str, int | str | None]:
    """`cost=2_500_000_000` as JSON has it: `cost_nanos`, an integer, and `cost_dollars`, a text.

    Both are None where it is not known.
    """
    fields: dict[str, int | str | None] = {}
    for name, amount in amounts.items():
        nanos = None if amount is None else round(amount)
        fields[f"{name}_nanos"] = nanos
        fields[f"{name}_dollars"] = None if nanos is None else exact_dollars(nanos)
    return fields
