"""The store's scripts, loaded from the package."""

from importlib import resources

from redis.asyncio import Redis
from redis.commands.core import AsyncScript


def load_script(store: Redis, name: str) -> AsyncScript:
    """`lua/<name>.lua` with the shared part before it; sent by its hash, loaded where the store lacks it."""
    folder = resources.files("tiermesh_budget") / "lua"
    common = (folder / "common.lua").read_text(encoding="utf-8")
    return store.register_script(common + (folder / f"{name}.lua").read_text(encoding="utf-8"))
