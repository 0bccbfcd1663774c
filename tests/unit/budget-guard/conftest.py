import asyncio
from collections.abc import Iterator

import pytest
from redis.exceptions import RedisError

from fakes.books import Desk
from tiermesh_cli.embedded import free_port, start_store
from tiermesh_cli.processes import Child


class OwnStore:
    """A store that a test may stop, restart or empty; what it acknowledged is on its disk."""

    def __init__(self, child: Child, url: str) -> None:
        self.child = child
        self.url = url

    def restart(self) -> None:
        self.child.terminate()
        self.child = self.child.successor()
        desk = Desk(self.url)
        for _ in range(200):
            try:
                desk.store.ping()
                return
            except RedisError:  # not up, or still loading
                self.child.wait(0.05)
        raise self.child.failure("did not come back")


@pytest.fixture
def desk(redis_url: str) -> Desk:
    """The books of an org of its own, open, with no limits yet."""
    return Desk(redis_url).open()


@pytest.fixture
def own_store(tmp_path) -> Iterator[OwnStore]:
    port = free_port()
    child = asyncio.run(start_store(tmp_path / "log", port, tmp_path / "state"))
    store = OwnStore(child, f"redis://127.0.0.1:{port}/0")
    yield store
    store.child.terminate()
