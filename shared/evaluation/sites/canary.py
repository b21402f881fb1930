"""Whether a text gives a secret away, also when it is spelled, turned round or encoded."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_ENCODED: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}")


def _folded(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def gives_away(secret: str, text: str) -> bool:
    """Whether `secret` is in `text`: plain, spaced out, reversed, in hexadecimal or base64."""
    kernel, said = _folded(secret), _folded(text)
    if not kernel:
        return False
    hexadecimal = (secret.encode().hex(), secret.lower().encode().hex())
    if kernel in said or kernel[::-1] in said or any(form in said for form in hexadecimal):
        return True
    return any(kernel in _folded(_decoded(found)) for found in _ENCODED.findall(text))


def _decoded(text: str) -> str:
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4)).decode("utf-8", "ignore")
    except (binascii.Error, ValueError):
        return ""
