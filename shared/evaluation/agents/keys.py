"""Which key may go where: the operator says it, an agent's parameters only ask for it."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.evaluation.agents.parameters import STAND_IN, LlmParameters
from shared.settings import settings

_OPENAI = "OPENAI_API_KEY"


class KeyNotAllowedError(ValueError):
    """The parameters would send a variable to a host that the operator did not name for it."""


def check_key_may_go(parameters: LlmParameters) -> None:
    """Raises `KeyNotAllowedError`, in one line, unless `MLOPS_MODEL_KEYS` allows it.

    Without a key nothing is sent, so any host will do. A host that is listed plainly gets the key
    over TLS only, unless it is this machine.
    """
    name = parameters.api_key_env
    if name is None or parameters.base_url == STAND_IN:
        return
    allowed = settings().model_keys.get(name, ())
    operators_own = settings().openai_base_url
    if name == _OPENAI and operators_own:
        allowed = (*allowed, operators_own)
    scheme = urlsplit(parameters.base_url).scheme
    destinations = {_destination(entry) for entry in allowed}
    hosts = {host for _, host in destinations}
    on_this_machine = parameters.on_loopback and parameters.host in hosts
    if on_this_machine or (scheme, parameters.host) in destinations:
        return
    # Not as they stand: a URL of the operator's could hold a password.
    known = ", ".join(sorted("://".join(one) for one in destinations))
    raise KeyNotAllowedError(
        f"the key in {name} may not go to {scheme}://{parameters.host}, only to "
        f"{known or 'no host'}: MLOPS_MODEL_KEYS lists variables and their hosts"
    )


def _destination(entry: str) -> tuple[str, str]:
    """Scheme and host of `host`, `host:port` or a URL."""
    parts = urlsplit(entry if "://" in entry else f"https://{entry}")
    return parts.scheme, parts.hostname or ""
