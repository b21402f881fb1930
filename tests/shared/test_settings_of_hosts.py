"""Which hosts an operator may open to the pages of tasks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.settings import SettingsError, settings


def test_inner_hosts_are_names_and_addresses(with_environment: Callable[..., None]) -> None:
    assert settings().inner_hosts == ()
    with_environment(
        MLOPS_INNER_HOSTS='["shop.internal", "10.0.0.5", "fd00::1", "b\u00fccher.test"]'
    )
    assert settings().inner_hosts[:3] == ("shop.internal", "10.0.0.5", "fd00::1")


@pytest.mark.parametrize("host", ["", "http://shop", "shop:80", "10.0.0.0/8", "a..b", "*.shop x"])
def test_what_is_no_host_is_named(with_environment: Callable[..., None], host: str) -> None:
    with_environment(MLOPS_INNER_HOSTS=f'["{host}"]')
    with pytest.raises(SettingsError, match=r"inner_hosts: .* is no host; expected one like"):
        settings()


def test_a_variable_that_has_to_be_json_and_is_not_is_named(
    with_environment: Callable[..., None],
) -> None:
    with_environment(MLOPS_MODEL_KEYS="MY_KEY=127.0.0.1")
    with pytest.raises(SettingsError, match="setting MLOPS_MODEL_KEYS is not JSON"):
        settings()
