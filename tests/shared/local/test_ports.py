import socket

import pytest

from shared.local import ports


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(listener):
    assert not ports.is_free(listener)


def test_a_kept_port_is_chosen_again_while_it_is_free():
    port = ports.choose()
    assert ports.choose(port) == port


def test_a_kept_port_that_another_took_is_given_up(listener):
    assert ports.choose(listener) != listener


def test_a_port_is_not_given_twice():
    port = ports.choose()
    assert ports.choose(port, {port}) != port


def test_a_port_that_is_held_is_nobody_elses_until_it_is_let_go() -> None:
    with ports.hold(None, set()) as held:
        port = held.getsockname()[1]
        assert not ports.is_free(port)
        with ports.hold(port, set()) as other:
            assert other.getsockname()[1] != port
    assert ports.is_free(port)
