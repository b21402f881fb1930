"""docker-compose.yml: the commands of `programs()`, no default passwords, scalable workers."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.jobs.contracts import Queue
from shared.local.programs import programs

ROOT = Path(__file__).resolve().parents[1]
SECRETS = (
    "POSTGRES_PASSWORD",
    "MLOPS_OWNER_PASSWORD",
    "MLOPS_APP_PASSWORD",
    "REDIS_PASSWORD",
    "FLOWER_PASSWORD",
)


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def services(text):
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))["services"]


@pytest.fixture(scope="module")
def table():
    everywhere = "0.0.0.0"  # noqa: S104
    return programs(beat_schedule="/tmp/beat.db", flower_address=everywhere, web_host=everywhere)


def test_every_program_is_a_service_with_the_same_command(services, table):
    def stated(command):
        return list(command if command[0] == "celery" else ("python", "-m", *command))

    assert {name: stated(program.command) for name, program in table.items()} == {
        name: services[name]["command"] for name in table
    }


def test_every_program_gets_the_environment_that_mlops_up_gives_it(services, table):
    for name, program in table.items():
        environment = services[name]["environment"]
        assert dict(program.environment).items() <= environment.items()
        assert {"DATABASE_URL", "REDIS_URL"} <= set(environment)


def test_only_the_migrations_connect_as_the_owner(services):
    owners = [n for n, s in services.items() if "DATABASE_OWNER_URL" in s.get("environment", {})]
    assert owners == ["migrations"]


def test_no_password_has_a_default(text):
    for secret in SECRETS:
        uses = re.findall(rf"\$\{{{secret}([^}}]*)\}}", text)
        assert uses
        assert all(use.startswith(":?") for use in uses)


def test_the_env_script_makes_every_password_that_is_asked_for(text):
    made = subprocess.run(
        ["/bin/sh", str(ROOT / "deploy" / "new-env.sh")], capture_output=True, text=True, check=True
    ).stdout
    pairs = dict(line.split("=") for line in made.splitlines())
    assert set(pairs) == set(re.findall(r"\$\{(\w+):\?", text))
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in pairs.values())


def test_any_worker_can_be_scaled(services):
    for queue in Queue:
        assert "container_name" not in services[queue]
        assert "ports" not in services[queue]
        assert "%h" in services[queue]["command"][services[queue]["command"].index("-n") + 1]


def test_what_is_published_is_published_on_loopback_only(services):
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:5555:5555", "127.0.0.1:8000:8000"]


def test_programs_wait_for_migrations_and_healthy_servers(services, table):
    for name in table:
        waits = services[name]["depends_on"]
        assert waits["migrations"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"
    assert services["migrations"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_servers_workers_flower_and_http_have_health_checks(services):
    for name in ("postgres", "redis", "flower", "web", *Queue):
        assert services[name]["healthcheck"]["test"]


def test_the_health_check_of_a_worker_names_the_node_that_its_command_names(services):
    for queue in Queue:
        command, environment = services[queue]["command"], services[queue]["environment"]
        assert command[command.index("-n") + 1] == f"{environment['MLOPS_NODE']}@%h"
        _, line = services[queue]["healthcheck"]["test"]
        assert line == "python -m workers.heartbeat $$MLOPS_NODE@$$HOSTNAME"


def test_files_that_are_mounted_or_built_exist(services):
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file()
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["mlops"]


def test_docker_compose_accepts_the_file():
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker client here")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode != 0:
        pytest.skip("this docker client has no compose plugin")
    subprocess.run(
        [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        env={**os.environ, **dict.fromkeys(SECRETS, "x")},
        check=True,
    )
