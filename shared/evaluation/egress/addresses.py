"""Which IP addresses a page under evaluation must not reach unless somebody has opened them."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

# Where clouds hand out credentials. Most lie in ranges that are refused anyway; Azure's and
# Oracle's do not everywhere, and a reader of a refusal wants to know that it was this.
_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)

_NEVER: Final = ("a metadata address", "a link-local address")

_CARRIER: Final = ip_network("100.64.0.0/10")
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ip_network("::/96")


def why_not(address: str) -> str | None:
    """What kind of address this is that is no public one; None for a public one.

    An IPv6 address that carries an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) is
    judged by that one as well. Ranges: IANA special-purpose address registries, RFC 6890.
    Raises ValueError for what is no address.
    """
    return next(iter(_kinds(address)), None)


def never(address: str) -> str | None:
    """What kind of address this is that not even an operator can open to pages; else None."""
    return next((kind for kind in _kinds(address) if kind in _NEVER), None)


def is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def _kinds(address: str) -> list[str]:
    parsed = ip_address(address)
    inner = _carried(parsed) if isinstance(parsed, IPv6Address) else ()
    kinds = [
        _kind(one, carrier_of_another=bool(inner) and one is parsed) for one in (parsed, *inner)
    ]
    return [kind for kind in kinds if kind is not None]


def _carried(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    plain = IPv6Address(int(address))
    if any(plain in network for network in _NAT64) or (plain in _COMPATIBLE and int(plain) > 1):
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def _kind(address: IPv4Address | IPv6Address, *, carrier_of_another: bool) -> str | None:
    if isinstance(address, IPv6Address):
        # Without the zone (`fe80::1%eth0`), with which it would equal nothing.
        address = IPv6Address(int(address))
    if address in _METADATA:
        return "a metadata address"
    if carrier_of_another:
        return None
    for applies, kind in (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (isinstance(address, IPv4Address) and address in _CARRIER, "a carrier's inner address"),
        (isinstance(address, IPv6Address) and address.is_site_local, "a site-local address"),
        (address.is_private, "a private address"),
        (address.is_reserved or not address.is_global, "a reserved address"),
    ):
        if applies:
            return kind
    return None


def is_address(host: str) -> bool:
    """Whether a host is an IP address in itself and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
