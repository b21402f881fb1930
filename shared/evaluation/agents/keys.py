"""Which key may go where: the operator says it, an agent's parameters only ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from shared.evaluation.agents.parameters import STAND_IN, on_loopback
from shared.settings import settings

OPENAI_KEY: Final = "OPENAI_API_KEY"


class KeyNotAllowedError(ValueError):
    """The parameters would send a variable to a host that the operator did not name for it."""


class KeyMissingError(ValueError):
    """The variable that should hold a key holds none."""


def the_key(name: str, goes_to: str) -> str:
    """The key in the variable `name`. Raises `KeyMissingError`, in one line."""
    key = os.environ.get(name, "").strip()
    if not key:
        raise KeyMissingError(
            f"environment variable {name} is not set: it must hold the key for {goes_to}"
        )
    if not key.isascii() or not key.isprintable():
        raise KeyMissingError(
            f"environment variable {name} holds no key: it has characters that no key has"
        )
    return key


def check_key_may_go(name: str | None, url: str) -> None:
    """Raises `KeyNotAllowedError`, in one line, unless `MLOPS_MODEL_KEYS` allows it.

    Without a key nothing is sent, so any host will do. A host that is listed plainly gets the key
    over TLS only, unless it is this machine.
    """
    if name is None or url == STAND_IN:
        return
    allowed = settings().model_keys.get(name, ())
    operators_own = settings().openai_base_url
    if name == OPENAI_KEY and operators_own:
        allowed = (*allowed, operators_own)
    if is_listed(url, allowed):
        return
    parts = urlsplit(url)
    raise KeyNotAllowedError(
        f"the key in {name} may not go to {parts.scheme}://{parts.hostname}, only to "
        f"{named(allowed)}: MLOPS_MODEL_KEYS lists variables and their hosts"
    )


def is_listed(url: str, allowed: Iterable[str]) -> bool:
    """Whether `url` is at one of the hosts, each `host`, `host:port` or a URL; TLS where none is.

    A port of an entry is not looked at. This machine is reached without TLS as well.
    """
    parts = urlsplit(url)
    destinations = {_destination(entry) for entry in allowed}
    if on_loopback(url) and parts.hostname in {host for _, host in destinations}:
        return True
    return (parts.scheme, parts.hostname) in destinations


def named(allowed: Iterable[str]) -> str:
    """The hosts for a person. Not as they stand: a URL of the operator's could hold a password."""
    return ", ".join(sorted({"://".join(_destination(entry)) for entry in allowed})) or "no host"


def _destination(entry: str) -> tuple[str, str]:
    """Scheme and host of `host`, `host:port` or a URL."""
    parts = urlsplit(entry if "://" in entry else f"https://{entry}")
    return parts.scheme, parts.hostname or ""
