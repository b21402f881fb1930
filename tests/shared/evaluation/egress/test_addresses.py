"""Which addresses a name must not lead to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.egress.addresses import is_address, never, why_not


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),  # noqa: S104
        ("::", "unspecified"),
        ("10.0.0.5", "private"),
        ("172.16.3.4", "private"),
        ("192.168.1.1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "site-local"),
        ("169.254.7.7", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("100.64.0.1", "carrier"),
        ("224.0.0.251", "multicast"),
        ("ff02::fb", "multicast"),
        ("240.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("192.0.2.1", "private"),
        ("2001:db8::1", "private"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("fd00:ec2::254%1", "metadata"),
        # IPv4 within IPv6: mapped, compatible, 6to4, Teredo (client and server), NAT64.
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::10.0.0.1", "private"),
        ("2002:7f00:1::", "loopback"),
        ("2001:0:808:808::f5ff:fffa", "private"),
        ("2001:0:a00:1::f7f7:f7f7", "private"),
        ("64:ff9b::a9fe:a9fe", "metadata"),
        ("64:ff9b:1::7f00:1", "loopback"),
    ],
)
def test_addresses_that_are_not_public_are_named_by_their_kind(address: str, kind: str) -> None:
    assert kind in (why_not(address) or "")


@pytest.mark.parametrize(
    "address", ["169.254.1.1", "fe80::1%1", "::ffff:169.254.169.254", "168.63.129.16"]
)
def test_metadata_and_link_local_addresses_are_for_nobody(address: str) -> None:
    assert never(address) == why_not(address) is not None
    assert never("10.0.0.1") is never("127.0.0.1") is never("1.1.1.1") is None


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_free(address: str) -> None:
    assert why_not(address) is None


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_within_ipv6(address: ipaddress.IPv4Address) -> None:
    assert why_not(f"::ffff:{address}") == why_not(str(address))


def test_only_literal_addresses_are_addresses() -> None:
    assert is_address("127.0.0.1")
    assert is_address("::1")
    # What `inet_aton` takes for one is a name here, and judged by what it leads to.
    assert not is_address("127.1")
    assert not is_address("2130706433")
    with pytest.raises(ValueError, match="shop"):
        why_not("shop.example")
