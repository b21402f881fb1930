import pytest

from shared.local.ephemeral import temporary_services
from shared.local.errors import ServiceError
from shared.local.ports import choose
from shared.local.reachable import postgresql_version, redis_facts


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with temporary_services(tmp_path_factory.mktemp("servers")) as found:
        yield found


def test_a_good_url_tells_what_the_server_is(servers):
    assert int(postgresql_version(servers.database_url).split(".")[0]) >= 15
    with_driver = servers.database_url.replace("postgresql://", "postgresql+psycopg://")
    assert postgresql_version(with_driver) == postgresql_version(servers.database_url)
    facts = redis_facts(servers.redis_url)
    assert (facts.eviction_policy, facts.append_only) == ("noeviction", True)


def test_what_is_wrong_with_a_database_url_is_one_line_without_the_password(servers):
    good = servers.database_url
    password = good.split(":")[2].split("@")[0]
    port = choose()
    wrong = {
        good.replace(password, "hunter2"): "refuses user 'mlops_app_login': wrong password",
        good.removesuffix("/mlops") + "/other": "has no database 'other'",
        f"postgresql://u:hunter2@127.0.0.1:{port}/mlops": f"nothing listens at 127.0.0.1:{port}",
        "postgresql://u:hunter2@127.0.0.1:port/mlops": "malformed host or port",
        "postgresql://u:hunter2@127.0.0.1/mlops?hunter2=1": "is not a PostgreSQL URL",
    }
    for url, told in wrong.items():
        with pytest.raises(ServiceError) as caught:
            postgresql_version(url)
        message = str(caught.value)
        assert told in message
        assert message.startswith("DATABASE_URL")
        assert "\n" not in message
        assert "hunter2" not in message
        assert password not in message


def test_what_is_wrong_with_a_redis_url_is_one_line_without_the_password(servers):
    password = servers.redis_url.split(":")[2].split("@")[0]
    port = choose()
    wrong = {
        servers.redis_url.replace(password, "hunter2"): "refuses the password",
        servers.redis_url.replace(f":{password}@", ""): "refuses the password",
        f"redis://:hunter2@127.0.0.1:{port}/0": f"listens at 127.0.0.1:{port}",
        "redis://:hunter2@127.0.0.1:port/0": "malformed host or port",
    }
    for url, told in wrong.items():
        with pytest.raises(ServiceError) as caught:
            redis_facts(url)
        message = str(caught.value)
        assert told in message
        assert message.startswith("REDIS_URL")
        assert "\n" not in message
        assert "hunter2" not in message
        assert password not in message
