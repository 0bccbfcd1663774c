"""Providers of `mesh.toml`, with their keys out of the environment."""

from collections.abc import Mapping

from tiermesh_chassis.config import MeshConfig, Provider
from tiermesh_escalation.model import Endpoint


class ConfiguredEndpoints:
    """Keys are read at each call, so that a changed one counts at once; they are never kept or logged."""

    def __init__(self, config: MeshConfig, environment: Mapping[str, str]) -> None:
        self._config = config
        self._environment = environment

    def find(self, provider: str) -> Endpoint | None:
        configured = self._config.provider(provider)
        return None if configured is None else self._endpoint(configured)

    def _endpoint(self, provider: Provider) -> Endpoint:
        api_key, unusable = None, None
        if provider.api_key_env is not None:
            api_key = self._environment.get(provider.api_key_env, "").strip()
            if not api_key:
                unusable = f"environment variable {provider.api_key_env} is not set"
            elif not (api_key.isascii() and api_key.isprintable()):
                unusable = f"environment variable {provider.api_key_env} holds what no header can carry"
        return Endpoint(
            provider=provider.name,
            url=f"{provider.base_url.rstrip('/')}/chat/completions",
            limit_field=provider.limit_field,
            timeout_ms=int(provider.timeout_s * 1000),
            api_key=api_key if unusable is None else None,
            unusable=unusable,
        )
