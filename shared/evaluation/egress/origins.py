"""Origins as they stand in a task's allow-list and in what a browser asks a proxy for."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_PORTS: Final = {"http": 80, "https": 443}
_OF_SOCKETS: Final = {"ws": "http", "wss": "https"}


class OriginError(ValueError):
    """This is no origin of the web; the message says what would be one."""


class Origin(NamedTuple):
    """Scheme, host and port, in the form in which equal ones are equal (RFC 6454, section 4)."""

    scheme: str
    "`http` or `https`; a WebSocket has that of the page it could come from."
    host: str
    "In lower case and ASCII; an IPv6 address without its brackets."
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{_bracketed(self.host)}{port}"


def origin(address: str) -> Origin:
    """The origin of a URL. Raises `OriginError`."""
    wanted = "expected one like https://shop.example:8443"
    try:
        parts = urlsplit(address)
        scheme = _OF_SOCKETS.get(parts.scheme, parts.scheme)
        if scheme not in _PORTS or not parts.hostname:
            raise OriginError(f"{address!r} is no origin of the web; {wanted}")
        return Origin(scheme, normal(parts.hostname), parts.port or _PORTS[scheme])
    except (ValueError, UnicodeError) as error:
        if isinstance(error, OriginError):
            raise
        raise OriginError(f"{address!r} is no origin of the web ({error}); {wanted}") from None


def authority(target: str) -> tuple[str, int]:
    """Host and port of a CONNECT request, whose target is `host:port`. Raises `OriginError`."""
    try:
        parts = urlsplit(f"//{target}")
        if parts.hostname and parts.port and parts.netloc == target and "@" not in target:
            return normal(parts.hostname), parts.port
    except (ValueError, UnicodeError):
        pass
    raise OriginError(f"{target[:200]!r} is no host and port; expected one like shop.example:443")


def normal(host: str) -> str:
    """A host in lower case and ASCII, without the dot of the root. May raise UnicodeError."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.removesuffix(".").encode("idna").decode("ascii").lower()


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        return host
