import importlib.util

import pytest

from shared.local import redis
from shared.local.errors import ServiceError


def server(folder, version):
    folder.mkdir()
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0 bits=64'\n")
    program.chmod(0o755)
    return program


def test_the_wheel_serves_a_machine_without_servers():
    found = redis.find(path="", folders=())
    assert found.source == "wheel"
    assert found.major >= redis.MINIMUM_MAJOR


def test_path_comes_before_the_system(tmp_path):
    on_path = server(tmp_path / "path", "7.2.1")
    server(tmp_path / "system", "7.4.0")
    found = redis.find(path=str(tmp_path / "path"), folders=(str(tmp_path / "system"),))
    assert (found.server, found.source) == (on_path, "PATH")


def test_a_version_that_is_too_old_is_passed_over(tmp_path):
    server(tmp_path / "old", "5.0.14")
    assert redis.find(path=str(tmp_path / "old"), folders=()).source == "wheel"


def test_without_any_server_the_error_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServiceError, match="pip install 'browser-mlops"):
        redis.find(path="", folders=())
