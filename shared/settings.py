"""One typed `Settings`: environment over YAML over defaults.

The YAML file is `mlops.yaml` in the working folder, or what `MLOPS_CONFIG` names.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

import pydantic_settings
import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)


class SettingsError(ValueError):
    """A setting is missing or malformed; the message is one line for the user."""


CostThreshold = Annotated[Decimal, Field(gt=0, le=9_000_000, decimal_places=9, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Every setting of every process.

    `DATABASE_URL`, `REDIS_URL` and the other names of the public contract have no prefix;
    everything else is `MLOPS_<NAME>`.
    """

    model_config = SettingsConfigDict(env_prefix="MLOPS_", extra="forbid", frozen=True)

    database_url: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    database_owner_url: SecretStr | None = Field(
        default=None, validation_alias="DATABASE_OWNER_URL"
    )
    redis_url: SecretStr | None = Field(default=None, validation_alias="REDIS_URL")

    state_dir: Path = Path(".mlops")
    tenant: str = "default"
    api_key: SecretStr | None = None

    database_pool_size: int = Field(default=5, ge=1, le=200)
    lease_seconds: float = Field(default=30.0, ge=2, le=3600)
    job_max_attempts: int = Field(default=3, ge=1, le=100)
    resend_after_seconds: float = Field(default=15.0, ge=0.01, le=86_400)

    episodes_per_worker: int = Field(default=4, ge=1, le=256)
    episodes_per_browser: int = Field(default=200, ge=1)
    chromium: Path | None = None
    artifacts: Path | None = None
    "Where pictures and traces of episodes are stored; `artifacts` in the state folder if unset."
    artifacts_bytes: int = Field(default=5 * 10**9, ge=0)
    "Of each tenant; the oldest beyond it are removed every hour."

    batches_bytes: int = Field(default=256 * 2**20, ge=1)
    "Telemetry of each tenant that may wait to be stored; beyond it senders are told to wait."

    model_keys: dict[str, tuple[str, ...]] = {"OPENAI_API_KEY": ("api.openai.com",)}
    "Which environment variable's key may go to which hosts: `host`, or `http://host` without TLS."
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    "Where the operator sends `OPENAI_API_KEY`, besides what `model_keys` lists."

    ab_lease_seconds: float = Field(default=60.0, ge=1, le=86_400)
    "How long a process goes on assigning by its copy of a test that Redis does not confirm."
    ab_poll_seconds: float = Field(default=5.0, ge=0.05, le=3_600)
    "How often a process asks whether its copies are the newest, besides being told of changes."
    ab_keep_days: int = Field(default=365, ge=1, le=36_500)
    "How long after its end the units of an A/B test are kept; the sums of its variants stay."

    agent_commands: dict[str, tuple[str, ...]] = {}
    "Programs that agents of kind `external` may run: name, and what is run, without a shell."
    agent_hosts: tuple[str, ...] = ()
    "Hosts that agents of kind `external` may be at: `host`, or `http://host:port` without TLS."

    inner_hosts: tuple[str, ...] = ()
    "Hosts inside your network that pages of tasks may talk to: names and addresses, no ports."

    daily_cost_threshold: CostThreshold = Field(
        default=Decimal(1), validation_alias="DAILY_COST_THRESHOLD"
    )
    "Dollars: the budget of a tenant that has set none for the period. So are the next two."
    weekly_cost_threshold: CostThreshold = Field(
        default=Decimal(5), validation_alias="WEEKLY_COST_THRESHOLD"
    )
    monthly_cost_threshold: CostThreshold = Field(
        default=Decimal(20), validation_alias="MONTHLY_COST_THRESHOLD"
    )

    flower_user: str = "mlops"
    flower_password: SecretStr | None = None
    flower_port: int = Field(default=5555, ge=0, le=65535)

    web_host: str = "127.0.0.1"
    web_port: int = Field(default=8000, ge=0, le=65535)
    web_concurrency: int = Field(default=64, ge=1, le=10_000)
    "Requests of functions at a time in a process; one more is told to come again."
    web_body_bytes: int = Field(default=4 * 2**20, ge=1_000, le=64 * 2**20)
    web_request_seconds: float = Field(default=150, gt=0, le=1_800)
    "After which a request of a function is broken off, whatever the function's own deadline."

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked_url(value, {"postgresql", "postgres", "postgresql+psycopg"})

    @field_validator("inner_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _is_host(host):
                raise ValueError(
                    f"{host!r} is no host; expected one like shop.internal or 10.0.0.5"
                )
        return value

    @field_validator("web_host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not _is_host(value):
            raise ValueError("is no host; expected an address like 127.0.0.1, or a name")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked_url(value, {"redis", "rediss"})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        yaml_file = Path(os.environ.get("MLOPS_CONFIG", "mlops.yaml"))
        return (
            init_settings,
            env_settings,
            YamlConfigSettingsSource(settings_cls, yaml_file=yaml_file),
        )

    @classmethod
    def load(cls) -> Self:
        """Read the settings; a malformed one raises `SettingsError` that names it."""
        named = os.environ.get("MLOPS_CONFIG")
        if named and not Path(named).is_file():
            raise SettingsError(f"MLOPS_CONFIG names {named!r}, and there is no such file")
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise SettingsError(
                f"setting {name}: {first['msg'].removeprefix('Value error, ')}"
            ) from None
        except pydantic_settings.SettingsError as error:
            # Its words name the field, and quote nothing.
            field = re.search(r'field "(\w+)"', str(error))
            name = f"MLOPS_{field[1].upper()}" if field else "in the environment"
            raise SettingsError(
                f"setting {name} is not JSON, as lists and mappings have to be: see"
                " docs/operations.md"
            ) from None
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
            # The parser's own words may quote a line, and a line may hold a password.
            raise SettingsError(
                f"{named or 'mlops.yaml'} is no YAML mapping of settings ({type(error).__name__})"
            ) from None


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        pass
    else:
        return True
    try:
        return bool(text.encode("idna")) and not set(text) & set("/:@?#[]%\\ ")
    except UnicodeError:
        return False


def _checked_url(value: SecretStr | None, schemes: set[str]) -> SecretStr | None:
    # The value is never quoted back: a URL carries a password.
    if value is None or not value.get_secret_value().strip():
        return None
    try:
        parts = urlsplit(value.get_secret_value())
        _ = parts.port
    except ValueError:
        # What it complains of may be a piece of the password.
        raise ValueError(
            "has no host and port that could be read; '/', '@', '#', '?' and '[' in a password "
            "are written %XX"
        ) from None
    wanted = " or ".join(f"{scheme}://" for scheme in sorted(schemes))
    if parts.scheme not in schemes:
        raise ValueError(f"must start with {wanted}")
    if not parts.hostname and "host=" not in parts.query:
        raise ValueError(f"has no host; expected {wanted}user:password@host:port/name")
    return value


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.load()
