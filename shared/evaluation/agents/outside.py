"""Which agents from outside may be run or asked: the operator says it, parameters only ask.

Whoever may register a model must not thereby run programs on a worker, or have it send requests
into the network that it stands in.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from shared.evaluation.agents.keys import check_key_may_go
from shared.evaluation.agents.parameters import ExternalParameters, on_loopback
from shared.settings import settings

_PORTS: Final = {"http": 80, "https": 443}
_SECRET_OF_OURS: Final = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")


class NotAllowedError(ValueError):
    """The operator did not name the program or the host."""


class _Destination(NamedTuple):
    scheme: str
    host: str
    port: int | None

    @property
    def said(self) -> str:
        port = "" if self.port == _PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def check_allowed(parameters: ExternalParameters) -> None:
    """Raises NotAllowedError or KeyNotAllowedError, in one line."""
    if parameters.command is not None:
        program(parameters.command)
        return
    url = parameters.url or ""
    listed = settings().agent_hosts
    allowed = {_destination(entry, entry) for entry in listed}
    if on_loopback(url):
        allowed |= {_destination(f"http://{e}", e) for e in listed if "://" not in e}
    if _destination(url, url) not in allowed:
        known = ", ".join(sorted({_destination(e, e).said for e in listed})) or "no host"
        raise NotAllowedError(
            f"an agent at {_destination(url, url).said} may not be asked, only at {known}:"
            " MLOPS_AGENT_HOSTS lists them"
        )
    check_key_may_go(parameters.api_key_env, url)


def program(name: str) -> tuple[str, ...]:
    """What is run for the command `name`. Raises NotAllowedError."""
    commands = settings().agent_commands
    if not commands.get(name):
        known = ", ".join(sorted(commands)) or "none"
        raise NotAllowedError(
            f"no agent program {name!r} may be run here, only {known}: MLOPS_AGENT_COMMANDS"
            " lists names and commands"
        )
    return commands[name]


def environment() -> dict[str, str]:
    """What a program gets of this process's environment: all but the secrets of this product."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _SECRET_OF_OURS and not name.startswith("MLOPS_")
    }


def _destination(url: str, entry: str) -> _Destination:
    parts = urlsplit(url if "://" in url else f"https://{url}")
    try:
        port = parts.port
    except ValueError:
        raise NotAllowedError(f"MLOPS_AGENT_HOSTS: {entry!r} has no port that is one") from None
    return _Destination(parts.scheme, parts.hostname or "", port or _PORTS.get(parts.scheme))
