"""What names and texts of models may be, so that they can be stored and shown. Pure."""

from __future__ import annotations

from typing import Final

from shared.registry.errors import RegistryError

LONGEST_NAME: Final = 100
LONGEST_TEXT: Final = 100_000
"Characters of a description or a note."


def required_name(name: str) -> str:
    """`name` if a model can have it; raises `RegistryError`."""
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise RegistryError(
            f"model name {name[:LONGEST_NAME]!r}: it must be 1 to {LONGEST_NAME} printable"
            " characters, with no space at either end"
        )
    if "@" in name:
        raise RegistryError(f"model name {name!r} has an @, which stands before the version")
    return name


def required_text(what: str, text: object, longest: int = LONGEST_TEXT) -> str:
    """`text` if it can be stored as `what`; raises `RegistryError`."""
    if not isinstance(text, str):
        raise RegistryError(f"{what} is {type(text).__name__}; expected text")
    if len(text) > longest:
        raise RegistryError(f"{what} has {len(text):,} characters; at most {longest:,}")
    if "\x00" in text:
        raise RegistryError(f"{what} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RegistryError(f"{what} holds half of a character, which is no valid text") from None
    return text


def required_label(what: str, text: object) -> str:
    """`text` if it can be the short name of `what`; raises `RegistryError`."""
    label = required_text(what, text, 200)
    if not label or not label.isprintable() or label != label.strip():
        raise RegistryError(
            f"{what} {label!r}: it must be 1 to 200 printable characters, with no space at either"
            " end"
        )
    return label
