"""The real guard as a process of its own, between a real broker and a real store that are this folder's alone."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.books import Desk
from fakes.mesh_around_guard import Place
from tiermesh_chassis.admin import create_topics, registry
from tiermesh_cli.embedded import Embedded, free_port
from tiermesh_cli.processes import Child, wait_ready


def start(folder: Path, parts: Embedded, org: str) -> Place:
    config, port = folder / "mesh.toml", free_port()
    place = Place(parts, org, config, Desk(parts.redis_url, org))
    place.configure()
    env = {
        **os.environ,
        "TIERMESH_KAFKA": parts.kafka,
        "TIERMESH_REDIS_URL": parts.redis_url,
        "TIERMESH_CONFIG": str(config),
        "TIERMESH_HEALTH_PORT": str(port),
        "TIERMESH_GRACE_S": "5",
    }
    argv = [sys.executable, "-m", "tiermesh_budget"]
    place.child = Child("budget-guard", argv, folder / "guard.log", env=env, ready_port=port)
    return place


def running(folder: Path, org: str) -> Iterator[Place]:
    parts = asyncio.run(Embedded.start(folder))
    try:
        asyncio.run(create_topics(parts.kafka, registry()))
        place = start(folder, parts, org)
        try:
            asyncio.run(wait_ready(place.child, 60))
            yield place
        finally:
            place.child.terminate(10)
    finally:
        asyncio.run(parts.stop())


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One guard for all tests that leave it as they found it; each takes tenants of its own."""
    yield from running(tmp_path_factory.mktemp("guard"), "shared")


@pytest.fixture(scope="module")
def frail_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A guard, broker and store that a module's tests break, one after the other."""
    yield from running(tmp_path_factory.mktemp("frail"), "frail")
