"""Where calls go and with which key, as `mesh.toml` and the environment say."""

import pytest

from tiermesh_chassis.config import MeshConfig, parse_config
from tiermesh_escalation.adapters import ConfiguredEndpoints


def config(**changes: str) -> MeshConfig:
    keys = {"name": '"sim"', "base_url": '"https://api.example/v1/"', "models": '[{name = "m"}]', **changes}
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return parse_config(f"[[providers]]\n{lines}\n", "mesh.toml")


def test_an_endpoint_is_read_from_the_configuration() -> None:
    """Calls would go to a wrong address, with a wrong limit field or for too long."""
    endpoints = ConfiguredEndpoints(config(kind='"openai"', timeout_s="2.5"), {})
    found = endpoints.find("sim")
    assert found is not None
    assert (found.url, found.timeout_ms) == ("https://api.example/v1/chat/completions", 2_500)
    assert found.limit_field == "max_completion_tokens"
    assert (found.api_key, found.unusable) == (None, None)
    assert endpoints.find("another") is None


@pytest.mark.parametrize(
    ("environment", "api_key", "unusable"),
    [
        ({"K": "sk-1\n"}, "sk-1", None),
        ({}, None, "environment variable K is not set"),
        ({"K": "  "}, None, "environment variable K is not set"),
        ({"K": "a\r\nX-Evil: 1"}, None, "environment variable K holds what no header can carry"),
        ({"K": "schlüssel"}, None, "environment variable K holds what no header can carry"),
    ],
)
def test_a_key_is_read_at_each_call(environment: dict[str, str], api_key: str | None, unusable: str | None) -> None:
    """A missing key would become an anonymous call, a broken one an error in the middle of an attempt."""
    current: dict[str, str] = {"K": "sk-old"}
    endpoints = ConfiguredEndpoints(config(api_key_env='"K"'), current)
    before = endpoints.find("sim")
    current.clear()
    current.update(environment)
    after = endpoints.find("sim")
    assert before is not None
    assert after is not None
    assert before.api_key == "sk-old"
    assert (after.api_key, after.unusable) == (api_key, unusable)
