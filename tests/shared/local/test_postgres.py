import importlib.util

import psycopg
import pytest

from shared.local import postgres
from shared.local.errors import ServiceError


def installation(folder, version):
    """A folder of programs that say they are this version."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


def test_the_wheel_serves_a_machine_without_servers():
    found = postgres.find(path="", folders=())
    assert found.source == "wheel"
    assert found.major >= postgres.MINIMUM_MAJOR


def test_path_comes_before_the_system_and_the_system_before_the_wheel(tmp_path):
    on_path = installation(tmp_path / "path", "16.1")
    installation(tmp_path / "lib/9/bin", "9.6")
    installation(tmp_path / "lib/16/bin", "16.4")
    installation(tmp_path / "lib/17/bin", "17.2")
    folders = (f"{tmp_path}/lib/*/bin",)
    found = list(postgres.installations(path=str(on_path), folders=folders))
    assert [f.source for f in found[:3]] == ["PATH", "system", "system"]
    assert [f.version for f in found[:3]] == ["16.1", "17.2", "16.4"]
    assert {f.source for f in found[3:]} == {"wheel"}


def test_a_link_on_path_leads_to_the_folder_with_initdb(tmp_path):
    real = installation(tmp_path / "lib/17/bin", "17.2")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/postgres").symlink_to(real / "postgres")
    assert postgres.find(path=str(tmp_path / "bin"), folders=()).bin == real


def test_a_version_that_is_too_old_is_passed_over(tmp_path):
    old = installation(tmp_path / "old", "14.9")
    assert postgres.find(path=str(old), folders=()).source == "wheel"


def test_without_any_server_the_error_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServiceError, match="pip install 'browser-mlops"):
        postgres.find(path="", folders=())


def test_data_of_another_version_is_not_opened():
    with pytest.raises(ServiceError, match="made by PostgreSQL 99 "):
        postgres.find(major=99)


def test_only_demonstration_data_may_lose_what_was_written():
    assert "fsync" not in postgres.settings_text(5, durable=True)
    assert "fsync = off" in postgres.settings_text(5, durable=False)


def test_a_verifier_holds_neither_the_password_nor_what_sql_would_trip_over(services):
    with psycopg.connect(services.superuser_url) as connection:
        made = [postgres.password_verifier(connection, "me", "50%'off") for _ in range(2)]
    assert made[0] != made[1]  # salted
    for verifier in made:
        assert verifier.startswith("SCRAM-SHA-256$")
        assert not set("%'\\") & set(verifier)
