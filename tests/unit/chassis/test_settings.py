"""What a service is told by its environment."""

import os
from pathlib import Path

import pytest

from tiermesh_chassis.errors import ConfigError
from tiermesh_chassis.settings import read_environment


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TIERMESH_")]:
        monkeypatch.delenv(name)


def test_nothing_set_means_this_machine() -> None:
    """A first run would need a page of variables, or listen to the world."""
    env = read_environment()
    assert env.kafka == "127.0.0.1:9092"
    assert env.health_host == "127.0.0.1"
    assert env.pools == ("classify",)
    assert env.grace_s > 60


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image would serve another pool than it was told."""
    monkeypatch.setenv("TIERMESH_POOLS", "classify, embed")
    monkeypatch.setenv("TIERMESH_CONFIG", "/etc/mesh.toml")
    monkeypatch.setenv("TIERMESH_HEALTH_PORT", "0")
    env = read_environment()
    assert env.pools == ("classify", "embed")
    assert env.config == Path("/etc/mesh.toml")
    assert env.health_port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIERMESH_HEALTH_PORT", "http"),
        ("TIERMESH_HEALTH_PORT", "65536"),
        ("TIERMESH_POOLS", "classify,think"),
        ("TIERMESH_POOLS", ""),
        ("TIERMESH_LOG_LEVEL", "LOUD"),
        ("TIERMESH_GRACE_S", "-1"),
        ("TIERMESH_GRACE_S", "nan"),
        ("TIERMESH_START_TIMEOUT_S", "0"),
        ("TIERMESH_UNKNOWN_FIELDS", "maybe"),
    ],
)
def test_a_bad_variable_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container would restart for ever with a traceback that names no variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"environment variable {name}: ") as error:
        read_environment()
    assert "\n" not in str(error.value)
