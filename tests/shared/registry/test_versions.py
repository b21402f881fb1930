from __future__ import annotations

import pytest

from shared.registry.versions import parse_version


def test_precedence_is_that_of_the_specification() -> None:
    # Section 11 of https://semver.org/spec/v2.0.0.html, and the numeric order of the core.
    in_order = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.2",
        "1.0.10",
        "1.2.0",
        "2.0.0",
        "10.0.0",
    ]
    assert sorted(set(in_order), key=parse_version) == in_order


def test_build_metadata_does_not_count() -> None:
    assert parse_version("1.0.0+a") == parse_version("1.0.0+b")
    assert parse_version("1.0.0+a").build == "a"


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+"),
        *("1.0.0\n", "\u0661.0.0", "1.0.0-\u00e4", "1.0.0-" + "a" * 64),
    ],
)
def test_what_is_not_semantic_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^version '.*' is not semantic: .*$"):
        parse_version(text)
