import subprocess
import sys

import pytest

from shared.local import discovery
from shared.local.errors import ServicesNotRunning
from shared.settings import settings


def test_the_environment_comes_first(state, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@db.example/app")
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgresql://o:b@db.example/app")
    monkeypatch.setenv("REDIS_URL", "redis://cache.example:6379/0")
    settings.cache_clear()
    assert discovery.connection_settings() == (
        "postgresql://a:b@db.example/app",
        "postgresql://o:b@db.example/app",
        "redis://cache.example:6379/0",
    )


@pytest.mark.parametrize(
    ("ask", "variable"),
    [
        (discovery.database_url, "DATABASE_URL"),
        (discovery.database_owner_url, "DATABASE_OWNER_URL"),
        (discovery.redis_url, "REDIS_URL"),
    ],
)
def test_without_url_and_services_the_error_is_one_line_with_the_remedy(state, ask, variable):
    with pytest.raises(ServicesNotRunning) as caught:
        ask()
    assert str(caught.value) == (
        f"no {variable} in the environment and no services are running in {state}: run `mlops up`"
    )


def test_a_blank_variable_names_nothing(state, monkeypatch):
    monkeypatch.setenv("REDIS_URL", " ")
    settings.cache_clear()
    with pytest.raises(ServicesNotRunning):
        discovery.redis_url()


def test_a_database_whose_owner_is_not_named_is_its_own_owner(state, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@db.example/app")
    settings.cache_clear()
    assert discovery.database_owner_url() == "postgresql://a:b@db.example/app"


def test_looking_costs_no_heavy_import():
    heavy = "{'psutil', 'supervisor', 'psycopg', 'redis', 'celery', 'sqlalchemy'}"
    code = f"import sys, shared.local.discovery; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
