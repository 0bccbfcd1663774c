"""What a service is told by its environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tiermesh_chassis.errors import ConfigError
from tiermesh_contracts.message import UnknownFields
from tiermesh_contracts.topics import POOLS, Pool


class Environment(BaseSettings):
    """Variables `TIERMESH_*`; `OTEL_*` are read by OpenTelemetry itself."""

    model_config = SettingsConfigDict(env_prefix="TIERMESH_", frozen=True)

    kafka: str = "127.0.0.1:9092"
    redis_url: str = "redis://127.0.0.1:6379/0"
    config: Path = Path("mesh.toml")
    models: Path = Path(".tiermesh/models")
    pools: Annotated[tuple[Pool, ...], NoDecode] = ("classify",)
    """Comma-separated; which pools this process of local-inference serves."""
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    instance: str | None = None
    """Stable name of this replica: with it, a restarted process gets its partitions back at once."""
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    start_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    grace_s: Annotated[float, Field(ge=0, le=600)] = 75.0
    """How long a stop waits for work in flight; longer than a provider call."""
    unknown_fields: UnknownFields = "ignore"

    @field_validator("pools", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("pools")
    @classmethod
    def _some(cls, value: tuple[Pool, ...]) -> tuple[Pool, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(POOLS)}")
        return value


def read_environment() -> Environment:
    """Raises `ConfigError` naming the variable."""
    try:
        return Environment()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"TIERMESH_{'_'.join(str(part) for part in first['loc'][:1])}".upper()
        raise ConfigError(f"environment variable {name}: {first['msg']}") from error
