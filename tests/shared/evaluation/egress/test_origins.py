"""Origins in a normal form, in which equal ones are equal."""

from __future__ import annotations

import pytest

from shared.evaluation.egress.origins import Origin, OriginError, authority, origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example", Origin("https", "shop.example", 443)),
        ("https://shop.example:443/cart?id=1#top", Origin("https", "shop.example", 443)),
        ("HTTP://Shop.Example./", Origin("http", "shop.example", 80)),
        ("http://bücher.example", Origin("http", "xn--bcher-kva.example", 80)),
        ("http://[0:0::1]:8080/", Origin("http", "::1", 8080)),
        ("ws://127.0.0.1:9000", Origin("http", "127.0.0.1", 9000)),
        ("wss://shop.example/live", Origin("https", "shop.example", 443)),
        # What stands before the @ is a user and no host.
        ("http://shop.example@evil.example/", Origin("http", "evil.example", 80)),
    ],
)
def test_an_address_has_one_origin(url: str, expected: Origin) -> None:
    assert origin(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "chrome://version",
        "data:text/html,x",
        "javascript:alert(1)",
        "about:blank",
        "shop.example",
        "/cart",
        "http://",
        "http://shop.example:port",
        "http://shop.example:99999",
        "http://[::1",
        "http://a..b/",
    ],
)
def test_what_is_no_origin_of_the_web_is_refused_by_its_name(url: str) -> None:
    with pytest.raises(OriginError) as refused:
        origin(url)

    assert url in str(refused.value)
    assert "https://shop.example:8443" in str(refused.value)


def test_an_origin_is_written_as_it_is_read() -> None:
    for text in ("https://shop.example", "http://shop.example:8080", "http://[::1]:8080"):
        assert str(origin(text)) == text


def test_a_tunnel_names_host_and_port_and_nothing_else() -> None:
    assert authority("Shop.example:443") == ("shop.example", 443)
    assert authority("[::1]:443") == ("::1", 443)
    for target in ("shop.example", "shop.example:", "u@shop.example:443", "a:443/x", ""):
        with pytest.raises(OriginError):
            authority(target)
